"""`imgscan train`: a recipe, run, resumed, and ended with weights and their card."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from imgscan.errors import ConfigError, ExitCode, InputError, unknown
from imgscan.progress import bar
from imgscan.training.recipe import Recipe, parse_setting, read_recipe, with_settings

DEFAULT_SIZE = "compact-hrnet"


def recipes_folder() -> Path:
    """train/ of the checkout (editable install) or of the installed package."""
    here = Path(__file__).parent.parent
    for folder in (here / "_train", here.parent / "train"):
        if folder.is_dir() and any(folder.glob("*.toml")):
            return folder
    raise ConfigError(f"no recipes in {here.parent / 'train'} or {here / '_train'}; reinstall imgscan")


def find_recipe(size: str) -> Path:
    """compact-hrnet -> train/focal-hrnet.compact.toml; ConfigError names what there is."""
    known = {
        "-".join(reversed(path.stem.removeprefix("focal-").split("."))): path for path in recipes_folder().glob("focal-*.toml")
    }
    if size not in known:
        raise ConfigError(unknown("recipe size", size, known))
    return known[size]


def train_command(
    *,
    size: str | None,
    data: str,
    roots: list[Path],
    validation: list[Path],
    out: Path,
    minutes: float | None,
    settings: list[str],
    resume: bool,
    device: str,
) -> ExitCode:
    """Train, report, and write `weights.safetensors` and `weights.toml` beside the checkpoint."""
    if data != "synth":
        raise InputError(unknown("data set", data, ["synth"]))
    if not roots:
        raise InputError("--data synth needs pristine photographs: give --data-root DIR (repeatable)")
    recipe = read_recipe(find_recipe(size or DEFAULT_SIZE))
    for text in settings:
        recipe = with_settings(recipe, parse_setting(text), f"--set {text}")
    from imgscan.datasets.synth import find_photos
    from imgscan.scanner import choose_device
    from imgscan.training import checkpoint, loop
    from imgscan.training.card import write_weights

    both = {path.resolve() for path in find_photos(roots)} & {path.resolve() for path in find_photos(validation)}
    if both:
        raise InputError(
            f"--validation-root: {min(both)} is also trained on ({len(both)} such files); validation needs other photographs"
        )
    place = choose_device(device)
    file = out / "checkpoint.safetensors"
    if resume:
        wanted = recipe.model if size else None
        recipe = _same_network(checkpoint.read_recipe_of(file), settings, file)
        if wanted and (wanted.network, wanted.size) != (recipe.model.network, recipe.model.size):
            raise ConfigError(
                f"--size {size}: {file} holds a {recipe.model.network} {recipe.model.size}; leave --size out, or use another --out"
            )
        run = loop.start(recipe, place)
        checkpoint.load(run, file)
    else:
        if file.exists():
            raise InputError(
                f"--out {out} holds a checkpoint of an earlier run; add --resume to go on from it, or choose another folder"
            )
        run = loop.start(recipe, place)
    stopped = _StopSignal()
    with bar("training", recipe.train.steps - run.step) as progress:
        done = run.step

        def report(now: loop.Progress) -> None:
            nonlocal done
            progress.advance(f"loss {now.loss:.3f}" + ("" if now.score is None else f"  AUC {now.score:.3f}"), now.step - done)
            done = now.step
            left = (now.steps - now.step) * recipe.train.batch / max(now.pace, 1e-9)
            score = "" if now.score is None else f"  validation AUC {now.score:.4f}"
            line = f"step {now.step}/{now.steps}  loss {now.loss:.4f}  rate {now.rate:.2e}  {now.pace:.1f} pictures/s"
            line += f"  {left / 60:.0f} min left"
            if not sys.stderr.isatty() or now.score is not None:  # on a terminal the bar says the rest
                print(line + score, file=sys.stderr, flush=True)

        loop.train(run, roots, validation, out, place, minutes=minutes, report=report, stop=lambda: stopped.by is not None)
    card = write_weights(run, out, roots)
    print(card)
    if stopped.by is not None:
        return ExitCode.TERMINATED if stopped.by == signal.SIGTERM else ExitCode.INTERRUPTED
    return ExitCode.CLEAN


def _same_network(recipe: Recipe, settings: list[str], file: Path) -> Recipe:
    """The checkpoint's recipe with the settings of this call; the network must stay the one it was."""
    changed = recipe
    for text in settings:
        changed = with_settings(changed, parse_setting(text), f"--set {text}")
    if changed.model != recipe.model:
        raise ConfigError(
            f"--set model.*: {file} holds a {recipe.model.network} {recipe.model.size}; another network needs another --out"
        )
    return changed


class _StopSignal:
    """Remembers SIGINT or SIGTERM, so that the loop can end its step and save; a second one ends at once."""

    def __init__(self) -> None:
        self.by: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.by = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
