"""Which weights fill which cell of a table, or why none do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgscan.cluster_names import CLUSTERINGS, HEAD
from imgscan.datasets import DATASETS, data_set
from imgscan.detectors import DETECTORS
from imgscan.errors import ConfigError, ImgscanError, InputError, unknown
from imgscan.evaluation.attacks import ATTACKS
from imgscan.evaluation.contestants import SET_OPERATIONS
from imgscan.evaluation.measure import UNATTACKED
from imgscan.evaluation.papers import PaperRow, PaperTable, Run
from imgscan.evaluation.pixel import PixelMetrics
from imgscan.evaluation.protocols import Protocol, find_protocol
from imgscan.evaluation.seeds import with_other_seeds
from imgscan.models import NETWORKS
from imgscan.printable import say
from imgscan.weights import ALIASES, Card, cards, find_model, read_card

MEAN = "mean"
COUNT = "count"
NO_METHOD = "imgscan has no such method, or does not train it on that data"
# What a paper's metric is called here, under its protocol; elsewhere the protocol's first F1 or AUC.
PAPER_METRICS = {
    ("focal", "F1"): "macro_f1",
    ("focal-256", "F1"): "macro_f1",
    ("cfl-net", "AUC"): "flipped_auc",
    ("trufor", "F1"): "permute_f1",
}
FIELDS = {"F1": "f1", "AUC": "auc", "IoU": "iou"}
RECIPES = {"focal-hrnet": ("focal", "official-hrnet"), "focal-vit": ("focal", "official-vit")}
SEED_FOLDER = "seed-"  # with a number from 2 on, in the folder of the first
FINISHED = "finished"  # a file in the folder of a training that came to its end: what was asked of it
CATNET = "sp-coco+cm-coco+cm-raise+cm-c-raise+casia-v2+imd2020"  # FOCAL's Table 5


class NotRunError(ConfigError):
    """Why a cell has no number of ours, with what to do about it."""


@dataclass(frozen=True)
class Column:
    """What a column of a table measures."""

    text: str  # as the table has it
    data: str  # a data set, a folder, or mean
    metric: str  # a field of PixelMetrics, or count
    attack: str = UNATTACKED


@dataclass(frozen=True)
class Candidates:
    """Weights that may fill a table, in the order they are tried."""

    given: tuple[Card, ...] = ()  # named by the user: taken whatever they were trained on
    trained: tuple[Card, ...] = ()  # found under --runs
    shipped: tuple[Card, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Cell:
    """One number of a table, the paper's and ours."""

    method: str
    column: str
    paper: float | int | str
    ours: float | None  # in the table's unit
    pictures: int  # that ours is a mean over
    model: str  # that made it, with the first seed; "" where there is none
    reason: str  # why there is no number of ours; "" where there is one
    seeds: tuple[float, ...] = ()  # ours of every seed, in the table's unit; their mean is `ours`
    deviation: float | None = None  # their standard deviation (n - 1); None for fewer than two
    models: tuple[str, ...] = ()  # that made them


def parse_column(text: str, protocol: str | None) -> Column:
    """`DATASET METRIC [ATTACK]`, read from its end, for a folder's name may hold spaces.

    Raises:
        ConfigError: no metric of that name, or not of this form.
    """
    if protocol is None:
        return Column(text, "", text)
    parts = text.rsplit(" ", 2) if text.rsplit(" ", 1)[-1] in ATTACKS else [*text.rsplit(" ", 1), UNATTACKED]
    if len(parts) != 3:
        raise ConfigError(f"column {text!r}: wanted DATASET METRIC, or DATASET METRIC ATTACK")
    data, metric, attack = parts
    name = PAPER_METRICS.get((protocol, metric), FIELDS.get(metric, metric))
    known = find_protocol(protocol).columns
    if name not in known:
        legal = [*FIELDS, *known]
        raise ConfigError(f"column {text!r}: {unknown(f'metric of protocol {protocol}', metric, legal)}")
    assert name in PixelMetrics.__dataclass_fields__
    return Column(text, data, name, attack)


def protocol_of(table: PaperTable, run: Run) -> Protocol:
    """The table's protocol for a row; FOCAL's released code measures HRNet alone on its own grid, 256 x 256."""
    assert table.protocol is not None
    protocol = find_protocol(table.protocol)
    return find_protocol("focal-256") if protocol.name == "focal" and run.network == "focal-hrnet" else protocol


def find_candidates(models: Sequence[str], runs: Sequence[Path]) -> Candidates:
    """Weights named by the user, found under folders of training runs (weights.toml), and those that ship as a default.

    Of further seeds only trainings that came to their end are taken, for half a training is no spread; others are named.

    Raises:
        WeightsError: a model that does not exist.
        InputError: a folder that does not exist.
    """
    trained = []
    for folder in runs:
        if not folder.is_dir():
            raise InputError(f"--runs {folder}: is not a folder; wanted one that imgscan train wrote to")
        for run in sorted(path.parent for path in folder.rglob("weights.toml")):
            if run.name.startswith(SEED_FOLDER) and (run.parent / FINISHED).exists() and not (run / FINISHED).exists():
                say(f"imgscan: passed over {run}: its training has not come to its end; imgscan train table goes on with it")
            else:
                trained.append(read_card(run / "weights.toml"))
    given = tuple(card for text in models for card in find_model(text).cards)
    return Candidates(given, tuple(trained), tuple(card for card in cards() if card.data.get("default")))


def model_texts(table: PaperTable, row: PaperRow, column: Column, candidates: Candidates) -> list[str]:
    """What --model takes for a cell, for each seed that its weights were trained with: a detector, weights, or several joined as
    the row says.

    Of joined ones each seed takes others of all; as many count as the one with the fewest has.

    Raises:
        NotRunError: no weights of that kind, with the command that trains them.
    """
    run = row.imgscan
    if run is None:
        raise NotRunError(NO_METHOD)
    if run.cluster is not None and run.cluster not in (HEAD, *CLUSTERINGS):
        raise NotRunError(unknown("clustering", run.cluster, CLUSTERINGS))
    sign = next((sign for sign in (*SET_OPERATIONS, "+") if sign in run.network), "+")
    parts = [ALIASES.get(part, part).split("+") for part in run.network.split(sign)]
    networks = [part for joined in parts for part in joined if part not in DETECTORS]
    weights = {network: _weights(table, row, network, column, candidates) for network in networks}
    return [
        sign.join("+".join(weights[part][seed] if part in weights else part for part in joined) for joined in parts)
        for seed in range(min(map(len, weights.values()), default=1))
    ]


def _weights(table: PaperTable, row: PaperRow, network: str, column: Column, candidates: Candidates) -> list[str]:
    """The weights of a network, of each seed."""
    training = wanted_training(table, row, column.data)
    given = [card for card in candidates.given if network in (card.name, card.network) and _has_settings(table, row, card)]
    # Of what ships the name counts: focal-traces is a focal-hrnet, and no row means it by that.
    others = [
        *(one for one in candidates.trained if network in (one.name, one.network)),
        *(one for one in candidates.shipped if network == one.name),
    ]
    found = given or [
        card for card in others if _has_settings(table, row, card) and training in (None, card.data.get("training", {}).get("data"))
    ]
    if found:
        return [_text(card) for card in with_other_seeds(found[0], found)]
    if network not in NETWORKS:
        raise NotRunError(unknown("network", network, (*NETWORKS, *ALIASES, *DETECTORS)))
    if training is not None and is_benchmark(training):
        raise NotRunError(f"no weights, and {training} has no train split here: it is a benchmark")
    raise NotRunError(f"no weights; train them with: {training_command(table, row, network, column.data)}")


def wanted_training(table: PaperTable, row: PaperRow, data: str) -> str | None:
    """What the weights of a cell must have been trained on, as --data takes it; None: the table does not ask for it."""
    return row.training or (data if table.per_column else None)


def is_benchmark(data: str) -> bool:
    """Whether --data names a set that is only for tests: nothing can be trained on it."""
    return data in DATASETS and data_set(data).INFO.splits.names() == ("test",)


def _has_settings(table: PaperTable, row: PaperRow, card: Card) -> bool:
    """Whether a card was trained as the row says, in everything that differs between the rows of the table."""
    wanted = row.imgscan.settings if row.imgscan else {}
    for key in sorted({key for one in table.rows if one.imgscan for key in one.imgscan.settings}):
        section, name = key.split(".", 1)
        actual = card.data.get("recipe", {}).get(section, {}).get(name)
        others = [one.imgscan.settings[key] for one in table.rows if one.imgscan and key in one.imgscan.settings]
        if actual != wanted[key] if key in wanted else actual in others:
            return False
    return True


def _text(card: Card) -> str:
    """A name where it leads back to this very card, else network@path."""
    for name in (card.full_name, f"{card.network}@{card.path}"):
        try:
            if find_model(name).cards[0].path == card.path:
                return name
        except ImgscanError:
            continue
    raise NotRunError(f"{card.path}: + | and & in the path of weights cannot be told from those that join models; move them")


def of_other_sizes(table: PaperTable, models: Sequence[str]) -> list[str]:
    """The weights among models, each once and with its size, whose networks are not as large as a paper's, or as a row wants."""
    wanted = {row.imgscan.settings.get("model.size") for row in table.rows if row.imgscan}
    weights = (card for model in dict.fromkeys(models) for part in re.split(r"[|&]", model) for card in find_model(part).cards)
    sizes = {_text(card): card.data.get("size") for card in weights}
    return [f"{name} ({size})" for name, size in sizes.items() if size and size not in wanted and not _is_full(size)]


def _is_full(size: str) -> bool:
    """Whether a size is that of a paper: official-bgr, paper and paper-base are too."""
    return size.partition("-")[0] in ("official", "paper")


def training_arguments(table: PaperTable, row: PaperRow, network: str, data: str, size: str | None = None) -> dict[str, Any]:
    """How `imgscan train` is told to make the weights of a row: method, size, data, settings (texts of --set)."""
    method, usual = RECIPES.get(network, ("focal", "official-hrnet") if network.startswith("focal-") else (network, None))
    settings = row.imgscan.settings if row.imgscan else {}
    return {
        "method": method,
        "size": size or usual,
        "data": wanted_training(table, row, data) or CATNET,
        "settings": [
            f"{key}={value}" if isinstance(value, str) else f"{key}={str(value).lower()}" for key, value in settings.items()
        ],
    }


def training_command(table: PaperTable, row: PaperRow, network: str, data: str) -> str:
    """The command to type for the weights of a row."""
    told = training_arguments(table, row, network, data)
    words = ["imgscan", "train", told["method"], *(["--size", told["size"]] if told["size"] else []), "--data", told["data"]]
    for text in told["settings"]:
        words += ["--set", text]
    return shlex.join([*words, "--data-root", "DIR", "--out", f"RUNS/{run_name(table, row, network, data)}"])


def run_name(table: PaperTable, row: PaperRow, network: str, data: str) -> str:
    """A folder for the weights of a row: focal-3/triplet-focal-hrnet; other rows may want the very same weights."""
    alike = [one.method for one in table.rows if _plain(one.method) == _plain(row.method)]  # InfoNCE and InfoNCE++
    number = alike.index(row.method) + 1
    words = [row.method, *([str(number)] if number > 1 else [])]
    words += [*([data] if table.per_column else []), *([] if row.method == network else [network])]
    return f"{table.name}/{_plain('-'.join(words))}"


def _plain(text: str) -> str:
    """Text as a part of a path."""
    plain = "".join(c if c.isalnum() or c in "-." else "-" for c in text.lower())
    return "-".join(part for part in plain.split("-") if part)
