"""`imgscan evaluate --table` and `imgscan train table`: the papers' tables, and grids, as far as the present data allows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from imgscan import __version__
from imgscan.commands.evaluate import EvaluateOptions, PictureSet, evaluate_set, model_options, read_pictures
from imgscan.commands.train import TrainOptions, anywhere, train_command
from imgscan.datasets.resolve import parse, resolve
from imgscan.errors import BY_SIGNAL, ConfigError, ExitCode, ImgscanError, InputError
from imgscan.evaluation.cells import (
    COUNT,
    MEAN,
    NO_METHOD,
    Candidates,
    Cell,
    Column,
    NotRunError,
    find_candidates,
    is_benchmark,
    model_text,
    parse_column,
    protocol_of,
    run_name,
    training_arguments,
    wanted_training,
)
from imgscan.evaluation.contestants import Contestant, ModelOptions, of_model, training_sets
from imgscan.evaluation.ledger import Ledger
from imgscan.evaluation.measure import Question
from imgscan.evaluation.papers import UNITS, PaperRow, PaperTable, read_table
from imgscan.evaluation.protocols import Protocol
from imgscan.evaluation.summary import mean_of
from imgscan.evaluation.tables import Shown, show
from imgscan.printable import printable, say
from imgscan.progress import bar
from imgscan.weights import ALIASES


@dataclass(frozen=True)
class _Wanted:
    """A cell that can be measured."""

    column: Column
    row: PaperRow
    model: str  # as of_model takes it
    cluster: str | None
    protocol: Protocol


def table_command(name: str, options: EvaluateOptions, runs: list[Path]) -> ExitCode:
    """Fill a table and lay it beside the paper's; what could not be run is said cell by cell, with the reason."""
    others = (options.data, options.attacks, options.masks, options.figures, options.csv)
    if any(others) or options.protocol != "native":
        flags = "--data, --protocol, --attack, --masks, --figures and --csv"
        raise InputError(f"--table brings its own data, protocol and attacks; leave out {flags}")
    table = read_table(name)
    if table.protocol is None:
        cells, skipped = list(_counted(table, options.roots)), 0
    else:
        cells, skipped = _filled(table, options, find_candidates(options.models, runs))
    if options.as_json:
        for cell in cells:
            print(
                json.dumps(
                    {"version": __version__, "table": table.name, "protocol": table.protocol, "unit": table.unit} | asdict(cell)
                )
            )
    else:
        _print(table, cells)
    if not any(cell.ours is not None for cell in cells):
        raise InputError(f"--table {name}: no cell could be run, for the reasons given")
    return ExitCode.INCOMPLETE if skipped else ExitCode.CLEAN


def _counted(table: PaperTable, roots: list[Path]) -> Iterator[Cell]:
    """A list of data sets: ours is how many forged pictures there are."""
    for row in table.rows:
        if COUNT in table.columns:
            cell = Cell(
                row.method, COUNT, row.values[table.columns.index(COUNT)], None, 0, "", "imgscan does not know this data set"
            )
            if row.data is not None:
                try:
                    entries = [entry for entry in resolve(row.data, roots, "all") if entry.mask is not None]
                    cell = replace(cell, ours=float(len(entries)), pictures=len(entries), reason="")
                except InputError as error:
                    cell = replace(cell, reason=str(error))
            yield cell


def _filled(table: PaperTable, options: EvaluateOptions, candidates: Candidates) -> tuple[list[Cell], int]:
    """Every cell of a table, and how many answers could not be had from pictures that are there."""
    columns = [parse_column(text, table.protocol) for text in table.columns]
    trainings = {wanted_training(table, row, column.data) for row in table.rows for column in columns}
    trained = {name for data in trainings if data is not None for name, _ in parse(data)}
    trained |= {name for card in (*candidates.given, *candidates.trained) for name in training_sets(card)}
    sets, missing = _sets(columns, options.roots, trained)
    wanted: dict[tuple[str, str], _Wanted] = {}
    reasons: dict[tuple[str, str], str] = {}
    for row in table.rows:
        for column in columns:
            place = row.method, column.text
            if column.data == MEAN:
                continue
            try:
                model = model_text(table, row, column, candidates)
                if column.data in missing:
                    raise NotRunError(missing[column.data])
                assert row.imgscan is not None
                usual = None if options.cluster or options.compat else table.cluster
                wanted[place] = _Wanted(column, row, model, row.imgscan.cluster or usual, protocol_of(table, row.imgscan))
            except NotRunError as error:
                reasons[place] = str(error)
    found, failed, skipped = _measured(wanted, sets, options)
    reasons |= failed
    cells = []
    scale = UNITS[table.unit]
    for row in table.rows:
        ours = {column.text: found.get((row.method, column.text)) for column in columns}
        for column, value in zip(columns, row.values, strict=True):
            if column.data == MEAN:
                cells.append(_mean_cell(row, column, columns, value, ours, scale))
                continue
            place = row.method, column.text
            number, pictures = ours[column.text] or (None, 0)
            cells.append(
                Cell(
                    method=row.method,
                    column=column.text,
                    paper=value,
                    ours=None if number is None else number * scale,
                    pictures=pictures,
                    model=wanted[place].model if place in wanted else "",
                    reason=reasons.get(place, ""),
                )
            )
    return cells, skipped


def _mean_cell(
    row: PaperRow,
    column: Column,
    columns: list[Column],
    value: float | int | str,
    ours: dict[str, tuple[float, int] | None],
    scale: float,
) -> Cell:
    """The mean over the other columns of its metric, where all of them were run."""
    others = [one for one in columns if one.metric == column.metric and one.attack == column.attack and one.data != MEAN]
    if not others:
        return Cell(row.method, column.text, value, None, 0, "", "a mean needs other columns of its metric")
    numbers = [number for one in others if (number := ours[one.text]) is not None]
    if row.imgscan is None:
        return Cell(row.method, column.text, value, None, 0, "", NO_METHOD)
    if len(numbers) < len(others):
        without = ", ".join(one.data for one in others if ours[one.text] is None)
        return Cell(row.method, column.text, value, None, 0, "", f"a mean needs all data sets; not run: {without}")
    mean = sum(number for number, _ in numbers) / len(numbers)
    return Cell(row.method, column.text, value, mean * scale, sum(n for _, n in numbers), "", "")


def _sets(columns: list[Column], roots: list[Path], trained: Collection[str]) -> tuple[dict[str, PictureSet], dict[str, str]]:
    """The forged pictures of the data sets that are there, and why the others are not; of one that some weights were `trained` on
    the test split."""
    sets: dict[str, PictureSet] = {}
    missing: dict[str, str] = {}
    for data in dict.fromkeys(column.data for column in columns if column.data != MEAN):
        try:
            sets[data] = read_pictures(data, roots, forged=True, split="test" if data in trained else "all")
        except InputError as error:
            missing[data] = str(error)
            continue
        if not sets[data].entries:
            del sets[data]
            missing[data] = f"{data} has no forged pictures"
    return sets, missing


def _measured(
    wanted: dict[tuple[str, str], _Wanted], sets: dict[str, PictureSet], options: EvaluateOptions
) -> tuple[dict[tuple[str, str], tuple[float, int]], dict[tuple[str, str], str], int]:
    """(method, column) -> mean and number of pictures; the same -> why there is none; answers that could not be had.

    One run over the pictures per data set and protocol: everybody who is wanted on them answers together.
    """
    how = model_options(options)
    contestants: dict[tuple[str, str | None], Contestant | str] = {}
    for one in wanted.values():
        if (one.model, one.cluster) not in contestants:
            contestants[one.model, one.cluster] = _contestant(one.model, one.cluster, how)
    found: dict[tuple[str, str], tuple[float, int]] = {}
    failed = {place: text for place, one in wanted.items() if isinstance(text := contestants[one.model, one.cluster], str)}
    groups: dict[tuple[str, Protocol], list[tuple[str, str]]] = {}
    for place, one in wanted.items():
        if place not in failed:
            groups.setdefault((one.column.data, one.protocol), []).append(place)
    skipped = 0
    with Ledger(options.out / "measured.jsonl", force=options.force) as ledger:
        for (data, protocol), places in groups.items():
            keys = list(dict.fromkeys((wanted[place].model, wanted[place].cluster) for place in places))
            able = [contestant for key in keys if isinstance(contestant := contestants[key], Contestant)]
            attacks = list(dict.fromkeys(wanted[place].column.attack for place in places))
            total = len(sets[data].entries) * len(able) * len(attacks)
            with bar(f"{data}", total) as progress:
                results = evaluate_set(sets[data], able, attacks, protocol, ledger, how, progress=progress)
            skipped += sum(results.skipped.values())
            for place in places:
                one = wanted[place]
                rows = results.rows[Question(one.column.attack, keys.index((one.model, one.cluster)))]
                mean = mean_of([row.columns[one.column.metric] for row in rows.values()])
                if mean is None:
                    failed[place] = "no picture of this set has that metric"
                else:
                    found[place] = mean.mean, mean.pictures
    return found, failed, skipped


def _contestant(model: str, cluster: str | None, how: ModelOptions) -> Contestant | str:
    """A model, or why it cannot be built."""
    try:
        return of_model(model, replace(how, cluster=cluster or how.cluster))
    except ImgscanError as error:
        return str(error)


def _print(table: PaperTable, cells: list[Cell]) -> None:
    origin = f"{table.paper.authors}: Table {table.table}. " if table.paper else ""
    paper = ["paper", "ours", "difference"] if table.paper else ["ours"]
    body = []
    digits = 1 if table.unit == "percent" else 0 if table.unit == "count" else 3
    for cell in cells:
        if cell.ours is None:
            continue
        numbers = [f"{cell.ours:.{digits}f}"]
        if table.paper:
            printed = isinstance(cell.paper, int | float)
            numbers = [str(cell.paper), *numbers, f"{cell.ours - float(cell.paper):+.{digits}f}" if printed else "-"]
        body.append([cell.method, cell.column, *numbers, str(cell.pictures), cell.model])
    if body:
        title = f"{table.name}: {origin}{table.title}" + (f" (protocol {table.protocol}, {table.unit})" if table.protocol else "")
        show(Shown(title, ["method", "column", *paper, "n", "model"], body))
    for text in table.notes if body else ():
        print(f"note: {text}")
    for (reason, method), columns in _reasons(cells).items():
        print(printable(f"not run: {method}: {', '.join(columns)}: {reason}"))


def _reasons(cells: list[Cell]) -> dict[tuple[str, str], list[str]]:
    """(reason, methods) -> columns: cells that say the same together, first those of a method, then methods of the same cells."""
    by_method: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.ours is None:
            by_method.setdefault((cell.method, cell.reason), []).append(cell.column)
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (method, reason), columns in by_method.items():
        grouped.setdefault((reason, tuple(columns)), []).append(method)
    return {(reason, "; ".join(methods)): list(columns) for (reason, columns), methods in grouped.items()}


@dataclass(frozen=True)
class _Training:
    """Weights that rows of a table want."""

    folder: Path  # named after the first of these rows
    method: str
    size: str | None
    data: str  # as --data takes it
    settings: list[str]  # texts of --set


def train_table_command(name: str, options: TrainOptions, method: str | None) -> ExitCode:
    """Train what a table needs and --out does not hold yet, one run after the other, each for --minutes."""
    table = read_table(name)
    if table.protocol is None:
        raise ConfigError(f"{name} is a list of data sets; there is nothing to train")
    if table.per_column and options.data is not None:
        raise ConfigError(
            f"--data {options.data}: every column of {name} is of a network trained on that data set; leave --data out"
        )
    trainings = _wanted_trainings(table, options, method)
    if not trainings:
        raise InputError(f"{name}: nothing to train" + (f" with {method}" if method else ""))
    options.out.mkdir(parents=True, exist_ok=True)
    code = ExitCode.CLEAN
    for training in trainings:
        folder = training.folder
        asked = json.dumps(
            {
                "size": training.size,
                "data": anywhere(training.data),
                "roots": [str(root.resolve()) for root in (*options.roots, *options.validation)],
                "settings": training.settings,
                "epochs": options.epochs,
                "compat": options.compat,
            }
        )
        finished = folder / "finished"  # a run that was interrupted leaves weights too
        if finished.exists():
            before = finished.read_text("utf-8")
            if before and before != asked:
                say(f"imgscan: {folder} is finished, with other settings ({before}, now {asked}); another --out trains anew")
                code = ExitCode.INCOMPLETE
            else:
                say(f"imgscan: {folder} is finished")
            continue
        say(f"imgscan: training {folder}")
        try:
            resumes = (folder / "checkpoint.safetensors").exists()
            ended = train_command(
                replace(
                    options,
                    method=training.method,
                    size=training.size,
                    data=training.data,
                    settings=training.settings,
                    out=folder,
                    resume=resumes,
                    compat=None if resumes else options.compat,
                )
            )
        except ImgscanError as error:  # a data set that is not here must not keep the others from being trained
            say(f"imgscan: not trained: {folder}: {error}")
            code = ExitCode.INCOMPLETE
            continue
        if ended in BY_SIGNAL.values():
            return ended
        finished.write_text(asked, "utf-8")
    return code


def _wanted_trainings(table: PaperTable, options: TrainOptions, method: str | None) -> list[_Training]:
    """What to train, each once: rows that differ in the clustering, or join what others have alone, want the same weights.

    Benchmarks are left out, which is said.

    Raises:
        ConfigError: --size or --set takes from the rows what they differ in.
    """
    found: dict[tuple[object, ...], _Training] = {}
    rows: dict[str, PaperRow] = {}
    benchmarks: dict[str, None] = {}
    for row, column, network in _to_train(table):
        told = training_arguments(table, row, network, column.data, options.size)
        if method not in (None, told["method"]):
            continue
        rows[row.method] = row
        if options.data is None and is_benchmark(told["data"]):
            benchmarks[told["data"]] = None
            continue
        training = _Training(
            folder=options.out / run_name(table, row, network, column.data),
            method=told["method"],
            size=told["size"],
            data=options.data or told["data"],
            settings=[*told["settings"], *options.settings],
        )
        found.setdefault((training.method, training.size, training.data, *training.settings), training)
    _leave_rows_different(table, list(rows.values()), options)
    if benchmarks:
        say(f"imgscan: nothing is trained on {', '.join(benchmarks)}: no train split here, a benchmark")
    return list(found.values())


def _leave_rows_different(table: PaperTable, rows: list[PaperRow], options: TrainOptions) -> None:
    """ConfigError where --size is for some rows only, or --set sets what rows set themselves, so that these become alike."""
    own = [row.imgscan.settings for row in rows if row.imgscan]
    sized = ["model.size" in settings for settings in own]
    if options.size is not None and any(sized) and not all(sized):
        raise ConfigError(
            f"--size {options.size}: some rows of {table.name} have a size of their own (model.size), to which the others then no "
            f"longer compare; leave --size out"
        )
    for text in options.settings:
        key = text.partition("=")[0].strip()
        if any(key in settings for settings in own):
            raise ConfigError(f"--set {text}: rows of {table.name} have a {key} of their own; leave it out")


def _to_train(table: PaperTable) -> Iterator[tuple[PaperRow, Column, str]]:
    """Rows, columns and networks that want weights of their own."""
    from imgscan.models import NETWORKS

    for row in table.rows:
        for text in table.columns if table.per_column else table.columns[:1]:
            column = parse_column(text, table.protocol)
            for joined in (row.imgscan.network if row.imgscan else "").replace("|", "+").replace("&", "+").split("+"):
                for network in ALIASES.get(joined, joined).split("+"):
                    if network in NETWORKS and column.data != MEAN:
                        yield row, column, network
