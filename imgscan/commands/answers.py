"""`imgscan models verify --answers`: whether models answer on the small pictures that ship as they did where that was recorded."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from imgscan import DEFAULT_MODEL
from imgscan.answers import TOLERANCES, Answers, ask, decided_otherwise, distance, pixels_sha256
from imgscan.answers_file import NAME, Recorded, Shown, made_here, read_answers, write_answers
from imgscan.answers_pictures import FOLDER, pictures
from imgscan.card_keys import INITIAL
from imgscan.detectors import DETECTORS
from imgscan.devices import choose_device
from imgscan.errors import ExitCode, ImgscanError, InputError
from imgscan.places import weights_folder
from imgscan.printable import printable, say
from imgscan.records import Picture
from imgscan.weights import Model, find_model, installed


def check_command(names: Sequence[str], device: str, against: Path | None) -> ExitCode:
    """A line per model on stdout, what differs on stderr.

    Args:
        names: models; none: what a scan uses, and every set of weights that ships.
        device: of --device.
        against: a file of answers in place of what ships.
    """
    shown, place = pictures(), choose_device(device)
    file = against or weights_folder() / FOLDER / NAME
    recorded = read_answers(file)
    _same_pictures(recorded, shown, file)
    shown = [one for one in shown if one.source.name in recorded.shown]
    code = ExitCode.CLEAN
    causes: set[str] = set()
    for name in names or _usual():
        try:
            model = find_model(name)
            was = _recorded_of(model, recorded, file)
            now = ask(model, shown, place)
        except ImgscanError as error:
            print(f"{printable(name)}\tnot checked", flush=True)
            say(f"imgscan: {name}: {error}")
            code = ExitCode.INCOMPLETE
            continue
        cause = _compare(model, was, now)
        if cause:
            causes.add(cause)
            code = max(code, ExitCode.FINDINGS)
    if causes:
        for line in _advice(causes, recorded, shown, str(place)):
            say(f"imgscan: {line}")
    return code


def record_command(names: Sequence[str], device: str, file: Path) -> ExitCode:
    """Write what models answer here, in float32; its path on stdout.

    Args:
        names: models; none: everything that ships.
        device: of --device; auto: the CPU, as for what ships.
        file: to write.
    """
    shown, place = pictures(), choose_device("cpu" if device == "auto" else device)
    models = [find_model(name) for name in names or _all_that_ships()]
    answers = {model.name: ask(model, shown, place, exactly=True)["float32"] for model in models}
    known = {one.source.name: Shown(one.sha256, pixels_sha256(one)) for one in shown}
    write_answers(file, Recorded(made_here(), known, answers))
    say(f"imgscan: {len(answers)} models recorded; elsewhere, or later: imgscan models verify --answers --against {file}")
    print(file)
    return ExitCode.CLEAN


def _usual() -> list[str]:
    """What a scan uses where nobody names a model, and every set of weights that ships."""
    there = [one.card for one in installed() if one.card is not None and one.place.what == "packaged"]
    return [DEFAULT_MODEL, *(card.full_name for card in there if card.data.get("use") != INITIAL)]


def _all_that_ships() -> list[str]:
    """The same, the combinations that have a card, and the detectors that a scan asks beside networks."""
    tables = (tomllib.loads(path.read_text("utf-8")) for path in sorted(weights_folder().glob("*.toml")))
    combinations = [table["name"] for table in tables if "fuses" in table and table["name"] != DEFAULT_MODEL]
    return [*_usual(), *combinations, *(name for name, one in DETECTORS.items() if one.adds)]


def _same_pictures(recorded: Recorded, shown: Sequence[Picture], file: Path) -> None:
    """InputError where the answers are about other pictures; about fewer they may be."""
    here = {one.source.name: one.sha256 for one in shown}
    was = {name: one.sha256 for name, one in recorded.shown.items()}
    other = ", ".join(name for name in sorted(was) if here.get(name) != was[name])
    if other or not was:
        raise InputError(
            f"{file}: recorded by imgscan {recorded.made.get('imgscan')} about other pictures than ship with this one "
            f"({other or 'none'}); record anew with the imgscan that answers as it should: "
            "imgscan models verify --answers --record FILE"
        )


def _recorded_of(model: Model, recorded: Recorded, file: Path) -> Answers:
    """InputError where nothing is recorded of a model."""
    if model.name not in recorded.models:
        raise InputError(
            f"{file} has no answers of {model.name}; it has those of {', '.join(recorded.models)}. "
            f"imgscan models verify --answers {model.name} --record FILE writes them, --against FILE compares"
        )
    return recorded.models[model.name]


def _compare(model: Model, was: Answers, now: dict[str, Answers]) -> str:
    """Tell how far a model's answers are off; why, in a word, or "" where they are as recorded."""
    others = decided_otherwise(was, now["float32"])
    found = {precision: distance(was, one, TOLERANCES[precision]) for precision, one in now.items()}
    drifted = [precision for precision, one in found.items() if one.drifted]
    far = "; ".join(f"{precision}: scores within {one.score:.4f}, masks IoU {one.iou:.3f}" for precision, one in found.items())
    print(f"{printable(model.name)}\t{'differs' if others or drifted else 'ok'}\t{far}", flush=True)
    for clause in others:
        say(f"imgscan: {model.name}: {clause} ({', '.join(map(str, model.paths))})")
    for precision in drifted:
        for sentence in found[precision].drifted:
            say(f"imgscan: {model.name}, {precision}: {sentence}")
    if others:
        return "settings"
    return "" if not drifted else "code" if "float32" in drifted else "bf16"


def _advice(causes: Iterable[str], recorded: Recorded, shown: Sequence[Picture], device: str) -> list[str]:
    """What was recorded where, and what to do."""
    said = []
    if "settings" in causes:
        said.append(
            "cards or settings are not those that were recorded: reinstall imgscan, or take your own cards out of IMGSCAN_WEIGHTS "
            "(imgscan models list shows them); if the change is meant, --record FILE writes the new answers for --against FILE"
        )
    if "code" in causes:
        said.append(
            "where cards and settings are as recorded, the code, a package or the device computes otherwise: compare the "
            "versions below, try --device cpu, reinstall imgscan"
        )
    if "bf16" in causes:
        said.append("float32 is as recorded, bf16 is not: a processor, driver or torch that rounds more than others; try another")
    decoded = [one.source.name for one in shown if recorded.shown[one.source.name].pixels != pixels_sha256(one)]
    if decoded:
        said.append(f"{', '.join(decoded)}: decoded to other pixels than recorded, by Pillow {made_here()['pillow']}")
    here = made_here() | {"device": device}
    said.append(f"recorded by {_list(recorded.made)}; here {_list(here)}")
    return said


def _list(made: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in made.items())
