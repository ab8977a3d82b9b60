"""Double quantisation in histograms of coefficients, on numbers made here."""

import numpy as np
import pytest

from imgscan.detectors.double_quantisation import LARGEST, _compare, _Sums, first_step, once_only
from imgscan.detectors.jpeg_blocks import NOISE

RNG = np.random.default_rng(5)
VALUES = RNG.laplace(0, 18, 6000).astype(np.float32)
ROUNDING = RNG.normal(0, NOISE, 6000)


def seen(values: np.ndarray, last: float) -> np.ndarray:
    bins = np.clip(np.round(values / last), -LARGEST, LARGEST).astype(int) + LARGEST
    return np.bincount(bins, minlength=2 * LARGEST + 1)


@pytest.mark.parametrize(("first", "last"), [(7, 5), (9, 4), (5, 3), (10, 7), (6, 4)])
def test_the_first_step_is_found(first: int, last: int) -> None:
    others = RNG.laplace(0, 18, 4000)
    found = first_step(seen(np.round(others / first) * first + RNG.normal(0, NOISE, 4000), last), VALUES, ROUNDING, last)
    assert found is not None
    assert found[0] == first
    assert found[1][LARGEST] <= 0, "more zeros speak for nothing, flat blocks have them too"


def test_gaps_and_peaks_by_hand() -> None:
    """Steps 6, then 4: 6 becomes 4 or 8 as the noise has it, 12 becomes 12; so two multiples of 4 share what was 6, and the
    third has all that was 12."""
    others = RNG.laplace(0, 18, 4000)
    found = first_step(seen(np.round(others / 6) * 6 + RNG.normal(0, NOISE, 4000), 4), VALUES, ROUNDING, 4)
    assert found is not None
    ratio = found[1]
    assert ratio[LARGEST + 3] > ratio[LARGEST + 2]
    assert ratio[LARGEST + 3] > ratio[LARGEST + 4]


VARIANCE = 0.25 * (1 / 25 + 1 / 36)  # of the mean of a square, of sums that differ from theirs by 1/2, now up, now down


@pytest.mark.parametrize(
    ("said", "agreement", "odds"),
    [
        (1.0, 1.0, 2 * (-1 + 1 - 2) / (2 * VARIANCE)),  # as if quantised twice
        (0.2, 0.6, 1.2 * (-1 + 0.2 - 0.4) / (2 * VARIANCE)),  # the gap of what is once and twice is 0.6 of what it should be
        (-3.0, -1.0, 0.6 * (-1 - 0.4 + 6) / (2 * (1.4826 * 2.6) ** 2)),  # 0.3 of it at least; all deviate by 2.6
    ],
)
def test_the_odds_of_a_square_by_hand(said: float, agreement: float, odds: float) -> None:
    changes = 0.5 * (1 - 2 * (np.indices((39, 39)).sum(0) % 2))
    trust = np.ones((40, 40), np.float32)
    trust[:, :10] = 0
    compared = _compare(_Sums(np.full((40, 40), said), changes - 1, changes + 1), trust, np.ones((39, 39), np.float32))
    assert compared.odds[20, 20] == pytest.approx(odds, rel=1e-4)
    assert compared.odds[20, 9:13] == pytest.approx(odds * np.array([0.4, 0.6, 0.8, 1]), rel=1e-4), "where some is clipped"
    assert compared.agreement[20, 20] == pytest.approx(agreement)
    assert (compared.weight[20, 5], compared.weight[20, 20]) == pytest.approx((0, 4))


@pytest.mark.parametrize("last", [3, 5, 8])
def test_no_first_step_in_what_was_quantised_once(last: int) -> None:
    assert first_step(seen(RNG.laplace(0, 18, 4000), last), VALUES, ROUNDING, last) is None


def test_a_divisor_leaves_no_trace() -> None:
    """3 before 6: every multiple of 6 is one of 3."""
    others = RNG.laplace(0, 18, 4000)
    assert first_step(seen(np.round(others / 3) * 3 + RNG.normal(0, NOISE, 4000), 6), VALUES, ROUNDING, 6) is None


def blocks(rows: int, first: np.ndarray | None) -> np.ndarray:
    """rows x rows x 64 coefficients; `first` is where they were quantised by 9, all are quantised by 5 afterwards."""
    values = RNG.laplace(0, 18, (rows, rows, 64))
    if first is not None:
        values = np.where(first[..., None], np.round(values / 9) * 9 + RNG.normal(0, NOISE, values.shape), values)
        values = np.round(values / 5) * 5
    return values.astype(np.float32)


def test_where_most_were_quantised_twice() -> None:
    twice = np.ones((48, 48), bool)
    twice[10:22, 20:32] = False
    full, others = np.ones((48, 48), np.float32), np.ones((47, 47), np.float32)
    odds = once_only(blocks(48, twice), blocks(48, None)[:47, :47], np.full(64, 5.0), full, others)
    assert (odds[12:20, 22:30] > 8).all()
    assert (odds[twice] < -2).mean() > 0.9
    assert not once_only(blocks(48, np.ones((48, 48), bool)), blocks(48, None)[:47, :47], np.full(64, 5.0), full, others).any()
    assert not once_only(blocks(48, np.zeros((48, 48), bool)), blocks(48, None)[:47, :47], np.full(64, 5.0), full, others).any()


def test_what_is_not_trusted_says_nothing() -> None:
    twice = np.ones((48, 48), bool)
    twice[10:22, 20:32] = False
    trust = np.ones((48, 48), np.float32)
    trust[8:24, 18:34] = 0
    odds = once_only(blocks(48, twice), blocks(48, None)[:47, :47], np.full(64, 5.0), trust, np.ones((47, 47), np.float32))
    assert not odds.any()
