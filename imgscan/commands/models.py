"""`imgscan models`: what there is, from the cards alone; torch is not imported."""

from __future__ import annotations

from imgscan.detectors import DETECTORS
from imgscan.errors import ExitCode, WeightsError
from imgscan.weights import ALIASES, cards, file_sha256, find_model


def list_command() -> ExitCode:
    """A line per set of weights."""
    for card in cards():
        marks = " (default)" if card.data.get("default") else ""
        print(f"{card.full_name}{marks}\t{card.data.get('size', '')}\t{card.licence}")
    for alias, parts in ALIASES.items():
        print(f"{alias}\tfuses {parts}")
    for name, detector in DETECTORS.items():
        print(f"{name}\tneeds no weights: {detector.title}")
    return ExitCode.CLEAN


def show_command(name: str) -> ExitCode:
    """The cards of a model, as they stand."""
    model = find_model(name)
    for path in [*([model.path] if model.path else []), *(card.path for card in model.cards)]:
        print(f"# {path}\n{path.read_text('utf-8')}")
    for name in model.detectors:
        print(f"# {name} needs no weights: {DETECTORS[name].title}\n# {DETECTORS[name].paper}")
    return ExitCode.CLEAN


def verify_command(name: str) -> ExitCode:
    """Hash the weights of a model against their cards."""
    model = find_model(name)
    for detector in model.detectors:
        print(f"{detector}\tneeds no weights")
    for card in model.cards:
        if not card.file.is_file():
            raise WeightsError(f"weights of {card.full_name}: {card.file} is missing")
        if file_sha256(card.file) != card.sha256:
            raise WeightsError(f"weights {card.file}: not the file that {card.path} describes")
        print(f"{card.full_name}\tok\t{card.sha256}")
    return ExitCode.CLEAN
