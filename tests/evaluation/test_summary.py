"""From pictures to a set, by hand: which pictures count for which number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from imgscan.evaluation.contestants import Contestant
from imgscan.evaluation.measure import PictureScores
from imgscan.evaluation.pixel import histogram, pixel_metrics
from imgscan.evaluation.protocols import PROTOCOLS
from imgscan.evaluation.summary import SetScores, mean_of, summarise
from imgscan.records import Picture

NATIVE = PROTOCOLS["native"]


def row(forged: int, marked: int, strength: float | None = None) -> PictureScores:
    """A picture of 100 pixels, of which the first so many are forged and the first so many marked."""
    truth, mask = (np.arange(100).reshape(10, 10) < count for count in (forged, marked))
    scores = mask.astype(np.float32)
    metrics = pixel_metrics(truth, scores, mask)
    columns = {name: getattr(metrics, name) for name in NATIVE.columns}
    counts = histogram(truth, scores)
    return PictureScores("p.png", "0" * 64, forged > 0, metrics, columns, marked / 100, strength, None, "PNG", counts)


def nobody(pictures: Sequence[Picture]) -> list[None]:
    raise AssertionError("is not asked")


def of(*rows: PictureScores, skipped: int = 0) -> SetScores:
    return summarise(Contestant("m", nobody, thresholds={"possible": 0.5}), "x", rows, skipped, NATIVE)  # type: ignore[arg-type]


def test_pixels_are_pooled_over_the_forged_pictures_alone() -> None:
    """20 of 20 and 10 of 40 forged pixels are marked; what is marked on untouched pictures is in their own number."""
    scores = of(row(20, 20), row(40, 10), row(0, 30), row(0, 0), skipped=3)
    assert (scores.pictures, scores.forged, scores.skipped) == (4, 2, 3)
    assert scores.pooled is not None
    assert scores.pooled.iou == pytest.approx(30 / 60)
    assert scores.pooled_scores is not None
    assert scores.pooled_scores.best_f1 == pytest.approx(2 * 30 / (30 + 60))
    assert scores.untouched is not None
    assert (scores.untouched.pictures, scores.untouched.flagged, scores.untouched.area) == (2, 0.5, pytest.approx(0.15))


def test_a_forgery_without_a_forged_pixel_that_counts_is_not_pooled() -> None:
    """As where all of them lie in what a truth leaves out."""
    scores = of(replace(row(0, 30), forged=True))
    assert (scores.forged, scores.pooled, scores.pooled_scores, scores.untouched, scores.baselines) == (1, None, None, None, {})


def test_the_level_of_pictures_needs_both_kinds_and_scores() -> None:
    assert of(row(20, 20, 0.9), row(20, 0, 0.1)).image is None, "forged ones alone"
    assert of(row(0, 20, 0.9)).image is None
    assert of(row(20, 20), row(0, 0)).image is None, "a contestant that does not score pictures"
    image = of(row(20, 20, 0.9), row(20, 0), row(0, 0, 0.1)).image
    assert image is not None
    assert (image.forged, image.untouched, image.auc) == (1, 1, 1.0), "without the one that has no score"


def test_a_mean_lies_in_its_interval_and_is_over_what_is_defined() -> None:
    mean = mean_of([0.5, None, 0.7])
    assert mean is not None
    assert (mean.mean, mean.pictures) == (pytest.approx(0.6), 2)
    equal = mean_of([0.1] * 7)
    assert equal is not None
    assert equal.low is not None
    assert equal.high is not None
    assert equal.low <= equal.mean <= equal.high
    assert mean_of([None]) is None
