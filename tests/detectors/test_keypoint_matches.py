"""Groups of matches that one map explains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imgscan.detectors import keypoint_matches, small_copies
from imgscan.detectors.inconsistency import Array
from imgscan.detectors.keypoint_matches import CONSENSUS, Consensus, Floats, match, similarities
from imgscan.detectors.keypoints import Keypoints, mirrored


def _first_members(consensus: Consensus, here: Floats, there: Floats, matrices: Floats, growth: Floats | None) -> set[int]:
    """The pairs that the first map is fitted to."""
    fitted: list[Floats] = []
    list(replace(consensus, fit=lambda some, _: fitted.append(some), groups=1).find(here, there, matrices, growth))
    return {int(np.flatnonzero((here == place).all(1))[0]) for place in fitted[0]}


def _one_by_one(consensus: Consensus, here: Floats, there: Floats, matrices: Floats, growth: Floats | None) -> set[int]:
    """The same by the definition: every pair beside every other one."""
    best: set[int] = set()
    for one in range(len(here)):
        agreeing = set()
        for other in range(len(here)):
            away = np.hypot(*(here[other] - here[one]))
            off = np.hypot(*(there[one] + matrices[one] @ (here[other] - here[one]) - there[other]))
            grows = growth is None or abs(growth[one] - growth[other]) < 0.5
            if away < consensus.reach and off < consensus.loose + consensus.drift * away and grows:
                agreeing.add(other)
        if len(agreeing) > len(best):
            best = agreeing
    return best


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("consensus", [CONSENSUS, small_copies.CONSENSUS])
def test_most_agree_with_the_first_map(consensus: Consensus, measured: bool) -> None:
    """More pairs than are compared at once, over a picture wider than a pair reaches; a third of them follow one shift."""
    rng = np.random.default_rng(5)
    count = 4 * keypoint_matches.TOGETHER - 3
    here = rng.uniform(0, 4 * consensus.reach, (count, 2))
    there = rng.uniform(0, 400, (count, 2))
    here[::3] = consensus.reach + rng.uniform(0, consensus.reach, (len(here[::3]), 2))
    there[::3] = here[::3] + np.array([70, -30]) + rng.normal(0, 1, (len(here[::3]), 2))
    matrices = similarities(rng.normal(0, 0.02, count), 1.0, flipped=False)
    growth = rng.normal(0, 0.3, count) if measured else None
    consensus = replace(consensus, proposals=count)
    wanted = _one_by_one(consensus, here, there, matrices, growth)
    assert len(wanted) > 5
    assert _first_members(consensus, here, there, matrices, growth) == wanted


def _scattered(copies: int) -> Keypoints:
    """2,000 points of random looks; some have two copies far away, others one in a mirror and one beside them."""
    rng = np.random.default_rng(2)
    places = rng.uniform(0, 800, (2000, 2)).astype(np.float32)
    told = 3 + np.abs(rng.normal(0, 1, (2000, 128))).astype(np.float32)

    def noisy(some: Floats) -> Floats:
        return np.asarray(some + rng.uniform(0, 0.3, some.shape))

    of = rng.permutation(2000)[: 6 * copies].reshape(6, copies)
    told[of[1]] = noisy(told[of[0]])
    told[of[3]] = noisy(mirrored(told[of[2]]))
    told[of[4]] = noisy(told[of[0]])
    told[of[5]] = noisy(told[of[2]])
    places[of[5]] = places[of[2]] + 3
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    return Keypoints(places, np.full(2000, 2, np.float32), np.zeros(2000, np.float32), told)


def _by_definition(points: Keypoints, others: Array) -> list[tuple[int, int]]:
    """The matches of every point among others' descriptors: the nearest, what is nearest elsewhere, and so on."""
    pairs = []
    for one, alike in enumerate(points.descriptors @ others.T):
        order, hidden = np.argsort(-alike, kind="stable"), [one]
        nearest = []
        for other in order:
            if all(np.hypot(*(points.places[other] - points.places[place])) > keypoint_matches.APART for place in hidden):
                nearest.append((int(other), float(np.sqrt(max(0, 2 - 2 * alike[other])))))
                hidden.append(int(other))
            if len(nearest) == 3:
                break
        for k in (1, 2):
            if nearest[k - 1][1] < keypoint_matches.RATIO * nearest[k][1]:
                pairs += [(one, other) for other, _ in nearest[:k]]
                break
    return pairs


def test_clear_matches_are_all_found_though_few_points_are_looked_at_closely() -> None:
    points = _scattered(60)
    plain, flipped = match(points)
    for found, others in ((plain, points.descriptors), (flipped, mirrored(points.descriptors))):
        wanted = _by_definition(points, others)
        assert len(wanted) > 100
        assert sorted(map(tuple, found.tolist())) == sorted(wanted)
        blocks = found[:, 0] // keypoint_matches.BLOCK
        assert (np.diff(blocks) >= 0).all()  # in the order in which proposals were always drawn from them


def test_points_without_a_clear_match_are_dropped_early() -> None:
    """Of 2,000 points those with planted copies stay, and few others."""
    points = _scattered(60)
    half = points.descriptors[:, :64] * np.float32(np.sqrt(0.5)), mirrored(points.descriptors)[:, :64] * np.float32(np.sqrt(0.5))
    near = keypoint_matches._Neighbours(points.places)
    hopeful = keypoint_matches._hopeful(half[0] + half[1], half[0] - half[1], points.places, near)
    clear = {one for pairs in match(points) for one, _ in pairs.tolist()}
    assert clear <= set(hopeful.tolist())
    assert len(hopeful) < 500


@pytest.mark.parametrize("count", [0, 1, 2, 3, 127, 128, 129, 300])
def test_places_are_tiled_without_loss(count: int) -> None:
    order = keypoint_matches._tiled(np.random.default_rng(count).uniform(0, 50, (count, 2)).astype(np.float32))
    assert sorted(order.tolist()) == list(range(count))


def test_tiles_are_far_apart_beyond_twice_the_distance_of_neighbours() -> None:
    """Two tiles of one row of places each, 32 pixels apart, and a third one 33 pixels below the second."""
    row = np.stack([np.arange(keypoint_matches.BLOCK), np.zeros(keypoint_matches.BLOCK)], 1).astype(np.float32)
    far = keypoint_matches._far_apart(np.concatenate([row, row + np.float32([0, 32]), row + np.float32([0, 65])]))
    assert far.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
