"""`imgscan scan`: the gate."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from imgscan.errors import ExitCode, InputError, exit_code_of
from imgscan.find import Filter, find, read_list
from imgscan.judge import parse_fail_on
from imgscan.licences import check_usable, licence_facts
from imgscan.progress import bar
from imgscan.records import Assessed, Skipped
from imgscan.report.formats import find_format, format_of, write_report
from imgscan.report.human import finding_text, printable, summary_text, timing_text
from imgscan.report.jsonl import JsonLines, Tally, result_line, run_line, summary_line
from imgscan.report.record import read_record
from imgscan.weights import find_model


@dataclass(frozen=True)
class ScanOptions:
    """What the command line says."""

    paths: list[Path]
    files_from: str | None
    zero: bool
    chosen: Filter
    model: str
    out: Path
    device: str
    jobs: int | None
    batch: int | None
    cluster: str | None
    grid: str | None
    cluster_seconds: float
    compat: str | None
    accept_licence: bool
    fail_on: str | None
    least_area: float
    baseline: Path | None
    exit_zero: bool
    allow_unreadable: bool
    features: bool
    verbose: bool
    outputs: list[Path]
    output_format: str | None
    only_paths: bool
    print0: bool


def scan_command(options: ScanOptions) -> ExitCode:
    """Everything the flags ask for, checked before torch is loaded and before anything is written."""
    out = options.out
    paths = [*options.paths, *_listed(options)]
    if not paths and options.files_from is None:
        raise InputError("nothing to scan: give pictures, folders, or --files-from FILE")
    for path in paths:
        if path.is_dir() and out.resolve() == path.resolve():
            raise InputError(f"--out {out} is a scanned folder; wanted a folder beside it, masks must not be scanned as pictures")
    for path in options.outputs:
        format_of(path)
    printed = None if options.output_format is None else find_format(options.output_format)
    if printed is not None and (options.only_paths or options.print0):
        raise InputError("--format and -l both say what goes to stdout; wanted one of them")
    known = set() if options.baseline is None else {line["sha256"] for line in read_record(options.baseline).reached}
    sources = find(paths, out, options.chosen)
    taken = {source.path.resolve() for source in sources}
    for path in options.outputs:
        if path.resolve() in taken:
            raise InputError(f"-o {path}: is one of the scanned pictures; wanted another file")
    chosen = find_model(options.model, options.compat)
    check_usable(chosen.cards, options.accept_licence)
    if options.cluster is None and options.grid is None:
        parse_fail_on(options.fail_on, chosen.points, chosen.name)  # before torch is loaded
    from imgscan.pipeline import network_rate, scan
    from imgscan.scanner import build_scanner, choose_device, parse_grid, with_clustering
    from imgscan.store import Store, check_out

    place = choose_device(options.device)
    chosen = with_clustering(chosen, options.cluster, parse_grid(options.grid), options.cluster_seconds, place)
    gate = replace(parse_fail_on(options.fail_on, chosen.points, chosen.name), area=options.least_area)
    scanner = build_scanner(chosen, device=place, batch=options.batch, jobs=options.jobs, accept_licence=options.accept_licence)
    if options.grid == "auto":
        cells = f"{scanner.clustering.grid} cells a side"
        _say(f"imgscan: --grid auto: {cells} are clustered within {options.cluster_seconds:g} s here")
    check_out(out, sources)
    if not sources:
        _say(f"imgscan: nothing to scan: no pictures in {', '.join(map(str, paths))}")
    weights = "+".join(card.sha256 for card in chosen.cards)
    tally = Tally()
    began = time.perf_counter()
    with (
        Store(out, features=options.features, model=chosen.name, weights=weights) as store,
        JsonLines(out / "results.jsonl") as lines,
        bar("scanning", len(sources)) as progress,
    ):
        lines.write(
            run_line(
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                model=chosen.name,
                weights={card.full_name: card.sha256 for card in chosen.cards},
                licences=licence_facts(chosen.cards, options.accept_licence),
                compat=chosen.compat,
                operating_points=[asdict(point) for point in chosen.points],
                fail_on=asdict(gate),
                device=str(scanner.device),
                bf16=scanner.amp,
                input=[asdict(plan) for plan in scanner.plans],
                fuse=asdict(scanner.fusing),
                clustering=asdict(scanner.clustering),
                localize=asdict(scanner.localizing),
            )
        )
        if not chosen.points:
            _say(f"imgscan: {chosen.name} has no measured operating points: scores only, and no findings without --fail-on SCORE")
        for name, facts in licence_facts(chosen.cards, options.accept_licence).items():
            if facts["accepted"]:
                _say(f"imgscan: weights {name}: no commercial use ({facts['licence']}); accepted by you")
        complete = False
        code = ExitCode.INCOMPLETE
        try:
            for item in scan(sources, scanner):
                found, old = tally.add(item, gate, known)
                line = result_line(item, found, known=old)
                if isinstance(item, Assessed):
                    store.add(item)
                lines.write(line)
                _tell(item, line, found, quiet=printed is not None, options=options)
                progress.advance(f"{tally.flagged} flagged")
            store.finish()
            complete = True
            code = _exit_code(tally, exit_zero=options.exit_zero, allow_unreadable=options.allow_unreadable)
        except BaseException as error:
            code = exit_code_of(error)
            raise
        finally:
            seconds = time.perf_counter() - began
            lines.write(summary_line(tally, complete=complete, seconds=seconds, exit_code=int(code)))
    if options.outputs or printed is not None:
        record = read_record(out / "results.jsonl")
        for path in options.outputs:
            write_report(record, path)
        if printed is not None:
            sys.stdout.write(printed.render(record).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    if options.verbose:
        _say(timing_text(scanner.timings, seconds, network_rate(scanner)))
    _say(summary_text(tally, seconds, str(out)))
    return code


def _exit_code(tally: Tally, *, exit_zero: bool, allow_unreadable: bool) -> ExitCode:
    if tally.skipped and not allow_unreadable:
        return ExitCode.INCOMPLETE
    return ExitCode.FINDINGS if tally.flagged and not exit_zero else ExitCode.CLEAN


def _tell(item: Assessed | Skipped, line: dict[str, object], found: bool, *, quiet: bool, options: ScanOptions) -> None:
    """A finding goes to stdout, as a line or as its path alone; a skipped file to stderr."""
    if isinstance(item, Skipped):
        _say(f"imgscan: skipped {printable(str(item.source.path))}: {item.reason}")
    elif found and (options.only_paths or options.print0):
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(item.finding.picture.path) + (b"\0" if options.print0 else b"\n"))
        sys.stdout.buffer.flush()
    elif found and not quiet:
        print(finding_text(line), flush=True)


def _listed(options: ScanOptions) -> list[Path]:
    """The paths of --files-from."""
    if options.files_from is None:
        return []
    if options.files_from == "-":
        return read_list(sys.stdin.buffer.read(), options.zero)
    try:
        return read_list(Path(options.files_from).read_bytes(), options.zero)
    except OSError as error:
        raise InputError(f"--files-from {options.files_from}: cannot be read: {error.strerror or error}") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr)
