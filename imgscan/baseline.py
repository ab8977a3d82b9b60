"""Baseline: what is known already and fails no scan again, by the SHA-256 of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgscan.decisions import are_decisions, decisions_of, remarks
from imgscan.errors import InputError
from imgscan.records import Line
from imgscan.report.record import read_text, record_in, record_of


@dataclass(frozen=True)
class Baseline:
    """What --baseline gives."""

    known: frozenset[str] = frozenset()  # SHA-256 of pictures that do not fail
    reviews: Mapping[str, Line] = field(default_factory=dict)  # SHA-256 -> what a reviewer decided, of whatever picture
    remarks: tuple[str, ...] = ()  # for the user


def read_baseline(path: Path | None) -> Baseline:
    """The findings of an earlier scan (its record, or the folder it is in), or the false alarms among a reviewer's decisions.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    if path is None:
        return Baseline()
    try:
        file = record_in(path)
        text = read_text(file)  # once: it may be a pipe
        if are_decisions(text):
            made = decisions_of(text, file)
            reviews = {sha256: one.review for sha256, one in made.latest.items()}
            return Baseline(frozenset(one.sha256 for one in made.false_alarms), reviews, tuple(remarks(made)))
        return Baseline(frozenset(line["sha256"] for line in record_of(text, file).reached))
    except InputError as error:
        raise InputError(f"--baseline: {error}") from error
