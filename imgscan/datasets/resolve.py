"""What `--data` says, into entries: names joined by `+`, each with `*N` to repeat it, found below the roots, one split of each.

    casia+imd2020*20     two published sets
    my/folder            images/ and masks/ (Tp/ and Gt/), untouched pictures in authentic/
    lists/train.json     another tool's list (manifests.py)

No split is drawn at random.  A published set has the rule of its module, everything else the rule by hash (splits.py), except that
a list whose name says what it is for (`..._train_list.txt`, `val_1000.npy`, `test_NIST16_564.npy`) is that.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Literal

from imgscan.datasets import DATASETS, SYNTH, data_set
from imgscan.datasets.entries import Entry, masks_of
from imgscan.datasets.manifests import READERS, read_manifest
from imgscan.datasets.splits import DEFAULT, HashSplit, Only, SplitRule
from imgscan.datasets.trees import below, generic, is_generic, subfolders
from imgscan.errors import InputError, unknown

Wanted = Literal["train", "val", "test", "all"]


def resolve(spec: str, roots: Sequence[Path], split: Wanted) -> list[Entry]:
    """The entries of a split of every set that spec names, in stable order.

    Args:
        spec: names of DATASETS, folders or lists, joined by `+`; `*N` behind one repeats it, in the train split only.
        roots: where named sets are: a root is the set's own folder, or holds folders named like the sets (case, spaces, hyphens and
            dots do not count); also where the relative names of lists are looked up.
        split: "all" ignores the rules (zero-shot tests on a whole set).

    Raises:
        InputError: an unknown or missing set, a split that a set does not have, an empty split, or two names for the same files.
    """
    made: list[Entry] = []
    owner: dict[Path, str] = {}
    named = parse(spec)
    for name, times in named:
        entries, rule = find(name, roots, alone=len(named) == 1)
        for path in (entry.image for entry in entries):
            if owner.setdefault(path, name) != name:
                raise InputError(f"--data {spec}: {owner[path]} and {name} are the same files, {path} for one; name each set once")
        made += _of_split(name, entries, rule, split) * (times if split == "train" else 1)
    return made


def _of_split(name: str, entries: list[Entry], rule: SplitRule, split: Wanted) -> list[Entry]:
    if split == "all":
        return entries
    if split not in rule.names():
        advice = "; it is a benchmark: train on another set" if rule.names() == ("test",) else ""
        if split == "test" and name in DATASETS:
            advice = f"; for a list of all of it: imgscan data export {name} --split all --format csv --masks DIR --out {name}.csv"
        raise InputError(f"{name} has no {split} split (it has {', '.join(rule.names())}): {rule.describe()}{advice}")
    chosen = [entry for entry in entries if rule.of(entry) == split]
    if not chosen:
        advice = "; others to validate on: --validation-root DIR" if split == "val" else ""
        raise InputError(f"{name}: none of its {len(entries)} pictures falls into the {split} split: {rule.describe()}{advice}")
    return chosen


def parse(spec: str) -> list[tuple[str, int]]:
    """`a+b*20` -> [("a", 1), ("b", 20)]; a path that exists as it stands is never taken apart."""
    if spec and spec not in DATASETS and os.path.exists(spec):  # noqa: PTH110 - Path.exists raises where it may not look
        return [(spec, 1)]
    made = []
    for part in spec.split("+"):
        found = re.fullmatch(r"\s*(.+?)\s*(?:\*\s*(\d+)\s*)?", part)
        if found is None or found[2] == "0":
            raise InputError(f"--data {spec!r}: {part!r} is no data set; wanted name, name*times, or several joined by +")
        made.append((found[1], int(found[2] or 1)))
    names = [name for name, _ in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(
            f"--data {spec}: {twice} stands there {names.count(twice)} times; repeat a set with {twice}*{names.count(twice)}"
        )
    return made


def find(name: str, roots: Sequence[Path], alone: bool = True) -> tuple[list[Entry], SplitRule]:
    """All entries of one set, folder or list, and the rule of its splits.

    Args:
        name: of DATASETS, or a path.
        roots: see resolve.
        alone: whether a root that merely has images/ and masks/ can be meant; not so when several sets are looked for.

    Raises:
        InputError: no such set, folder or list, or one that cannot be read.
    """
    try:
        return _find(name, roots, alone)
    except OSError as error:
        raise InputError(f"{error.filename or name}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:  # of a list that the set itself has
        raise InputError(f"{name}: one of its lists is not CSV in UTF-8: {error}") from error


def _find(name: str, roots: Sequence[Path], alone: bool) -> tuple[list[Entry], SplitRule]:
    path = Path(name)
    if name in DATASETS:
        return _named(name, roots, alone), data_set(name).INFO.splits
    if name == SYNTH:
        raise InputError(
            "synth is made on the fly and joins no other set: give --data synth alone, with --data-root DIR of photographs"
        )
    if path.suffix.lower() in READERS and path.is_file():
        return read_manifest(path, roots), rule_of_list(path)
    if path.is_dir():
        if not is_generic(path) and (found := published_in(path)) is not None:
            name, place = found
            raise InputError(
                f"{path} has not the folders images/ and masks/; it has pictures of the data set {name}, whose root is {place}"
            )
        return generic(path), DEFAULT
    if path.exists():
        raise InputError(f"{path} is neither a folder nor a list; lists end in {', '.join(READERS)}")
    raise InputError(f"{unknown('data set', name, DATASETS)}; nor is there a folder or a list {path}")


def _named(name: str, roots: Sequence[Path], alone: bool) -> list[Entry]:
    """The set in a folder named like it, or else in a root itself."""
    module = data_set(name)
    titles = {_plain(title) for title in (name, *module.INFO.folders)}
    places = [folder for root in roots for folder in subfolders(root) if _plain(folder.name) in titles]
    named = [root for root in roots if _plain(root.name) in titles]
    complaints = []
    for place in [*places, *named, *(root for root in roots if root not in named)]:
        try:
            entries = module.entries(place)
        except InputError as error:
            complaints.append(str(error))
            continue
        # Several sets may be meant by one root only in their own folders: a plain tree there would pass for each of them.
        if alone or place in places or place in named or not _is_plain_tree(place, entries):
            return entries
        complaints.append(f"{name}: {place} has images and masks but is not named like the set")
    looked = ", ".join(f"{root}/" for root in roots) or "nowhere (give --data-root DIR)"
    wanted = ", ".join(sorted({name, *module.INFO.folders}))
    reasons = "; ".join(complaints) or "no root was given"
    above = ((root, place) for root in roots for place in folders_above(root))
    inside = next((f"; it is in {place}: --data-root {place}" for root, place in above if holds(place, name, root)), "")
    raise InputError(f"data set {name} is not found; looked in {looked} for a folder named {wanted}: {reasons}{inside}")


def folders_above(folder: Path) -> list[Path]:
    """The three folders that a folder lies in, as far as they may be read; beyond the first, until one is a crowd and no set's."""
    first, *others = list(Path(os.path.abspath(folder)).parents)[:3] or [folder]  # noqa: PTH100 - links stay
    allowed = [place for place in (first, *others) if os.access(place, os.R_OK | os.X_OK)]
    return list(takewhile(lambda place: place == first or len(subfolders(place)) <= 20, allowed))


def published_in(folder: Path) -> tuple[str, Path] | None:
    """The name and the place of the published set whose forgeries or masks are in a folder; None: of none that is known.

    Looked for there, in the folders in it and in those above; in plain trees, which pass for any set, only there.
    """
    for place in (folder, *subfolders(folder)[:20], *folders_above(folder)):
        if place != folder and is_generic(place):
            continue
        for name in DATASETS:
            if name != "casia" and holds(place, name, folder):  # which is two sets
                return name, place
    return None


def holds(place: Path, name: str, folder: Path) -> bool:
    """Whether a published set is at a place, nearly all forgeries with their masks, and some of these files are below a folder."""
    try:
        entries = data_set(name).entries(place)
    except (InputError, OSError, ValueError):
        return False
    forged = [entry for entry in entries if entry.mask is not None]
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay
    there = sum(all(os.path.exists(mask) for mask in masks_of(entry)) for entry in forged)  # noqa: PTH110 - Path.exists may raise
    files = (Path(os.path.abspath(path)) for entry in forged for path in (entry.image, *masks_of(entry)))  # noqa: PTH100
    enough = len(forged) if is_generic(place) else 0.9 * len(forged)  # a plain tree that lacks masks lacks them by any name
    return there >= enough and any(whole in path.parents for path in files)


def _is_plain_tree(place: Path, entries: Sequence[Entry]) -> bool:
    """Whether the entries lie directly in images/ or Tp/ of the place with masks/ or Gt/ beside."""
    plain = {below(place, ("masks",)), below(place, ("Gt",))}
    return any(entry.mask is not None and entry.mask.parent in plain for entry in entries)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def rule_of_list(path: Path) -> SplitRule:
    """What the name of a list says of its split; a list to train on still gives a tenth to validation."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    if "test" in words:
        return Only("test")
    if {"val", "valid", "validation"} & set(words):
        return Only("val")
    return HashSplit(0.1, 0.0) if "train" in words else DEFAULT
