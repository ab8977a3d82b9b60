import numpy as np
import pytest
from scipy import ndimage

from imgscan.detectors import jet_matches
from imgscan.detectors.jet_matches import JetMatches, match_jets

SIDE = 160


def planes(luma: np.ndarray) -> np.ndarray:
    return np.stack([luma, np.zeros_like(luma), np.zeros_like(luma)]).astype(np.float32)


def scene(seed: int = 3) -> np.ndarray:
    """Texture without symmetries."""
    return 128 + 300 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE)), 2.0)


def test_a_quarter_turn_multiplies_by_powers_of_i_and_a_mirror_conjugates() -> None:
    """Turned from x towards y by 90 degrees (rot90 with k = -1, for y points down), f at the place that moved along is i^m f."""
    plane = scene()
    still, turning = jet_matches._derivatives(plane)
    for change, f_of in (
        (lambda one: np.rot90(one, -1), lambda m, f: 1j**m * f),
        (lambda one: one[::-1], lambda m, f: f.conj()),
    ):
        still_there, turning_there = jet_matches._derivatives(np.ascontiguousarray(change(plane)))
        for one, other in zip(still, still_there, strict=True):
            np.testing.assert_allclose(other, change(one), atol=1e-6)
        for (m, one), (_, other) in zip(turning, turning_there, strict=True):
            np.testing.assert_allclose(other, change(f_of(m, one)), atol=1e-6)


def test_all_f_have_the_noise_of_the_picture() -> None:
    noise = np.random.default_rng(0).normal(0, 3.0, (400, 400))
    still, turning = jet_matches._derivatives(noise)
    for one, unit in zip(still, jet_matches._STILL, strict=True):
        assert one[20:-20, 20:-20].std() / unit == pytest.approx(3.0, rel=0.1)
    for (_, one), unit in zip(turning, jet_matches._TURNING, strict=True):
        assert one[20:-20, 20:-20].real.std() / unit == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(("mirrored", "quarters"), [(False, 0), (False, 1), (False, 2), (True, 0), (True, 3)])
def test_pairs_of_a_planted_copy(mirrored: bool, quarters: int) -> None:
    """A square of 28 x 28 once more, 70 pixels to the right and 60 below, mirrored (y -> -y), then turned."""
    plane = scene()
    part = plane[20:48, 30:58]
    part = np.rot90(part[::-1] if mirrored else part, -quarters)
    plane[80:108, 100:128] = part
    found = match_jets(planes(plane))
    right, wrong = found[::-1] if mirrored else found

    def between(matches: JetMatches) -> np.ndarray:
        middle, other = np.array([43.5, 33.5]), np.array([113.5, 93.5])
        return (np.abs(matches.here - middle).max(1) < 10) & (np.abs(matches.there - other).max(1) < 10)

    good = right[between(right)]
    assert len(good.here) > 20 > 4 * between(wrong).sum()
    cos, sin = np.cos(good.turns), np.sin(good.turns)
    x, y = (good.here - (43.5, 33.5)).T * ((1,), (-1 if mirrored else 1,))
    off = np.hypot(cos * x - sin * y + 113.5 - good.there[:, 0], sin * x + cos * y + 93.5 - good.there[:, 1])
    assert np.median(off) < 0.5
    turn = np.angle(np.mean(np.exp(1j * (good.turns - quarters * np.pi / 2))))
    assert abs(turn) < 0.05


def test_a_place_with_four_partners_is_a_pattern() -> None:
    here = np.array([[0, 0]] * 4 + [[5, 90]] * 3 + [[7, 90]] * 4, float)
    there = np.array([[100, 0], [200, 0], [300, 0], [400, 0], [100, 90], [200, 90], [300, 90]] + [[100, 60]] * 4, float)
    left = jet_matches._distinct(JetMatches(here, there, np.zeros(11)))
    assert left.here[:, 0].tolist() == [5] * 3 + [7] * 4


def test_nothing_to_compare() -> None:
    for plane in (np.zeros((40, 40)), np.full((12, 12), 200.0)):
        for matches in match_jets(planes(plane)):
            assert len(matches.here) == len(matches.there) == len(matches.turns) == 0


@pytest.mark.parametrize("largest", [1, 3, 1000, 1 << 62])
@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_equal_keys_stay_in_their_order(count: int, largest: int) -> None:
    keys = np.random.default_rng(2).integers(0, largest, count)
    assert (jet_matches._order(keys) == np.argsort(keys, kind="stable")).all()


def test_turns_of_more_pairs_than_are_turned_together() -> None:
    """One place turned by any angle: f of the m-th order has m times that phase, and every pair gets its own turn back."""
    rng = np.random.default_rng(1)
    orders = np.array([1, 1, 2, 2, 3, 4])
    turns = rng.uniform(0, 2 * np.pi, 2 * jet_matches._CHUNK + 3)
    strength = np.array([50.0, 10.0, 20.0, 10.0, 5.0, 5.0])
    found, agreement = jet_matches._turned((strength * np.exp(1j * np.outer(turns, orders))).astype(np.complex64), orders)
    off = (found - turns + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(off).max() < 0.01
    np.testing.assert_allclose(agreement, 100.0, rtol=1e-3)
