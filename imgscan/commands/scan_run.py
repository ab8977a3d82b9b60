"""A scan whose settings are checked: its results, the record, the reports, and what is said of them."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgscan import __version__
from imgscan.alike.batch import Batch
from imgscan.commands.scan_options import Gates, ScanOptions, measured_sides
from imgscan.digests import digest_of
from imgscan.errors import FULL, ExitCode, OutputError, exit_code_of
from imgscan.find import real
from imgscan.judge import least_score
from imgscan.licences import licence_facts
from imgscan.operating_points import OperatingPoint
from imgscan.printable import as_utf8, printable, say
from imgscan.progress import Bar, bar
from imgscan.records import Line, Source
from imgscan.report.alike import alike_texts
from imgscan.report.formats import Format, write_report
from imgscan.report.human import finding_text, summary_text, timing_text
from imgscan.report.jsonl import SCHEMA, JsonLines, Tally, read_lines, run_line, summary_line
from imgscan.report.parts import parts_texts
from imgscan.report.record import Record, to_record
from imgscan.unreadable import MostUnreadable
from imgscan.weights import Model, shape_of

if TYPE_CHECKING:
    from imgscan.scanner import Scanner
    from imgscan.store import Store

PAGE = "report.html"  # below --out, of every scan that came to its end


def run(
    options: ScanOptions,
    sources: Sequence[Source],
    later: Iterable[Sequence[Source]],
    passed_over: Sequence[str],
    model: Model,
    scanner: Scanner,
    gates: Gates,
    batch: Batch,
    printed: Format | None,
) -> ExitCode:
    """Scan, write, tell: what was found before is taken from there.

    Args:
        options, passed_over, model, scanner, gates, batch, printed: what was asked for, and what is ready for it.
        sources: the pictures that are known.
        later: those that come while the scan runs, round by round; the next is asked for when everything before is told.
    """
    from imgscan.features_file import FeaturesFile, keeps, retire
    from imgscan.lines import result_lines
    from imgscan.pipeline import network_rate
    from imgscan.resume import Journal
    from imgscan.scanner import REVISION
    from imgscan.store import Store

    out = options.out
    decisive = _decisive(model, scanner)
    # An interval that no card states decides nothing.
    stated = decisive | {"operating_points": _facts([point.with_interval() for point in model.points])}
    key = digest_of(decisive | {"networks": [shape_of(card) for card in model.cards], "revision": REVISION})
    tally = Tally()
    paths_only = options.only_paths or options.print0  # bytes, which would be written behind a bar on the same terminal
    unwritten: list[OutputError] = []
    began = time.perf_counter()
    with Journal(out, key, force=options.force) as journal:
        digests = "+".join(decisive["weights"].values())
        features = FeaturesFile(out, key=key, model=model.name, weights=digests) if options.features else None
        earlier = journal.find(sources, features, scanner.jobs)
        gone_through = _Rounds(list(sources), len(earlier))
        with (
            Store(out, features=features) as store,
            JsonLines(out / "results.jsonl") as lines,
            bar("scanning", len(sources), shown=not (paths_only and sys.stdout.isatty())) as progress,
        ):
            _drop_reports(options)
            lines.write(
                run_line(
                    started=datetime.now(UTC).isoformat(timespec="seconds"),
                    **stated,
                    licences=licence_facts(model.cards, options.accept_licence),
                    fail_on=asdict(gates.fail_on),
                    report_from=asdict(gates.report_from),
                    max_unreadable=gates.unreadable.said,
                    measured_sides=measured_sides(options, model),
                    passed_over=passed_over,
                    device=str(scanner.device),
                    key=key,
                )
            )
            complete = False
            code = ExitCode.INCOMPLETE
            try:
                first = result_lines(sources, earlier, scanner, store)
                find_earlier = partial(journal.find, features=features, threads=scanner.jobs)
                for made in chain(first, gone_through.results(later, find_earlier, scanner, store, progress)):
                    line = tally.add(made, gates.fail_on, gates.report_from, gates.baseline.known, gates.baseline.reviews)
                    batch.add(line)
                    journal.append(line)
                    if features is not None and keeps(line):
                        features.note(line)
                    lines.write(line)
                    _tell(line, quiet=printed is not None, options=options)
                    progress.advance(f"{tally.flagged} flagged")
                batch.finish(gone_through.sources, scanner.jobs, partial(_compared, progress, tally))
                code = _exit_code(tally, exit_zero=options.exit_zero, most=gates.unreadable)
                try:
                    store.finish()
                except OutputError as error:  # what was found is told, and reported, all the same
                    unwritten.append(error)
                    code = ExitCode.INCOMPLETE
                complete = True
            except BaseException as error:
                code = exit_code_of(error)
                if isinstance(error, OutputError) and getattr(error.__cause__, "errno", None) in FULL:
                    raise OutputError(f"{error}; make room and call again, which goes on from here") from error.__cause__
                raise
            finally:
                seconds = time.perf_counter() - began
                found = {"alike": batch.alike, "parts": batch.parts}
                lines.write(summary_line(tally, complete=complete, seconds=seconds, exit_code=int(code), **found))
                if features is None:
                    retire(out, key, whole=complete)
        if features is not None and not unwritten:
            features.clear()
        record = to_record(read_lines(out / "results.jsonl"), out)
        unwritten += _write_reports(record, _reports(options))
    if printed is not None:
        sys.stdout.write(as_utf8(printed.render(record)))
    if options.verbose:
        for row in timing_text(scanner.timings, seconds, network_rate(scanner)).split("\n"):
            say(row)
    for row in (*alike_texts(record, each=options.verbose), *parts_texts(record, each=options.verbose)):
        say(row)
    say(summary_text(tally, seconds, str(out), gone_through.reused, least_score(gates.report_from, model.points) <= 1))
    if not gates.unreadable.allows(tally.skipped, tally.pictures):
        many = f"{tally.skipped} of {tally.pictures} pictures could not be assessed"
        say(f"imgscan: {many}, more than --max-unreadable {gates.unreadable.said}: the scan is not complete")
    for one in unwritten:
        say(f"imgscan: {one}")
    return ExitCode.INCOMPLETE if unwritten else code


def _decisive(model: Model, scanner: Scanner) -> dict[str, Any]:
    """What decides a result, as the run line states it."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "model": model.name,
        "weights": {card.full_name: card.sha256 for card in model.cards},
        "compat": model.compat,
        "operating_points": _facts(model.points),
        "bf16": scanner.amp,
        "input": [asdict(plan) for plan in scanner.plans],
        "fuse": asdict(scanner.fusing),
        "clustering": asdict(scanner.clustering),
        "localize": asdict(scanner.localizing),
    }


def _facts(points: Sequence[OperatingPoint]) -> list[dict[str, Any]]:
    """Thresholds as the record has them."""
    return [{k: v for k, v in asdict(point).items() if v is not None} for point in points]


def _reports(options: ScanOptions) -> list[Path]:
    """What is written of the record: the files of -o, and the page."""
    page = options.out / PAGE
    return [*options.outputs, *([] if page in options.outputs else [page])]


def _write_reports(record: Record, paths: Sequence[Path]) -> list[OutputError]:
    """Write what can be written; why the others could not: what was found is told all the same."""
    unwritten = []
    for path in paths:
        try:
            write_report(record, path)
        except OutputError as error:
            unwritten.append(error)
    return unwritten


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


@dataclass
class _Rounds:
    """The pictures that a scan has come to, while further ones come."""

    sources: list[Source]
    reused: int  # of them, whose results are those of an earlier scan

    def results(
        self,
        later: Iterable[Sequence[Source]],
        find_earlier: Callable[[Sequence[Source]], dict[int, Line]],
        scanner: Scanner,
        store: Store,
        progress: Bar,
    ) -> Iterator[Line]:
        """The result lines of each round that comes, all of them before the next one is asked for."""
        from imgscan.lines import result_lines

        names = Counter(source.name.casefold() for source in self.sources)
        for sources in later:
            progress.expect(len(sources))
            earlier = find_earlier(sources)
            names.update(source.name.casefold() for source in sources)
            self.sources += sources
            self.reused += len(earlier)
            yield from result_lines(sources, earlier, _for_few(scanner, len(sources) - len(earlier)), store, names)


def _for_few(scanner: Scanner, pictures: int) -> Scanner:
    """Beside a GPU every round starts processes anew: no more than it has pictures.  On the CPU `busy` sees to that."""
    return scanner if scanner.device.type == "cpu" else replace(scanner, jobs=min(scanner.jobs, pictures))


def _compared(progress: Bar, tally: Tally, done: int, of: int) -> None:
    """Beside the bar, which is at its end by then."""
    progress.advance(f"{tally.flagged} flagged; {done} of {of} compared", by=0)


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
