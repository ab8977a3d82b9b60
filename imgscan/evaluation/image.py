"""Image-level metrics: does the score of a picture tell forged pictures from untouched ones?

Two warnings go with every such number.  "F1" here is the binary F1 of the forged class; MVSS-Net's image F1 (ICCV 2021) is the
harmonic mean of sensitivity and specificity and has another name if it is ever printed.  And where the forged and the untouched
pictures of a set differ in container or JPEG quality, a detector may measure just that: `leak_score` says how far that alone goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgscan.evaluation.pixel import f1_of

FOLDS = 5  # of the cross-validation in leak_score; fewer pictures of a class than this give no answer


@dataclass(frozen=True)
class Decision:
    """At one threshold: a picture is flagged when its score reaches it."""

    threshold: float
    f1: float | None  # binary, forged class; None when nothing is forged and nothing was flagged
    balanced_accuracy: float | None  # (tpr + 1 - fpr) / 2; None when the set has one class only
    tpr: float | None  # share of forged pictures flagged; None when there are none
    fpr: float | None  # share of untouched pictures flagged; None when there are none


@dataclass(frozen=True)
class ImageMetrics:
    """Of a set of pictures."""

    forged: int
    untouched: int
    auc: float | None  # None when the set has one class only; 0.5 for a constant score
    average_precision: float | None  # None when nothing is forged
    decisions: dict[str, Decision]  # by the name of the operating point


@dataclass(frozen=True)
class FalseAlarms:
    """On untouched pictures only."""

    pictures: int
    flagged: float  # share with any marked pixel
    area: float  # mean share of pixels marked


def image_metrics(scores: Sequence[float], labels: Sequence[bool], thresholds: Mapping[str, float]) -> ImageMetrics:
    """Every image-level metric of a set.

    Args:
        scores: one per picture, higher is more likely forged.
        labels: True where the picture is forged.
        thresholds: operating points of the model's card, name -> score from which a picture is flagged; may be empty.

    Raises:
        ValueError: no pictures, lengths differ, or a score is not finite.
    """
    score, label = _arrays(scores, labels)
    forged = int(label.sum())
    auc = ap = None
    if forged:
        from sklearn.metrics import average_precision_score, roc_auc_score

        ap = float(average_precision_score(label, score))
        if forged < label.size:
            auc = float(roc_auc_score(label, score))
    decisions = {name: decide(score, label, float(at)) for name, at in thresholds.items()}
    return ImageMetrics(forged, int(label.size) - forged, auc, ap, decisions)


def decide(score: npt.NDArray[np.float64], label: npt.NDArray[np.bool_], threshold: float) -> Decision:
    """What flagging `score >= threshold` answers; `score` and `label` are of n pictures."""
    flagged = score >= threshold
    tp, fp = int((flagged & label).sum()), int((flagged & ~label).sum())
    forged = int(label.sum())
    untouched = int(label.size) - forged
    tpr = tp / forged if forged else None
    fpr = fp / untouched if untouched else None
    return Decision(
        threshold=threshold,
        f1=f1_of(tp, fp, forged - tp) if forged or fp else None,
        balanced_accuracy=None if tpr is None or fpr is None else (tpr + 1 - fpr) / 2,
        tpr=tpr,
        fpr=fpr,
    )


def false_alarms(areas: Sequence[float]) -> FalseAlarms | None:
    """What was marked on untouched pictures.

    Args:
        areas: share of pixels marked, 0..1, one per untouched picture.

    Returns:
        None when there are no such pictures.
    """
    if not areas:
        return None
    return FalseAlarms(len(areas), sum(area > 0 for area in areas) / len(areas), sum(areas) / len(areas))


def leak_score(qualities: Sequence[int | None], formats: Sequence[str], labels: Sequence[bool]) -> float | None:
    """AUC of a rule that sees nothing but the container and the estimated JPEG quality of each file.

    The rule is a decision tree of at most 16 leaves, so it can learn "forged means PNG" or "forged means quality 85 to 90".  It is
    cross-validated: trained on four fifths of the pictures (stratified by label), it ranks the fifth it has not seen, and the five
    AUCs are averaged.  0.5: file properties say nothing; 1: they alone separate the set, and image-level numbers on it say nothing
    about forgery.  A set without any leak scatters around 0.5, below it as often as above.

    Args:
        qualities: IJG quality 1..100 of each picture, None where the file has no tables (decode.estimate_quality).
        formats: container of each picture, as Pillow names it.
        labels: True where the picture is forged.

    Returns:
        None when a class has fewer than five pictures.

    Raises:
        ValueError: lengths differ.
    """
    if not len(qualities) == len(formats) == len(labels):
        raise ValueError(f"{len(qualities)} qualities, {len(formats)} formats, {len(labels)} labels; wanted one each per picture")
    label = np.asarray(labels, bool)
    if min(int(label.sum()), int((~label).sum())) < FOLDS:
        return None
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.tree import DecisionTreeClassifier

    containers = sorted(set(formats))
    seen = np.array(
        [[-1.0 if q is None else q, *(name == one for one in containers)] for q, name in zip(qualities, formats, strict=True)]
    )
    aucs = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(seen, label):
        # balanced: a set with few untouched pictures would otherwise be split where the many forged ones differ
        tree = DecisionTreeClassifier(max_leaf_nodes=16, class_weight="balanced", random_state=0).fit(seen[train], label[train])
        aucs.append(float(roc_auc_score(label[test], tree.predict_proba(seen[test])[:, 1])))
    return sum(aucs) / len(aucs)


def _arrays(scores: Sequence[float], labels: Sequence[bool]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    if len(scores) != len(labels) or not len(scores):
        raise ValueError(f"{len(scores)} scores, {len(labels)} labels; wanted one each per picture, at least one picture")
    score, label = np.asarray(scores, np.float64), np.asarray(labels, bool)
    if not np.isfinite(score).all():
        raise ValueError(f"{int((~np.isfinite(score)).sum())} of {score.size} scores are not finite; wanted numbers")
    return score, label
