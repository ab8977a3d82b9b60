import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from imgscan.detectors import cfa1
from tests.detectors.scenes import auc, dead_leaves, grey, noisy, square

SIDE = 256
PATCH = square(SIDE, 64, 96, 96)
EVEN = np.add.outer(np.arange(SIDE), np.arange(SIDE)) % 2 == 0


def demosaiced(measured: NDArray[np.bool_], seed: int = 1) -> NDArray[np.uint8]:
    """A scene with sensor noise whose green was measured at some pixels and interpolated bilinearly at the others."""
    green = noisy(dead_leaves(seed, SIDE), 2, 2, PATCH, seed)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    return grey(np.where(measured, green, ndimage.convolve(green, cross, mode="mirror")))


def test_prediction_error_by_hand() -> None:
    green = np.zeros((5, 5), np.float32)
    green[2, 2] = 8
    wanted = np.zeros((5, 5))
    wanted[2, 2] = 8
    wanted[1, 2] = wanted[3, 2] = wanted[2, 1] = wanted[2, 3] = -2
    np.testing.assert_allclose(cfa1.prediction_error(green), wanted)


def test_the_sign_tells_which_board_was_measured() -> None:
    even, odd = cfa1.statistic(demosaiced(EVEN)), cfa1.statistic(demosaiced(~EVEN))
    assert float(np.nanmedian(even)) > 1
    assert float(np.nanmedian(odd)) < -1
    assert abs(float(np.nanmedian(cfa1.statistic(demosaiced(EVEN | True))))) < 0.15, "all measured: no pattern"


def test_independent_pixels_have_the_ratio_of_their_variances() -> None:
    """e = G - mean of four: with noise of variance a on one board and b on the other, its variances are a + b/4 and b + a/4.

    Not to the digit: the window's own mean and the logarithm of an estimate cost the smoother board a little more.
    """
    noise = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)) * np.where(EVEN, 12, 6)
    wanted = np.log((144 + 36 / 4) / (36 + 144 / 4))
    assert float(np.median(cfa1.statistic(grey(128 + noise)))) == pytest.approx(wanted, abs=0.08)


def test_a_resampled_patch_stands_out_and_the_rest_does_not() -> None:
    rgb = demosaiced(EVEN)
    donor = demosaiced(EVEN, seed=2)[:128, :128].astype(np.float32)
    rgb[PATCH] = np.clip(ndimage.zoom(donor, (1.3, 1.3, 1), order=1)[:96, :96], 0, 255).astype(np.uint8).reshape(-1, 3)
    score = cfa1.score(rgb)
    assert auc(PATCH, score) > 0.9
    assert float(np.median(score[~PATCH])) < 0.1
    assert float(np.median(score[PATCH])) > 0.5


def test_a_patch_out_of_step_stands_out() -> None:
    rgb = np.where(PATCH[..., None], demosaiced(~EVEN, seed=2), demosaiced(EVEN))
    assert auc(PATCH, cfa1.score(rgb)) > 0.9


def test_an_untouched_pattern_scores_low() -> None:
    assert float(np.quantile(cfa1.score(demosaiced(EVEN)), 0.9)) < 0.4


def test_without_a_pattern_the_features_agree() -> None:
    vectors, _ = cfa1.features(demosaiced(EVEN | True))
    assert float(np.quantile(vectors[0], 0.05)) > 0.99


def test_flat_parts_cannot_tell_and_do_not_stand_out() -> None:
    """A clipped sky in a picture with a pattern has no pattern either, and no prediction error at all; its rim has."""
    rgb = demosaiced(EVEN)
    rgb[PATCH] = 255
    assert float(np.quantile(cfa1.score(rgb)[square(SIDE, 88, 120, 48)], 0.9)) == 0
    assert np.isnan(cfa1.statistic(rgb)[6, 8])
