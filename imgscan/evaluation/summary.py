"""From pictures to a set: means with intervals, baselines, false alarms, image-level numbers with their leak score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgscan.evaluation.contestants import Contestant
from imgscan.evaluation.image import FalseAlarms, ImageMetrics, false_alarms, image_metrics, leak_score
from imgscan.evaluation.measure import PictureScores
from imgscan.evaluation.pixel import Confusion, MaskMetrics, PixelMetrics, PooledScores, pooled, pooled_scores
from imgscan.evaluation.protocols import Protocol, settled
from imgscan.evaluation.statistics import BASELINES, Baseline, bootstrap

BASELINE_COLUMNS = ("f1", "macro_f1", "permute_f1", "iou")  # what a baseline has; the others rank pixels


@dataclass(frozen=True)
class Mean:
    """Of a column over the pictures that have it."""

    mean: float
    low: float | None  # 95 % bootstrap interval over pictures; None for fewer than two
    high: float | None
    pictures: int


@dataclass(frozen=True)
class SetScores:
    """One contestant on one set, under one protocol."""

    model: str
    data: str
    pictures: int  # measured
    forged: int  # of them
    skipped: int
    columns: dict[str, Mean | None]  # None: no picture has it
    pooled: MaskMetrics | None  # of the summed pixel counts of the forged pictures: large pictures dominate
    pooled_scores: PooledScores | None  # of their summed histograms; its best_f1 takes one threshold for the whole set
    baselines: dict[str, dict[str, float]]  # what answering nothing, or everything, scores on the same truths
    untouched: FalseAlarms | None
    image: ImageMetrics | None  # where the set has forged and untouched pictures and the contestant scores pictures
    leak: float | None  # AUC of a rule that sees container and JPEG quality only


def summarise(contestant: Contestant, data: str, rows: Sequence[PictureScores], skipped: int, protocol: Protocol) -> SetScores:
    """All numbers of a contestant on a set.

    Args:
        contestant: for its name and its operating points.
        data: name of the set.
        rows: one per picture that was measured.
        skipped: how many could not be.
        protocol: that the rows were measured under.
    """
    columns = {column: mean_of([row.columns[column] for row in rows]) for column in protocol.columns}
    counted = [row for row in rows if row.metrics.forged]
    baselines = {
        name: {c: mean.mean for c in BASELINE_COLUMNS if c in columns and (mean := _baseline(rule, c, rows, protocol)) is not None}
        for name, rule in BASELINES.items()
        if counted
    }
    both = {row.forged for row in rows} == {True, False}
    graded = [row for row in rows if row.strength is not None] if both else []
    labels = [row.forged for row in rows]
    return SetScores(
        model=contestant.name,
        data=data,
        pictures=len(rows),
        forged=sum(labels),
        skipped=skipped,
        columns=columns,
        pooled=_pooled([row.metrics for row in counted]),
        pooled_scores=pooled_scores([row.histogram for row in counted]) if counted else None,
        baselines=baselines,
        untouched=false_alarms([row.area for row in rows if not row.forged]),
        image=image_metrics([row.strength or 0.0 for row in graded], [row.forged for row in graded], contestant.thresholds)
        if graded
        else None,
        leak=leak_score([row.quality for row in rows], [row.container for row in rows], labels) if both else None,
    )


def _baseline(rule: Callable[[float], Baseline], column: str, rows: Sequence[PictureScores], protocol: Protocol) -> Mean | None:
    """What a baseline scores on the pictures that enter the means of models, by the same rule for those without forged pixels."""
    return mean_of(
        [settled(protocol, row.metrics.forged, getattr(rule(row.metrics.forged / row.metrics.pixels), column)) for row in rows]
    )


def _pooled(metrics: Sequence[PixelMetrics]) -> MaskMetrics | None:
    counts = [
        Confusion(one.tp, one.fp, one.fn, one.tn)
        for one in metrics
        if one.tp is not None and one.fp is not None and one.fn is not None and one.tn is not None
    ]
    return pooled(counts) if counts else None


def mean_of(values: Sequence[float | None]) -> Mean | None:
    """Mean and interval of the values that are defined; None: there is none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    mean = sum(present) / len(present)
    if (interval := bootstrap(present)) is None:
        return Mean(mean, None, None, len(present))
    # Resamples of equal values may round to the other side of their mean, and a negative error bar cannot be drawn.
    return Mean(mean, min(interval[0], mean), max(interval[1], mean), len(present))
