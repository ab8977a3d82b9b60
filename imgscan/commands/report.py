"""`imgscan report`: a saved scan in another format, or against the files it speaks of."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from imgscan.errors import ExitCode, InputError
from imgscan.find import real
from imgscan.printable import as_utf8, printable, say
from imgscan.report.formats import find_format, format_of, write_report
from imgscan.report.human import UNFINISHED
from imgscan.report.record import read_record, record_in
from imgscan.report.schema import schema
from imgscan.report.verify import verify
from imgscan.weights import file_sha256


def report_command(
    results: Path | None, *, outputs: list[Path], name: str | None, as_schema: bool, only_verify: bool = False
) -> ExitCode:
    """Write or print a record, or verify it; the exit code is that of the conversion, not of the scan."""
    if only_verify and (outputs or name or as_schema):
        raise InputError("--verify writes no report; leave -o, --format and --schema out")
    if as_schema:
        print(json.dumps(schema(), indent=1))
        return ExitCode.CLEAN
    if results is None:
        raise InputError("no results: give the results.jsonl of a scan, or --schema")
    if only_verify:
        return verify_record(record_in(results))
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
        sys.stdout.write(as_utf8(shown.render(record)))
    return ExitCode.CLEAN


def verify_record(path: Path) -> ExitCode:
    """Say what is no longer as a record has it: a line per file on stdout, the counts on stderr."""
    record = read_record(path)
    same: Counter[str] = Counter()
    states: Counter[str] = Counter()
    lost = ""
    for one in verify(record):
        states[one.state] += 1
        if one.state == "same":
            same[one.kind] += 1
            continue
        print(f"{one.state:<8} {one.kind:<8} {printable(one.path or str(path))}{': ' if one.why else ''}{one.why}")
        if one.state == "gone" and one.kind == "picture" and not Path(one.path).is_absolute():
            lost = "; pictures are looked for from here, by the names the scan was given"
    found = ", ".join(f"{same[kind]} {kind}{'s' if same[kind] != 1 else ''}" for kind in ("picture", "mask", "overlay"))
    text = f"{found} as recorded, {states['altered']} altered, {states['gone']} gone{lost}"
    if record.skipped:
        text += f"; {len(record.skipped)} skipped, which have no hash"
    if not record.complete:
        text += f"; {UNFINISHED}"
    say(f"imgscan: {path}: {text}")
    say(f"imgscan: the record's own SHA-256 is {file_sha256(path)}")
    if states["gone"] or not record.complete:
        return ExitCode.INCOMPLETE
    return ExitCode.FINDINGS if states["altered"] else ExitCode.CLEAN
