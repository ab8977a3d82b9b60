"""Tables to fill, as data: those of the three papers (train/papers/focal-1.toml, ...) and grids of one's own.

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
    per_column                  true: every number is of weights trained on the training split of its own column's data set
    [[rows]]                    method, ours, values; and where there is more to say: training (as --data takes it), imgscan (how it
                                runs the row), pre_train and fine_tune (NCL's ticks), part and data (FOCAL's list of data sets)

A grid (train/ablations/NAME.toml, or any file) has no printed values; its rows are all combinations of its axes:

    title, protocol, notes      protocol of protocols.PROTOCOLS; notes may be left out
    columns                     as above; DATASET may also be a folder, METRIC any column of the protocol
    [axes]                      network (as --model takes it, or a|b and a&b for the union and intersection of masks), and where
                                wanted: cluster (as --cluster takes it, or head), training (data to train on), settings (tables of
                                "section.key" = value)
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import product
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
    paper: Paper | None  # None: a grid of one's own
    table: int | None  # number in the paper
    title: str
    metric: tuple[str, ...]
    protocol: str | None
    unit: str  # of UNITS
    training: str | None
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    cluster: str | None = None  # of rows that name none, unless the command line says otherwise
    per_column: bool = False  # whether each column wants weights of its own, trained on its data set

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
    """Names of the papers' tables, in order: cfl-net-1, ..., focal-1, ..., ncl-6."""
    return sorted(_files("papers"))


def grid_names() -> list[str]:
    """Names of the grids that ship."""
    return sorted(_files("ablations"))


def read_table(name: str) -> PaperTable:
    """The table or grid of that name, one of `table_names` and `grid_names`, or a grid's file (*.toml).

    Raises:
        ConfigError: no such table (with the near miss), or its file is not of the format above.
    """
    files = {**_files("papers"), **_files("ablations")}
    if name.endswith(".toml"):
        path, parse = Path(name), parse_grid
    elif name in files:
        path, parse = files[name], parse_table if name in _files("papers") else parse_grid
    else:
        raise ConfigError(f"{unknown('table', name, files)}; or a grid's file, NAME.toml")
    try:
        return parse(path.stem, tomllib.loads(path.read_text("utf-8-sig")), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def parse_grid(name: str, content: dict[str, Any], origin: str) -> PaperTable:
    """A grid -> PaperTable whose values are all dashes, a row per combination of the axes.

    Args:
        name: of the grid.
        content: the file's keys and values.
        origin: named in the error.

    Raises:
        ConfigError: a key that is missing or unknown, an axis that is not a list, or none.
    """
    _check(content, {"title", "protocol", "columns", "axes"}, {"notes"}, origin)
    axes = content["axes"]
    for key, kind, wanted in (("title", str, "a text"), ("protocol", str, "a text"), ("axes", dict, "a table")):
        if not isinstance(content[key], kind):
            raise ConfigError(f"{origin}: {key} is {content[key]!r}; wanted {wanted}")
    _check(axes, {"network"}, {"cluster", "training", "settings"}, f"{origin}: axes")
    for axis, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{origin}: axes.{axis} is {values!r}; wanted a list with at least one value")
    for key in ("columns", "notes"):
        if not isinstance(content.get(key, []), list) or not all(isinstance(text, str) for text in content.get(key, [])):
            raise ConfigError(f"{origin}: {key} is {content[key]!r}; wanted a list of texts")
    for axis in ("network", "cluster", "training"):
        if not all(isinstance(one, str) for one in axes.get(axis, [])):
            raise ConfigError(f"{origin}: axes.{axis} is {axes[axis]!r}; wanted a list of texts")
    if not all(isinstance(one, dict) for one in axes.get("settings", [])):
        raise ConfigError(f'{origin}: axes.settings is {axes["settings"]!r}; wanted tables of "section.key" = value')
    rows = []
    columns = tuple(content["columns"])
    choices = [axes.get(axis, [None]) for axis in ("network", "cluster", "training", "settings")]
    for network, clustering, training, settings in product(*choices):
        said = [f"{key}={value}" for key, value in (settings or {}).items()]
        said += [text for text in (clustering, f"on {training}" if training else None) if text]
        rows.append(
            PaperRow(
                method=", ".join([network, *said]),
                ours=True,
                values=("-",) * len(columns),
                imgscan=Run(network, settings or {}, clustering),
                training=training,
            )
        )
    return PaperTable(
        name=name,
        paper=None,
        table=None,
        title=content["title"],
        metric=(),
        protocol=content["protocol"],
        unit="fraction",
        training=None,
        notes=tuple(content.get("notes", ())),
        columns=columns,
        rows=tuple(rows),
    )


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
    _check(content, needed, {"columns_protocol", "training", "cluster", "per_column"}, origin)
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
        cluster=content.get("cluster"),
        per_column=content.get("per_column", False),
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


def _files(kind: str) -> dict[str, Path]:
    """Name -> file of train/papers or train/ablations beside the recipes."""
    folder = recipes_folder() / kind
    if kind == "papers" and not folder.is_dir():
        raise ConfigError(f"no tables in {folder}; reinstall imgscan")
    return {path.stem: path for path in folder.glob("*.toml")}
