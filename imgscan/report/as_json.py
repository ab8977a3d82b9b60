"""JSON: the whole record as one document."""

from __future__ import annotations

import json

from imgscan.report.record import Record


def render(record: Record) -> str:
    """{"run": ..., "results": [...], "summary": ...}; the objects are those of the JSON Lines."""
    return json.dumps({"run": record.run, "results": record.results, "summary": record.summary}, indent=1) + "\n"


def render_lines(record: Record) -> str:
    """The JSON Lines again."""
    lines = [record.run, *record.results, *([record.summary] if record.summary else [])]
    return "".join(json.dumps(line) + "\n" for line in lines)
