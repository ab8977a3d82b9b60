import numpy as np
import pytest

from imgscan.detectors import noi5
from tests.detectors.scenes import auc, dead_leaves, grey, noisy, square


def test_dominant_cluster_by_hand() -> None:
    assert noi5.dominant_cluster(np.array([10, 0, 1, 0, 11, 1], np.float32)).tolist() == [0, 0, 1, 1]
    assert noi5.dominant_cluster(np.array([0, 10, 11, 10], np.float32)).tolist() == [10, 10, 11]
    assert noi5.dominant_cluster(np.array([7, 7, 7], np.float32)).tolist() == [7, 7, 7]
    assert noi5.dominant_cluster(np.array([7], np.float32)).tolist() == [7]


def test_values_that_do_not_stand_apart_are_one_cluster() -> None:
    """The best cut of a uniform distribution explains 3/4 of its variance."""
    assert noi5.dominant_cluster(np.arange(100, dtype=np.float32)).size == 100
    assert noi5.dominant_cluster(np.random.default_rng(0).normal(0, 1, 500).astype(np.float32)).size == 500


def test_content_of_few_components_is_no_noise() -> None:
    """A wave's patches, 4x4, lie in a plane; so its 14 smallest eigenvalues are 0, whatever its strength."""
    y, x = np.mgrid[:64, :96].astype(np.float32)
    assert noi5.noise_variance(128 + 60 * np.sin(x / 3 + y / 5)).max() < 0.01


def test_the_weakest_components_by_hand() -> None:
    """All pixels of a 4x4 patch vary together: covariance c everywhere, plus s^2 on the diagonal; eigenvalues s^2 (15 times)."""
    noise = np.random.default_rng(0).normal(0, 4, (256, 256)).astype(np.float32)
    y, x = np.mgrid[:256, :256].astype(np.float32)
    sigma = float(np.median(noi5.noise_variance(noise + 0.5 * x + 0.3 * y))) ** 0.5
    assert 0.7 * 4 < sigma < 4, "low by about a quarter, as the module says"


@pytest.mark.parametrize("inside", [1.5, 8.0])
def test_a_planted_patch_is_found_and_measured_against_the_rest(inside: float) -> None:
    patch = square(256, 64, 96, 96)
    plane = noisy(dead_leaves(1), 4, inside, patch, seed=0)
    cells = patch[::32, ::32]
    level = noi5.noise_variance(plane) ** 0.5
    assert float(np.median(level[cells]) / np.median(level[~cells])) == pytest.approx(inside / 4, rel=0.2)
    assert auc(patch, noi5.score(grey(plane))) > 0.95


def test_the_larger_cluster_is_the_picture_even_if_the_median_lies_at_its_edge() -> None:
    """45 % forged: with the median of all as the centre, the rest would not be at 0."""
    patch = np.zeros((256, 320), bool)
    patch[:, :128] = True
    flat = np.full(patch.shape, 128, np.float32)
    deviation = noi5.deviation(noisy(flat, 4, 9, patch, seed=0))
    assert abs(float(np.median(deviation[:, 4:]))) < 0.1
    assert float(np.median(deviation[:, :4])) > 5
