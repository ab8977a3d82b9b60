"""`imgscan scan`: the gate."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from imgscan.alike.batch import Batch
from imgscan.alike.pictures import earlier_in
from imgscan.arrivals import Arrivals
from imgscan.baseline import read_baseline
from imgscan.commands.scan_options import ScanOptions, gates_of, measured_sides
from imgscan.commands.scan_run import run
from imgscan.errors import ExitCode, InputError
from imgscan.find import FROM_STDIN, Filter, Finder, can_be_made, find, holds_scan, read_list, real
from imgscan.judge import least_score
from imgscan.licences import check_usable, licence_facts
from imgscan.printable import say
from imgscan.records import Source
from imgscan.report.formats import find_format, format_of
from imgscan.report.human import passed_over_text
from imgscan.unreadable import parse_most_unreadable
from imgscan.weights import check_side, find_model

STDIN = Path("-")  # one picture on standard input


def scan_command(options: ScanOptions) -> ExitCode:
    """Everything the flags ask for, checked before torch is loaded and before anything is written."""
    out = options.out
    dashes = sum(Path(word) == STDIN for word in sys.argv if word != "-")  # ./- is a file of that name; as Paths they are the same
    from_stdin = options.paths.count(STDIN) > dashes
    if from_stdin and options.files_from == "-":
        raise InputError("- and --files-from - both read standard input; wanted one of them")
    arrivals = Arrivals(options.zero) if options.files_from == "-" else None
    listed = _listed(options) if arrivals is None else arrivals.at_once()
    late = arrivals is not None and not arrivals.ended
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
    unreadable = parse_most_unreadable(options.max_unreadable, options.allow_unreadable)
    printed = None if options.output_format is None else find_format(options.output_format)
    if printed is not None and (options.only_paths or options.print0):
        raise InputError("--format and -l both say what goes to stdout; wanted one of them")
    baseline = read_baseline(options.baseline)
    batch = Batch(earlier_in(options.earlier), options.parts)
    others: list[Path] = []
    files = [*(path for path in options.paths if path != STDIN or dashes), *listed]
    finder = Finder(out, options.chosen)
    if late:  # they come from what happens on the disk: see Finder
        sources = finder.take(files[: len(files) - len(listed)], others) + finder.take(listed, others, late=True)
    else:
        sources = finder.take(files, others, set(listed) - set(options.paths))
    _refuse_hidden(out, paths, options.chosen)
    if from_stdin:
        sources.append(_from_stdin(sources))
    _keep_pictures(options.outputs, sources)
    chosen = find_model(options.model, options.compat)
    check_usable(chosen.cards, options.accept_licence)
    check_side(chosen, options.side)
    if options.cluster is None and options.grid is None:
        gates_of(options, chosen, unreadable, baseline)  # before torch is loaded
    from imgscan.devices import choose_device
    from imgscan.scanner import build_scanner, parse_grid, with_clustering
    from imgscan.store import check_out

    place = choose_device(options.device)
    chosen = with_clustering(chosen, options.cluster, parse_grid(options.grid), options.cluster_seconds, place)
    gates = gates_of(options, chosen, unreadable, baseline)
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
    if not sources and not late:
        where = ", ".join(map(str, paths)) or options.files_from
        say(f"imgscan: nothing to scan: {_left_out(options.chosen, files, out, listed) or 'no pictures'} in {where}")
    if not chosen.points:
        say(f"imgscan: {chosen.name} has no measured operating points: scores only, and no findings without --fail-on SCORE")
    measured = measured_sides(options, chosen)
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
    later = _later(arrivals, finder, options) if arrivals is not None and late else ()
    return run(options, sources, later, passed_over, chosen, scanner, gates, batch, printed)


def _later(arrivals: Arrivals, finder: Finder, options: ScanOptions) -> Iterator[list[Source]]:
    """The pictures that come while the scan runs, round by round."""
    from imgscan.store import check_out

    for paths in arrivals.rounds():
        others: list[Path] = []
        sources = finder.take(paths, others, late=True)
        _keep_pictures(options.outputs, sources)
        check_out(options.out, sources)
        if others:
            say(f"imgscan: {passed_over_text([str(path) for path in others])}")
        if sources:
            yield sources


def _keep_pictures(outputs: Sequence[Path], sources: Sequence[Source]) -> None:
    """Refuse a report that would be written over a picture."""
    taken = {real(source.path) for source in sources}
    for path in outputs:
        if real(path) in taken:
            raise InputError(f"-o {path}: is one of the scanned pictures; wanted another file")


def _left_out(chosen: Filter, files: Sequence[Path], out: Path, listed: Sequence[Path]) -> str:
    """What patterns leave out where nothing is left; "": there is nothing without them either."""
    patterns = [f"--exclude {one}" for one in chosen.exclude] + [f"--include {one}" for one in chosen.include]
    if not patterns:
        return ""
    try:
        count = len(find(files, out, None, None, listed))
    except InputError:  # without patterns, two would write the same files
        return f"{', '.join(patterns)} leave nothing"
    return f"{', '.join(patterns)} leave none of {count} picture{'s' * (count != 1)}" if count else ""


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


def _from_stdin(others: Sequence[Source]) -> Source:
    """The picture on standard input."""
    if any(source.name == "stdin" for source in others):
        raise InputError("- is called stdin in the output, as a scanned picture is; scan them apart")
    return Source(Path(FROM_STDIN), "stdin", sys.stdin.buffer.read())


def _listed(options: ScanOptions) -> list[Path]:
    """The paths of a file of --files-from."""
    if options.files_from is None:
        return []
    try:
        return read_list(Path(options.files_from).read_bytes(), options.zero)
    except OSError as error:
        raise InputError(f"--files-from {options.files_from}: cannot be read: {error.strerror or error}") from error
