"""`imgscan evaluate --table`: the papers' tables, and grids, as far as the present data and weights allow."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from imgscan import __version__
from imgscan.commands.evaluate_options import EvaluateOptions, model_options
from imgscan.commands.evaluate_set import PictureSet, evaluate_set, read_pictures
from imgscan.datasets.resolve import parse, resolve
from imgscan.errors import ExitCode, ImgscanError, InputError
from imgscan.evaluation.cells import (
    COUNT,
    MEAN,
    NO_METHOD,
    Candidates,
    Cell,
    Column,
    NotRunError,
    find_candidates,
    model_texts,
    of_other_sizes,
    parse_column,
    protocol_of,
    wanted_training,
)
from imgscan.evaluation.contestants import Contestant, ModelOptions, of_model, training_sets
from imgscan.evaluation.ledger import Ledger
from imgscan.evaluation.measure import Question
from imgscan.evaluation.papers import UNITS, PaperRow, PaperTable, read_table
from imgscan.evaluation.protocols import Protocol
from imgscan.evaluation.seeds import spread_of
from imgscan.evaluation.summary import mean_of
from imgscan.evaluation.tables import Shown, show
from imgscan.printable import printable, say
from imgscan.progress import bar

Place = tuple[str, str, int]  # a number of ours: method, column, and which seed's weights, from 0
Number = tuple[float, int]  # a mean over pictures, and how many they are


@dataclass(frozen=True)
class _Wanted:
    """A number that can be measured."""

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
    wanted: dict[Place, _Wanted] = {}
    reasons: dict[tuple[str, str], str] = {}
    for row in table.rows:
        for column in columns:
            if column.data == MEAN:
                continue
            try:
                models = model_texts(table, row, column, candidates)
                if column.data in missing:
                    raise NotRunError(missing[column.data])
                assert row.imgscan is not None
                usual = None if options.cluster or options.compat else table.cluster
                cluster, protocol = row.imgscan.cluster or usual, protocol_of(table, row.imgscan)
                for seed, model in enumerate(models):
                    wanted[row.method, column.text, seed] = _Wanted(column, row, model, cluster, protocol)
            except NotRunError as error:
                reasons[row.method, column.text] = str(error)
    found, failed, skipped = _measured(wanted, sets, options)
    _tell_seeds_left_out(wanted, found, failed)
    reasons |= {(method, column): why for (method, column, _), why in failed.items() if (method, column) not in reasons}
    cells = []
    scale = UNITS[table.unit]
    for row in table.rows:
        own = {column.text: _of_cell(row.method, column.text, wanted, found) for column in columns}
        for column, value in zip(columns, row.values, strict=True):
            if column.data == MEAN:
                cells.append(_mean_cell(row, column, columns, value, own, scale))
                continue
            numbers = own[column.text]
            models = [wanted[row.method, column.text, seed].model for seed in _seeds(row.method, column.text, wanted)]
            cell = Cell(
                method=row.method,
                column=column.text,
                paper=value,
                ours=None,
                pictures=numbers[0][1] if numbers else 0,
                model=models[0] if models else "",
                reason="" if numbers else reasons.get((row.method, column.text), ""),
                models=tuple(models),
            )
            cells.append(_with_numbers(cell, [number for number, _ in numbers], scale))
    return cells, skipped


def _seeds(method: str, column: str, numbers: Mapping[Place, object]) -> list[int]:
    """The seeds of a cell that are among these numbers."""
    return [place[2] for place in numbers if place[:2] == (method, column)]


def _of_cell(method: str, column: str, wanted: Mapping[Place, _Wanted], found: Mapping[Place, Number]) -> list[Number]:
    """The numbers of a cell, by seed."""
    return [found[method, column, seed] for seed in _seeds(method, column, wanted) if (method, column, seed) in found]


def _with_numbers(cell: Cell, numbers: list[float], scale: float) -> Cell:
    """The cell with ours, where there is any."""
    if not numbers:
        return cell
    spread = spread_of([number * scale for number in numbers])
    return replace(cell, ours=spread.mean, deviation=spread.deviation, seeds=tuple(number * scale for number in numbers))


def _tell_seeds_left_out(wanted: Mapping[Place, _Wanted], found: Mapping[Place, Number], failed: Mapping[Place, str]) -> None:
    """Say which weights are missing among the seeds of a cell, each once, and why."""
    measured = {place[:2] for place in found}
    for model, why in {wanted[place].model: why for place, why in failed.items() if place[:2] in measured}.items():
        say(f"imgscan: {model}: left out of the mean over seeds: {why}")


def _mean_cell(
    row: PaperRow, column: Column, columns: list[Column], value: float | int | str, own: Mapping[str, list[Number]], scale: float
) -> Cell:
    """The mean over the other columns of its metric, where all of them were run; of each seed where all have as many."""
    others = [one for one in columns if one.metric == column.metric and one.attack == column.attack and one.data != MEAN]
    cell = Cell(row.method, column.text, value, None, 0, "", "")
    if not others:
        return replace(cell, reason="a mean needs other columns of its metric")
    if row.imgscan is None:
        return replace(cell, reason=NO_METHOD)
    if without := [one.data for one in others if not own[one.text]]:
        return replace(cell, reason=f"a mean needs all data sets; not run: {', '.join(without)}")
    cell = replace(cell, pictures=sum(own[one.text][0][1] for one in others))
    if len({len(own[one.text]) for one in others}) == 1:
        by_seed = zip(*([number for number, _ in own[one.text]] for one in others), strict=True)
        return _with_numbers(cell, [fmean(numbers) for numbers in by_seed], scale)
    return _with_numbers(cell, [fmean(fmean(number for number, _ in own[one.text]) for one in others)], scale)


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
    wanted: dict[Place, _Wanted], sets: dict[str, PictureSet], options: EvaluateOptions
) -> tuple[dict[Place, Number], dict[Place, str], int]:
    """Mean and number of pictures of each; why there is none; answers that could not be had.

    One run over the pictures per data set and protocol: everybody who is wanted on them answers together.
    """
    how = model_options(options)
    contestants: dict[tuple[str, str | None], Contestant | str] = {}
    for one in wanted.values():
        if (one.model, one.cluster) not in contestants:
            contestants[one.model, one.cluster] = _contestant(one.model, one.cluster, how)
    found: dict[Place, Number] = {}
    failed = {place: text for place, one in wanted.items() if isinstance(text := contestants[one.model, one.cluster], str)}
    groups: dict[tuple[str, Protocol], list[Place]] = {}
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
    several = any(len(cell.seeds) > 1 for cell in cells)  # trainings to average somewhere
    body = []
    digits = 1 if table.unit == "percent" else 0 if table.unit == "count" else 3
    for cell in cells:
        if cell.ours is None:
            continue
        numbers = [f"{cell.ours:.{digits}f}"]
        if several:
            numbers += ["-" if cell.deviation is None else f"{cell.deviation:.{digits}f}", str(len(cell.seeds))]
        if table.paper:
            printed = isinstance(cell.paper, int | float)
            numbers = [str(cell.paper), *numbers, f"{cell.ours - float(cell.paper):+.{digits}f}" if printed else "-"]
        more = f" and {len(cell.models) - 1} more" if len(cell.models) > 1 else ""
        body.append([cell.method, cell.column, *numbers, str(cell.pictures), cell.model + more])
    if body:
        title = f"{table.name}: {origin}{table.title}" + (f" (protocol {table.protocol}, {table.unit})" if table.protocol else "")
        head = ["ours", "deviation", "seeds"] if several else ["ours"]
        head = ["paper", *head, "difference"] if table.paper else head
        show(Shown(title, ["method", "column", *head, "n", "model"], body))
    if several:
        print("note: ours is the mean over the seeds, deviation their standard deviation (n - 1); n counts pictures.")
    models = [model for cell in cells if cell.ours is not None for model in cell.models]
    if table.paper and (others := of_other_sizes(table, models)):
        print(printable(f"note: of another size than the paper's, so that a difference tells little: {', '.join(others)}"))
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
