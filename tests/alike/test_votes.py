"""Which pictures may have a part in common: made-up keypoints, so that it is known which votes agree."""

import math

import numpy as np
import pytest

from imgscan.alike.votes import COMMON, LEAST, Candidate, Points, candidates
from imgscan.detectors.keypoints import Keypoints, mirrored


def unit(count: int, seed: int) -> np.ndarray:
    """Descriptors that have nothing to do with each other: roots of numbers that sum to 1, as those of pictures are."""
    drawn = np.random.default_rng(seed).exponential(size=(count, 128)) ** 2
    return np.sqrt(drawn / drawn.sum(1, keepdims=True)).astype(np.float32)


def keypoints(descriptors: np.ndarray, sizes: np.ndarray | float = 2.0, angles: np.ndarray | float = 0.5) -> Keypoints:
    count = len(descriptors)
    whole = (np.broadcast_to(np.asarray(one, np.float32), count).copy() for one in (sizes, angles))
    return Keypoints(np.zeros((count, 2), np.float32), *whole, descriptors)


def batch(*shared: tuple[Keypoints, Keypoints], others: int = 6) -> list[Points]:
    """Pictures of 60 keypoints that nothing else has; the first two have those of `shared` as well."""
    own = [[keypoints(unit(60, seed))] for seed in range(2 + others)]
    for one, other in shared:
        own[0].append(one)
        own[1].append(other)
    joined = [
        Keypoints(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("places", "sizes", "angles", "descriptors"))
        )
        for parts in own
    ]
    return [Points.of(one) for one in joined]


def test_what_is_kept_of_keypoints_is_what_they_were() -> None:
    made = keypoints(unit(20, 3), np.linspace(0.5, 30, 20), np.linspace(-3, 3, 20))
    again = Points.of(made).keypoints()
    np.testing.assert_allclose(again.sizes, made.sizes, rtol=1e-5)
    np.testing.assert_allclose(again.angles, made.angles)
    assert (np.linalg.norm(again.descriptors - made.descriptors, axis=1) < 0.02).all()
    assert np.allclose(np.linalg.norm(again.descriptors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("scale", "turn"), [(1.0, 0.0), (2.5, 0.0), (0.4, 2.0), (1.0, 3.1)])
def test_keypoints_that_lie_alike_vote_together(scale: float, turn: float) -> None:
    told, sizes, angles = unit(12, 99), np.linspace(1, 6, 12), np.linspace(-3, 3, 12)
    moved = (angles + turn + math.pi) % (2 * math.pi) - math.pi
    found = candidates(batch((keypoints(told, sizes, angles), keypoints(told, sizes * scale, moved))))
    assert found == [Candidate(0, 1, 12)]


def test_those_that_do_not_have_no_partner() -> None:
    told, angles = unit(12, 99), np.arange(12) * (2 * math.pi / 12)  # each in a direction of its own
    assert candidates(batch((keypoints(told, 2.0, 0.0), keypoints(told, 2.0, angles)))) == []
    assert candidates(batch((keypoints(told[:7], 2.0), keypoints(told[:7], 2.0 * 4.0 ** np.arange(-3, 4))))) == []
    few = unit(LEAST - 1, 99)
    assert candidates(batch((keypoints(few), keypoints(few)))) == []


def test_a_mirrored_part_turns_the_other_way_round() -> None:
    told, angles = unit(12, 99), np.linspace(-2, 2, 12)
    found = candidates(batch((keypoints(told, 2.0, angles), keypoints(mirrored(told), 2.0, 1.0 - angles))))
    assert found == [Candidate(0, 1, 12)]
    assert candidates(batch((keypoints(told, 2.0, angles), keypoints(mirrored(told), 2.0, 1.0 + 3 * angles)))) == []


def test_one_descriptor_of_a_picture_has_one_vote_however_often_the_other_has_it() -> None:
    told = unit(2, 99)
    assert candidates(batch((keypoints(told), keypoints(np.repeat(told, 10, axis=0))))) == []
    assert candidates(batch((keypoints(np.repeat(told, 10, axis=0)), keypoints(told)))) == []


def test_what_many_pictures_have_says_nothing() -> None:
    logo = keypoints(unit(12, 99))
    few, many = (
        [
            Points.of(
                Keypoints(
                    *(np.concatenate(pair) for pair in zip(_fields(logo), _fields(keypoints(unit(60, 200 + seed))), strict=True))
                )
            )
            for seed in range(count)
        ]
        for count in (3, COMMON + 2)
    )
    assert {(one.one, one.other) for one in candidates([*few, *batch()])} == {(0, 1), (0, 2), (1, 2)}
    assert candidates(many) == []


def _fields(points: Keypoints) -> tuple[np.ndarray, ...]:
    return points.places, points.sizes, points.angles, points.descriptors


def test_pairs_have_one_of_the_first_pictures() -> None:
    told = keypoints(unit(12, 99))
    pictures = batch((told, told))
    assert len(candidates(pictures, 1)) == len(candidates(pictures, 2)) == 1
    turned = [*pictures[2:], *pictures[:2]]
    assert candidates(turned, 6) == [], "both are of earlier scans"
    assert candidates(turned, 7) == [Candidate(6, 7, 12)]
    assert candidates([]) == []
    assert candidates([Points.of(keypoints(unit(0, 1)))] * 3) == []
