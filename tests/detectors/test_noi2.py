import numpy as np
import pytest

from imgscan.detectors import noi2
from tests.detectors.scenes import dead_leaves, noisy, square


def test_the_line_by_hand() -> None:
    """sqrt(kappa) = 2, sigma^2 = 1, v = 2, 4, 8: sqrt(kappa_k) = 2 (1 - 1/2), 2 (1 - 1/4), 2 (1 - 1/8)."""
    variance = np.array([2.0, 4.0, 8.0])[:, None, None]
    root = np.array([1.0, 1.5, 1.75])[:, None, None]
    assert noi2.fitted_noise(variance, root).tolist() == [[pytest.approx(1)]]


def test_noise_is_never_more_than_the_weakest_bands_nor_negative() -> None:
    variance = np.array([2.0, 4.0, 8.0])[:, None, None]
    no_kurtosis = noi2.fitted_noise(variance, np.zeros((3, 1, 1)))
    assert no_kurtosis.tolist() == [[pytest.approx(2)]], "Gaussian in all bands: all of the weakest third may be noise"
    rising = noi2.fitted_noise(variance, np.array([2.0, 1.5, 1.25])[:, None, None])
    assert rising.tolist() == [[0]], "kurtosis that falls where the picture is strong has nothing to do with noise"


def test_moments_of_noise() -> None:
    """The DCT is orthonormal: in each band of white noise <c> = 0, <c^2> = s^2, <c^3> = 0, <c^4> = 3 s^4."""
    noise = np.random.default_rng(0).normal(0, 2, (512, 512)).astype(np.float32)
    moments = noi2.moments(noise)
    assert moments.shape == (4, 63, 32, 32)
    assert moments.mean((1, 2, 3)) == pytest.approx([0, 4, 0, 48], abs=0.5)


def test_moments_are_those_of_the_window() -> None:
    """Only the middle cell of 5 x 5 has content; the windows of its neighbours count it as a ninth, the others not at all."""
    plane = np.zeros((80, 80), np.float32)
    plane[38:48, 38:48] = np.random.default_rng(0).normal(0, 10, (10, 10))  # 38: no DCT that starts in the cell before reaches it
    second = noi2.moments(plane)[1].sum(0)
    within = square(5, 1, 1, 3)
    np.testing.assert_allclose(second[within], second[2, 2])
    np.testing.assert_allclose(second[~within], 0, atol=1e-6)
    assert second[2, 2] > 1


@pytest.mark.parametrize(("outside", "inside"), [(3, 8), (8, 3)])
@pytest.mark.parametrize("seed", [1, 2])
def test_planted_noise_is_recovered(outside: float, inside: float, seed: int) -> None:
    patch = square(256, 64, 96, 112)
    level = noi2.noise_variance(noisy(dead_leaves(seed), outside, inside, patch, seed)) ** 0.5
    within = square(16, 5, 7, 5)  # windows that lie in the patch altogether
    beyond = ~square(16, 2, 4, 11)
    assert float(np.median(level[within])) == pytest.approx(inside, rel=0.15)
    assert float(np.median(level[beyond])) == pytest.approx(outside, rel=0.15)


def test_pure_noise_is_recovered() -> None:
    noise = np.random.default_rng(0).normal(128, 5, (256, 256)).astype(np.float32)
    assert float(np.median(noi2.noise_variance(noise))) ** 0.5 == pytest.approx(5, rel=0.15)
