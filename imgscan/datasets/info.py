"""What is known of a data set without having it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from imgscan.datasets.entries import Entry
from imgscan.datasets.splits import SplitRule


@dataclass(frozen=True)
class SetInfo:
    """A published data set, for `imgscan data list`, the doctor and the splits."""

    name: str  # what --data takes
    title: str  # what it is, in a line
    licence: str  # as its page states it; not legal advice
    where: str  # address to get it from
    forged: tuple[int, ...]  # counts the literature gives; empty: none is comparable
    authentic: tuple[int, ...]
    layout: str  # the folders that are read, as its archives have them
    splits: SplitRule
    folders: tuple[str, ...] = ()  # further names its folder goes by
    left_out: Mapping[str, str] = field(default_factory=dict)  # known bad: path without suffix -> why; `entries` leaves these out
    suspects: Mapping[str, str] = field(default_factory=dict)  # known to need a correction; `entries` has them, the doctor tells
    beside_masks: tuple[str, ...] = ()  # lower-case patterns of files that lie with the masks and are none of its masks
    whole: bool = False  # though it has a split to train on, tables of zero-shot tests use all of it
    remark: str = ""  # what its user must know


class PublishedSet(Protocol):
    """What a module of `published` offers."""

    INFO: SetInfo

    def entries(self, root: Path) -> list[Entry]:
        """Every picture of the set below `root`; InputError says what was expected and what was found."""
