"""SARIF 2.1.0 (OASIS, 2020), in the subset that GitHub code scanning accepts.

SARIF is made for text: a result points to a region of lines.  On a picture GitHub wants line 1, column 1; the truth, regions in
pixels with their scores, is in `properties`.  A skipped file is a notification of the invocation, not a result, and
so is a picture that was not judged.

What a baseline has is only counted, as `known` in the properties of the run.  Viewers that honour `suppressions` would hide such a
result anyway; GitHub ignores them (github/codeql-action, issue 1230) and would open an alert for each, also at level `note`.
What a reviewer decided to be a false alarm after the scan is a result with such a suppression, whose justification is the note; for
GitHub, scan with the decisions as the baseline.
"""

from __future__ import annotations

import json
import os
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import quote

from imgscan.printable import name_bytes, printable
from imgscan.records import Line
from imgscan.report.human import evidence_text, inside_text, passed_over_text
from imgscan.report.record import Record, is_false_alarm

_SAFE = "/~@!$&'()*+,;=-._"
RULE = "tampered-region"
PAPER = "https://arxiv.org/abs/2308.09307"  # what a region of another history is
LEVELS = {"certain": "error", "likely": "error", "possible": "warning", "none": "warning"}  # of imgscan -> of SARIF
_RULE = {
    "id": RULE,
    "name": "TamperedRegion",
    "shortDescription": {"text": "Part of this picture has another history than the rest."},
    "fullDescription": {
        "text": "The traces or the JPEG history of a region differ from those of the rest of the same picture, as "
        "those of pasted or retouched parts do, or it is there twice. A score is a ranking, not a probability; look at "
        "the overlay."
    },
    "helpUri": PAPER,
    "help": {"text": "Open the overlay of the picture in the output folder and compare it with the original source."},
    "defaultConfiguration": {"level": "warning"},
    "properties": {"tags": ["image-forensics"], "precision": "medium", "problem.severity": "warning"},
}


def render(record: Record) -> str:
    """One run: the rule, a result per finding, skipped files as notifications."""
    any_decided = any("review" in line for line in record.findings)
    run = {
        "tool": {"driver": {"name": "imgscan", "semanticVersion": record.run["version"], "rules": [_RULE]}},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(record)],
        "results": [_result(line, any_decided) for line in record.findings],
        "properties": {name: record.run.get(name) for name in ("model", "weights", "fail_on", "report_from")}
        | {"known": len(record.known)}
        | ({"licences": record.run["licences"]} if "licences" in record.run else {}),
    }
    document = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(document, indent=1) + "\n"


def _invocation(record: Record) -> dict[str, Any]:
    """How the scan went: what was not assessed, not judged and not looked at."""
    broken = "warning" if record.let_through else "error"
    notifications = [
        _notification(broken, f"{_plain(line['name'])} was not assessed: {_plain(line['reason'])}", line) for line in record.skipped
    ]
    notifications += [
        _notification("note", f"{_plain(line['name'])} was not judged: it {_plain(line['withheld'])}", line)
        for line in record.withheld
    ]
    if record.passed_over:
        notifications.append(_notification("note", _plain(passed_over_text(record.passed_over))))
    facts = {
        "executionSuccessful": record.complete and (record.let_through or not record.skipped),
        "startTimeUtc": record.run["started"].replace("+00:00", "Z"),
        "toolExecutionNotifications": notifications,
    }
    return facts if record.summary is None else {**facts, "exitCode": record.summary["exit_code"]}


def _notification(level: str, text: str, line: Line | None = None) -> dict[str, Any]:
    located = {} if line is None else {"locations": [_location(line)]}
    return {"level": level, "message": {"text": text}, **located}


def _result(line: Line, any_decided: bool) -> dict[str, Any]:
    """Where any finding was decided, all say whether they are suppressed (3.27.23: all or none)."""
    regions = line["regions"]
    where = "; ".join(_region(one, regions) for one in regions[:3])
    share = f"{100 * line['area']:.1f} % of the picture"
    more = f" and {len(regions) - 3} more" if len(regions) > 3 else ""
    within = inside_text(line)
    return {
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": LEVELS[line["level"]] if line["flagged"] else "note",  # a note: reported, no reason to fail
        "message": {
            "text": f"{share} is marked as tampered with (score {line['score']:.3f}): {where or 'no region'}{more}."
            + (f" Looked at: {within}." if within else "")
        },
        "locations": [_location(line)],
        # The picture's content, not its path: a moved file is the same finding.
        "partialFingerprints": {"imgscan/sha256": line["sha256"], "primaryLocationLineHash": f"{line['sha256'][:16]}:1"},
        "properties": {
            "score": line["score"],
            "level": line["level"],
            "area": line["area"],
            "width": line["width"],
            "height": line["height"],
            "regions": regions,
            "inside": line.get("inside"),
            "panels": line.get("panels", []),
            "remarks": line.get("remarks", []),
            "mask": printable(line["mask"]),
            "overlay": printable(line["overlay"]),
        }
        | ({"review": {name: printable(fact) for name, fact in line["review"].items()}} if "review" in line else {}),
        **({"suppressions": _suppressions(line)} if any_decided else {}),
    }


def _suppressions(line: Line) -> list[dict[str, Any]]:
    """Outside the picture, by a reviewer; empty: the finding holds."""
    if not is_false_alarm(line):
        return []
    review = line["review"]
    why = printable(review["note"]) or "a reviewer decided that it is a false alarm"
    return [{"kind": "external", "status": "accepted", "justification": why, "properties": {"time": review["time"]}}]


def _region(region: Line, regions: list[Line]) -> str:
    """Where it is, and what speaks for it."""
    left, top, right, bottom = region["box"]
    why = evidence_text(region, regions)
    number = f"{regions.index(region) + 1}: " if len(regions) > 1 else ""
    return f"{number}left {left}, top {top}, {right - left} x {bottom - top} pixels" + (f" ({why})" if why else "")


def _location(line: Line) -> dict[str, Any]:
    """The picture as it was named, at 1:1."""
    path, windows = line["path"], PureWindowsPath(line["path"])
    # The record does not say where it was made: a path of Windows has a drive, no slash, and no byte that is not UTF-8; one without
    # a drive is of Windows where the report is made there.
    whole = windows.drive and "/" not in path
    if (whole or (os.sep == "\\" and not path.startswith("/"))) and not any(0xD800 <= ord(c) <= 0xDFFF for c in path):
        uri = windows.as_uri() if windows.is_absolute() else quote(windows.as_posix(), safe=_SAFE)
    else:
        uri = quote(name_bytes(path), safe=_SAFE)
        if path.startswith("/"):
            uri = f"file:///{uri.lstrip('/')}"  # of two slashes a reader would take the first folder for a host
    region = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def _plain(text: str) -> str:
    """Text as a SARIF message: brackets would be links, braces placeholders (3.11.5, 3.11.6)."""
    shown = printable(text)
    for one in "\\[]":
        shown = shown.replace(one, f"\\{one}")
    return shown.replace("{", "{{").replace("}", "}}")
