"""Results as tables for people: Rich on the terminal, the same text with its natural width in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgscan import __version__
from imgscan.evaluation.contestants import Contestant
from imgscan.evaluation.measure import PictureScores
from imgscan.evaluation.pixel import PixelMetrics
from imgscan.evaluation.protocols import Protocol
from imgscan.evaluation.seeds import by_kind, seed_of, spread_of
from imgscan.evaluation.summary import Mean, SetScores
from imgscan.printable import printable
from imgscan.store import write_rows

SHORT = {
    "auc": "pixel AUC",
    "average_precision": "pixel AP",
    "f1": "F1",
    "best_f1": "best F1",
    "macro_f1": "macro F1",
    "iou": "IoU",
    "mcc": "MCC",
    "permute_f1": "permute F1",
    "best_permute_f1": "best permute F1",
    "flipped_auc": "flipped AUC",
}
ATTACK_COLUMNS = ("auc", "f1", "macro_f1", "iou", "permute_f1", "flipped_auc")  # the first three of a protocol's
WIDE = 100_000  # columns where there is no terminal: nothing is wrapped in a file


@dataclass(frozen=True)
class Shown:
    """A table, before it is drawn."""

    title: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]


def show(table: Shown) -> None:
    """Print a table on stdout; content never depends on the terminal, colour and width do."""
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else WIDE, soft_wrap=False, highlight=False)
    console.print(Text(f"\n{printable(table.title)}", style="bold"))
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(table.head):
        drawn.add_column(Text(printable(name)), overflow="fold", no_wrap=number == 0 and not terminal)
    for row in table.body:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    if terminal:
        console.print(drawn)
        return
    with console.capture() as capture:  # Rich pads every line to the table's width
        console.print(drawn)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def localization_table(rows: Sequence[SetScores], protocol: Protocol) -> Shown:
    """The protocol's columns with 95 % intervals, and beside them what answering nothing or everything would score."""
    rows = [row for row in rows if row.forged]
    head = ["model", "data", "n", *(SHORT.get(column, column) for column in protocol.columns), "pooled F1", "set best F1"]
    body: list[list[str]] = []
    for data in dict.fromkeys(row.data for row in rows):
        same = [row for row in rows if row.data == data]
        for row in same:
            body.append([row.model, data, _counted(row, protocol), *(interval(row.columns[c]) for c in protocol.columns)])
            body[-1] += [number(row.pooled.f1 if row.pooled else None)]
            body[-1].append(number(row.pooled_scores.best_f1 if row.pooled_scores else None))
        for name, values in same[0].baselines.items():
            cells = [number(values.get(c)) for c in protocol.columns]
            body.append([name, data, _counted(same[0], protocol), *cells, "-", "-"])
    kind = "forged pictures" if protocol.empty == "skip" else "pictures"
    title = f"localization, protocol {protocol.name}: means over {kind} [95 % bootstrap interval]"
    return Shown(title, head, body)


def _counted(row: SetScores, protocol: Protocol) -> str:
    """How many pictures the means are over: a protocol may leave nothing of a small forgery, and then none has a metric."""
    means = [mean.pictures for mean in row.columns.values() if mean is not None]
    return str(max(means, default=row.forged if protocol.empty == "skip" else row.pictures))


def untouched_table(rows: Sequence[SetScores]) -> Shown:
    """False alarms on untouched pictures."""
    body = [
        [row.model, row.data, str(one.pictures), f"{one.flagged:.3f}", f"{one.area:.4f}"] for row in rows if (one := row.untouched)
    ]
    return Shown("untouched pictures", ["model", "data", "n", "pictures marked", "area marked"], body)


def image_table(rows: Sequence[SetScores]) -> Shown:
    """Image-level numbers with the leak score, of sets that have both forged and untouched pictures."""
    body = []
    for row in rows:
        if row.image is None:
            continue
        points = "; ".join(
            f"{name} {point.threshold:g}: TPR {number(point.tpr)} FPR {number(point.fpr)} F1 {number(point.f1)} "
            f"balanced accuracy {number(point.balanced_accuracy)}"
            for name, point in row.image.decisions.items()
        )
        counts = f"{row.image.forged}+{row.image.untouched}"
        body.append([row.model, row.data, counts, number(row.image.auc), number(row.image.average_precision)])
        body[-1] += [number(row.leak), points or "-"]
    title = "image level (leak AUC: what container and JPEG quality alone would reach)"
    return Shown(title, ["model", "data", "n", "AUC", "AP", "leak AUC", "operating points"], body)


def seeds_table(contestants: Sequence[Contestant], rows: Sequence[SetScores], protocol: Protocol) -> Shown:
    """Models that differ in the seed of their training alone, together: mean and standard deviation of their rows on each set."""
    kinds = by_kind([(one.kind, tuple(seed_of(card) for card in one.cards), one.name) for one in contestants])
    found = {(row.data, row.model): row for row in rows}
    sets = dict.fromkeys(row.data for row in rows)
    body = []
    for group in [[found[data, name] for name in names if (data, name) in found] for data in sets for names in kinds]:
        columns = [[mean.mean if (mean := row.columns[column]) else None for row in group] for column in protocol.columns]
        columns.append([row.image.auc if row.image else None for row in group])
        columns.append([row.untouched.flagged if row.untouched else None for row in group])
        more = f"{group[0].model} and {len(group) - 1} more"
        body.append([more, group[0].data, str(len(group)), *map(_spread, columns)])
    title = f"over seeds, protocol {protocol.name}: mean \u00b1 standard deviation (n - 1) of the trainings"
    head = ["model", "data", "seeds", *(SHORT.get(column, column) for column in protocol.columns), "image AUC", "pictures marked"]
    return Shown(title, head, body)


def _spread(values: Sequence[float | None]) -> str:
    """0.910 \u00b1 0.012; "-" where a training lacks it."""
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return "-"
    spread = spread_of(present)
    return f"{spread.mean:.3f} \u00b1 {spread.deviation or 0:.3f}"


def attack_table(found: Mapping[str, Sequence[SetScores]], protocol: Protocol) -> Shown:
    """The protocol's first columns under every attack."""
    columns = [c for c in protocol.columns if c in ATTACK_COLUMNS][:3]
    body = [
        [name, row.model, row.data, _counted(row, protocol), *(interval(row.columns[c]) for c in columns)]
        for name, rows in found.items()
        for row in rows
        if row.forged
    ]
    return Shown("robustness", ["attack", "model", "data", "n", *(SHORT.get(column, column) for column in columns)], body)


@dataclass(frozen=True)
class Row:
    """A picture's scores with where they come from; a line of --csv."""

    attack: str
    model: str
    weights: str  # hash; "" where there are none
    data: str
    scores: PictureScores


def write_csv(path: Path, protocol: Protocol, rows: Sequence[Row]) -> None:
    """A row per attack, model and picture, with every metric.

    Raises:
        OutputError: the file cannot be written.
    """
    names = [one.name for one in fields(PixelMetrics)]
    facts = ["protocol", "attack", "model", "data", "picture", "forged_picture", "score", "area_marked"]

    def cells(row: Row) -> list[object]:
        one = row.scores
        values = [protocol.name, row.attack, row.model, row.data, one.name, int(one.forged), one.strength, one.area]
        values += [getattr(one.metrics, name) for name in names]
        return [*values, one.sha256, row.weights, __version__]

    write_rows(path, [*facts, *names, "sha256", "weights", "imgscan"], map(cells, rows))


def number(value: float | None) -> str:
    """Three digits; "-" for what is undefined."""
    return "-" if value is None else f"{value:.3f}"


def interval(mean: Mean | None) -> str:
    """0.910 [0.87 0.95]; "-" for what is undefined."""
    if mean is None:
        return "-"
    return f"{mean.mean:.3f}" if mean.low is None else f"{mean.mean:.3f} [{mean.low:.2f} {mean.high:.2f}]"
