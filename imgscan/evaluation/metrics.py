"""Pixel metrics of one picture, each under its own name (field conventions contradict each other; see the docstrings).

Masks are H x W bool, scores H x W float; all at the picture's own resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolMap = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PixelScores:
    """None where a metric is undefined."""

    auc: float | None  # area under the ROC curve of the scores; None when the truth has one class only
    f1: float | None  # binary, forged class, at the mask as given; None without a mask
    macro_f1: float | None  # mean of the F1 of the forged and of the pristine class, as FOCAL reports it
    iou: float | None  # forged class


def confusion(mask: BoolMap, truth: BoolMap) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives, in pixels; ValueError when the sizes differ."""
    if mask.shape != truth.shape:
        raise ValueError(f"mask is {mask.shape}, truth is {truth.shape}; wanted the same size")
    both = int(np.count_nonzero(mask & truth))
    marked, forged = int(np.count_nonzero(mask)), int(np.count_nonzero(truth))
    return both, marked - both, forged - both, mask.size - marked - forged + both


def f1(true: int, false_alarms: int, missed: int) -> float:
    """2 TP / (2 TP + FP + FN); 1 when there is nothing to find and nothing was marked."""
    return 2 * true / (2 * true + false_alarms + missed) if true + false_alarms + missed else 1.0


def pixel_scores(truth: BoolMap, score: npt.NDArray[np.float32] | None, mask: BoolMap | None) -> PixelScores:
    """Every metric of one forged picture.

    Args:
        truth: where it is forged.
        score: a ranking of the pixels; None: no AUC.
        mask: where it was marked; None: no F1 and no IoU.
    """
    from sklearn.metrics import roc_auc_score

    auc = None
    if score is not None and truth.any() and not truth.all():
        auc = float(roc_auc_score(truth.ravel(), score.ravel()))
    if mask is None:
        return PixelScores(auc, None, None, None)
    tp, fp, fn, tn = confusion(mask, truth)
    union = tp + fp + fn
    return PixelScores(auc, f1(tp, fp, fn), (f1(tp, fp, fn) + f1(tn, fn, fp)) / 2, tp / union if union else 1.0)
