"""The licence gate: nobody uses restricted weights without having said so, and every report tells."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imgscan.errors import WeightsError
from imgscan.licences import check_licences, check_usable, licence_facts
from imgscan.scanner import build_scanner
from imgscan.weights import Card, find_model, read_card


def card_with(line: str, tiny_weights: dict[str, Path], folder: Path) -> Card:
    for path in tiny_weights["focal-hrnet"].parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = folder / "weights.toml"
    text = card.read_text()
    assert text.count("\ndefault = false\n") == 1
    card.write_text(text.replace("\ndefault = false\n", f"\ndefault = false\n{line}\n"))
    return read_card(card)


def test_restricted_weights_are_loaded_only_when_accepted(
    tiny_weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_with("commercial = false", tiny_weights, tmp_path)
    model = find_model(f"focal-hrnet@{card.path}")
    message = (
        r"weights focal-hrnet@mine: no commercial use \(licence: unknown.*add --accept-licence or set IMGSCAN_ACCEPT_LICENCE=1"
    )
    with pytest.raises(WeightsError, match=message) as caught:
        build_scanner(model, device=torch.device("cpu"))
    assert "\n" not in str(caught.value)
    build_scanner(model, device=torch.device("cpu"), accept_licence=True)
    for said, accepted in (("0", False), ("", False), ("no", False), ("1", True), ("YES", True)):
        monkeypatch.setenv("IMGSCAN_ACCEPT_LICENCE", said)
        assert licence_facts([card], False)[card.full_name]["accepted"] is accepted
        if accepted:
            check_licences([card], False)
        else:
            with pytest.raises(WeightsError):
                check_licences([card], False)


def test_acceptance_on_the_card_holds(tiny_weights: dict[str, Path], tmp_path: Path) -> None:
    card = card_with('commercial = false\naccepted = "2026-11-21"', tiny_weights, tmp_path)
    check_licences([card], False)
    assert licence_facts([card], False) == {"focal-hrnet@mine": {"licence": card.licence, "commercial": False, "accepted": True}}


@pytest.mark.parametrize(("line", "commercial"), [("", None), ("commercial = true", True)])
def test_what_restricts_nothing_asks_for_nothing(
    line: str, commercial: bool | None, tiny_weights: dict[str, Path], tmp_path: Path
) -> None:
    card = card_with(line, tiny_weights, tmp_path)
    check_licences([card], False)
    assert licence_facts([card], True)[card.full_name] == {"licence": card.licence, "commercial": commercial, "accepted": False}


def test_what_starts_trainings_is_not_scanned_with(tiny_weights: dict[str, Path], tmp_path: Path) -> None:
    card = card_with('use = "init"', tiny_weights, tmp_path)
    with pytest.raises(WeightsError, match=r"never trained to find forgeries.*imgscan train focal --init focal-hrnet@mine"):
        check_usable([card], True)


@pytest.mark.parametrize(
    ("network", "training"),
    [
        ("resnet50", "cfl-net"),  # a part is no network of its own
        ("resnet101", "ncl"),
        ("focal-vit", "focal --size official-vit"),
        ("focal-hrnet", "focal"),
        ("ncl", "ncl"),
    ],
)
def test_the_training_that_is_named_exists(network: str, training: str, tiny_weights: dict[str, Path], tmp_path: Path) -> None:
    card = replace(card_with('use = "init"', tiny_weights, tmp_path), name=network, network=network, tag="official")
    with pytest.raises(WeightsError, match=rf"only start trainings: imgscan train {training} --init {network}@official$"):
        check_usable([card], True)


@pytest.mark.parametrize("said", ["0", '"no"', '""', "[]"])
def test_nothing_but_true_or_false_opens_the_gate(said: str, tiny_weights: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.toml: commercial is .*; wanted true or false"):
        card_with(f"commercial = {said}", tiny_weights, tmp_path)
