"""What a training learns from, and is validated on."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgscan.commands.train_options import TrainOptions, anywhere
from imgscan.datasets import SYNTH
from imgscan.datasets.doubles import leaked
from imgscan.datasets.entries import Entry
from imgscan.datasets.photos import find_photos, keep_aside
from imgscan.datasets.resolve import parse, resolve
from imgscan.errors import ConfigError, InputError
from imgscan.training.recipe import Recipe


@dataclass(frozen=True)
class Material:
    """What a run learns from and is validated on: photographs to forge, or entries of data sets."""

    photos: list[Path] = field(default_factory=list)
    hard: list[Path] = field(default_factory=list)  # of them
    kept_aside: list[Path] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    held_out: list[Entry] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """In an epoch; 0: synth has none of its own."""
        return len(self.entries)

    def doubts(self) -> list[str]:
        """What a few masks of every set tell of all of them, before hours are spent: such masks fail nothing and teach nothing."""
        from imgscan.datasets.doctor import look_at_masks

        said = []
        for what, entries in (("trained", self.entries), ("validated", self.held_out)):
            sets: dict[str, list[Entry]] = {}
            for entry in entries:
                sets.setdefault(entry.source, []).append(entry)
            said += [f"{name}, {what} on: {text}" for name, some in sets.items() for text in look_at_masks(some)]
        return said

    def described(self, options: TrainOptions, processes: int) -> dict[str, Any]:
        """What a checkpoint remembers of it: flags, so that --resume need not repeat them, and what has to stay the same."""
        names = [path.name for path in self.photos + self.hard] + [entry.image.name for entry in self.entries]
        return {
            "data": anywhere(options.data or SYNTH),
            "roots": [str(root.resolve()) for root in options.roots],
            "validation": [str(root.resolve()) for root in options.validation],
            "names": hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest(),
            "processes": processes,
        }

    @staticmethod
    def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
        """What is no longer as it was, in words."""
        said = {"names": "the training pictures have changed", "processes": "the number of processes has changed"}
        return [text for key, text in said.items() if before[key] != now[key]]


def gather(options: TrainOptions, recipe: Recipe) -> Material:
    """Find what to train and to validate on; refuse training files that are also validated or tested on."""
    if options.data in (None, SYNTH):
        return _photographs(options, recipe)
    if recipe.data.hard:
        raise ConfigError(f"data.hard lists photographs that synth forges; --data {options.data} has untouched pictures of its own")
    assert options.data is not None
    entries = resolve(options.data, options.roots, "train")
    # A repeated set (a*40) weighs more in training; validation and test see each picture once.
    parts = [name for name, _ in parse(options.data)]
    held_out = [e for root in options.validation for e in resolve(str(root), options.roots, "all")]
    held_out = held_out or resolve("+".join(parts), options.roots, "val")
    tested: list[Entry] = []
    for part in parts:
        with suppress(InputError):  # it has no test split, or that is not here
            tested += resolve(part, options.roots, "test")
    if not recipe.data.authentic:
        entries, held_out, tested = ([e for e in one if e.mask is not None] for one in (entries, held_out, tested))
    if not entries:
        raise InputError(f"--data {options.data}: no forged pictures in the training split")
    for what, others in (("validation", held_out), ("test", tested)):
        same = leaked(entries, others)
        if same:
            raise InputError(
                f"--data {options.data}: {same[0][0]} is the same file as {same[0][1]} of the {what} split ({len(same)} such "
                f"files); remove them from one of the two (imgscan data check lists them)"
            )
    return Material(entries=entries, held_out=held_out)


def _photographs(options: TrainOptions, recipe: Recipe) -> Material:
    """Pristine photographs; without --validation-root a tenth of them, chosen by their names, is kept aside."""
    from imgscan.datasets.hard import read_hard  # which loads torch

    if recipe.data.hard and not recipe.data.untouched:
        raise ConfigError("data.hard is for untouched pictures, and data.untouched is 0; wanted a share above 0")
    if not options.roots:
        raise InputError("--data synth needs pristine photographs: give --data-root DIR (repeatable)")
    photos = find_photos(options.roots)
    photos, kept = (photos, find_photos(options.validation)) if options.validation else keep_aside(photos)
    both = leaked([Entry(path, None) for path in photos], [Entry(path, None) for path in kept])
    if both and options.validation:
        raise InputError(
            f"--validation-root: {both[0][1]} is also trained on, as {both[0][0]} ({len(both)} such files); validation needs other "
            f"photographs"
        )
    copies = {trained for trained, _ in both}
    photos = [path for path in photos if path not in copies]
    hard = read_hard(Path(recipe.data.hard), photos) if recipe.data.hard else []
    return Material(photos=photos, hard=hard, kept_aside=kept)
