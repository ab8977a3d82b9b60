import numpy as np
import pytest
from scipy.spatial import cKDTree

from imgscan.detectors.keypoint_matches import APART, _Neighbours
from imgscan.detectors.keypoints import BORDER, COARSE, CONTRAST, Keypoints, _four_beside, _slopes, find_keypoints, mirrored
from tests.detectors.scenes import dead_leaves

MANY = 100_000


def blob(side: int, x: float, y: float, sigma: float) -> np.ndarray:
    down, across = np.mgrid[:side, :side].astype(np.float32)
    return np.asarray(60 + 150 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * sigma**2)), np.float32)


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("sigma", [2.5, 4.6, 9.0])
def test_a_blob_is_a_keypoint_of_its_place_and_size(sigma: float, doubled: bool) -> None:
    """Lindeberg (1998): the scale-normalised Laplacian of a Gaussian of variance s is extreme at scale s."""
    points = find_keypoints(blob(160, 70.3, 81.6, sigma), MANY, doubled)
    nearest = np.linalg.norm(points.places - (70.3, 81.6), axis=1).argmin()
    assert points.places[nearest] == pytest.approx([70.3, 81.6], abs=0.4)
    # A difference of Gaussians spans a scale and the next, 2^(1/3) times as large; it is said of the lower one.
    assert points.sizes[nearest] * 2 ** (1 / 6) == pytest.approx(sigma, rel=0.12)


def same(one: Keypoints, other: Keypoints, places: np.ndarray, angles: np.ndarray, descriptors: np.ndarray) -> float:
    """The share of points of `other`, said to be at `places` of `one`, that have their like there."""
    tree = cKDTree(one.places)
    found = 0
    for place, size, angle, told in zip(places, other.sizes, angles, descriptors, strict=True):
        for number in tree.query_ball_point(place, 1.0):
            turn = (one.angles[number] - angle + np.pi) % (2 * np.pi) - np.pi
            alike = abs(turn) < 0.15 and abs(np.log(one.sizes[number] / size)) < 0.1
            if alike and np.linalg.norm(one.descriptors[number] - told) < 0.35:
                found += 1
                break
    return found / len(places)


def test_a_turned_picture_has_the_same_keypoints_turned() -> None:
    scene = dead_leaves(3, 200)
    plain, turned = find_keypoints(scene, MANY, True), find_keypoints(np.ascontiguousarray(np.rot90(scene)), MANY, True)
    # rot90 takes row y, column x to row 199 - x, column y
    places = np.column_stack([199 - turned.places[:, 1], turned.places[:, 0]])
    assert len(plain.places) > 200
    assert same(plain, turned, places, turned.angles + np.pi / 2, turned.descriptors) > 0.9


def test_a_mirrored_picture_has_the_mirrored_descriptors() -> None:
    scene = dead_leaves(4, 200)
    plain, other = find_keypoints(scene, MANY, True), find_keypoints(np.ascontiguousarray(scene[:, ::-1]), MANY, True)
    places = np.column_stack([199 - other.places[:, 0], other.places[:, 1]])
    assert same(plain, other, places, np.pi - other.angles, mirrored(other.descriptors)) > 0.9
    assert same(plain, other, places, np.pi - other.angles, other.descriptors) < 0.1
    np.testing.assert_array_equal(mirrored(mirrored(plain.descriptors)), plain.descriptors)


def test_descriptors_are_unit_vectors_and_do_not_see_contrast() -> None:
    scene = dead_leaves(5, 160)
    points, pale = find_keypoints(scene, MANY, False), find_keypoints(scene * 0.5 + 60, MANY, False)
    np.testing.assert_allclose(np.linalg.norm(points.descriptors, axis=1), 1, atol=1e-5)
    assert points.descriptors.min() >= 0
    assert same(points, pale, pale.places, pale.angles, pale.descriptors) > 0.98


def test_every_part_keeps_its_best_where_there_are_too_many() -> None:
    """A part of little contrast is not left out for a part of much."""
    scene = dead_leaves(6, 256)
    scene[:, :128] = 128 + (scene[:, :128] - 128) * 0.3
    few = find_keypoints(scene, 200, True)
    assert 150 < len(few.places) < 280, "a point with two directions counts twice"
    strongest = find_keypoints(np.where(np.arange(256) < 128, 128, scene).astype(np.float32), MANY, True)
    assert len(strongest.places) > 200, "the part of much contrast alone could take all places"
    assert (few.places[:, 0] < 128).mean() > 0.3


def test_more_are_kept_of_coarser_detail_and_none_twice() -> None:
    scene = dead_leaves(6, 256)
    few, more = find_keypoints(scene, 100, False), find_keypoints(scene, 100, False, 40)
    places = [set(zip(map(tuple, one.places.tolist()), one.sizes, one.angles, strict=True)) for one in (few, more)]
    assert places[0] < places[1]
    assert len(places[1]) == len(more.places)
    assert 20 <= len(places[1] - places[0]) <= 56, "a point with two directions counts twice"
    assert min(size for _, size, _ in places[1] - places[0]) > COARSE * 0.99
    assert few.sizes.min() < COARSE


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (39, 39)], ids=str)
def test_a_picture_too_small_has_none(shape: tuple[int, int]) -> None:
    points = find_keypoints(np.random.default_rng(0).normal(128, 40, shape).astype(np.float32), MANY, False)
    assert points.places.shape == (0, 2)
    assert points.descriptors.shape == (0, 128)


def test_slopes_are_central_differences() -> None:
    scales = list(np.random.default_rng(0).normal(size=(2, 20, 31)).astype(np.float32))
    for scale, (across, down) in zip(scales, _slopes(scales), strict=True):
        np.testing.assert_allclose(np.gradient(scale), [down, across], atol=1e-6)


def test_what_lies_beside_a_point_is_hidden_from_its_row() -> None:
    places = np.random.default_rng(0).uniform(0, 100, (200, 2)).astype(np.float32)
    whose = np.array([3, 150, 7])
    alike = np.ones((3, 200), np.float32)
    _Neighbours(places).hide(alike, whose)
    distances = np.linalg.norm(places[whose, None] - places, axis=2)
    np.testing.assert_array_equal(alike == -1, distances <= APART)


def test_four_neighbours_by_the_definition() -> None:
    """Whole numbers, for ties: a point may equal its neighbours, and its contrast must exceed CONTRAST either way."""
    side = 40
    difference = np.random.default_rng(4).integers(-3, 4, (side, side + 7)).astype(np.float32)
    found = np.zeros((side - 2 * BORDER, side + 7 - 2 * BORDER), bool)
    _four_beside(difference, found)
    wanted = np.zeros_like(found)
    for y, x in np.ndindex(found.shape):
        row, column = y + BORDER, x + BORDER
        beside = [difference[row + dy, column + dx] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        value = difference[row, column]
        wanted[y, x] = (value > CONTRAST and value >= max(beside)) or (value < -CONTRAST and value <= min(beside))
    assert wanted.any()
    np.testing.assert_array_equal(found, wanted)
