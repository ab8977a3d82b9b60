"""Decisions: what a reviewer made of findings, one a line, as the page of a scan saves them (decisions.jsonl).

A decision is about a picture, known by the SHA-256 of its file, whatever it is called and whichever scan is looked at.  Of several
about one picture the latest counts, so that the files of several reviewers, or of several days, are joined by writing one after
the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from imgscan.errors import InputError, unknown
from imgscan.records import Line
from imgscan.report.record import FALSE_ALARM, Record, read_text

SCHEMA = "imgscan.decisions/1"
TYPE = "decision"  # of a line
DECISIONS = ("confirmed", FALSE_ALARM, "unsure")
_WANTED = "wanted a decisions.jsonl, as the page of a scan saves it"


@dataclass(frozen=True)
class Decision:
    """A line of the file."""

    path: str  # of the picture, as it was scanned
    sha256: str  # of the picture
    decision: str  # one of DECISIONS
    note: str  # why; may be empty
    time: str  # when it was made: ISO 8601, with its zone
    version: str  # of imgscan, whose page it was made on
    run: str  # `key` of the scan's run line: weights and settings that made what the reviewer saw

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.time)

    @property
    def review(self) -> Line:
        """What the picture's line in a record has of it, as `review`."""
        return {name: fact for name, fact in asdict(self).items() if name not in ("path", "sha256")}


@dataclass(frozen=True)
class Decisions:
    """The content of a file."""

    latest: Mapping[str, Decision]  # SHA-256 of the picture -> what counts
    overruled: tuple[Decision, ...]  # that say something else than what was decided later

    @property
    def false_alarms(self) -> list[Decision]:
        return [one for one in self.latest.values() if one.decision == FALSE_ALARM]


def are_decisions(text: str) -> bool:
    """Whether the first line of a text that is one of imgscan's is a decision."""
    for row in text.split("\n"):
        with suppress(ValueError):
            line = json.loads(row)
            if isinstance(line, dict) and "type" in line:
                return bool(line["type"] == TYPE)
    return False


def read_decisions(path: Path) -> Decisions:
    """Every decision of a file; InputError as decisions_of, or it cannot be read."""
    return decisions_of(read_text(path), path)


def decisions_of(text: str, path: Path) -> Decisions:
    """Every decision of a file's text.

    Raises:
        InputError: it holds none, or has a line that is none: no JSON, a key too few or too many, a decision that there is not, no
            SHA-256, no time.
    """
    made = [_decision(row, f"{path}: line {number}") for number, row in enumerate(text.split("\n"), 1) if row.strip()]
    if not made:
        raise InputError(f"{path}: holds no decision; {_WANTED}")
    made.sort(key=lambda one: one.when)  # of equal times the later line is the later one
    latest = {one.sha256: one for one in made}
    return Decisions(latest, tuple(one for one in made if one.decision != latest[one.sha256].decision))


def _decision(row: str, origin: str) -> Decision:
    try:
        line = json.loads(row)
    except ValueError as error:
        raise InputError(f"{origin} is not JSON; {_WANTED}") from error
    if not isinstance(line, dict) or line.get("type") != TYPE:
        raise InputError(f"{origin} is no decision; {_WANTED}")
    if line.get("schema") != SCHEMA:
        raise InputError(f"{origin}: its schema is {line.get('schema')!r}; this imgscan reads {SCHEMA}")
    known = [one.name for one in fields(Decision)]
    facts: dict[str, Any] = {name: fact for name, fact in line.items() if name not in ("type", "schema")}
    if strange := [name for name in facts if name not in known]:
        raise InputError(f"{origin}: {unknown('key', strange[0], known)}")
    if missing := [name for name in known if name not in facts]:
        raise InputError(f"{origin} lacks {', '.join(missing)}; {_WANTED}")
    if wrong := [name for name in known if not _is_text(facts[name])]:
        raise InputError(f"{origin}: {wrong[0]} is {facts[wrong[0]]!r}; wanted a text")
    made = Decision(**facts)
    if made.decision not in DECISIONS:
        raise InputError(f"{origin}: {unknown('decision', made.decision, DECISIONS)}")
    if not re.fullmatch("[0-9a-f]{64}", made.sha256):
        raise InputError(f"{origin}: sha256 is {made.sha256!r}; wanted 64 hexadecimal digits, in small letters")
    try:
        zone = made.when.tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise InputError(f"{origin}: time is {made.time!r}; wanted one with its zone, as 2026-11-30T15:04:05Z")
    return made


def _is_text(fact: Any) -> bool:
    """Whether it is a text that can be written; half a character, as JSON can have, cannot, but for bytes of a file's name."""
    with suppress(AttributeError, UnicodeEncodeError):
        fact.encode("utf-8", "surrogateescape")
        return True
    return False


def reviewed(record: Record, decisions: Decisions) -> Record:
    """The record with what was decided about its pictures; a later decision that it has already stays."""
    lines = []
    for line in record.results:
        made = decisions.latest.get(line.get("sha256", ""))
        there = line.get("review")
        if made is not None and (there is None or made.when >= datetime.fromisoformat(there["time"])):
            line = {**line, "review": made.review}
        lines.append(line)
    return replace(record, results=tuple(lines))


def remarks(decisions: Decisions, record: Record | None = None) -> list[str]:
    """What whoever uses a file has to know of it: decisions that contradict each other, and with a record those that are of no
    picture in it or were made on the page of a scan with other weights or settings, which may have marked something else."""
    said = []
    if decisions.overruled:
        first = decisions.overruled[0]
        later = decisions.latest[first.sha256]
        then = f"{first.decision} ({first.time}), then {later.decision} ({later.time})"
        said.append(f"{_many(decisions.overruled)} overruled by a later one: {first.path}, {then}")
    if record is None:
        return said
    pictures = {line["sha256"] for line in record.results if "sha256" in line}
    elsewhere = [one for one in decisions.latest.values() if one.sha256 not in pictures]
    if elsewhere:
        said.append(f"{_many(elsewhere)} about a picture that this record does not have: {elsewhere[0].path}")
    other = [one for one in decisions.latest.values() if one.sha256 in pictures and one.run != record.run.get("key")]
    if other:
        why = "made on the page of a scan with other weights or settings, which may have marked something else"
        said.append(f"{_many(other)} {why}: {other[0].path}")
    return said


def _many(decisions: Sequence[Decision]) -> str:
    count = len(decisions)
    return "1 decision is" if count == 1 else f"{count} decisions are (the first is named)"
