import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from imgscan.detectors import copy_move, small_copies
from imgscan.detectors.copied_parts import Copy, Tone
from imgscan.detectors.copy_move import find_copies, score
from imgscan.detectors.keypoint_matches import Affine
from imgscan.detectors.small_copies import find_small
from tests.detectors.scenes import dead_leaves, grey, jpeg

SIDE = 200


def scene(seed: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return dead_leaves(seed, SIDE) + ndimage.gaussian_filter(rng.normal(0, 12, (SIDE, SIDE)), 1.2) + rng.normal(0, 2, (SIDE, SIDE))


def pasted(degrees: float, scale: float, flip: bool, radius: float, gain: float = 1, offset: float = 0) -> tuple[np.ndarray, ...]:
    """The disc around (50, 60) once more around (140, 130), gain * disc + offset, and where both are."""
    plane = scene()
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    back = np.linalg.inv(np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0]))
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    places = (np.stack([x - 140, y - 130], -1)) @ back.T + (50, 60)
    inside = np.hypot(places[..., 0] - 50, places[..., 1] - 60) < radius
    copy = ndimage.map_coordinates(plane, [places[..., 1], places[..., 0]], order=3, mode="nearest")
    return np.where(inside, gain * copy + offset, plane), inside | (np.hypot(x - 50, y - 60) < radius)


@pytest.mark.parametrize(
    ("degrees", "scale", "flip", "quality"),
    [(0, 1, False, None), (0, 1, False, 85), (90, 1, False, 90), (0, 1, True, 90), (20, 1, False, 95), (-70, 1.05, True, 95)],
    ids=["shift", "shift q85", "quarter", "mirror", "20 degrees", "-70 degrees 1.05 mirror"],
)
def test_a_copy_of_700_pixels_is_found_with_its_source(degrees: float, scale: float, flip: bool, quality: int | None) -> None:
    plane, both = pasted(degrees, scale, flip, 15)
    rgb = grey(plane) if quality is None else jpeg(grey(plane), quality)
    found = score(rgb) > 0.5
    assert (found & both).sum() / (found | both).sum() > 0.6


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 12.0), (0.85, 0.0), (1.15, -10.0)])
def test_a_small_copy_that_was_lit_otherwise_is_found(gain: float, offset: float) -> None:
    plane, both = pasted(0, 1, False, 15, gain, offset)
    found = score(jpeg(grey(plane), 92)) > 0.5
    assert (found & both).sum() / (found | both).sum() > 0.6


def test_keypoints_alone_miss_it() -> None:
    plane, _ = pasted(0, 1, False, 12)
    rgb = jpeg(grey(plane), 85)
    assert not [copy for copy in find_copies(copy_move.planes_of(rgb, 1)) if copy.evidence > copy_move.HALF]
    assert score(rgb).max() > 0.8


def test_several_of_a_kind_are_no_copies() -> None:
    """One thing put where one other is: a copy.  Put to nine places, as windows are: none."""
    once, often = scene(), scene()
    thing = once[20:44, 20:44].copy()
    once[150:174, 120:144] = thing
    for row in range(3):
        for column in range(3):
            often[70 + 40 * row : 94 + 40 * row, 60 + 45 * column : 84 + 45 * column] = thing
    assert score(jpeg(grey(once), 90)).max() > 0.8
    assert score(jpeg(grey(often), 90)).max() < 0.5


def test_a_straight_edge_is_like_itself_everywhere() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    plane = 90 + 80 * (x + 0.3 * y > 120) + rng.normal(0, 2, (SIDE, SIDE))
    assert score(jpeg(grey(plane), 90)).max() < 0.2


def test_a_large_picture_is_looked_at_half_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, both = pasted(0, 1, False, 15)
    large = ndimage.zoom(grey(plane)[..., 0], 2, order=1)[..., None].repeat(3, 2)
    monkeypatch.setattr(copy_move, "SMALL_PIXELS", SIDE * SIDE)
    monkeypatch.setattr(copy_move, "find_copies", lambda planes: iter(()))
    found = score(large) > 0.5
    twice = np.kron(both, np.ones((2, 2), bool))
    assert found.shape == twice.shape
    assert (found & twice).sum() / (found | twice).sum() > 0.6


@pytest.mark.parametrize("flipped", [False, True])
def test_the_similarity_of_pairs_by_hand(flipped: bool) -> None:
    """(x, y) -> 2 (-y, x) + (5, 7): a quarter turn, twice as large; with a mirror first, (x, -y) is turned."""
    here = np.array([[0, 0], [4, 0], [0, 3], [5, 6]], float)
    x, y = here[:, 0], here[:, 1] * (-1 if flipped else 1)
    to = small_copies._similarity(here, np.stack([5 - 2 * y, 7 + 2 * x], 1), flipped)
    assert to is not None
    np.testing.assert_allclose(to.matrix, [[0, 2], [2, 0]] if flipped else [[0, -2], [2, 0]], atol=1e-9)
    np.testing.assert_allclose(to.shift, [5, 7], atol=1e-9)
    for scale, kept in ((2.4, True), (2.6, False), (1 / 2.4, True), (1 / 2.6, False)):
        assert (small_copies._similarity(here, scale * here, False) is not None) == kept


def test_the_nearest_rival_is_what_comparing_everywhere_finds() -> None:
    rng = np.random.default_rng(5)
    plane = rng.uniform(0, 255, (40, 50)).astype(np.float32)
    inside = np.zeros((20, 22), bool)
    inside[4:11, 5:14] = rng.random((7, 9)) < 0.8
    inside[4, 5] = inside[10, 13] = True
    copy = Copy((slice(6, 26), slice(8, 30)), inside, Affine(np.eye(2), np.array([20.0, 12.0])), 0.0)
    rows, columns = np.nonzero(inside)
    part = plane[rows + 6, columns + 8]
    least = math.inf
    for down in range(-10, 24):
        for across in range(-13, 29):
            if (abs(down) < 5 and abs(across) < 5) or (abs(down - 12) < 5 and abs(across - 20) < 5):
                continue
            other = plane[rows + 6 + down, columns + 8 + across]
            least = min(least, float(((part - other) ** 2).mean()))
    one = small_copies._Candidate(copy, inside, int(inside.sum()), 0.0)
    assert small_copies._Rivals(plane).nearest(one) == pytest.approx(least, rel=1e-3)


def test_what_is_lit_otherwise_has_rivals_in_any_tone() -> None:
    """Of the places that a part is compared with, the one that is the part in another tone leaves nothing."""
    rng = np.random.default_rng(5)
    plane = rng.uniform(60, 200, (60, 70)).astype(np.float32)
    inside = np.zeros((12, 12), bool)
    inside[2:10, 2:10] = True
    plane[40:48, 50:58] = 0.7 * plane[12:20, 12:20] + 30
    plain = Copy((slice(10, 22), slice(10, 22)), inside, Affine(np.eye(2), np.array([15.0, 20.0])), 0.0)
    lit = replace(plain, tone=Tone(1.1, (3.0, 0.0, 0.0)))
    least = {
        one.tone.gain: small_copies._Rivals(plane).nearest(small_copies._Candidate(one, inside, 64, 0.0)) for one in (plain, lit)
    }
    spread = plane[12:20, 12:20].var()
    assert least[1.1] < 0.001 * spread
    assert least[1.0] > 0.05 * spread


def test_a_picture_without_texture_has_none() -> None:
    assert find_small(np.full((3, 64, 64), 128, np.float32)) == []
    assert score(np.full((20, 300, 3), 128, np.uint8)).max() == 0
