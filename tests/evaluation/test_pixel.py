import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    jaccard_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from imgscan.evaluation.pixel import (
    BINS,
    Confusion,
    confusion,
    histogram,
    mask_metrics,
    pixel_metrics,
    pooled,
    pooled_scores,
    score_metrics,
)

Maps = tuple[np.ndarray, np.ndarray, np.ndarray]


def maps(seed: int, levels: int | None = None) -> Maps:
    """Truth, score and mask of 40 x 30; `levels` makes ties."""
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 30)) < rng.uniform(0.05, 0.6)
    score = np.clip(0.4 * rng.random((40, 30)) + rng.uniform(-0.3, 0.5) * truth + 0.3, 0, 1).astype(np.float32)
    if levels:
        score = (np.round(score * levels) / levels).astype(np.float32)
    return truth, score, score > 0.55


def best_by_trying(truth: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """Best F1, the highest threshold that has it, and the best of F1 and inverted F1; each threshold tried on its own."""

    def f1(mask: np.ndarray) -> float:
        return float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))

    tried = [(f1(score >= t), float(t)) for t in np.unique(score)]
    best = max(f1 for f1, _ in tried)
    inverse = max(f1(score < t) for t in np.unique(score))
    return best, max(t for f1, t in tried if f1 >= best - 1e-12), max(best, inverse)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [None, 7])
def test_everything_equals_scikit_learn(seed: int, levels: int | None) -> None:
    truth, score, mask = maps(seed, levels)
    ours = pixel_metrics(truth, score, mask)
    flat, marked, ranks = truth.ravel(), mask.ravel(), score.ravel()
    assert ours.f1 == pytest.approx(f1_score(flat, marked))
    assert ours.macro_f1 == pytest.approx(f1_score(flat, marked, average="macro"))
    assert ours.permute_f1 == pytest.approx(max(f1_score(flat, marked), f1_score(flat, ~marked)))
    assert ours.iou == pytest.approx(jaccard_score(flat, marked))
    assert ours.mcc == pytest.approx(matthews_corrcoef(flat, marked))
    assert ours.precision == pytest.approx(precision_score(flat, marked))
    assert ours.recall == pytest.approx(recall_score(flat, marked))
    assert ours.area == pytest.approx(marked.mean())
    auc = roc_auc_score(flat, ranks)
    assert ours.auc == pytest.approx(auc, abs=1e-9)
    assert ours.flipped_auc == pytest.approx(max(auc, 1 - auc), abs=1e-9)
    assert ours.average_precision == pytest.approx(average_precision_score(flat, ranks), abs=1e-9)
    best, threshold, permuted = best_by_trying(truth, score)
    assert ours.best_f1 == pytest.approx(best)
    assert ours.best_threshold == pytest.approx(threshold)
    assert ours.best_permute_f1 == pytest.approx(permuted)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_other_dtypes_and_scores_below_zero(kind: type) -> None:
    truth, score, _ = maps(3, 50)
    shifted = (score - 0.5).astype(kind)
    ours = score_metrics(truth, shifted)
    assert ours.auc == pytest.approx(roc_auc_score(truth.ravel(), shifted.ravel().astype(np.float64)), abs=1e-9)
    assert ours.best_f1 == pytest.approx(best_by_trying(truth, shifted)[0])


def test_both_zeros_are_one_tie() -> None:
    """-0.0 equals 0.0, though their bits differ."""
    truth = np.array([[True, False]])
    assert score_metrics(truth, np.array([[0.0, -0.0]], np.float32)).auc == 0.5
    assert score_metrics(truth, np.array([[-0.0, 0.0]], np.float32)).auc == 0.5


def test_by_hand() -> None:
    """Truth 1 0 1 0, scores .9 .5 .4 .1: thresholds mark 1, 2, 3, 4 pixels with 1, 1, 2, 2 hits.

    F1 2/3, 1/2, 4/5, 2/3.  AP = 1/2 * 1 + 1/2 * 2/3 = 5/6.  AUC: three of four pairs in order.
    The mask 1 1 0 0 has tp = fp = fn = tn = 1.
    """
    truth = np.array([[1, 0, 1, 0]], bool)
    score = np.array([[0.9, 0.5, 0.4, 0.1]], np.float32)
    ours = pixel_metrics(truth, score, np.array([[1, 1, 0, 0]], bool))
    assert (ours.tp, ours.fp, ours.fn, ours.tn) == (1, 1, 1, 1)
    assert (ours.auc, ours.flipped_auc) == (0.75, 0.75)
    assert ours.average_precision == pytest.approx(5 / 6)
    assert ours.best_f1 == pytest.approx(0.8)
    assert ours.best_threshold == pytest.approx(0.4)
    assert (ours.f1, ours.macro_f1, ours.iou, ours.mcc, ours.area) == (0.5, 0.5, pytest.approx(1 / 3), 0.0, 0.5)


def test_an_inverted_answer() -> None:
    truth = np.zeros((10, 10), bool)
    truth[:3] = True
    ours = pixel_metrics(truth, (~truth).astype(np.float32), ~truth)
    assert (ours.f1, ours.permute_f1, ours.auc, ours.flipped_auc, ours.mcc) == (0.0, 1.0, 0.0, 1.0, -1.0)
    assert ours.best_f1 == pytest.approx(2 * 0.3 / 1.3), "the best it can do without inverting is to mark everything"
    assert ours.best_permute_f1 == 1.0


def test_nothing_forged_and_nothing_marked() -> None:
    nothing = np.zeros((4, 4), bool)
    ours = pixel_metrics(nothing, np.zeros((4, 4), np.float32), nothing)
    assert (ours.f1, ours.macro_f1, ours.permute_f1, ours.iou, ours.area) == (1.0, 1.0, 1.0, 1.0, 0.0)
    assert (ours.mcc, ours.precision, ours.recall) == (None, None, None)
    assert (ours.auc, ours.flipped_auc, ours.best_f1, ours.best_permute_f1, ours.average_precision) == (None,) * 5


def test_nothing_forged_and_something_marked() -> None:
    """Macro F1 over both labels, as scikit-learn has it: pristine 2 * 12 / (24 + 4), forged 0."""
    truth, mask = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    mask[0] = True
    ours = pixel_metrics(truth, None, mask)
    assert ours.macro_f1 == pytest.approx(f1_score(truth.ravel(), mask.ravel(), average="macro"))
    assert ours.macro_f1 == pytest.approx(24 / 28 / 2)
    assert (ours.f1, ours.iou, ours.precision, ours.recall, ours.area) == (0.0, 0.0, 0.0, None, 0.25)


def test_everything_forged() -> None:
    truth = np.ones((4, 4), bool)
    ours = pixel_metrics(truth, np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4), truth)
    assert (ours.f1, ours.macro_f1, ours.iou, ours.recall) == (1.0, 1.0, 1.0, 1.0)
    assert (ours.auc, ours.flipped_auc, ours.mcc) == (None, None, None)
    assert (ours.best_f1, ours.average_precision) == (1.0, 1.0)


def test_a_constant_score_ranks_nothing() -> None:
    truth = np.zeros((4, 4), bool)
    truth[0] = True
    ours = score_metrics(truth, np.full((4, 4), 0.3, np.float32))
    assert (ours.auc, ours.flipped_auc, ours.average_precision) == (0.5, 0.5, 0.25)
    assert ours.best_f1 == pytest.approx(0.4), "marking everything: 2p / (1 + p)"


def test_a_blank_mask_is_worth_half_in_macro_f1_and_never_0_in_permute_f1() -> None:
    truth = np.zeros((20, 20), bool)
    truth[:2] = True
    ours = pixel_metrics(truth, None, np.zeros_like(truth))
    assert ours.macro_f1 == pytest.approx(0.9 / 1.9)
    assert ours.permute_f1 == pytest.approx(0.2 / 1.1)
    assert (ours.f1, ours.precision, ours.mcc) == (0.0, None, 0.0), "left out, it would raise the mean of whoever marks nothing"
    assert matthews_corrcoef(truth.ravel(), np.zeros(400, bool)) == 0


def test_what_is_not_given_is_none() -> None:
    truth, score, mask = maps(0)
    assert pixel_metrics(truth, score).f1 is None
    assert pixel_metrics(truth, None, mask).auc is None
    alone = pixel_metrics(truth)
    assert (alone.pixels, alone.forged, alone.tp) == (1200, int(truth.sum()), None)


def test_only_valid_pixels_count() -> None:
    truth, score, mask = maps(1)
    valid = np.zeros_like(truth)
    valid[5:25, 3:20] = True
    inside = pixel_metrics(truth[5:25, 3:20], score[5:25, 3:20], mask[5:25, 3:20])
    assert pixel_metrics(truth, score, mask, valid) == inside
    assert inside != pixel_metrics(truth, score, mask)


def test_bad_input_is_named() -> None:
    truth, score, mask = maps(0)
    with pytest.raises(ValueError, match=r"mask is \(39, 30\), truth is \(40, 30\)"):
        pixel_metrics(truth, None, mask[1:])
    with pytest.raises(ValueError, match=r"score is \(40, 29\)"):
        pixel_metrics(truth, score[:, 1:])
    with pytest.raises(ValueError, match="uint8; wanted bool"):
        pixel_metrics(truth.astype(np.uint8), None, mask)
    score[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 1200 scores are NaN"):
        pixel_metrics(truth, score)
    with pytest.raises(ValueError, match="at least one valid pixel"):
        pixel_metrics(truth, None, mask, np.zeros_like(truth))


def test_pooled_counts_are_those_of_the_pictures_put_together() -> None:
    pictures = [maps(seed) for seed in range(3)]
    together = [np.concatenate([one[k] for one in pictures]) for k in (0, 2)]
    assert pooled(confusion(truth, mask) for truth, _, mask in pictures) == mask_metrics(confusion(*together))
    with pytest.raises(ValueError, match="no pixel"):
        pooled([])


def test_pooled_is_not_the_mean_of_the_pictures() -> None:
    """1 of 1 pixels found in one picture, 0 of 9 in another: mean F1 0.5, pooled 2 / (2 + 9)."""
    found, missed = Confusion(tp=1, fp=0, fn=0, tn=9), Confusion(tp=0, fp=0, fn=9, tn=1)
    assert pooled([found, missed]).f1 == pytest.approx(2 / 11)


def test_one_threshold_for_the_set() -> None:
    """Scores on the histogram's own steps, so that nothing is lost in it."""
    rng = np.random.default_rng(0)
    truths = [rng.random((20, 20)) < share for share in (0.1, 0.4)]
    scores = [(rng.integers(0, 600, (20, 20)) + 300 * truth).astype(np.float32) / BINS for truth in truths]
    ours = pooled_scores([histogram(truth, score) for truth, score in zip(truths, scores, strict=True)])
    truth, score = np.concatenate(truths), np.concatenate(scores)
    best, threshold, _ = best_by_trying(truth, score)
    assert ours.best_f1 == pytest.approx(best)
    assert ours.best_threshold == pytest.approx(threshold)
    assert ours.auc == pytest.approx(roc_auc_score(truth.ravel(), score.ravel()))
    each = [score_metrics(t, s).best_f1 or 0 for t, s in zip(truths, scores, strict=True)]
    assert best < max(each), "the set's threshold is a compromise"


def test_histogram_edges() -> None:
    counts = histogram(np.array([[True, False, True]]), np.array([[0.0, 1 / BINS, 1.0]], np.float32))
    assert counts.sum() == 3
    assert (counts[1, 0], counts[0, 1], counts[1, BINS - 1]) == (1, 1, 1)
    for score in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match="wanted 0 to 1"):
            histogram(np.array([[True]]), np.array([[score]], np.float32))


def test_a_set_of_one_class_and_no_set() -> None:
    truth, score = np.zeros((2, 2), bool), np.full((2, 2), 0.5, np.float32)
    ours = pooled_scores([histogram(truth, score)])
    assert (ours.auc, ours.best_f1, ours.best_threshold) == (None, None, None)
    assert pooled_scores([histogram(~truth, score)]).auc is None
    with pytest.raises(ValueError, match="at least one"):
        pooled_scores([])


def test_a_score_is_in_the_bin_that_begins_at_or_below_it() -> None:
    scores = np.array([[0.0, 0.9 / BINS, 1 / BINS, 1.9 / BINS, 1.0]], np.float32)
    counts = histogram(np.zeros((1, 5), bool), scores)
    assert list(np.flatnonzero(counts[0])) == [0, 1, BINS - 1]
    assert list(counts[0][[0, 1, BINS - 1]]) == [2, 2, 1]
