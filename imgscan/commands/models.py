"""`imgscan models`: what there is, from the cards alone (no torch), and what is in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from imgscan.card_keys import INITIAL
from imgscan.detectors import DETECTORS
from imgscan.digests import file_sha256
from imgscan.errors import ExitCode, InputError, WeightsError
from imgscan.licences import COMMERCIAL, VARIABLE, check_licences, start_command
from imgscan.printable import printable, say
from imgscan.weights import ALIASES, Card, Installed, find_model, installed

HASHED = 500_000_000  # bytes; `list` hashes files up to this, larger ones take seconds: `verify`


def list_command(*, as_json: bool = False) -> ExitCode:
    """A line per set of weights in every place, hidden and broken ones too."""
    rows = [_row(one) for one in installed()]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return ExitCode.CLEAN
    columns = ("name", "network", "commercial", "MB", "hash", "results", "licence", "file")
    cells = [columns, *(tuple(printable(str(row[column])) for column in columns) for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns) - 1)]
    for line in cells:
        print("  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[-1]]))
    print()
    for alias, parts in ALIASES.items():
        print(f"{alias}: fuses {parts}")
    for name, detector in DETECTORS.items():
        print(f"{name}: needs no weights: {detector.title}")
    return ExitCode.CLEAN


def _row(one: Installed) -> dict[str, Any]:
    """What `list` says of a card."""
    card = one.card
    marks = [
        *(["default"] if card and card.data.get("default") and not one.hidden else []),
        *(["starts trainings"] if card and card.data.get("use") == INITIAL else []),
        *(["hidden by an earlier one"] if one.hidden else []),
        *(["broken"] if card is None else []),
    ]
    name = one.full_name + (f" ({', '.join(marks)})" if marks else "")
    if card is None:
        return dict.fromkeys(("network", "commercial", "MB", "results", "licence"), "-") | {
            "name": name,
            "hash": one.problem,
            "place": one.place.what,
            "file": str(one.path),
        }
    size = card.file.stat().st_size if card.file.is_file() else None
    licence = card.licence if len(card.licence) <= 40 else card.licence[:37] + "..."
    return {
        "name": name,
        "network": f"{card.network} {card.data.get('size', '')}".strip(),
        "commercial": COMMERCIAL[card.commercial],
        "MB": "-" if size is None else f"{size / 1e6:.1f}",
        "hash": _hash_state(card, HASHED),
        "results": _results(card),
        "licence": licence,
        "place": one.place.what,
        "file": str(card.file),
    }


def _hash_state(card: Card, most: float = inf) -> str:
    """missing, altered, ok, or of a file of more than `most` bytes not checked."""
    if not card.file.is_file():
        return "file missing"
    size = card.file.stat().st_size
    if size != card.data.get("bytes", size):
        return "altered"
    if size > most:
        return "see verify"
    return "ok" if file_sha256(card.file) == card.sha256 else "altered"


def _results(card: Card) -> str:
    """The first measured set with its pixel AUC, and how many more there are."""
    results = [one for one in card.data.get("results", ()) if isinstance(one.get("pixel_auc"), (int, float))]
    if not results:
        return "none measured"
    return f"AUC {results[0]['pixel_auc']:.3f} {results[0].get('set', '')}" + (f", +{len(results) - 1}" if len(results) > 1 else "")


def show_command(name: str, *, timing: bool = True, anatomy: bool = True) -> ExitCode:
    """The cards of a model, as they stand, and its networks drawn."""
    model = find_model(name)
    for path in model.paths:
        print(f"# {path}\n{path.read_text('utf-8')}")
    for card in model.cards:
        state = f"hash {_hash_state(card)}, commercial use: {COMMERCIAL[card.commercial]}"
        print(printable(f"# {card.full_name}: {card.file}, {state}"))
    for name in (*model.detectors, *model.finders):
        print(f"# {name} needs no weights: {DETECTORS[name].title}\n# {DETECTORS[name].paper}")
    if anatomy and model.cards:
        from imgscan.anatomy import draw, examine

        for card in model.cards:
            if not card.backbone:  # a part that starts trainings: it is drawn with the network it fills
                continue
            print()
            print(draw(examine(card, timing=timing)), flush=True)
    return ExitCode.CLEAN


def verify_command(names: Sequence[str]) -> ExitCode:
    """Hash the weights of models, or all, against their cards; WeightsError names the first that differ, after the others."""
    wrong: list[str] = []
    if names:
        named = [find_model(name) for name in names]
        for detector in dict.fromkeys(one for model in named for one in (*model.detectors, *model.finders)):
            print(f"{detector}\tneeds no weights")
        cards = list({card.path: card for model in named for card in model.cards}.values())
    else:
        there = installed()
        wrong += [one.problem for one in there if one.card is None]
        cards = [one.card for one in there if one.card is not None]
    for card in cards:
        if not card.file.is_file():
            wrong.append(f"weights of {card.full_name}: {card.file} is missing")
        elif file_sha256(card.file) != card.sha256:
            wrong.append(f"weights {card.file}: not the file that {card.path} describes")
        else:
            print(f"{printable(card.full_name)}\tok\t{card.sha256}")
    for problem in wrong[:-1]:
        say(f"imgscan: {problem}")
    if wrong:
        raise WeightsError(wrong[-1])
    return ExitCode.CLEAN


def import_command(name: str, file: Path, *, tag: str | None, force: bool, accept_licence: bool) -> ExitCode:
    """Import, and say what was done: the card's path on stdout, the rest on stderr."""
    from imgscan.releases.install import import_weights

    done = import_weights(name, file, tag=tag, force=force, accept=accept_licence)
    card = done.card
    say(f"imgscan: {card.full_name}: {done.used} tensors, each accounted for")
    for remark in done.remarks:
        say(f"imgscan: {remark}")
    say(f"imgscan: licence: {card.licence}; commercial use: {COMMERCIAL[card.commercial]}")
    if card.commercial is False and not card.data.get("accepted"):
        say(f"imgscan: to use these weights add --accept-licence, or set {VARIABLE}=1")
    say(f"imgscan: next: {_next(card)}")
    print(card.path)
    return ExitCode.CLEAN


def _next(card: Card) -> str:
    """The command that uses what was imported."""
    if card.data.get("use") == INITIAL:
        return start_command(card)
    compat = " --compat official" if "compat" in card.data else ""
    return f"imgscan scan PICTURES --model {card.full_name}{compat}"


def export_command(name: str, kind: str, out: Path, *, accept_licence: bool) -> ExitCode:
    """Export every network of a model; the files' paths on stdout."""
    model = find_model(name)
    if not model.cards:
        raise WeightsError(f"{name} needs no weights; there is nothing to export")
    check_licences(model.cards, accept_licence)
    from imgscan.export import export

    for card in model.cards:
        done = export(card, kind, out)
        say(f"imgscan: {card.full_name}: {done.said}")
        print(done.file)
    return ExitCode.CLEAN


def average_command(names: list[str], out: Path, *, accept_licence: bool) -> ExitCode:
    """Average; the card's path on stdout, what to do next on stderr."""
    cards = []
    for name in names:
        model = find_model(name)
        if len(model.cards) != 1 or model.detectors or model.finders:
            raise InputError(f"{name} is not one network with weights; wanted such as focal-hrnet@open or ncl@RUN/weights.toml")
        cards.append(model.cards[0])
    check_licences(cards, accept_licence)
    from imgscan.average import average

    path = average(cards, out)
    say(f"imgscan: no thresholds yet: imgscan calibrate {cards[0].network}@{path} --pristine DIR")
    print(path)
    return ExitCode.CLEAN
