"""The file of answers: read and written.  JSON, a line per picture, so that a change of it can be read."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from imgscan import __version__
from imgscan.answers import Answer, Answers, check
from imgscan.errors import InputError
from imgscan.store import replacing
from imgscan.typed import misfit

SCHEMA = "imgscan.answers/1"
NAME = "answers.json"
PACKAGES = ("numpy", "scipy", "pillow")  # that compute beside torch


@dataclass(frozen=True)
class Shown:
    """A picture that models were shown."""

    sha256: str  # of the file
    pixels: str  # SHA-256 of what it was decoded to


@dataclass(frozen=True)
class Recorded:
    """A file of answers."""

    made: dict[str, str]  # by what: package -> version
    shown: dict[str, Shown]
    models: dict[str, Answers]  # by full name


def made_here() -> dict[str, str]:
    """What computes here: packages with their versions."""
    packages = {name: version(name) for name in PACKAGES}
    return {"imgscan": __version__, "torch": torch.__version__, **packages, "machine": f"{platform.machine()} {platform.system()}"}


def write_answers(path: Path, recorded: Recorded) -> None:
    """Write the file; OutputError where that cannot be."""
    lines = [f'"schema": {json.dumps(SCHEMA)}', f'"made": {json.dumps(recorded.made)}']
    lines.append(f'"shown": {_table({name: asdict(one) for name, one in recorded.shown.items()})}')
    tables = {name: asdict(one) for name, one in recorded.models.items()}
    each = {name: _table({**table, "pictures": None}, _table(table["pictures"])) for name, table in tables.items()}
    lines.append('"models": {\n' + ",\n".join(f"{json.dumps(name)}: {text}" for name, text in each.items()) + "\n}")
    with replacing(path) as new:
        new.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _table(table: Mapping[str, Any], pictures: str = "") -> str:
    """A JSON object, a line per key; `pictures` stands for the value of that key."""
    rows = (
        f"{json.dumps(key)}: {pictures if pictures and key == 'pictures' else json.dumps(value)}" for key, value in table.items()
    )
    return "{\n" + ",\n".join(rows) + "\n}"


def read_answers(path: Path) -> Recorded:
    """Read the file; InputError where it cannot be read, or is none."""
    wanted = "wanted a file that imgscan models verify --answers --record has written"
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON; {wanted}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path}: no answers of the schema {SCHEMA}; {wanted}")
    try:
        shown = {name: Shown(**one) for name, one in data["shown"].items()}
        models = {name: _answers(one) for name, one in data["models"].items()}
        if any({name.split(" --cluster ")[0] for name in one.pictures} != shown.keys() for one in models.values()):
            raise ValueError("answers about other pictures than were shown")
        return Recorded(data["made"], shown, models)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); {wanted}") from error


def _answers(table: dict[str, Any]) -> Answers:
    pictures = {name: _answer(one) for name, one in table["pictures"].items()}
    return Answers(**{**table, "pictures": pictures})


def _answer(table: dict[str, Any]) -> Answer:
    inside = table.get("inside")
    one = Answer(**{**table, "size": tuple(table["size"]), "inside": None if inside is None else tuple(inside)})
    for name, kind in (("level", str), ("score", float), ("strongest", float), ("withheld", bool)):
        if problem := misfit(name, getattr(one, name), kind):
            raise ValueError(problem)
    check(one)
    return one
