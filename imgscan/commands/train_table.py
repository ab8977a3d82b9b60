"""`imgscan train table`: the weights that a paper's table or a grid needs, one training after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from imgscan.commands.train import train_command
from imgscan.commands.train_options import TrainOptions, anywhere, find_recipe, with_options
from imgscan.errors import BY_SIGNAL, ConfigError, ExitCode, ImgscanError, InputError
from imgscan.evaluation.cells import (
    FINISHED,
    MEAN,
    SEED_FOLDER,
    Column,
    is_benchmark,
    parse_column,
    run_name,
    training_arguments,
)
from imgscan.evaluation.papers import PaperRow, PaperTable, read_table
from imgscan.printable import say
from imgscan.training.recipe import read_recipe
from imgscan.weights import ALIASES

# Between two seeds: step s of a run draws by its seed + s, and two runs are not to draw the same a few steps apart.
APART = 1_000_000


@dataclass(frozen=True)
class _Training:
    """Weights that rows of a table want."""

    folder: Path  # named after the first of these rows
    method: str
    size: str | None
    data: str  # as --data takes it
    settings: list[str]  # texts of --set


def train_table_command(name: str, options: TrainOptions, method: str | None, seeds: int = 1) -> ExitCode:
    """Train what a table needs and --out does not hold yet, one run after the other, each for --minutes.

    With `seeds` every training is made so often: the table is complete before the second seed begins, which trains in a folder
    within that of the first.

    Raises:
        ConfigError, InputError: nothing to train, or flags that the table's rows decide, a seed among them.
    """
    table = read_table(name)
    if table.protocol is None:
        raise ConfigError(f"{name} is a list of data sets; there is nothing to train")
    if table.per_column and options.data is not None:
        raise ConfigError(
            f"--data {options.data}: every column of {name} is of a network trained on that data set; leave --data out"
        )
    if seeds > 1 and any("train.seed" in row.imgscan.settings for row in table.rows if row.imgscan):
        raise ConfigError(f"--seeds {seeds}: rows of {name} have a train.seed of their own; leave it out")
    trainings = _wanted_trainings(table, options, method)
    if not trainings:
        raise InputError(f"{name}: nothing to train" + (f" with {method}" if method else ""))
    options.out.mkdir(parents=True, exist_ok=True)
    code = ExitCode.CLEAN
    for number in range(1, seeds + 1):
        for training in trainings:
            ended = _trained(training if number == 1 else _with_seed(training, number, options), options)
            if ended in BY_SIGNAL.values():
                return ended
            code = max(code, ended)
    return code


def _with_seed(training: _Training, number: int, options: TrainOptions) -> _Training:
    """The training with its second, third, ... seed, in a folder within that of the first."""
    recipe = read_recipe(find_recipe(training.method, training.size), options.compat)
    first = with_options(recipe, replace(options, settings=training.settings)).train.seed
    return replace(
        training,
        folder=training.folder / f"{SEED_FOLDER}{number}",
        settings=[*training.settings, f"train.seed={first + (number - 1) * APART}"],
    )


def _trained(training: _Training, options: TrainOptions) -> ExitCode:
    """Train what is not finished; INCOMPLETE where it cannot be, or is finished with other settings."""
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
    finished = folder / FINISHED  # a run that was interrupted leaves weights too
    if finished.exists():
        before = finished.read_text("utf-8")
        if before and before != asked:
            say(f"imgscan: {folder} is finished, with other settings ({before}, now {asked}); another --out trains anew")
            return ExitCode.INCOMPLETE
        say(f"imgscan: {folder} is finished")
        return ExitCode.CLEAN
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
        return ExitCode.INCOMPLETE
    if ended not in BY_SIGNAL.values():
        finished.write_text(asked, "utf-8")
    return ended


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
