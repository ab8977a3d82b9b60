import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, roc_auc_score

from imgscan.evaluation.image import false_alarms, image_metrics, leak_score


@pytest.mark.parametrize("seed", range(4))
def test_everything_equals_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.random(60) < 0.4
    score = np.round(rng.random(60) + 0.3 * label, 1)  # with ties
    ours = image_metrics(score.tolist(), label.tolist(), {"strict": 0.8})
    assert (ours.forged, ours.untouched) == (label.sum(), (~label).sum())
    assert ours.auc == pytest.approx(roc_auc_score(label, score))
    assert ours.average_precision == pytest.approx(average_precision_score(label, score))
    strict, flagged = ours.decisions["strict"], score >= 0.8
    assert strict.f1 == pytest.approx(f1_score(label, flagged))
    assert strict.balanced_accuracy == pytest.approx(balanced_accuracy_score(label, flagged))


def test_rates_by_hand() -> None:
    """At 0.5 two of three forged and one of two untouched pictures are flagged; a score on the threshold counts."""
    ours = image_metrics([0.9, 0.5, 0.2, 0.6, 0.1], [True, True, True, False, False], {"half": 0.5}).decisions["half"]
    assert ours.tpr == pytest.approx(2 / 3)
    assert ours.fpr == 0.5
    assert ours.balanced_accuracy == pytest.approx((2 / 3 + 0.5) / 2)
    assert ours.f1 == pytest.approx(4 / 6)


def test_sets_of_one_class() -> None:
    forged = image_metrics([0.2, 0.9], [True, True], {"half": 0.5})
    assert (forged.auc, forged.average_precision) == (None, 1.0)
    assert (forged.decisions["half"].tpr, forged.decisions["half"].fpr, forged.decisions["half"].balanced_accuracy) == (
        0.5,
        None,
        None,
    )
    untouched = image_metrics([0.2, 0.3], [False, False], {"half": 0.5})
    assert (untouched.auc, untouched.average_precision) == (None, None)
    assert (untouched.decisions["half"].tpr, untouched.decisions["half"].fpr, untouched.decisions["half"].f1) == (None, 0.0, None)


def test_a_constant_score() -> None:
    assert image_metrics([0.3] * 4, [True, False, True, False], {}).auc == 0.5


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="1 scores, 2 labels"):
        image_metrics([0.1], [True, False], {})
    with pytest.raises(ValueError, match="at least one picture"):
        image_metrics([], [], {})
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        image_metrics([0.1, float("nan")], [True, False], {})


def test_false_alarms() -> None:
    ours = false_alarms([0.0, 0.0, 0.02, 0.1])
    assert ours is not None
    assert (ours.pictures, ours.flagged, ours.area) == (4, 0.5, pytest.approx(0.03))
    assert false_alarms([]) is None


def files(quality: tuple[int, int], n: int = 50, seed: int = 0) -> tuple[list[int | None], list[bool]]:
    """Qualities of n forged pictures from the first value up to 10 more, of n untouched from the second."""
    rng = np.random.default_rng(seed)
    return [int(low + rng.integers(10)) for low in quality for _ in range(n)], [True] * n + [False] * n


def test_a_leak_of_quality_is_found_and_none_is_none() -> None:
    qualities, labels = files((70, 90))
    assert leak_score(qualities, ["JPEG"] * 100, labels) == 1.0
    assert leak_score(qualities[::-1], ["JPEG"] * 100, labels) == 1.0, "whichever side is the better one"
    same = [leak_score(files((80, 80), seed=seed)[0], ["JPEG"] * 100, labels) for seed in range(5)]
    assert all(one is not None for one in same)
    assert np.mean([one or 0 for one in same]) == pytest.approx(0.5, abs=0.1), "held-out pictures: no leak is learnt by heart"


def test_a_quality_between_those_of_the_others_leaks_too() -> None:
    """Not monotonic: forged 80 to 89, untouched 70 to 79 and 90 to 99."""
    forged, untouched = files((80, 70))[0][:50], files((70, 90))[0]
    assert leak_score(forged + untouched, ["JPEG"] * 150, [True] * 50 + [False] * 100) == 1.0


def test_a_leak_of_the_container() -> None:
    assert leak_score([None] * 40, ["PNG", "TIFF"] * 20, [True, False] * 20) == 1.0
    assert leak_score([None] * 40, ["PNG"] * 40, [True, False] * 20) == 0.5


def test_too_few_pictures_give_no_leak_score() -> None:
    assert leak_score([90] * 8, ["JPEG"] * 8, [True] * 4 + [False] * 4) is None
    assert leak_score([], [], []) is None
    with pytest.raises(ValueError, match="1 qualities, 2 formats, 2 labels"):
        leak_score([90], ["JPEG"] * 2, [True, False])
