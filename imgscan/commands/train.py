"""`imgscan train`: a recipe, run, resumed, and ended with weights and their card."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from imgscan.commands.train_material import gather
from imgscan.commands.train_options import TrainOptions, anywhere, find_recipe, same_data, same_network, with_options
from imgscan.datasets import SYNTH
from imgscan.errors import BY_SIGNAL, HANG_UP, ConfigError, ExitCode, InputError, WorkerError, unknown
from imgscan.exits import leave_terminal
from imgscan.printable import printable
from imgscan.progress import Bar, bar
from imgscan.training.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    import torch

    from imgscan.training.checkpoint import Run
    from imgscan.training.loop import Progress
    from imgscan.training.world import World

WAITING = 0.2  # share of the time without pictures from which on it is said


def train_command(options: TrainOptions) -> ExitCode:
    """Train, report, and write `weights.safetensors` and `weights.toml` beside the checkpoint."""
    file = options.out / "checkpoint.safetensors"
    if options.resume and options.compat:
        raise ConfigError("--compat chooses the recipe of a new run; with --resume the checkpoint's own holds")
    recipe = read_recipe(find_recipe(options.method, options.size), options.compat)
    if not options.resume and options.profile is None and file.exists():
        raise InputError(
            f"--out {options.out} holds a checkpoint of an earlier run; add --resume to go on from it, or choose another folder"
        )
    from imgscan.devices import choose_device
    from imgscan.training import checkpoint, loop
    from imgscan.training.card import write_weights
    from imgscan.training.validation import validation_samples
    from imgscan.training.world import join

    place = choose_device(options.device)
    material_of: dict[str, Any] = {}
    if options.resume:
        recipe, options, material_of = _resumed(recipe, options, file)
    else:
        recipe = _begun(recipe, options)
    if options.profile is not None:
        with _explained(place):
            return _profile(recipe, place, options.profile)
    material = gather(options, recipe)
    stopped = _StopSignal()
    with join(place) as world:
        pictures = material.pictures or recipe.data.epoch
        recipe = loop.in_steps(recipe, pictures, world.size)
        with _explained(world.device):
            run = loop.start(recipe, world.device, resumes=options.resume)
        run.material = material.described(options, world.size)
        if options.resume:
            checkpoint.load(run, file)
            for difference in material.differences(material_of, run.material):
                _say(world.first, f"imgscan: {difference}: the run goes on, but not to the weights of one left alone")
        for doubt in (*_slow_start(recipe), *material.doubts()) if world.first else ():
            _say(True, f"imgscan: {doubt}")
        began = run.step
        samples = loop.training_samples(recipe, material.photos, material.entries, world.size, material.hard)
        validation = validation_samples(recipe, material.kept_aside, material.held_out)
        _say(world.first, f"{options.method}: {recipe.model.network} {recipe.model.size}, {recipe.train.steps} steps of ", end="")
        _say(
            world.first,
            f"{recipe.train.batch} x {recipe.train.accumulate} x {world.size} pictures; validation on {len(validation)}"
            + (f"; goes on from step {run.step}" if options.resume else ""),
        )
        with bar("training", recipe.train.steps - run.step, shown=world.first) as progress, _explained(world.device):
            loop.train(
                run,
                samples,
                validation,
                options.out,
                world,
                epoch=loop.steps_per_epoch(recipe, pictures, world.size),
                minutes=options.minutes,
                report=_Teller(recipe, options.minutes, world, progress, run.step),
                stop=lambda: stopped.by is not None,
            )
        if world.first:
            passed_over = _unreadable(options.out)
            for word in last_words(run, options, began, passed_over, stopped.by is not None):
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


def _begun(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe of a new run with the settings of this call; ConfigError and WeightsError for what cannot begin."""
    from imgscan.models import NETWORKS
    from imgscan.training.initial import find_start

    recipe = with_options(recipe, options)
    if recipe.model.init:
        find_start(recipe.model.init, options.accept_licence)
    if recipe.model.network not in NETWORKS:
        raise ConfigError(f"--set model.network: {unknown('network', recipe.model.network, NETWORKS)}")
    if recipe.method != options.method:
        raise ConfigError(f"--set model.network: train a {recipe.model.network} with imgscan train {recipe.method}")
    return recipe


def _resumed(recipe: Recipe, options: TrainOptions, file: Path) -> tuple[Recipe, TrainOptions, dict[str, Any]]:
    """The checkpoint's recipe with the settings of this call, the options with its data, and what it learned from; ConfigError
    where this call names another network or other data."""
    from imgscan.training.checkpoint import read_header_of

    wanted = with_options(recipe, options).model if options.size else None
    recipe, material_of = read_header_of(file)
    recipe = same_network(recipe, options, file)
    options = same_data(options, material_of, file)
    if wanted and (wanted.network, wanted.size) != (recipe.model.network, recipe.model.size):
        raise ConfigError(
            f"--size {options.size}: {file} holds a {recipe.model.network} {recipe.model.size}; leave --size out, or use "
            f"another --out"
        )
    return recipe, options, material_of


def _slow_start(recipe: Recipe) -> Iterator[str]:
    """A short trial of a recipe for long runs would be one at hardly any rate."""
    if recipe.train.warmup > recipe.train.steps:
        yield (
            f"train.warmup is {recipe.train.warmup} steps of {recipe.train.steps}: the rate never comes to train.rate, "
            f"{recipe.train.rate:g}; wanted fewer, as --set train.warmup=0"
        )


@contextmanager
def _explained(device: torch.device) -> Iterator[None]:
    """WorkerError, with what would help, where memory does not hold a step or the loaders, or the device fails."""
    from imgscan.devices import end_if_failed, in_short, out_of_memory
    from imgscan.workers import was_killed

    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise WorkerError(
                f"a step does not fit into the memory of {device}; wanted a smaller train.batch with a larger "
                f"train.accumulate, or a smaller data.side ({in_short(error)})"
            ) from error
        if not was_killed(error):
            end_if_failed(device, error)
            raise
        raise WorkerError(
            "a loader process was killed, most likely for lack of memory; fewer data.workers or a smaller train.batch need "
            "less, and --resume goes on from the last checkpoint"
        ) from error


class _Teller:
    """Says how far a run is, in the first process: on the bar, and where there is no terminal, or with a score, in lines."""

    def __init__(self, recipe: Recipe, minutes: float | None, world: World, progress: Bar, step: int) -> None:
        self._recipe, self._minutes, self._world, self._progress, self._done = recipe, minutes, world, progress, step
        self._began = time.monotonic()

    def __call__(self, now: Progress) -> None:
        if not self._world.first:
            return
        train = self._recipe.train
        score = "" if now.score is None else f"  validation AUC {now.score:.4f}"
        if now.step == 0:
            _say(True, f"before the first step{score}")
            return
        loss = "no forged pixels" if now.loss is None else f"loss {now.loss:.4f}"
        self._progress.advance(f"{loss}  {now.pace:.1f} pictures/s{score}", now.step - self._done)
        self._done = now.step
        if not sys.stderr.isatty() or now.score is not None:  # on a terminal the bar says the rest
            left = (now.steps - now.step) * train.batch * train.accumulate * self._world.size / max(now.pace, 1e-9)
            if self._minutes is not None:
                left = min(left, max(0.0, 60 * self._minutes - (time.monotonic() - self._began)))
            line = f"step {now.step}/{now.steps}  {loss}  rate {now.rate:.2e}  {now.pace:.1f} pictures/s"
            if now.waited > WAITING:
                line += f"  waiting for pictures {now.waited:.0%} of the time (data.workers {self._recipe.data.workers})"
            _say(True, f"{line}  {left / 60:.0f} min left{score}")


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


def _unreadable(out: Path) -> int:
    """How many pictures the ledger of a run names."""
    ledger = out / "unreadable.txt"
    return len(ledger.read_text("utf-8", errors="replace").splitlines()) if ledger.exists() else 0


def last_words(run: Run, options: TrainOptions, began: int, passed_over: int, stopped: bool) -> Iterator[str]:
    """Why a run ended before its last step, or without one, and what it did not see."""
    settings = run.recipe.train
    if began and began == run.step >= settings.steps:
        yield f"step {run.step} of {settings.steps}: nothing was left to train; more with --set train.steps=N or --epochs N"
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
