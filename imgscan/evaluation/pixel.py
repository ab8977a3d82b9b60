"""Every pixel metric of the field under its own name, for one picture and pooled over a set.

The field's numbers contradict each other because one name stands for several things; here each has its own:

* `f1` is binary, of the forged class (IMDLBenCo, MVSS-Net, TruFor): 2 TP / (2 TP + FP + FN).
* `macro_f1` is the mean of the F1 of the classes that occur in truth or answer (FOCAL, arXiv 2308.09307, Eq. 5; scikit-learn's
  average="macro").  An answer that marks nothing has (1 - p) / (2 - p) for a forged share p: near 0.5 for any small forgery.
* `permute_f1` is max(f1, f1 of the inverted answer) (TruFor, CVPR 2023, metrics.py; IMDLBenCo's mode "double").  An answer that
  marks nothing has 2p / (1 + p), never 0.
* `auc` is plain; `flipped_auc` = max(auc, 1 - auc) is what CFL-Net's released code calls AUC (WACV 2023).
* `best_f1` knows the truth: the largest f1 over all thresholds of this picture; `best_permute_f1` may also invert (TruFor's "best
  threshold").  `pooled_scores` takes one threshold for the whole set.

All ranking metrics of a picture come from one sort.  A metric that is undefined is None, never 0 and never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

BoolMap = npt.NDArray[np.bool_]
ScoreMap = npt.NDArray[np.floating]
Counts = npt.NDArray[np.int64]

BINS = 1024  # of a score histogram: thresholds a set may choose from, 1/1024 apart


@dataclass(frozen=True)
class Confusion:
    """Pixel counts; ints of Python, so that sums over a set cannot overflow."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    def inverted(self) -> Confusion:
        """The counts of the inverted answer."""
        return Confusion(tp=self.fn, fp=self.tn, fn=self.tp, tn=self.fp)


@dataclass(frozen=True)
class MaskMetrics:
    """What follows from the confusion counts alone, each 0..1 (mcc: -1..1)."""

    f1: float  # 1 when there is nothing to find and nothing was marked (MVSS-Net's rule; protocols.py has the others)
    macro_f1: float  # over the classes that occur; 1 when both maps are empty (FOCAL), or both full
    permute_f1: float
    iou: float  # TP / (TP + FP + FN); 1 when the union is empty
    mcc: float | None  # an answer of one class: 0, as an answer by chance has (scikit-learn's rule too); a truth of one class: None
    precision: float | None  # None when nothing was marked
    recall: float | None  # None when nothing is forged
    area: float  # share of pixels marked


@dataclass(frozen=True)
class ScoreMetrics:
    """What follows from the ranking of the pixels, each 0..1; a constant score ranks nothing: auc 0.5, ap the forged share."""

    auc: float | None  # None when the truth has one class only
    flipped_auc: float | None  # as auc
    best_f1: float | None  # None when nothing is forged
    best_threshold: float | None  # `score >= best_threshold` has best_f1; the highest such score; None as best_f1
    best_permute_f1: float | None  # as best_f1
    average_precision: float | None  # None when nothing is forged; sum of (R_n - R_n-1) P_n, as scikit-learn


UNDEFINED = ScoreMetrics(None, None, None, None, None, None)


@dataclass(frozen=True)
class PixelMetrics:
    """All of one picture; None where a metric is undefined (see MaskMetrics, ScoreMetrics) or its input was not given."""

    pixels: int  # counted ones
    forged: int  # of them, in the truth
    tp: int | None
    fp: int | None
    fn: int | None
    tn: int | None
    f1: float | None
    macro_f1: float | None
    permute_f1: float | None
    iou: float | None
    mcc: float | None
    precision: float | None
    recall: float | None
    area: float | None
    auc: float | None
    flipped_auc: float | None
    best_f1: float | None
    best_threshold: float | None
    best_permute_f1: float | None
    average_precision: float | None


def confusion(truth: BoolMap, mask: BoolMap, valid: BoolMap | None = None) -> Confusion:
    """Count the pixels of two H x W bool maps, where `valid` (H x W bool) allows; ValueError when the sizes differ."""
    _check(truth, "mask", mask)
    if valid is not None:
        _check(truth, "valid", valid)
        truth, mask = truth[valid], mask[valid]
    both = int(np.count_nonzero(mask & truth))
    marked, forged = int(np.count_nonzero(mask)), int(np.count_nonzero(truth))
    return Confusion(tp=both, fp=marked - both, fn=forged - both, tn=truth.size - marked - forged + both)


def f1_of(tp: int, fp: int, fn: int) -> float:
    """2 TP / (2 TP + FP + FN); 1 when all three are 0."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def mask_metrics(counts: Confusion) -> MaskMetrics:
    """Of one picture, or pooled over a set when `counts` is the sum over its pictures.

    Raises:
        ValueError: no pixel was counted.
    """
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    total = tp + fp + fn + tn
    if not total:
        raise ValueError("no pixel was counted; wanted at least one valid pixel")
    forged_f1, pristine_f1 = f1_of(tp, fp, fn), f1_of(tn, fn, fp)
    inverted = counts.inverted()
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    both = tp + fn and tn + fp
    return MaskMetrics(
        f1=forged_f1,
        macro_f1=(forged_f1 + pristine_f1) / 2,  # a class that occurs nowhere has 1, and so does the other: the mean is the same
        permute_f1=max(forged_f1, f1_of(inverted.tp, inverted.fp, inverted.fn)),
        iou=tp / (tp + fp + fn) if tp + fp + fn else 1.0,
        mcc=(tp * tn - fp * fn) / product**0.5 if product else 0.0 if both else None,
        precision=tp / (tp + fp) if tp + fp else None,
        recall=tp / (tp + fn) if tp + fn else None,
        area=(tp + fp) / total,
    )


def score_metrics(truth: BoolMap, score: ScoreMap, valid: BoolMap | None = None) -> ScoreMetrics:
    """Everything that needs a ranking, from one sort of the pixels.

    Args:
        truth: H x W bool.
        score: H x W float; higher is more likely forged.
        valid: H x W bool, pixels that count; None: all.

    Raises:
        ValueError: sizes differ, or a score is NaN (which has no rank).
    """
    _check(truth, "score", score)
    if valid is not None:
        _check(truth, "valid", valid)
        truth, score = truth[valid], score[valid]
    if np.isnan(score).any():
        raise ValueError(f"{int(np.isnan(score).sum())} of {score.size} scores are NaN; wanted numbers")
    flat = np.ascontiguousarray(score).ravel()
    forged = int(np.count_nonzero(truth))
    if not forged:
        return UNDEFINED
    levels, positives, totals = _levels(flat, truth.ravel())
    tp, marked = np.cumsum(positives), np.cumsum(totals)  # at thresholds from the highest score down
    f1 = 2 * tp / (marked + forged)
    best = int(np.argmax(f1))
    inverse = 2 * (forged - tp) / (flat.size - marked + forged)  # of marking all pixels below the threshold
    precision = float(np.dot(positives / forged, tp / marked))
    auc = _area(positives, totals - positives)
    return ScoreMetrics(
        auc=auc,
        flipped_auc=None if auc is None else max(auc, 1 - auc),
        best_f1=float(f1[best]),
        best_threshold=float(levels[best]),
        best_permute_f1=float(max(f1[best], inverse.max())),
        average_precision=precision,
    )


def pixel_metrics(
    truth: BoolMap, score: ScoreMap | None = None, mask: BoolMap | None = None, valid: BoolMap | None = None
) -> PixelMetrics:
    """Every metric of one picture.

    Args:
        truth: H x W bool, where it is forged.
        score: H x W float, a ranking of the pixels; None: no ranking metrics.
        mask: H x W bool, where it was marked; None: no metrics of the marking.
        valid: H x W bool, pixels that count (a protocol may ignore borders); None: all.

    Raises:
        ValueError: sizes differ, no pixel counts, or a score is NaN.
    """
    if valid is not None:
        _check(truth, "valid", valid)
    counted = truth if valid is None else truth[valid]
    if not counted.size:
        raise ValueError(f"no pixel of {truth.shape} counts; wanted at least one valid pixel")
    counts = None if mask is None else confusion(truth, mask, valid)
    return PixelMetrics(
        pixels=int(counted.size),
        forged=int(np.count_nonzero(counted)),
        **_values(Confusion, counts),
        **_values(MaskMetrics, None if counts is None else mask_metrics(counts)),
        **_values(ScoreMetrics, None if score is None else score_metrics(truth, score, valid)),
    )


def pooled(counts: Iterable[Confusion]) -> MaskMetrics:
    """Metrics of the summed counts: every pixel of the set weighs the same, so large pictures dominate.

    Raises:
        ValueError: no pictures.
    """
    return mask_metrics(sum(counts, Confusion(0, 0, 0, 0)))


def histogram(truth: BoolMap, score: ScoreMap, valid: BoolMap | None = None) -> Counts:
    """Counts 2 x BINS int64 of the scores of pristine (row 0) and forged (row 1) pixels; sums over pictures pool a set.

    Bin k holds k / BINS <= score < (k + 1) / BINS; a score of 1 goes into the last.

    Raises:
        ValueError: sizes differ, or a score outside 0..1.
    """
    _check(truth, "score", score)
    if valid is not None:
        _check(truth, "valid", valid)
        truth, score = truth[valid], score[valid]
    if score.size and not (float(score.min()) >= 0 and float(score.max()) <= 1):  # also refuses NaN
        raise ValueError(f"scores reach from {score.min()} to {score.max()}; wanted 0 to 1")
    bins = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    return np.bincount((bins + BINS * truth).ravel(), minlength=2 * BINS).reshape(2, BINS)


@dataclass(frozen=True)
class PooledScores:
    """Ranking metrics of a set from its summed histograms: scores in one bin count as ties, 1/1024 apart at most."""

    auc: float | None  # None when the set has one class only
    best_f1: float | None  # None when nothing is forged
    best_threshold: float | None  # k / BINS: the highest `score >= threshold` with best_f1


def pooled_scores(histograms: Sequence[Counts]) -> PooledScores:
    """One threshold for the whole set, and the AUC of all its pixels.

    Args:
        histograms: of every picture, see `histogram`.

    Raises:
        ValueError: no histogram, or one of another shape.
    """
    if not histograms or any(one.shape != (2, BINS) for one in histograms):
        raise ValueError(f"histograms {[one.shape for one in histograms]}; wanted at least one of (2, {BINS})")
    pristine, forged = np.sum(histograms, axis=0)[:, ::-1]  # the highest scores first
    total = int(forged.sum())
    if not total:
        return PooledScores(None, None, None)
    tp, marked = np.cumsum(forged), np.cumsum(forged + pristine)
    f1 = 2 * tp / (marked + total)
    best = int(np.argmax(f1))
    return PooledScores(_area(forged, pristine), float(f1[best]), (BINS - 1 - best) / BINS)


def _values(
    kind: type[Confusion | MaskMetrics | ScoreMetrics], one: Confusion | MaskMetrics | ScoreMetrics | None
) -> dict[str, Any]:
    """The fields of a record by name, all None where there is no record."""
    return {field.name: None if one is None else getattr(one, field.name) for field in fields(kind)}


def _check(truth: BoolMap, name: str, other: npt.NDArray[np.generic]) -> None:
    if truth.dtype != np.bool_:
        raise ValueError(f"truth has dtype {truth.dtype}; wanted bool")
    if name != "score" and other.dtype != np.bool_:
        raise ValueError(f"{name} has dtype {other.dtype}; wanted bool")
    if other.shape != truth.shape:
        raise ValueError(f"{name} is {other.shape}, truth is {truth.shape}; wanted the same size")


def _levels(score: ScoreMap, truth: BoolMap) -> tuple[ScoreMap, Counts, Counts]:
    """Distinct scores from the highest down, and the forged and all pixels that have each."""
    if score.dtype == np.float32 and not np.signbit(score).any():
        score, truth = _sorted_together(score, truth)
    else:
        order = np.argsort(score)
        score, truth = score[order], truth[order]
    starts = np.concatenate([[0], np.flatnonzero(score[1:] != score[:-1]) + 1])
    totals = np.diff(starts, append=score.size)
    positives = np.add.reduceat(truth, starts, dtype=np.int64)
    return score[starts][::-1], positives[::-1], totals[::-1]


def _sorted_together(score: npt.NDArray[np.float32], truth: BoolMap) -> tuple[npt.NDArray[np.float32], BoolMap]:
    """Both in the order of the scores, ascending; no score may have its sign bit set.

    Such float32 order as their bits do, and the sign bit is free: shifted out, it makes room for the truth, and one sort of
    32-bit integers orders both.  An argsort and two gathers cost several times as much on a large picture.
    """
    keys = (score.view(np.uint32) << 1) | truth
    keys.sort()
    return (keys >> 1).view(np.float32), (keys & 1).astype(np.bool_)


def _area(positives: Counts, negatives: Counts) -> float | None:
    """Area under the ROC curve from counts per score, highest first; a tie counts half; None when a class is missing.

    P(score of a forged pixel > score of a pristine one) + P(equal) / 2, the Mann-Whitney form of the area.
    """
    forged, pristine = float(positives.sum()), float(negatives.sum())
    if not (forged and pristine):
        return None
    below = pristine - np.cumsum(negatives)
    return float(np.dot(positives / forged, (below + negatives / 2) / pristine))
