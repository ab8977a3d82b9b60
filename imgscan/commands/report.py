"""`imgscan report`: a saved scan in another format, or against the files it speaks of."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from imgscan.decisions import read_decisions, remarks, reviewed
from imgscan.digests import file_sha256
from imgscan.errors import ExitCode, InputError
from imgscan.find import real
from imgscan.printable import as_utf8, printable, say
from imgscan.report.formats import find_format, format_of, write_report
from imgscan.report.human import UNFINISHED
from imgscan.report.record import Record, read_record, record_in
from imgscan.report.schema import schema
from imgscan.report.verify import verify


def report_command(
    results: Path | None,
    *,
    outputs: list[Path],
    name: str | None,
    as_schema: bool,
    only_verify: bool = False,
    decisions: Path | None = None,
) -> ExitCode:
    """Write or print a record, with a reviewer's decisions where there are some, or verify it; the exit code is that of the
    conversion, not of the scan."""
    if only_verify and (outputs or name or as_schema or decisions):
        raise InputError("--verify writes no report; leave -o, --format, --schema and --decisions out")
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
        if decisions is not None and real(path) == real(decisions):
            raise InputError(f"-o {path}: is the file of --decisions; wanted another file")
    shown = find_format(name or "human") if name or not outputs else None
    record = read_record(record_in(results))
    if not record.complete:
        say(f"imgscan: {results}: {UNFINISHED}")
    if decisions is not None:
        record = _reviewed(record, decisions)
    for path in outputs:
        write_report(record, path)
    if shown is not None:
        sys.stdout.write(as_utf8(shown.render(record)))
    return ExitCode.CLEAN


def _reviewed(record: Record, file: Path) -> Record:
    try:
        made = read_decisions(file)
    except InputError as error:
        raise InputError(f"--decisions: {error}") from error
    for remark in remarks(made, record):
        say(f"imgscan: {file}: {remark}")
    return reviewed(record, made)


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
