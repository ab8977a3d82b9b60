"""`imgscan scan`: the gate."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgscan import __version__
from imgscan.alike.groups import Batch, earlier_in
from imgscan.baseline import Baseline, read_baseline
from imgscan.digests import digest_of
from imgscan.errors import ExitCode, InputError, OutputError, exit_code_of
from imgscan.find import FROM_STDIN, Filter, can_be_made, find, holds_scan, read_list, real
from imgscan.judge import FailOn, least_score, parse_fail_on, parse_report_from
from imgscan.licences import check_usable, licence_facts
from imgscan.operating_points import OperatingPoint
from imgscan.printable import as_utf8, printable, say
from imgscan.progress import bar
from imgscan.records import Assessed, Line, Skipped, Source
from imgscan.report.alike import alike_texts
from imgscan.report.formats import Format, find_format, format_of, write_report
from imgscan.report.human import finding_text, passed_over_text, summary_text, timing_text
from imgscan.report.jsonl import SCHEMA, JsonLines, Tally, read_lines, result_line, run_line, summary_line
from imgscan.report.record import to_record
from imgscan.unreadable import MostUnreadable, parse_most_unreadable
from imgscan.weights import Model, check_side, find_model, shape_of

if TYPE_CHECKING:
    from imgscan.scanner import Scanner
    from imgscan.store import Store

STDIN = Path("-")  # one picture on standard input
PAGE = "report.html"  # below --out, of every scan that came to its end
BACKLOG = 8  # results whose files are still being written, before the scan has to wait


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
    side: int | None
    cluster: str | None
    grid: str | None
    cluster_seconds: float
    compat: str | None
    accept_licence: bool
    fail_on: str | None
    report_from: str | None
    least_area: float
    drawn: bool
    baseline: Path | None
    earlier: list[Path]
    exit_zero: bool
    allow_unreadable: bool
    max_unreadable: str | None
    features: bool
    verbose: bool
    outputs: list[Path]
    output_format: str | None
    only_paths: bool
    print0: bool
    force: bool


def scan_command(options: ScanOptions) -> ExitCode:
    """Everything the flags ask for, checked before torch is loaded and before anything is written."""
    out = options.out
    listed = _listed(options)
    dashes = sum(Path(word) == STDIN for word in sys.argv if word != "-")  # ./- is a file of that name; as Paths they are the same
    from_stdin = options.paths.count(STDIN) > dashes
    paths = [*options.paths, *listed]
    if not paths and options.files_from is None:
        raise InputError("nothing to scan: give pictures, folders, or --files-from FILE")
    for path in paths:
        if os.path.isdir(path) and real(out) == real(path):  # noqa: PTH112 - Path.is_dir raises where it may not look
            raise InputError(f"--out {out} is a scanned folder; wanted a folder beside it, masks must not be scanned as pictures")
    for path in options.outputs:
        format_of(path)
        if not can_be_made(path):  # before hours of scanning, not after
            raise InputError(f"-o {path}: cannot be written there; wanted a file in a folder of yours")
    most = parse_most_unreadable(options.max_unreadable, options.allow_unreadable)
    printed = None if options.output_format is None else find_format(options.output_format)
    if printed is not None and (options.only_paths or options.print0):
        raise InputError("--format and -l both say what goes to stdout; wanted one of them")
    baseline = read_baseline(options.baseline)
    batch = Batch(earlier_in(options.earlier))
    others: list[Path] = []
    files = [*(path for path in options.paths if path != STDIN or dashes), *listed]
    sources = find(files, out, options.chosen, others, set(listed) - set(options.paths))
    _refuse_hidden(out, paths, options.chosen)
    if from_stdin:
        sources.append(_from_stdin(options, sources))
    taken = {real(source.path) for source in sources}
    for path in options.outputs:
        if real(path) in taken:
            raise InputError(f"-o {path}: is one of the scanned pictures; wanted another file")
    chosen = find_model(options.model, options.compat)
    check_usable(chosen.cards, options.accept_licence)
    check_side(chosen, options.side)
    if options.cluster is None and options.grid is None:
        _gates(options, chosen)  # before torch is loaded
    from imgscan.devices import choose_device
    from imgscan.scanner import build_scanner, parse_grid, with_clustering
    from imgscan.store import check_out

    place = choose_device(options.device)
    chosen = with_clustering(chosen, options.cluster, parse_grid(options.grid), options.cluster_seconds, place)
    gates = _gates(options, chosen)
    scanner = build_scanner(
        chosen,
        device=place,
        batch=options.batch,
        jobs=options.jobs,
        side=options.side,
        weakest=least_score(gates.report_from, chosen.points),
        drawn=options.drawn,
        spares=True,
        accept_licence=options.accept_licence,
    )
    if options.grid == "auto":
        cells = f"{scanner.clustering.grid} cells a side"
        say(f"imgscan: --grid auto: {cells} are clustered within {options.cluster_seconds:g} s here")
    check_out(out, sources)
    passed_over = [str(path) for path in others]
    if passed_over:
        say(f"imgscan: {passed_over_text(passed_over)}")
    if not sources:
        say(f"imgscan: nothing to scan: no pictures in {', '.join(map(str, paths)) or options.files_from}")
    if not chosen.points:
        say(f"imgscan: {chosen.name} has no measured operating points: scores only, and no findings without --fail-on SCORE")
    measured = _measured_sides(options, chosen)
    if measured:
        say(
            f"imgscan: --side {options.side}: the thresholds and their false-alarm rates were measured with "
            f"{' and '.join(map(str, measured))} pixels at once; "
            f"imgscan calibrate --side {options.side} measures them"
        )
    for name, facts in licence_facts(chosen.cards, options.accept_licence).items():
        if facts["accepted"]:
            say(f"imgscan: weights {name}: no commercial use ({facts['licence']}); accepted by you")
    for remark in baseline.remarks:
        say(f"imgscan: {options.baseline}: {remark}")
    return _run(options, sources, passed_over, chosen, scanner, gates, most, baseline, batch, printed)


def _refuse_hidden(out: Path, paths: Sequence[Path], chosen: Filter) -> None:
    """Refuse an output folder that holds pictures to be scanned and no earlier scan: as `out` it is passed over."""
    within = real(out)
    around = [path for path in paths if os.path.isdir(path) and within.is_relative_to(real(path))]  # noqa: PTH112
    if not around or not os.path.isdir(out) or holds_scan(out) or not find([out]):  # noqa: PTH112 - Path.is_dir may raise
        return
    hidden = [source for source in find(around, None, chosen) if real(source.path).is_relative_to(within)]
    if hidden:
        raise InputError(
            f"--out {out}: holds {len(hidden)} of the pictures to scan ({hidden[0].path.name}) and is itself never scanned; "
            "wanted a new folder, or one of an earlier scan"
        )


def _measured_sides(options: ScanOptions, model: Model) -> list[int]:
    """What tiles and whole pictures measured at most when the thresholds were, where --side asks for something else; else none."""
    if options.side is None or not model.points:
        return []
    plans = [card.data["input"] for card in model.cards]
    sides = {plan["side"] for plan in plans} | {plan["whole"] for plan in plans if "whole" in plan}
    return sorted(sides) if sides - {options.side} else []


def _run(
    options: ScanOptions,
    sources: Sequence[Source],
    passed_over: Sequence[str],
    model: Model,
    scanner: Scanner,
    gates: _Gates,
    most: MostUnreadable,
    baseline: Baseline,
    batch: Batch,
    printed: Format | None,
) -> ExitCode:
    """Scan, write, tell: what was found before is taken from there."""
    from imgscan.features_file import FeaturesFile, retire
    from imgscan.pipeline import network_rate
    from imgscan.resume import Journal
    from imgscan.scanner import REVISION
    from imgscan.store import Store

    out = options.out
    weights = {card.full_name: card.sha256 for card in model.cards}
    decisive = {
        "schema": SCHEMA,
        "version": __version__,
        "model": model.name,
        "weights": weights,
        "compat": model.compat,
        "operating_points": _facts(model.points),
        "bf16": scanner.amp,
        "input": [asdict(plan) for plan in scanner.plans],
        "fuse": asdict(scanner.fusing),
        "clustering": asdict(scanner.clustering),
        "localize": asdict(scanner.localizing),
    }
    # An interval that no card states decides nothing.
    stated = decisive | {"operating_points": _facts([point.with_interval() for point in model.points])}
    key = digest_of(decisive | {"networks": [shape_of(card) for card in model.cards], "revision": REVISION})
    tally = Tally()
    paths_only = options.only_paths or options.print0  # bytes, which would be written behind a bar on the same terminal
    began = time.perf_counter()
    with Journal(out, key, force=options.force) as journal:
        digests = "+".join(weights.values())
        features = FeaturesFile(out, key=key, model=model.name, weights=digests) if options.features else None
        earlier = journal.find(sources, features, scanner.jobs)
        with (
            Store(out, features=features) as store,
            JsonLines(out / "results.jsonl") as lines,
            bar("scanning", len(sources), shown=not (paths_only and sys.stdout.isatty())) as progress,
        ):
            _drop_reports(options)
            lines.write(
                run_line(
                    started=datetime.now(UTC).isoformat(timespec="seconds"),
                    **{name: fact for name, fact in stated.items() if name not in ("schema", "version")},
                    licences=licence_facts(model.cards, options.accept_licence),
                    fail_on=asdict(gates.fail_on),
                    report_from=asdict(gates.report_from),
                    max_unreadable=most.said,
                    measured_sides=_measured_sides(options, model),
                    passed_over=passed_over,
                    device=str(scanner.device),
                    key=key,
                )
            )
            complete = False
            code = ExitCode.INCOMPLETE
            try:
                for made in results(sources, earlier, scanner, store):
                    line = tally.add(made, gates.fail_on, gates.report_from, baseline.known, baseline.reviews)
                    batch.add(line)
                    journal.append(line)
                    if features is not None and line["status"] == "assessed" and not line.get("withheld"):
                        features.note(line)
                    lines.write(line)
                    _tell(line, quiet=printed is not None, options=options)
                    progress.advance(f"{tally.flagged} flagged")
                batch.finish(sources)
                store.finish()
                complete = True
                code = _exit_code(tally, exit_zero=options.exit_zero, most=most)
            except BaseException as error:
                code = exit_code_of(error)
                raise
            finally:
                seconds = time.perf_counter() - began
                lines.write(summary_line(tally, complete=complete, seconds=seconds, exit_code=int(code), alike=batch.alike))
                if features is None:
                    retire(out, key, whole=complete)
        if features is not None:
            features.clear()
        record = to_record(read_lines(out / "results.jsonl"), out)
        unwritten: list[OutputError] = []
        for path in _reports(options):
            try:
                write_report(record, path)
            except OutputError as error:  # the others are written, and what was found is told, all the same
                unwritten.append(error)
    if printed is not None:
        sys.stdout.write(as_utf8(printed.render(record)))
    if options.verbose:
        for row in timing_text(scanner.timings, seconds, network_rate(scanner)).split("\n"):
            say(row)
    for row in alike_texts(record, each=options.verbose):
        say(row)
    say(summary_text(tally, seconds, str(out), len(earlier), least_score(gates.report_from, model.points) <= 1))
    if not most.allows(tally.skipped, tally.pictures):
        many = f"{tally.skipped} of {tally.pictures} pictures could not be assessed"
        say(f"imgscan: {many}, more than --max-unreadable {most.said}: the scan is not complete")
    for one in unwritten:
        say(f"imgscan: {one}")
    return ExitCode.INCOMPLETE if unwritten else code


def _facts(points: Sequence[OperatingPoint]) -> list[dict[str, Any]]:
    """Thresholds as the record has them."""
    return [{k: v for k, v in asdict(point).items() if v is not None} for point in points]


def _reports(options: ScanOptions) -> list[Path]:
    """What is written of the record: the files of -o, and the page."""
    page = options.out / PAGE
    return [*options.outputs, *([] if page in options.outputs else [page])]


def _drop_reports(options: ScanOptions) -> None:
    """When a new record begins, those of an earlier one go: a scan that ends early writes none, and they would pass for its own.

    A record that this scan is given, or takes up from, stays until a new one replaces it.
    """
    read = [folder for folder in (options.out, options.baseline, *options.earlier) if folder is not None]
    kept = {real(path) for path in read} | {real(folder / "results.jsonl") for folder in read}
    for path in _reports(options):
        if real(path) not in kept:
            with suppress(OSError):  # whoever cannot remove it cannot replace it either, which is said then
                path.unlink()


def results(sources: Sequence[Source], earlier: Mapping[int, Line], scanner: Scanner, store: Store) -> Iterator[Line]:
    """A result line per source, in their order, each when its files are on disk."""
    from imgscan.pipeline import scan

    computed = scan([source for number, source in enumerate(sources) if number not in earlier], scanner)
    alike = Counter(source.name.casefold() for source in sources)
    waiting: deque[tuple[Assessed | Skipped | Line, Future[dict[str, str]] | None]] = deque()
    for number in range(len(sources)):
        item = earlier[number] if number in earlier else next(computed)
        # Where upper and lower case are one, what lies under this name may be another picture's of this scan.
        if isinstance(item, Skipped) and alike[item.source.name.casefold()] == 1:
            store.drop(item.source.name)
        waiting.append((item, store.add(item) if isinstance(item, Assessed) else None))
        while waiting and (len(waiting) > BACKLOG or waiting[0][1] is None or waiting[0][1].done()):
            yield _line(*waiting.popleft())
    while waiting:
        yield _line(*waiting.popleft())


def _line(item: Assessed | Skipped | Line, written: Future[dict[str, str]] | None) -> Line:
    if isinstance(item, dict):
        return item
    return result_line(item, written.result() if written is not None else None)


@dataclass(frozen=True)
class _Gates:
    """What fails the scan, and what is reported."""

    fail_on: FailOn
    report_from: FailOn


def _gates(options: ScanOptions, model: Model) -> _Gates:
    fail_on = replace(parse_fail_on(options.fail_on, model.points, model.name), area=options.least_area)
    return _Gates(fail_on, parse_report_from(options.report_from, fail_on, model.points, model.name))


def _from_stdin(options: ScanOptions, others: Sequence[Source]) -> Source:
    """The picture on standard input."""
    if options.files_from == "-":
        raise InputError("- and --files-from - both read standard input; wanted one of them")
    if any(source.name == "stdin" for source in others):
        raise InputError("- is called stdin in the output, as a scanned picture is; scan them apart")
    return Source(Path(FROM_STDIN), "stdin", sys.stdin.buffer.read())


def _exit_code(tally: Tally, *, exit_zero: bool, most: MostUnreadable) -> ExitCode:
    if not most.allows(tally.skipped, tally.pictures):
        return ExitCode.INCOMPLETE
    return ExitCode.FINDINGS if tally.flagged and not exit_zero else ExitCode.CLEAN


def _tell(line: Line, *, quiet: bool, options: ScanOptions) -> None:
    """A finding goes to stdout, as a line or as its path alone; a skipped file to stderr."""
    if line["status"] == "skipped":
        say(f"imgscan: skipped {line['path']}: {line['reason']}")
    elif line["reported"] and (options.only_paths or options.print0):
        sys.stdout.flush()
        path = f"./{line['path']}" if line["path"].startswith("-") else line["path"]  # or whoever is given it takes it for a flag
        name = printable(path).encode() if sys.stdout.isatty() else os.fsencode(path)  # only whoever pipes them needs the bytes
        sys.stdout.buffer.write(name + (b"\0" if options.print0 else b"\n"))
        sys.stdout.buffer.flush()
    elif line["reported"] and not quiet:
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
