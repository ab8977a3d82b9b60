"""Annotations of GitHub Actions on stdout of a step: a command a finding or skipped file, and one for all that was not judged."""

from __future__ import annotations

from imgscan.printable import as_utf8, printable
from imgscan.records import Line
from imgscan.report.human import UNFINISHED, finding_text, passed_over_text, review_text
from imgscan.report.record import Record, is_false_alarm

COMMANDS = {"certain": "error", "likely": "error", "possible": "warning", "none": "warning"}


def render(record: Record) -> str:
    """::warning file=...,line=1,title=...::message; GitHub shows ten a step, the rest stays in the log."""
    lines = [
        f"::{COMMANDS[line['level']] if line['flagged'] and not is_false_alarm(line) else 'notice'} "
        f"file={_property(line['path'])},line=1,title={_property(_title(line))}"
        f"::{_data(finding_text(line) + (f'  ({said})' if (said := review_text(line)) else ''))}"
        for line in record.findings
    ]
    broken = "warning" if record.let_through else "error"
    lines += [
        f"::{broken} file={_property(line['path'])},line=1,title=imgscan not assessed::{_data(printable(line['reason']))}"
        for line in record.skipped
    ]
    if not record.complete:
        lines.append(f"::error title=imgscan not complete::{UNFINISHED}")
    if record.withheld:
        text = f"{len(record.withheld)} not judged, drawn or typeset; the first: {record.withheld[0]['name']}"
        lines.append(f"::notice title=imgscan not judged::{_data(printable(text))}")
    if record.passed_over:
        lines.append(f"::notice title=imgscan not looked at::{_data(passed_over_text(record.passed_over))}")
    lines += [f"::notice title=imgscan weights::{_data(printable(note))}" for note in record.licence_notes]
    return "".join(line + "\n" for line in lines)


def _title(line: Line) -> str:
    return "imgscan" if line["level"] == "none" else f"imgscan {line['level']}"


def _data(text: str) -> str:
    """As the runner decodes it (actions/toolkit, command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(as_utf8(text)).replace(":", "%3A").replace(",", "%2C")
