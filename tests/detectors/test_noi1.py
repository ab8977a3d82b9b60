import numpy as np
import pytest

from imgscan.detectors import noi1
from tests.detectors.scenes import dead_leaves, noisy, square


def test_the_filter_is_orthonormal_and_has_eight_vanishing_moments() -> None:
    low, high = np.array(noi1.LOW_PASS), np.array(noi1.HIGH_PASS)
    assert low.sum() == pytest.approx(2**0.5)
    for shift in range(8):
        wanted = 1.0 if shift == 0 else 0.0
        assert low[2 * shift :] @ low[: 16 - 2 * shift] == pytest.approx(wanted, abs=1e-10)
        assert high[2 * shift :] @ high[: 16 - 2 * shift] == pytest.approx(wanted, abs=1e-10)
    place = np.arange(16) / 16
    assert [float(high @ place**power) for power in range(8)] == pytest.approx([0] * 8, abs=1e-10)


def test_the_diagonal_band_keeps_noise_and_drops_smooth_content() -> None:
    y, x = np.mgrid[:96, :96].astype(np.float32)
    smooth = 128 + x - 0.01 * y**2 + 30 * np.sin(x / 20)
    assert np.abs(noi1.diagonal_band(smooth)[8:-8, 8:-8]).max() < 0.01
    noise = np.random.default_rng(0).normal(0, 5, (256, 256)).astype(np.float32)
    assert noi1.diagonal_band(noise).std() == pytest.approx(5, rel=0.03)


@pytest.mark.parametrize(("row", "column"), [(20, 30), (41, 47), (1, 1), (62, 61)])
def test_a_coefficient_lies_where_its_pixels_are(row: int, column: int) -> None:
    plane = np.zeros((64, 64), np.float32)
    plane[row, column] = 100
    energy = noi1.diagonal_band(plane) ** 2
    assert energy.shape == (32, 32)
    peak = np.unravel_index(energy.argmax(), energy.shape)
    assert np.abs(np.array(peak) * 2 + 0.5 - (row, column)).max() <= 3


@pytest.mark.parametrize(("outside", "inside"), [(3, 8), (8, 3)])
def test_planted_noise_is_recovered(outside: float, inside: float) -> None:
    patch = square(256, 64, 96, 96)
    level = noi1.noise_level(noisy(np.full((256, 256), 128, np.float32), outside, inside, patch, seed=0))
    cells = patch[::16, ::16]
    assert float(np.median(level[cells])) == pytest.approx(inside, rel=0.15)
    assert float(np.median(level[~cells])) == pytest.approx(outside, rel=0.15)


def test_planted_noise_is_recovered_under_a_scene() -> None:
    patch = square(256, 64, 96, 96)
    level = noi1.noise_level(noisy(dead_leaves(1), 3, 8, patch, seed=0))
    assert float(np.median(level[patch[::16, ::16]])) == pytest.approx(8, rel=0.15)
