"""The tables of the three papers as data: train/papers/NAME.toml, one file per numbered table (focal-1, cfl-net-2, ncl-3, ...).

FOCAL: Wu, Chen, Zhou, arXiv 2308.09307.  CFL-Net: Niloy, Bhaumik, Woo, WACV 2023.  NCL: Zhou et al., ICCV 2023.
Every row and every cell stands there as printed, misprints included, without bold and underline; `notes` say what is doubtful and
why.  Nothing is measured here, and a printed number compares with ours only under its table's protocol, on the same pictures.

A file holds

    paper.authors, .title, .venue, .year
    table, title, metric        number, caption (shortened), metrics in the paper's own words
    columns_protocol            of protocols.PROTOCOLS; absent where a table has no results
    unit                        percent, fraction, or count (no results)
    training, notes             on what the rows were trained, where said; known errors and doubts
    columns                     "DATASET METRIC" or "DATASET METRIC ATTACK"; DATASET is imgscan's name, or mean (over the others)
    [[rows]]                    method, ours, values; and where there is more to say: training (as --data takes it), imgscan (how it
                                runs the row), pre_train and fine_tune (NCL's ticks), part and data (FOCAL's list of data sets)
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgscan.errors import ConfigError, unknown
from imgscan.training.recipe import recipes_folder

Cell = float | int | str  # a number as printed; "-" where the paper has a dash; text in FOCAL's list of data sets
UNITS = {"percent": 100.0, "fraction": 1.0, "count": float("inf")}  # unit -> the largest value there can be


@dataclass(frozen=True)
class Paper:
    authors: str
    title: str
    venue: str
    year: int


@dataclass(frozen=True)
class Run:
    """How imgscan runs a row: trained with these settings, scanned with this network and clustering."""

    network: str  # what --model takes: a network, focal-fusion, or a weight-free detector
    settings: dict[str, Any] = field(default_factory=dict)  # --set: section.key -> value, for every network of a fusion
    cluster: str | None = None  # --cluster; None: as the weights' card says


@dataclass(frozen=True)
class PaperRow:
    method: str  # as printed, without the reference; unique in its table
    ours: bool  # the paper's proposed method; its ablations are not
    values: tuple[Cell, ...]  # as long as the table's columns
    imgscan: Run | None = None  # None: imgscan has no such method, or does not train on that data
    training: str | None = None  # data sets, as --data takes them; None: what the table says
    pre_train: bool | None = None  # None: the table has no such column
    fine_tune: bool | None = None
    part: str | None = None  # training or testing (FOCAL's list of data sets)
    data: str | None = None  # imgscan's name of the data set that is the row (same list)


@dataclass(frozen=True)
class PaperTable:
    name: str  # focal-1
    paper: Paper
    table: int
    title: str
    metric: tuple[str, ...]
    protocol: str | None
    unit: str  # of UNITS
    training: str | None
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    def row(self, method: str) -> PaperRow:
        """The row of that method; ConfigError names the near miss."""
        for row in self.rows:
            if row.method == method:
                return row
        raise ConfigError(unknown(f"method of {self.name}", method, (row.method for row in self.rows)))

    def value(self, method: str, column: str) -> Cell:
        """One cell as printed; ConfigError names the near miss of either."""
        if column not in self.columns:
            raise ConfigError(unknown(f"column of {self.name}", column, self.columns))
        return self.row(method).values[self.columns.index(column)]


def table_names() -> list[str]:
    """Names of all tables, in order: cfl-net-1, ..., focal-1, ..., ncl-6."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def read_table(name: str) -> PaperTable:
    """The table of that name, one of `table_names`.

    Raises:
        ConfigError: no such table (with the near miss), or its file is not of the format above.
    """
    if name not in table_names():
        raise ConfigError(unknown("paper table", name, table_names()))
    path = _folder() / f"{name}.toml"
    try:
        return parse_table(name, tomllib.loads(path.read_text("utf-8")), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def parse_table(name: str, content: dict[str, Any], origin: str) -> PaperTable:
    """What `tomllib` read -> PaperTable.

    Args:
        name: of the table.
        content: the file's keys and values.
        origin: named in the error.

    Raises:
        ConfigError: a key that is missing or unknown, an unknown unit, a row of another length than `columns`.
    """
    needed = {"paper", "table", "title", "metric", "unit", "notes", "columns", "rows"}
    _check(content, needed, {"columns_protocol", "training"}, origin)
    _check(content["paper"], {"authors", "title", "venue", "year"}, (), f"{origin}: paper")
    if content["unit"] not in UNITS:
        raise ConfigError(f"{origin}: {unknown('unit', content['unit'], UNITS)}")
    columns = tuple(content["columns"])
    return PaperTable(
        name=name,
        paper=Paper(**content["paper"]),
        table=content["table"],
        title=content["title"],
        metric=tuple(content["metric"]),
        protocol=content.get("columns_protocol"),
        unit=content["unit"],
        training=content.get("training"),
        notes=tuple(content["notes"]),
        columns=columns,
        rows=tuple(_row(row, len(columns), f"{origin}: row {number}") for number, row in enumerate(content["rows"], 1)),
    )


def _row(content: dict[str, Any], length: int, origin: str) -> PaperRow:
    _check(content, {"method", "ours", "values"}, {"imgscan", "training", "pre_train", "fine_tune", "part", "data"}, origin)
    values = tuple(content["values"])
    if len(values) != length:
        raise ConfigError(f"{origin} ({content['method']}) has {len(values)} values; wanted {length}, one per column")
    run = content.get("imgscan")
    if run is not None:
        _check(run, {"network"}, {"settings", "cluster"}, f"{origin}: imgscan")
        run = Run(**run)
    return PaperRow(**{**content, "values": values, "imgscan": run})


def _check(content: dict[str, Any], needed: Collection[str], allowed: Collection[str], origin: str) -> None:
    """ConfigError unless every needed key is there and no other than the allowed ones."""
    for key in content:
        if key not in needed and key not in allowed:
            raise ConfigError(f"{origin}: {unknown('key', key, [*needed, *allowed])}")
    missing = sorted(set(needed) - set(content))
    if missing:
        raise ConfigError(f"{origin}: {', '.join(missing)} is missing; wanted {', '.join(sorted(needed))}")


def _folder() -> Path:
    """train/papers beside the recipes."""
    folder = recipes_folder() / "papers"
    if not folder.is_dir():
        raise ConfigError(f"no paper tables in {folder}; reinstall imgscan")
    return folder
