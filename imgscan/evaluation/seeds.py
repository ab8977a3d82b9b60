"""Trainings that differ in their seed alone: which of them belong together, and how far their numbers lie apart.

Papers print one number for what they trained several times; another training of the same recipe moves it by points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

from imgscan.digests import digest_of
from imgscan.weights import Card

# Keys of a recipe, by section, that decide nothing of what is learnt; and the seed.
_NO_MATTER = {"train": ("seed", "log_every", "save_minutes", "previews"), "data": ("workers",)}

Kin = TypeVar("Kin")


@dataclass(frozen=True)
class Spread:
    """Of a number over trainings."""

    mean: float
    deviation: float | None  # standard deviation with n - 1; None for fewer than two
    seeds: int


def spread_of(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def recipe_digest(card: Card) -> str:
    """What a card was trained by and on, whatever the seed; 64 hexadecimal digits, or "" where it does not say."""
    recipe = card.data.get("recipe")
    if not recipe:
        return ""
    left = {name: {k: v for k, v in table.items() if k not in _NO_MATTER.get(name, ())} for name, table in recipe.items()}
    training = card.data.get("training", {})
    return digest_of([card.network, card.backbone, left, training.get("data"), training.get("pictures")])


def seed_of(card: Card) -> int:
    """The seed that a card was trained with; -1 where it does not say."""
    seed = card.data.get("recipe", {}).get("train", {}).get("seed", -1)
    return seed if isinstance(seed, int) else -1


def with_other_seeds(first: Card, cards: Sequence[Card]) -> list[Card]:
    """A card, and behind it those of the cards that were trained like it with other seeds, by seed; one of each."""
    alike = recipe_digest(first)
    by_seed = {seed_of(card): card for card in reversed(cards) if alike and recipe_digest(card) == alike}
    return [first, *(by_seed[seed] for seed in sorted(by_seed) if seed != seed_of(first))]


def by_kind(trained: Sequence[tuple[str, tuple[int, ...], Kin]]) -> list[list[Kin]]:
    """What was trained several times, together: of each (kind, seeds of its networks, itself) those of one kind, one of each seed.

    What is alone of its kind, or of an unknown one (""), is left out.
    """
    kinds: dict[str, dict[tuple[int, ...], Kin]] = {}
    for kind, seeds, one in trained:
        if kind and seeds:
            kinds.setdefault(kind, {}).setdefault(seeds, one)
    return [list(some.values()) for some in kinds.values() if len(some) > 1]
