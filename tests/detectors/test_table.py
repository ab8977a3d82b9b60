"""One test over every detector: the contract of the table."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan.detectors import DETECTORS, Detector
from tests.detectors.scenes import auc, dead_leaves, grey, noisy, square

PHOTOS = sorted((Path(__file__).parents[1] / "data" / "photos").glob("*.jpg"))
EVERY = pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS)
MEASURING = pytest.mark.parametrize("detector", [one for one in DETECTORS.values() if not one.adds], ids=lambda one: one.title)
WITH_FEATURES = [name for name, detector in DETECTORS.items() if detector.features]


def test_the_table() -> None:
    assert list(DETECTORS) == ["ela", "noi1", "cfa1", "noi2", "noi5", "copy-move", "adq"]
    assert WITH_FEATURES == ["noi1", "cfa1", "noi2", "noi5"]


@EVERY
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (16, 16), (64, 64), (65, 127), (131, 96)], ids=str)
def test_shape_type_range_and_determinism(detector: Detector, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    before = rgb.copy()
    score = detector.score(rgb)
    assert score.shape == shape
    assert score.dtype == np.float32
    assert score.min() >= 0
    assert score.max() <= 1
    np.testing.assert_array_equal(score, detector.score(rgb.copy()))
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(score, detector.score(np.asfortranarray(rgb)))


@EVERY
@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("shape", [(64, 64), (100, 161)], ids=str)
def test_a_constant_picture_scores_zero(detector: Detector, level: int, shape: tuple[int, int]) -> None:
    assert not detector.score(np.full((*shape, 3), level, np.uint8)).any()


@EVERY
def test_a_gradient_without_noise_is_finite(detector: Detector) -> None:
    ramp = np.linspace(0, 255, 128, dtype=np.float32)
    assert np.isfinite(detector.score(grey(ramp[:, None] + 0 * ramp))).all()


@MEASURING
@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_photographs(detector: Detector, photo: Path) -> None:
    rgb = np.asarray(Image.open(photo).convert("RGB"))
    score = detector.score(rgb)
    assert score.shape == rgb.shape[:2]
    assert np.isfinite(score).all()
    assert score.std() > 0.001, "the map of a photograph is not empty"


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_nothing_is_found_where_nothing_was_forged(photo: Path) -> None:
    rgb = np.asarray(Image.open(photo).convert("RGB"))
    for detector in DETECTORS.values():
        assert not detector.adds or detector.score(rgb).max() < 0.9, "less than any finding"


@EVERY
def test_a_uniform_history_is_mostly_unsuspicious(detector: Detector) -> None:
    """Noise alone, everywhere the same: what the statistic differs by through sampling stays under the floor."""
    flat = np.full((256, 256), 128, np.float32)
    score = detector.score(grey(noisy(flat, 5, 5, flat > 0, seed=0)))
    assert np.quantile(score, 0.99) < 0.5


@EVERY
@pytest.mark.parametrize("bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)])
def test_what_is_no_picture_raises_with_its_shape(detector: Detector, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(\d+, 8.*H x W x 3 uint8"):
        detector.score(bad)


@pytest.mark.parametrize("name", WITH_FEATURES)
@pytest.mark.parametrize("shape", [(5, 9), (64, 64), (131, 200)], ids=str)
def test_features_are_unit_vectors_on_their_cells(name: str, shape: tuple[int, int]) -> None:
    features = DETECTORS[name].features
    assert features is not None
    vectors, cell = features(np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8))
    assert vectors.dtype == np.float32
    assert vectors.ndim == 3
    assert vectors.shape[1:] == tuple(max(1, int(side // pixels)) for side, pixels in zip(shape, cell, strict=True))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_features_of_a_constant_picture_agree(name: str) -> None:
    features = DETECTORS[name].features
    assert features is not None
    vectors, _ = features(np.full((96, 96, 3), 100, np.uint8))
    assert vectors[0].min() == pytest.approx(1)


@pytest.mark.parametrize("name", ["noi1", "noi2", "noi5"])
@pytest.mark.parametrize(("outside", "inside"), [(3, 7), (7, 3)])
def test_less_noise_than_the_rest_is_as_suspicious_as_more(name: str, outside: float, inside: float) -> None:
    patch = square(256, 64, 96, 96)
    rgb = grey(noisy(dead_leaves(1), outside, inside, patch, seed=2))
    assert auc(patch, DETECTORS[name].score(rgb)) > 0.9
    features = DETECTORS[name].features
    assert features is not None
    vectors, cell = features(rgb)
    cells = patch[:: int(cell[0]), :: int(cell[1])][: vectors.shape[1], : vectors.shape[2]]
    home = vectors[:, ~cells].mean(1)
    assert auc(cells, -np.einsum("dhw,d->hw", vectors, home)) > 0.9, "a clustering by cosine finds the patch"
