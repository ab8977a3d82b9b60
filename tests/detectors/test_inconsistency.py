import numpy as np
import pytest

from imgscan.detectors.inconsistency import (
    K,
    block_mean,
    directions,
    enlarged,
    log_noise,
    luma,
    squashed,
    standardised,
    where_exposed,
)


def test_deviation_by_hand() -> None:
    """Median 3; |s - 3| = 2, 1, 0, 1, 17, median 1; d = 1.4826."""
    z = standardised(np.array([[1, 2, 3, 4, 20]], np.float32), floor=0.1)
    np.testing.assert_allclose(z[0], np.array([-2, -1, 0, 1, 17]) / 1.4826, rtol=1e-6)
    z = standardised(np.array([[1, 2, 3, 4, 20]], np.float32), floor=4.0)
    np.testing.assert_allclose(z[0], np.array([-2, -1, 0, 1, 17]) / 4, rtol=1e-6)


def test_unknown_cells_are_no_evidence_and_do_not_move_the_median() -> None:
    nan = float("nan")
    z = standardised(np.array([[1, nan, 2, 3], [nan, 4, 20, nan]], np.float32), floor=0.1)
    np.testing.assert_allclose(z, np.array([[-2, 0, -1, 0], [0, 1, 17, 0]]) / 1.4826, rtol=1e-6)
    assert not standardised(np.full((2, 2), nan, np.float32), floor=1).any()


def test_score_by_hand() -> None:
    np.testing.assert_allclose(squashed(np.array([0, K, -K, 6, 1], np.float32)), [0, 0.5, 0.5, 36 / 45, 0.1], rtol=1e-6)


def test_directions_by_hand() -> None:
    """z = K stands at 45 degrees to the median, -K at 90 degrees to K."""
    vectors, cell = directions([np.array([[0, K, -K]], np.float32)], 16)
    assert cell == (16, 16)
    root = 0.5**0.5
    np.testing.assert_allclose(vectors[:, 0], [[1, root, root], [0, root, -root]], atol=1e-6)


def test_block_mean_by_hand_leaves_the_rest_out() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(block_mean(plane, 2), [[2.5, 4.5]])
    assert block_mean(plane, 5).shape == (0, 0)


def test_enlarged_by_hand() -> None:
    """Cells of 2 pixels, centres at 1 and 3: pixel centres 0.5, 1.5, 2.5, 3.5, 4.5."""
    np.testing.assert_allclose(enlarged(np.array([[0, 4]], np.float32), 2, 1, 5), [[0, 1, 3, 4, 4]])
    np.testing.assert_allclose(enlarged(np.array([[0], [4]], np.float32), 2, 5, 1)[:, 0], [0, 1, 3, 4, 4])
    assert not enlarged(np.zeros((0, 3), np.float32), 2, 1, 5).any()


def test_clipped_cells_have_no_statistic() -> None:
    plane = np.repeat(np.array([[0, 7, 9, 246, 248]], np.float32), 2, axis=1).repeat(2, axis=0)
    known = np.isfinite(where_exposed(np.ones((1, 5), np.float32), plane, 2))
    assert known.tolist() == [[False, False, True, True, False]]


def test_luma_and_log_noise_by_hand() -> None:
    assert luma(np.array([[[255, 0, 0], [0, 100, 0], [10, 20, 30]]], np.uint8))[0].tolist() == pytest.approx([76.245, 58.7, 18.15])
    np.testing.assert_allclose(log_noise(np.array([0, 25 - 1 / 12], np.float32)), [-0.5 * np.log(12), np.log(5)], rtol=1e-5)
