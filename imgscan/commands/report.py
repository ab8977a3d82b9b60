"""`imgscan report`: a saved scan in another format."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imgscan.errors import ExitCode, InputError
from imgscan.find import real
from imgscan.printable import say
from imgscan.report.formats import find_format, format_of, write_report
from imgscan.report.human import UNFINISHED
from imgscan.report.record import read_record, record_in
from imgscan.report.schema import schema


def report_command(results: Path | None, *, outputs: list[Path], name: str | None, as_schema: bool) -> ExitCode:
    """Write or print a record; the exit code is that of the conversion, not of the scan."""
    if as_schema:
        print(json.dumps(schema(), indent=1))
        return ExitCode.CLEAN
    if results is None:
        raise InputError("no results: give the results.jsonl of a scan, or --schema")
    for path in outputs:
        format_of(path)
        if real(path) == real(record_in(results)):
            raise InputError(f"-o {path}: is the record itself; wanted another file")
    shown = find_format(name or "human") if name or not outputs else None
    record = read_record(record_in(results))
    if not record.complete:
        say(f"imgscan: {results}: {UNFINISHED}")
    for path in outputs:
        write_report(record, path)
    if shown is not None:
        sys.stdout.write(shown.render(record).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    return ExitCode.CLEAN
