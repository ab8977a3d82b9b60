"""results.jsonl, the canonical record of a scan: a run line, a result line per picture, a summary line.

Every other report is a function of it.  The schema is named in the run line and rises when a field changes its meaning.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from imgscan import __version__
from imgscan.errors import OutputError
from imgscan.judge import FailOn
from imgscan.records import Assessed, Finding, Line, Skipped
from imgscan.store import output_name, settle

SCHEMA = "imgscan.results/1"


@dataclass
class Tally:
    """The counts of a summary."""

    flagged: int = 0  # pictures at or above --fail-on
    reported: int = 0  # at or above --report-from, the flagged among them
    marked: int = 0  # pictures with any pixel marked as forged
    clean: int = 0  # judged and not flagged
    withheld: int = 0  # assessed and not judged: they look drawn by a program
    skipped: int = 0
    known: int = 0  # clean only because a baseline has them
    levels: Counter[str] = field(default_factory=Counter)

    @property
    def pictures(self) -> int:
        return self.flagged + self.clean + self.withheld + self.skipped

    def add(
        self,
        line: Line,
        fail_on: FailOn,
        report_from: FailOn | None = None,
        known: Collection[str] = (),
        reviews: Mapping[str, Line] | None = None,
    ) -> Line:
        """Count a result line and complete it by what this scan decides about it: `flagged`, `reported`, `known`, and `review`.

        Args:
            line: from result_line.
            fail_on: what counts as a finding for the exit code.
            report_from: what is reported; None: what fails.
            known: SHA-256 of the pictures of a baseline's findings.
            reviews: SHA-256 of pictures -> what a reviewer decided about them.
        """
        if line["status"] == "skipped":
            self.skipped += 1
            return line
        facts = line["level"], line["score"], line["area"]
        reported = (report_from or fail_on).reached(*facts)
        old = reported and line["sha256"] in known
        found = fail_on.reached(*facts) and not old
        self.known += old
        self.reported += reported and not old
        self.flagged += found
        self.withheld += bool(line.get("withheld"))
        self.clean += not found and not line.get("withheld")
        self.marked += line["area"] > 0
        self.levels[line["level"]] += 1
        made = (reviews or {}).get(line["sha256"])
        review = {} if made is None else {"review": made}
        return {**line, "flagged": found, "reported": reported and not old, "known": old, **review}


def run_line(**facts: Any) -> Line:
    """The first line: what ran, with which weights and settings."""
    return {"type": "run", "schema": SCHEMA, "version": __version__, **facts}


def result_line(item: Assessed | Skipped, digests: Mapping[str, str] | None = None) -> Line:
    """One picture; what the scan decides about it is added by Tally.add.

    Args:
        item: the result.
        digests: SHA-256 of the files written for it: mask_sha256, overlay_sha256.
    """
    if isinstance(item, Skipped):
        return {
            "type": "result",
            "status": "skipped",
            "name": item.source.name,
            "path": str(item.source.path),
            "reason": item.reason,
        }
    return {"type": "result", "status": "assessed", **_finding(item.finding), **(digests or {})}


def _finding(finding: Finding) -> Line:
    data: Line = asdict(finding)
    del data["mask"]
    data = {**data.pop("picture"), **data}
    for region in data["regions"]:
        region["strength"] = round(region["strength"], 4)
    data["mask"] = output_name("masks", finding.picture.name)
    data["overlay"] = output_name("overlays", finding.picture.name)
    return data


def summary_line(
    tally: Tally,
    *,
    complete: bool,
    seconds: float,
    exit_code: int,
    alike: Sequence[Line] | None = None,
    parts: Sequence[Line] | None = None,
) -> Line:
    """The last line; a file without one belongs to a scan that was killed.

    Args:
        alike: the groups of pictures that are one photograph; None: nobody looked, for the scan did not come to its end.
        parts: what pictures have in common in part; None: nobody looked.
    """
    found = {name: list(one) for name, one in (("alike", alike), ("parts", parts)) if one is not None}
    return {
        "type": "summary",
        "complete": complete,
        "pictures": tally.pictures,
        "flagged": tally.flagged,
        "reported": tally.reported,
        "marked": tally.marked,
        "clean": tally.clean,
        "withheld": tally.withheld,
        "skipped": tally.skipped,
        "known": tally.known,
        "levels": dict(sorted(tally.levels.items())),
        "seconds": round(seconds, 3),
        "exit_code": exit_code,
        **found,
    }


class JsonLines:
    """Writes results.jsonl line by line under a temporary name and moves it into place at the end, however the scan ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._new = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = self._new.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def write(self, line: Line) -> None:
        """Append one line and flush it: a killed scan leaves what it had."""
        try:
            # ensure_ascii keeps names that are not UTF-8 (surrogates) readable and the file valid UTF-8.
            self._file.write(json.dumps(line, ensure_ascii=True, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
        except OSError as failed:  # what could not be flushed is tried once more; an error that says so may be on its way
            if error is None:
                raise OutputError(f"{self.path}: cannot be written: {failed.strerror or failed}") from failed
        try:
            if kind is None and not self._new.exists():
                raise OutputError(f"{self._new}: is gone, something removed or moved it while the scan ran; scan again")
            settle(self._new, self.path, whole=kind is None, is_complete=_is_complete)
        except OSError as failed:
            if error is None:
                raise OutputError(f"{self.path}: cannot be written: {failed.strerror or failed}") from failed


def _is_complete(path: Path) -> bool:
    """Whether a record is that of a scan that came to its end."""
    try:
        return bool(read_lines(path)[-1].get("complete"))
    except (OSError, ValueError, IndexError, AttributeError):  # there is none, or it is no record
        return False


def read_lines(path: Path) -> Sequence[Line]:
    """The lines of a results.jsonl, in order."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
