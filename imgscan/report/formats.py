"""The report formats: one literal table, each a pure function of a scan's record (html also reads the pictures it shows)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from imgscan.errors import InputError, unknown
from imgscan.report import as_csv, as_json, github, html, human, junit, sarif
from imgscan.report.record import Record
from imgscan.store import replacing


@dataclass(frozen=True)
class Format:
    """How a record becomes text, and the endings of files that are of this format."""

    render: Callable[[Record], str]
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "human": Format(human.render, (".txt",)),
    "json": Format(as_json.render, (".json",)),
    "jsonl": Format(as_json.render_lines, (".jsonl",)),
    "csv": Format(as_csv.render, (".csv",)),
    "sarif": Format(sarif.render, (".sarif", ".sarif.json")),
    "junit": Format(junit.render, (".junit.xml", ".xml")),
    "github": Format(github.render),
    "html": Format(html.render, (".html", ".htm")),
}


def find_format(name: str) -> Format:
    """The format of that name; InputError names the near miss."""
    if name not in FORMATS:
        raise InputError(f"--format: {unknown('format', name, FORMATS)}")
    return FORMATS[name]


def format_of(path: Path) -> Format:
    """The format that a file's ending means, the longest ending first; InputError lists them."""
    endings = {suffix: one for one in FORMATS.values() for suffix in one.suffixes}
    for suffix in sorted(endings, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return endings[suffix]
    raise InputError(f"-o {path}: its ending names no format; wanted {', '.join(sorted(endings))}")


def write_report(record: Record, path: Path) -> None:
    """Write a report in the format of the file's ending.

    Raises:
        InputError: no such format.
        OutputError: the file cannot be written; what was there before stays.
    """
    text = format_of(path).render(replace(record, target=path.absolute().parent))
    with replacing(path) as new:
        new.write_text(text, "utf-8", errors="backslashreplace", newline="")
