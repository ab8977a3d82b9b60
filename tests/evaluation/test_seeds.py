"""Trainings that differ in their seed alone: which they are, and their spread."""

from pathlib import Path
from typing import Any

import pytest

from imgscan.evaluation.seeds import Spread, by_kind, recipe_digest, seed_of, spread_of, with_other_seeds
from imgscan.weights import Card


def card(tag: str, seed: int, data: str = "synth", pictures: int = 9, size: int = 4, **train: Any) -> Card:
    recipe = {"train": {"seed": seed, "steps": 10, **train}, "data": {"workers": seed, "side": 64}}
    table = {"training": {"data": data, "pictures": pictures, "steps": seed}, "recipe": recipe}
    return Card("ncl", tag, "ncl", Path(f"/runs/{tag}/weights.toml"), Path("x"), "0" * 64, "", {"width": size}, (), table)


def test_mean_and_deviation() -> None:
    assert spread_of([1.0, 2.0, 4.5]) == Spread(2.5, pytest.approx(3.25**0.5), 3)  # (2.25 + 0.25 + 4) / 2
    assert spread_of([0.7]) == Spread(0.7, None, 1), "one training has no spread"


def test_other_seeds_of_the_same_training() -> None:
    first = card("first", 7)
    alike = [card("b", 8, log_every=3, save_minutes=1.0, previews=0), card("c", 9)]
    others = [
        card("steps", 10, steps=11),
        card("data", 11, data="casia"),
        card("pictures", 12, pictures=8),
        card("size", 13, size=8),
    ]
    again = [card("again", 9), card("first again", 7)]
    found = with_other_seeds(first, [*others, first, *alike, *again])
    assert [one.tag for one in found] == ["first", "b", "c"], "by seed, one of each, the first ahead"
    assert [seed_of(one) for one in found] == [7, 8, 9]
    imported = Card("ncl", "official", "ncl", Path("x"), Path("x"), "0" * 64, "", {}, (), {})
    assert recipe_digest(imported) == ""
    assert with_other_seeds(imported, [imported, imported]) == [imported], "nobody knows how these were trained"


def test_of_a_kind_are_those_with_seeds_of_their_own() -> None:
    trained = [
        ("k", (1,), "a"),
        ("k", (2,), "b"),
        ("k", (2,), "b again"),
        ("k", (), "untrained"),
        ("m", (1,), "alone"),
        ("", (3,), "?"),
        ("", (4,), "?"),
    ]
    assert by_kind(trained) == [["a", "b"]]
    assert by_kind([("ela", (), "ela"), ("ela", (), "ela")]) == [], "what was never trained"
