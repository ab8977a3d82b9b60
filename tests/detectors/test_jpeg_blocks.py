"""The blocks of JPEG, on numbers made here; pictures are in test_adq.py."""

import numpy as np
import pytest

from imgscan.detectors.jpeg_blocks import around, beside, clipped, coefficients


def test_blocks_beside_the_grid_speak_for_those_that_they_overlap() -> None:
    """Two of three rows and columns: a corner is overlapped by one of them, an edge by two, the middle by four."""
    found = around(np.array([[1.0, 3.0], [5.0, 7.0]]), (3, 3))
    np.testing.assert_allclose(found, [[1, 2, 3], [3, 4, 5], [5, 6, 7]])
    np.testing.assert_allclose(around(np.ones((1, 1)), (3, 2)), [[1, 1], [1, 1], [0, 0]])


def test_beside_the_grid_is_half_a_block_down_and_to_the_right() -> None:
    plane = np.arange(16 * 24).reshape(16, 24)
    assert beside(plane)[0, 0] == plane[4, 4]
    assert beside(plane).shape == (12, 20)


def test_the_mean_of_a_block_is_an_eighth_of_its_first_coefficient() -> None:
    grey = np.full((19, 30), 128, np.float32)
    grey[8:16, 16:24] = 138
    found = coefficients(grey)
    assert found.shape == (2, 3, 64)
    assert found[1, 2, 0] == pytest.approx(80)
    assert np.abs(found).sum() == pytest.approx(80, abs=1e-3)


def test_the_share_of_a_block_that_is_clipped_by_hand() -> None:
    """The ends are those of each channel of this picture: 20 and 200 of red, 10 and 100 of the others."""
    rgb = np.full((8, 24, 3), 60, np.uint8)
    rgb[0, 0], rgb[0, 8] = (20, 10, 10), (200, 100, 100)
    rgb[1, 0] = 21, 11, 60  # at the ends but for one level
    rgb[2, 16] = 60, 100, 60  # green alone
    np.testing.assert_allclose(clipped(rgb), [[1 / 64, 1 / 64, 0.587 / 64]], atol=1e-6)
    np.testing.assert_allclose(clipped(rgb, margin=1), [[1.886 / 64, 1 / 64, 0.587 / 64]], atol=1e-6)
