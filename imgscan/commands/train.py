"""`imgscan train`: a recipe, run, resumed, and ended with weights and their card."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from imgscan.errors import BY_SIGNAL, HANG_UP, ConfigError, ExitCode, InputError, WorkerError, unknown
from imgscan.exits import leave_terminal
from imgscan.printable import printable
from imgscan.progress import bar
from imgscan.training.recipe import Recipe, parse_setting, read_recipe, recipes_folder, with_settings

if TYPE_CHECKING:
    import torch

    from imgscan.datasets.entries import Entry
    from imgscan.training.checkpoint import Run
    from imgscan.training.loop import Progress

# method -> recipe without --size: the paper's own
DEFAULT_SIZES = {"focal": "official-hrnet", "cfl-net": "official", "ncl": "paper"}
SYNTH = "synth"
WAITING = 0.2  # share of the time without pictures from which on it is said


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says."""

    method: str
    size: str | None
    data: str | None  # None: synth, or with --resume what the checkpoint says
    roots: list[Path]
    validation: list[Path]
    out: Path
    minutes: float | None
    epochs: int | None
    settings: list[str]
    resume: bool
    compat: str | None
    device: str
    profile: int | None
    init: str | None = None
    accept_licence: bool = False


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


def find_recipe(method: str, size: str) -> Path:
    """focal, compact-hrnet -> train/focal-hrnet.compact.toml; ncl, small -> train/ncl.small.toml; ConfigError: what there is."""
    known = {}
    for path in sorted(recipes_folder().glob(f"{method}*.toml")):
        network, variant = path.stem.split(".")
        known[f"{variant}-{network.removeprefix('focal-')}" if method == "focal" else variant] = path
    if size not in known:
        raise ConfigError(unknown(f"recipe size of {method}", size, known))
    return known[size]


def train_command(options: TrainOptions) -> ExitCode:
    """Train, report, and write `weights.safetensors` and `weights.toml` beside the checkpoint."""
    file = options.out / "checkpoint.safetensors"
    if options.resume and options.compat:
        raise ConfigError("--compat chooses the recipe of a new run; with --resume the checkpoint's own holds")
    recipe = read_recipe(find_recipe(options.method, options.size or DEFAULT_SIZES[options.method]), options.compat)
    if not options.resume and options.profile is None and file.exists():
        raise InputError(
            f"--out {options.out} holds a checkpoint of an earlier run; add --resume to go on from it, or choose another folder"
        )
    from imgscan.devices import choose_device, out_of_memory
    from imgscan.models import NETWORKS
    from imgscan.training import checkpoint, loop
    from imgscan.training.card import write_weights
    from imgscan.training.initial import find_start
    from imgscan.training.validation import validation_samples
    from imgscan.training.world import join
    from imgscan.workers import was_killed

    place = choose_device(options.device)
    if options.resume:
        wanted = with_options(recipe, options).model if options.size else None
        recipe, material_of = checkpoint.read_header_of(file)
        recipe = _same_network(recipe, options, file)
        options = _same_data(options, material_of, file)
        if wanted and (wanted.network, wanted.size) != (recipe.model.network, recipe.model.size):
            raise ConfigError(
                f"--size {options.size}: {file} holds a {recipe.model.network} {recipe.model.size}; leave --size out, or use "
                f"another --out"
            )
    else:
        recipe = with_options(recipe, options)
        if recipe.model.init:
            find_start(recipe.model.init, options.accept_licence)
        if recipe.model.network not in NETWORKS:
            raise ConfigError(f"--set model.network: {unknown('network', recipe.model.network, NETWORKS)}")
        if recipe.method != options.method:
            raise ConfigError(f"--set model.network: train a {recipe.model.network} with imgscan train {recipe.method}")
    if options.profile is not None:
        return _profile(recipe, place, options.profile)
    material = gather(options, recipe)
    stopped = _StopSignal()
    with join(place) as world:
        pictures = material.pictures or recipe.data.epoch
        recipe = loop.in_steps(recipe, pictures, world.size)
        run = loop.start(recipe, world.device, resumes=options.resume)
        run.material = material.described(options, world.size)
        if options.resume:
            checkpoint.load(run, file)
            for difference in material.differences(material_of, run.material):
                _say(world.first, f"imgscan: {difference}: the run goes on, but not to the weights of one left alone")
        samples = loop.training_samples(recipe, material.photos, material.entries, world.size, material.hard)
        validation = validation_samples(recipe, material.kept_aside, material.held_out)
        _say(world.first, f"{options.method}: {recipe.model.network} {recipe.model.size}, {recipe.train.steps} steps of ", end="")
        _say(
            world.first,
            f"{recipe.train.batch} x {recipe.train.accumulate} x {world.size} pictures; validation on {len(validation)}"
            + (f"; goes on from step {run.step}" if options.resume else ""),
        )
        with bar("training", recipe.train.steps - run.step, shown=world.first) as progress:
            done, began = run.step, time.monotonic()

            def report(now: Progress) -> None:
                nonlocal done
                if not world.first:
                    return
                score = "" if now.score is None else f"  validation AUC {now.score:.4f}"
                if now.step == 0:
                    _say(True, f"before the first step{score}")
                    return
                loss = "no forged pixels" if now.loss is None else f"loss {now.loss:.4f}"
                progress.advance(f"{loss}  {now.pace:.1f} pictures/s{score}", now.step - done)
                done = now.step
                if not sys.stderr.isatty() or now.score is not None:  # on a terminal the bar says the rest
                    left = (now.steps - now.step) * recipe.train.batch * recipe.train.accumulate * world.size / max(now.pace, 1e-9)
                    if options.minutes is not None:
                        left = min(left, max(0.0, 60 * options.minutes - (time.monotonic() - began)))
                    line = f"step {now.step}/{now.steps}  {loss}  rate {now.rate:.2e}  {now.pace:.1f} pictures/s"
                    if now.waited > WAITING:
                        line += f"  waiting for pictures {now.waited:.0%} of the time (data.workers {recipe.data.workers})"
                    _say(True, f"{line}  {left / 60:.0f} min left{score}")

            try:
                loop.train(
                    run,
                    samples,
                    validation,
                    options.out,
                    world,
                    epoch=loop.steps_per_epoch(recipe, pictures, world.size),
                    minutes=options.minutes,
                    report=report,
                    stop=lambda: stopped.by is not None,
                )
            except RuntimeError as error:
                if out_of_memory(error):
                    raise WorkerError(
                        f"a step does not fit into the memory of {world.device}; wanted a smaller train.batch with a larger "
                        f"train.accumulate, or a smaller data.side ({str(error).partition('. ')[0]})"
                    ) from error
                if not was_killed(error):
                    raise
                raise WorkerError(
                    "a loader process was killed, most likely for lack of memory; fewer data.workers or a smaller train.batch need "
                    "less, and --resume goes on from the last checkpoint"
                ) from error
        if world.first:
            passed_over = _unreadable(options.out)
            for word in _last_words(run, options, passed_over, stopped.by is not None):
                _say(True, f"imgscan: {word}")
            print(
                write_weights(
                    run,
                    options.out,
                    anywhere(options.data or SYNTH),
                    [root.resolve() for root in options.roots],
                    len({entry.image for entry in material.entries}) or len(material.photos),
                    validation=len(validation),
                    unreadable=passed_over,
                )
            )
    if stopped.by is not None:
        return BY_SIGNAL[signal.Signals(stopped.by).name]
    return ExitCode.CLEAN


def gather(options: TrainOptions, recipe: Recipe) -> Material:
    """Find what to train and to validate on; refuse training files that are also validated or tested on."""
    if options.data in (None, SYNTH):
        return _photographs(options, recipe)
    if recipe.data.hard:
        raise ConfigError(f"data.hard lists photographs that synth forges; --data {options.data} has untouched pictures of its own")
    from imgscan.datasets.doctor import leaked
    from imgscan.datasets.resolve import parse, resolve

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
    from imgscan.datasets.doctor import leaked
    from imgscan.datasets.entries import Entry
    from imgscan.datasets.hard import read_hard
    from imgscan.datasets.photos import find_photos, keep_aside

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


def with_options(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with --epochs and every --set."""
    for text in options.settings:
        setting = parse_setting(text)
        for plain, other in (("steps", "epochs"), ("validate_every", "validations")):  # which it would not count beside
            if plain in setting.get("train", {}):
                setting["train"] = {other: 0, **setting["train"]}
        recipe = with_settings(recipe, setting, f"--set {text}")
    if options.init is not None:
        recipe = with_settings(recipe, {"model": {"init": options.init}}, "--init")
    if options.epochs is not None:
        recipe = with_settings(recipe, {"train": {"epochs": options.epochs}}, "--epochs")
    return recipe


def _profile(recipe: Recipe, device: torch.device, steps: int) -> ExitCode:
    """Say what a step costs."""
    from imgscan.training.loop import with_precision
    from imgscan.training.profile import profile

    recipe = with_precision(recipe, device)
    cost = profile(recipe, device, steps)
    sides = " and ".join(f"{side} x {side}" for side in dict.fromkeys(recipe.data.turns))
    print(
        f"{recipe.model.network} {recipe.model.size}: {cost.parameters:,} parameters, batch {recipe.train.batch} of {sides}, "
        f"{recipe.train.precision}, {device}: {cost.seconds:.2f} s a step, {cost.gigabytes:.2f} GB"
    )
    return ExitCode.CLEAN


def anywhere(data: str) -> str:
    """--data as it can be said from any folder: names of sets stay, folders and lists become whole paths."""
    from imgscan.datasets import DATASETS
    from imgscan.datasets.resolve import parse

    parts = []
    for name, times in parse(data):
        here = name not in (*DATASETS, SYNTH) and os.path.exists(name)  # noqa: PTH110 - Path.exists may raise
        parts.append((str(Path(name).resolve()) if here else name) + (f"*{times}" if times > 1 else ""))
    return "+".join(parts)


def _same_data(options: TrainOptions, before: dict[str, Any], file: Path) -> TrainOptions:
    """The options with what --resume need not repeat; ConfigError when the data is another."""
    if options.data is not None and anywhere(options.data) != anywhere(before["data"]):
        raise ConfigError(f"--data {options.data}: {file} was trained on {before['data']}; another data set needs another --out")
    return replace(
        options,
        data=before["data"],
        roots=options.roots or [Path(root) for root in before["roots"]],
        validation=options.validation or [Path(root) for root in before["validation"]],
    )


def _same_network(recipe: Recipe, options: TrainOptions, file: Path) -> Recipe:
    """The checkpoint's recipe with the settings of this call; the network must stay the one it was."""
    if recipe.method != options.method:
        raise ConfigError(f"{file} holds a {recipe.model.network}; resume it with imgscan train {recipe.method}")
    changed = with_options(recipe, options)
    if changed.train.optimizer != recipe.train.optimizer:
        raise ConfigError(f"--set train.optimizer: {file} holds the state of {recipe.train.optimizer}; another needs another --out")
    if changed.train.seed != recipe.train.seed:
        raise ConfigError(f"--set train.seed: {file} was begun with {recipe.train.seed}; another seed needs another --out")
    if changed.train.head_lr_mult != recipe.train.head_lr_mult:
        raise ConfigError(
            f"--set train.head_lr_mult: {file} holds the state of other groups of weights; another needs another --out"
        )
    if changed.model.init != recipe.model.init:
        raise ConfigError(f"--init: {file} goes on from its own weights; other ones need another --out")
    if changed.model != recipe.model:
        raise ConfigError(
            f"--set model.*: {file} holds a {recipe.model.network} {recipe.model.size}; another network needs another --out"
        )
    return changed


def _unreadable(out: Path) -> int:
    """How many pictures the ledger of a run names."""
    ledger = out / "unreadable.txt"
    return len(ledger.read_text("utf-8", errors="replace").splitlines()) if ledger.exists() else 0


def _last_words(run: Run, options: TrainOptions, passed_over: int, stopped: bool) -> Iterator[str]:
    """Why a run ended before its last step, and what it did not see."""
    settings = run.recipe.train
    if run.plateau.ended(settings):
        yield f"no better for {settings.patience} validations: ended at step {run.step} of {settings.steps}"
    elif options.minutes is not None and run.step < settings.steps and not stopped:
        yield f"--minutes {options.minutes:g} are up at step {run.step} of {settings.steps}; --resume goes on"
    if passed_over:
        yield f"{passed_over} pictures could not be read and were passed over; {options.out / 'unreadable.txt'} names them"


def _say(aloud: bool, text: str, end: str = "\n") -> None:
    if aloud:
        print(printable(text), file=sys.stderr, flush=True, end=end)


class _StopSignal:
    """Remembers SIGINT, SIGTERM or SIGHUP, so that the loop can end its step and save; a second one ends at once."""

    def __init__(self) -> None:
        self.by: int | None = None
        heard = [number for number in HANG_UP if signal.getsignal(number) is not signal.SIG_IGN]  # not under nohup
        for number in (signal.SIGINT, signal.SIGTERM, *heard):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.by = number
        if number in HANG_UP:
            leave_terminal()
        for hang_up in HANG_UP:  # a terminal that is closed may say so twice
            signal.signal(hang_up, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
