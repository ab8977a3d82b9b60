"""A scan's record, read back: what every report is a function of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from imgscan.errors import ExitCode, InputError
from imgscan.records import Line
from imgscan.report.check import complaint
from imgscan.report.jsonl import SCHEMA
from imgscan.report.schema import ASSESSED, RUN, SKIPPED, SUMMARY

FALSE_ALARM = "false alarm"  # what a reviewer may decide (decisions.py)
# Kind of a line, or status of a result -> its schema.  What reports can do without is not asked for: earlier versions have not all.
_READ: dict[str, Mapping[str, Any]] = {
    name: {**schema, "required": needed.split()}
    for name, schema, needed in (
        ("run", RUN, "schema version started model weights operating_points fail_on"),
        (
            "assessed",
            ASSESSED,
            "name path sha256 bytes format width height orientation jpeg_quality score level area regions clusters method grid "
            "mask overlay flagged",
        ),
        ("skipped", SKIPPED, "name path reason"),
        ("summary", SUMMARY, "complete pictures seconds exit_code"),
    )
}


@dataclass(frozen=True)
class Record:
    """The lines of a results.jsonl."""

    run: Line
    results: tuple[Line, ...]
    summary: Line | None  # None: the scan was killed, or is still at work
    folder: Path | None = None  # where masks/ and overlays/ are; None: nobody knows
    target: Path | None = None  # the folder that a report will lie in; None: it is printed

    @property
    def findings(self) -> list[Line]:
        """Results at or above --report-from that no baseline has, the strongest first; those that fail are `flagged`."""
        reported = [line for line in self.results if line.get("reported", line.get("flagged"))]
        return sorted(reported, key=lambda line: (-line["score"], line["name"]))

    @property
    def flagged(self) -> int:
        """How many of the findings fail the scan."""
        return sum(line["flagged"] for line in self.findings)

    @property
    def dismissed(self) -> list[Line]:
        """Of the findings, those that a reviewer decided to be false alarms."""
        return [line for line in self.findings if is_false_alarm(line)]

    @property
    def reached(self) -> list[Line]:
        """Findings, and what would be one but for the baseline, in the order of the scan."""
        return [line for line in self.results if line.get("reported", line.get("flagged")) or line.get("known")]

    @property
    def known(self) -> list[Line]:
        """What would be a finding but for the baseline."""
        return [line for line in self.results if line.get("known")]

    @property
    def skipped(self) -> list[Line]:
        return [line for line in self.results if line["status"] == "skipped"]

    @property
    def let_through(self) -> bool:
        """Whether those were let through (--allow-unreadable, --max-unreadable); else a scan answers that it is not complete."""
        return self.summary is not None and self.summary["exit_code"] in (ExitCode.CLEAN, ExitCode.FINDINGS)

    @property
    def withheld(self) -> list[Line]:
        """Pictures that were assessed and not judged."""
        return [line for line in self.results if line.get("withheld")]

    @property
    def passed_over(self) -> list[str]:
        """Files in the scanned folders that are pictures of formats that are not decoded."""
        return list(self.run.get("passed_over", ()))

    @property
    def licence_notes(self) -> list[str]:
        """A sentence per set of weights that must not be used commercially."""
        facts = self.run.get("licences", {})
        return [
            f"{name}: no commercial use ({one['licence']}); accepted by the user"
            for name, one in facts.items()
            if one["commercial"] is False
        ]

    @property
    def complete(self) -> bool:
        """Whether the scan came to its end."""
        return bool(self.summary and self.summary["complete"])


def is_false_alarm(line: Line) -> bool:
    """Whether a reviewer decided that a result is one."""
    return bool(line.get("review", {}).get("decision") == FALSE_ALARM)


@dataclass
class _Lines:
    run: Line | None = None
    results: list[Line] = field(default_factory=list)
    summary: Line | None = None


def to_record(lines: Iterable[Line], folder: Path | None = None, origin: str = "record") -> Record:
    """Lines -> Record.

    Args:
        lines: in the order of the file.
        folder: where masks/ and overlays/ are.
        origin: named in the error.

    Raises:
        InputError: no run line, or more than one.
    """
    found = _Lines()
    for line in lines:
        kind = line.get("type")
        if kind == "run" and found.run is not None:
            raise InputError(f"{origin}: has two run lines; wanted one results.jsonl of imgscan scan, not several joined")
        if kind == "run":
            found.run = line
        elif kind == "result":
            found.results.append(line)
        elif kind == "summary":
            found.summary = line
    if found.run is None:
        raise InputError(f"{origin}: has no run line; wanted a results.jsonl of imgscan scan")
    return Record(found.run, tuple(found.results), found.summary, folder)


def read_record(path: Path) -> Record:
    """A results.jsonl; a last line that a kill cut off is left out.

    Raises:
        InputError: it cannot be read, or is not such a file; names the line.
    """
    return record_of(read_text(path), path)


def read_text(path: Path) -> str:
    """A file of UTF-8; InputError where it cannot be read."""
    try:
        return path.read_text("utf-8-sig")  # an editor may have put a mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def record_of(text: str, path: Path) -> Record:
    """The text of a results.jsonl; as read_record."""
    lines = []
    rows = text.split("\n")
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        try:
            line = json.loads(row, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            if number == len(rows):
                continue
            raise InputError(f"{path}: line {number} is not JSON; wanted a results.jsonl of imgscan scan") from error
        if not isinstance(line, dict):
            raise InputError(f"{path}: line {number} is not an object; wanted a results.jsonl of imgscan scan")
        if said := _misfit(line):
            raise InputError(f"{path}: line {number}: {said}")
        lines.append(line)
    return to_record(lines, path.parent, str(path))


def _no_number(name: str) -> NoReturn:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(f"{name} is no JSON")


def _misfit(line: Line) -> str:
    """What of a line is not of its schema; "": nothing.  Lines of a kind that is not known here are passed over."""
    kind = line.get("type")
    if kind == "run" and line.get("schema", SCHEMA) != SCHEMA:
        return f"its schema is {line['schema']!r}, this imgscan reads {SCHEMA}; scan again"
    if kind not in ("run", "result", "summary"):
        return ""
    if kind == "result":
        kind = line.get("status")
        if kind not in ("assessed", "skipped"):
            return f"{f'status is {kind!r}' if 'status' in line else 'lacks status'}; wanted assessed or skipped"
    said = complaint(line, _READ[str(kind)])
    return f"{said}; wanted a results.jsonl of imgscan scan" if said.startswith("lacks") else said


def record_in(results: Path) -> Path:
    """The record in a folder, or the file itself.

    InputError where a scan is at work or was killed, whose record is only results.jsonl.new: it names the files there are.
    """
    if not results.is_dir():
        return results
    whole, part = results / "results.jsonl", results / "results.jsonl.new"
    if part.exists():
        earlier = f"{whole}, of an earlier scan, or " if whole.exists() else ""
        files = f"{earlier}{part}, what it has so far"
        raise InputError(f"{results}: a scan writes there or was killed; wait for it, scan again, or name the file: {files}")
    return whole
