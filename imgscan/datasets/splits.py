"""Which picture belongs to which split, as rules that can be printed.

No rule draws at random and none depends on what else is in the folder: a picture that is added or lost moves no other one.  What a
set's own lists say (a file) comes as the entries' `source`, see BySource.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from imgscan.datasets.entries import Entry
from imgscan.printable import name_bytes

Split = Literal["train", "val", "test"]


class SplitRule(Protocol):
    """What every rule answers."""

    def of(self, entry: Entry) -> Split:
        """The split of a picture."""

    def names(self) -> tuple[Split, ...]:
        """The splits that exist."""

    def describe(self) -> str:
        """The rule in one sentence."""


def position(entry: Entry) -> float:
    """Where a picture stands in [0, 1): the first 32 bits of the sha256 of its group, or of its lower-case stem, over 2^32."""
    key = (entry.group or entry.image.stem).lower()
    return int.from_bytes(hashlib.sha256(name_bytes(key)).digest()[:4], "big") / 2**32


@dataclass(frozen=True)
class HashSplit:
    """By hash: `validation` first, then `test`, the rest is for training."""

    validation: float = 0.1
    test: float = 0.1
    key: str = "lower-case stem"  # what is hashed, in words

    def of(self, entry: Entry) -> Split:
        place = position(entry)
        if place < self.validation:
            return "val"
        return "test" if place < self.validation + self.test else "train"

    def names(self) -> tuple[Split, ...]:
        return ("train", "val", "test") if self.test else ("train", "val")

    def describe(self) -> str:
        middle = f", test up to {self.validation + self.test:g}" if self.test else ""
        return f"u = first 32 bits of sha256({self.key}) / 2^32: val where u < {self.validation:g}{middle}, train from there on" + (
            "" if self.test else "; no test split"
        )


@dataclass(frozen=True)
class KeptAside:
    """Photographs that forgeries are made of on the fly: a tenth is for validation, where nobody names others for that."""

    def of(self, entry: Entry) -> Split:
        name = entry.image.name.encode(errors="replace")
        return "train" if int(hashlib.sha256(name).hexdigest(), 16) % 10 else "val"

    def names(self) -> tuple[Split, ...]:
        return ("train", "val")

    def describe(self) -> str:
        return "u = sha256(name): val where u is divisible by 10, else train; no test split"


@dataclass(frozen=True)
class TestOnly:
    """A benchmark: nothing of it is for training, and nothing for choosing a checkpoint."""

    __test__ = False  # pytest would take the name for a test

    def of(self, entry: Entry) -> Split:
        return "test"

    def names(self) -> tuple[Split, ...]:
        return ("test",)

    def describe(self) -> str:
        return "test only: never trained on, never validated on"


@dataclass(frozen=True)
class Only:
    """A list that is one split by its name."""

    split: Split

    def of(self, entry: Entry) -> Split:
        return self.split

    def names(self) -> tuple[Split, ...]:
        return (self.split,)

    def describe(self) -> str:
        return f"{self.split} only, by the name of the list"


@dataclass(frozen=True)
class BySource:
    """Several rules, by the name of the set or list an entry came from."""

    rules: Mapping[str, SplitRule]

    def of(self, entry: Entry) -> Split:
        return self.rules[entry.source].of(entry)

    def names(self) -> tuple[Split, ...]:
        there = {name for rule in self.rules.values() for name in rule.names()}
        order: tuple[Split, ...] = ("train", "val", "test")
        return tuple(name for name in order if name in there)

    def describe(self) -> str:
        return "; ".join(f"{source}: {rule.describe()}" for source, rule in self.rules.items())


DEFAULT = HashSplit(0.1, 0.1)
