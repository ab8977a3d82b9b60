import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull

from imgscan.detectors import copied_parts, copy_move
from imgscan.detectors.copied_parts import Copy, dilated, disk, eroded, hull_of
from imgscan.detectors.copy_move import find_copies, score
from imgscan.detectors.keypoint_matches import Affine, group, match
from imgscan.detectors.keypoints import Keypoints
from tests.detectors.scenes import dead_leaves, grey, jpeg

SIDE = 320


def turned(degrees: float, scale: float = 1.0, flip: bool = False) -> np.ndarray:
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])


def pasted(scene: np.ndarray, matrix: np.ndarray, gain: float = 1.0, offset: float = 0.0) -> tuple[np.ndarray, ...]:
    """The disc around (90, 90) once more around (220, 210), gain * disc + offset: the picture, and both discs."""
    to = Affine(matrix, np.array([220.0, 210.0]) - matrix @ np.array([90.0, 90.0]))
    back = np.linalg.inv(matrix)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    places = (np.stack([x, y], -1) - to.shift) @ back.T
    inside = np.linalg.norm(places - (90, 90), axis=-1) < 42
    copy = ndimage.map_coordinates(scene, [places[..., 1], places[..., 0]], order=3, mode="nearest")
    return np.where(inside, gain * copy + offset, scene), np.hypot(x - 90, y - 90) < 42, inside


def scene(seed: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return dead_leaves(seed, SIDE) + ndimage.gaussian_filter(rng.normal(0, 12, (SIDE, SIDE)), 1.2) + rng.normal(0, 2, (SIDE, SIDE))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(
    ("matrix", "quality"),
    [
        (turned(0), None),
        (turned(0), 75),
        (turned(35), 90),
        (turned(180), 90),
        (turned(0, 1.25), 90),
        (turned(-20, 0.85), 90),
        (turned(0, flip=True), 90),
        (turned(60, 1.1, flip=True), 90),
    ],
    ids=["shift", "shift q75", "35 degrees", "half a turn", "1.25", "-20 degrees 0.85", "mirror", "mirror 60 degrees 1.1"],
)
def test_a_planted_copy_is_found_with_its_source(matrix: np.ndarray, quality: int | None) -> None:
    plane, source, copy = pasted(scene(), matrix)
    rgb = grey(plane) if quality is None else jpeg(grey(plane), quality)
    found = score(rgb)
    assert found.max() > 0.9
    assert iou(found > 0.5, source | copy) > 0.8


@pytest.mark.parametrize(
    ("gain", "offset", "matrix"),
    [(1.0, 12.0, turned(0)), (0.8, 20.0, turned(0)), (1.25, -35.0, turned(35)), (0.85, 0.0, turned(-20, 0.85))],
    ids=["brighter", "softer", "harder and turned", "darker and smaller"],
)
def test_a_copy_that_was_lit_otherwise_is_found_with_its_source(gain: float, offset: float, matrix: np.ndarray) -> None:
    plane, source, copy = pasted(scene(), matrix, gain, offset)
    found = score(jpeg(grey(plane), 90))
    assert found.max() > 0.9
    assert iou(found > 0.5, source | copy) > 0.8


def test_the_tone_is_the_one_that_was_planted() -> None:
    plane, _, _ = pasted(scene(), turned(0), 0.8, 20.0)
    best = max(find_copies(copy_move.planes_of(grey(plane), 1)), key=lambda copy: copy.evidence)
    gain, offset = (0.8, 20.0) if best.to.shift[0] < 0 else (1 / 0.8, -20 / 0.8)
    assert best.tone.gain == pytest.approx(gain, abs=0.01)
    assert best.tone.offsets == pytest.approx((offset, 0, 0), abs=1.5)


def test_lit_otherwise_and_stretched_is_rather_a_likeness() -> None:
    """A stretch of 3 % hardly matters to a copy as it is, and speaks against one that is lit otherwise."""
    stretched = np.diag([1.03, 1.0])
    plain, lit = (
        max(copy.evidence for copy in find_copies(copy_move.planes_of(grey(pasted(scene(), stretched, 1.0, offset)[0]), 1)))
        for offset in (0.0, 15.0)
    )
    expected = copy_move.TONED * (1 + (0.03 / copy_move.STRETCHED) ** 2)
    assert plain / lit == pytest.approx(expected, rel=0.35)  # the tone is not met exactly


def test_less_than_a_grey_level_is_no_light_and_shade() -> None:
    """A constant difference has m^2 = s: of two grey levels it is uneven through and through, of half a one hardly at all."""
    part = np.ones((40, 40), bool)
    for level, uneven in ((2.0, 1.0), (0.5, 0.25)):
        assert copied_parts.unevenness(np.full((40, 40), level, np.float32), part) == pytest.approx(uneven)


def test_tones_by_hand() -> None:
    rng = np.random.default_rng(4)
    other = rng.normal(0, 30, (3, 400)) + np.array([[120], [4], [-7]])
    noise = rng.normal(0, 1, (3, 400))
    tone = copied_parts.tone_between(1.2 * other + np.array([[-10], [3], [2]]), other)
    assert tone.gain == pytest.approx(1.2)
    assert tone.offsets == pytest.approx((-10, 3, 2))
    np.testing.assert_allclose(tone(other), 1.2 * other + np.array([[-10], [3], [2]]), rtol=1e-5)
    assert copied_parts.clear_tone(other + noise, other) == copied_parts.PLAIN
    assert copied_parts.clear_tone(rng.permuted(other, axis=1) * 1.2, other) == copied_parts.PLAIN  # no tone explains it
    assert copied_parts.clear_tone(1.2 * other + noise, other).gain == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize(("gain", "offset", "clear"), [(1, 1.4, False), (1, 1.7, True), (1.02, 0, False), (1.05, 0, True)])
def test_slight_differences_are_no_tone(gain: float, offset: float, clear: bool) -> None:
    """A grey level and a half between means, and 3 % of contrast, that saving explains."""
    other = np.random.default_rng(4).normal(0, 30, (3, 400))
    other -= other.mean(1, keepdims=True)
    tone = copied_parts.clear_tone(gain * other + offset, other)
    assert (tone != copied_parts.PLAIN) == clear
    if clear:
        assert (tone.gain, tone.offsets) == (pytest.approx(gain), pytest.approx((offset,) * 3))


def shifted(top: int, left: int, right: float, side: int = 10) -> Copy:
    """A square and the same farther to the right."""
    return Copy(
        (slice(top, top + side), slice(left, left + side)),
        np.ones((side, side), bool),
        Affine(np.eye(2), np.array([right, 0.0])),
        1.0,
    )


def test_what_overlaps_itself_is_a_pattern_and_so_is_what_lies_in_one() -> None:
    """A square of 10 columns: its copy may cover one of them.  The pattern is columns 20 to 37 then, of rows 10 to 19."""
    assert copied_parts.patterns([shifted(10, 20, 9)], (100, 100)) == [False]
    within = [shifted(12, left, 50, side=4) for left in (21, 33, 36, 37, 40)]  # with 4, 4, 2, 1 and 0 columns in it
    assert copied_parts.patterns([*within, shifted(10, 20, 8)], (100, 100)) == [True, True, False, False, False, True]


def test_rows_and_columns_of_a_box_in_the_picture() -> None:
    assert copied_parts.box_within((slice(10, 20), slice(5, 30)), (slice(2, 8), slice(3, 40))) == (slice(12, 18), slice(8, 30))


def test_what_is_seen_through_a_map_may_lie_outside_the_picture() -> None:
    """6 x 9 pixels; the box is mapped 2 up and 4 to the right."""
    planes = np.zeros((3, 6, 9), np.float32)
    _, within = copied_parts.seen_through(planes, (slice(0, 6), slice(0, 9)), Affine(np.eye(2), np.array([4.0, -2.0])))
    wanted = np.zeros((6, 9), bool)
    wanted[2:, :5] = True
    np.testing.assert_array_equal(within, wanted)


def test_the_map_is_the_one_that_was_planted() -> None:
    matrix = turned(25, 1.15)
    plane, _, _ = pasted(scene(), matrix)
    rgb = jpeg(grey(plane), 90)
    planes = copy_move.planes_of(rgb, 1)
    best = max(find_copies(planes), key=lambda copy: copy.evidence)
    forth = np.linalg.det(best.to.matrix) > 1
    np.testing.assert_allclose(best.to.matrix, matrix if forth else np.linalg.inv(matrix), atol=0.01)
    here, there = ((90, 90), (220, 210)) if forth else ((220, 210), (90, 90))
    np.testing.assert_allclose(best.to(np.array([here], float))[0], there, atol=0.4)


def test_an_untouched_scene_has_none() -> None:
    assert score(jpeg(grey(scene()), 85)).max() < 0.5


def test_a_pattern_is_no_copy() -> None:
    """A motif that repeats every 30 pixels overlaps its own copies; photographed, with noise, it is not one."""
    rng = np.random.default_rng(1)
    motif = dead_leaves(2, 30)
    plane = scene()
    plane[100:220, 40:280] = np.tile(motif, (4, 8)) + rng.normal(0, 2, (120, 240))
    assert score(jpeg(grey(plane), 90)).max() < 0.5


@pytest.mark.parametrize("quality", [None, 90, 75])
def test_what_a_program_drew_twice_is_no_copy(quality: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = np.full((SIDE, SIDE), 239.0)
    icon = np.round(dead_leaves(3, 64) / 64) * 64  # four grey levels
    plane[40:104, 30:94] = plane[190:254, 201:265] = icon
    rgb = grey(plane) if quality is None else jpeg(grey(plane), quality)
    assert score(rgb).max() < 0.1
    monkeypatch.setattr(copy_move, "EVEN", math.inf)
    assert score(rgb).max() > 0.9  # or nothing would have been found in the first place


def test_what_is_lit_otherwise_is_no_copy() -> None:
    """Two windows of a facade: the same shape, but the light falls differently on them."""
    plane, _, copy = pasted(scene(), turned(0))
    y, x = np.mgrid[:SIDE, :SIDE]
    shaded = plane + copy * 8 * np.sin(x / 9) * np.cos(y / 11)
    assert score(grey(plane)).max() > 0.99
    assert score(grey(shaded)).max() < 0.5


def test_a_large_picture_is_looked_at_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, source, copy = pasted(scene(), turned(0))
    large = ndimage.zoom(grey(plane)[..., 0], 2, order=1)[: 2 * SIDE - 1, : 2 * SIDE - 1]
    monkeypatch.setattr(copy_move, "MOST_PIXELS", SIDE * SIDE)
    found = score(np.repeat(large[..., None], 3, 2))
    assert found.shape == (2 * SIDE - 1, 2 * SIDE - 1)
    both = np.kron(source | copy, np.ones((2, 2), bool))[: 2 * SIDE - 1, : 2 * SIDE - 1]
    assert iou(found > 0.5, both) > 0.8


def points(places: list[tuple[float, float]], descriptors: np.ndarray) -> Keypoints:
    count = len(places)
    unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Keypoints(
        np.array(places, np.float32), np.full(count, 2, np.float32), np.zeros(count, np.float32), unit.astype(np.float32)
    )


def test_matching_by_hand() -> None:
    """There twice and three times: matched.  Four times: a pattern.  Next to each other: one and the same."""
    axes = np.eye(128)
    rng = np.random.default_rng(0)
    likes = {"once": 1, "twice": 2, "thrice": 3, "pattern": 4, "beside": 2}
    places, told, names = [], [], []
    for row, (name, count) in enumerate(likes.items()):
        for column in range(count):
            places.append((column * (5.0 if name == "beside" else 100.0), row * 100.0))
            told.append(axes[row] + rng.normal(0, 0.005, 128))
            names.append(name)
    found, _ = match(points(places, np.abs(np.array(told))))
    by_name = {name: sum(names[one] == name for one, _ in found) for name in likes}
    assert by_name == {"once": 0, "twice": 2, "thrice": 6, "pattern": 0, "beside": 0}
    assert all(names[one] == names[other] and one != other for one, other in found)


@pytest.mark.parametrize(
    ("apart", "matched"),
    [((0.37, 0.5, 0.55), [1]), ((0.38, 0.5, 0.55), []), ((0.37, 0.37, 0.5), [1, 2]), ((0.38, 0.38, 0.5), [])],
    ids=str,
)
def test_a_match_is_clear_at_three_quarters_of_the_next(apart: tuple[float, ...], matched: list[int]) -> None:
    """A point whose descriptor has these distances to three others: 2 sin(angle / 2)."""
    told = np.zeros((4, 128))
    told[0, 0] = 1
    for number, distance in enumerate(apart, 1):
        angle = 2 * math.asin(distance / 2)
        told[number, [0, 8 * number]] = math.cos(angle), math.sin(angle)
    found, _ = match(points([(100.0 * number, 0.0) for number in range(4)], told))
    assert sorted(int(other) for one, other in found if one == 0) == matched


@pytest.mark.parametrize(("apart", "matches"), [(15.0, 0), (17.0, 2)])
def test_what_lies_within_sixteen_pixels_is_one_and_the_same(apart: float, matches: int) -> None:
    told = np.zeros((3, 128))
    told[:2, 0] = told[2, 8] = 1
    found, _ = match(points([(0.0, 0.0), (apart, 0.0), (100.0, 0.0)], told))
    assert sum({int(one), int(other)} == {0, 1} for one, other in found) == matches


def test_groups_by_hand() -> None:
    """Eight matches of one shift and two strays: one group of the eight."""
    here = [(10, 10), (40, 12), (20, 45), (50, 50), (30, 30), (60, 20), (15, 60), (45, 35)]
    there = [(x + 200, y + 37) for x, y in here]
    strays = [(100, 100), (120, 90)], [(300, 20), (20, 300)]
    places = [*here, *strays[0], *there, *strays[1]]
    found = list(group(points(places, np.ones((20, 128))), np.column_stack([np.arange(10), np.arange(10, 20)]), False))
    assert len(found) == 1
    to, members = found[0]
    assert sorted(members) == list(range(8))
    np.testing.assert_allclose(to.matrix, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(to.shift, [200, 37], atol=1e-4)


def test_matches_on_a_line_make_no_group() -> None:
    here = [(10.0 * n, 5.0) for n in range(8)]
    places = [*here, *((x, 200.0) for x, _ in here)]
    assert not list(group(points(places, np.ones((16, 128))), np.column_stack([np.arange(8), np.arange(8, 16)]), False))


@pytest.mark.parametrize(
    ("matrix", "plausible"), [(turned(10), True), (turned(40, 3.9), True), (turned(0, 4.2), False), (turned(0, 0.2), False)]
)
def test_plausible_maps(matrix: np.ndarray, plausible: bool) -> None:
    assert Affine(matrix, np.zeros(2)).plausible() is plausible
    assert not Affine(matrix @ np.diag([2.1, 1]), np.zeros(2)).plausible()


def test_the_other_one_of_a_part() -> None:
    part = Copy((slice(10, 14), slice(20, 26)), np.ones((4, 6), bool), Affine(turned(90), np.array([100.0, 50.0])), 1.0)
    box, inside = copied_parts.counterpart(part, (200, 200))
    taken = np.zeros((200, 200), bool)
    taken[box] = inside
    # x, y -> 100 - y, 50 + x: columns 100 - 13 .. 100 - 10, rows 50 + 20 .. 50 + 25
    wanted = np.zeros((200, 200), bool)
    wanted[70:76, 87:91] = True
    np.testing.assert_array_equal(taken, wanted)


def test_planes_are_seen_between_their_pixels_and_at_their_edge_beyond() -> None:
    planes = np.stack([dead_leaves(seed, 90)[:60] for seed in (1, 2)])
    rows, columns = np.random.default_rng(0).uniform(-10, 100, (2, 40, 50))
    expected = [ndimage.map_coordinates(plane, [rows, columns], order=1, mode="nearest") for plane in planes]
    np.testing.assert_allclose(copied_parts.fetched(planes, rows, columns), expected, atol=0.01)


@pytest.mark.parametrize("radius", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(40, 50), (3, 30), (30, 2), (1, 1)])
def test_parts_are_dilated_and_eroded_by_disks(radius: int, shape: tuple[int, int]) -> None:
    """Also where the disk is larger than the picture; what is outside belongs to no part."""
    part = np.random.default_rng(radius).random(shape) < (0.1 if radius < 3 else 0.02)
    assert (dilated(part, radius) == ndimage.binary_dilation(part, disk(radius))).all()
    assert (eroded(~part, radius) == ndimage.binary_erosion(~part, disk(radius))).all()


def test_many_copies_are_as_large_as_they_are_not_as_the_picture() -> None:
    """Squares of 40 pixels, 52 apart, of the left half are in the right half too: each of dozens was as large as what holds all."""
    high, half = 320, 240
    rng = np.random.default_rng(3)
    left, other = (128 + 60 * ndimage.zoom(rng.standard_normal((high // 2, half // 2)), 2, order=1) for _ in range(2))
    y, x = np.mgrid[:high, :half]
    found = copy_move.find(grey(np.concatenate([left, np.where((y % 52 < 40) & (x % 52 < 40), left, other)], 1)))
    parts = [one.parts[0] for one in found if one.score > 0.01]
    assert len(parts) > 5
    for part in parts:
        rows, columns = (np.flatnonzero(part.inside.any(axis)) for axis in (1, 0))
        assert part.inside.shape[0] <= np.ptp(rows) + 40
        assert part.inside.shape[1] <= np.ptp(columns) + 40
    edges = [edge for one in found for part in one.parts for side in part.box for edge in (side.start, side.stop)]
    assert {type(edge) for edge in edges} == {int}  # they go into records, which are JSON


@pytest.mark.parametrize("flat", [1.0, 1e-3, 1e-9])
def test_a_hull_has_the_pixels_within_the_margin_of_each_of_its_lines(flat: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = tuple(rng.integers(2, 70, 2))
        places = rng.uniform(-10, 70, (5, 2)) * (1, flat) + (0, rng.uniform(0, 40))
        hull = hull_of(places, shape, 6)
        if hull is not None:
            rows, columns = np.mgrid[: shape[0], : shape[1]]
            lines = [a * columns + b * rows + c <= 6 for a, b, c in ConvexHull(places).equations]
            assert (hull == np.all(lines, 0)).all()
