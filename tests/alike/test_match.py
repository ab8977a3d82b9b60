import numpy as np
import pytest

from imgscan.alike.fingerprint import fingerprint, words_of
from imgscan.alike.match import NEAR, View, match, seen
from tests.alike.test_fingerprint import waves

VIEWS = [View(mirrored, turned) for mirrored in (False, True) for turned in (0, 90, 180, 270)]


def flipped(words: np.ndarray, word: int, bits: int) -> np.ndarray:
    """The fingerprint with so many bits of a word changed."""
    changed = words.copy()
    changed[0, word] ^= np.uint64(2**bits - 1)
    return changed


def test_bits_that_differ_are_counted_in_all_words() -> None:
    one = words_of(["0123456789abcdef" * 4])
    (found,) = match(np.concatenate([one, flipped(flipped(one, 0, 3), 3, 8)]))
    assert (found.one, found.other, found.distance, found.view) == (0, 1, 11, View())


def test_what_is_farther_than_the_limits_is_no_match() -> None:
    one = words_of(["0123456789abcdef" * 4])
    assert match(np.concatenate([one, flipped(one, 0, 18)]))
    assert not match(np.concatenate([one, flipped(one, 0, 19)])), "of the first word"
    near = flipped(flipped(flipped(one, 0, 18), 1, 27), 2, 27)  # 72
    assert match(np.concatenate([one, near]))
    assert not match(np.concatenate([one, flipped(near, 3, 1)])), "of all"


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_that_was_turned_is_found_with_the_way_back(view: View) -> None:
    picture = waves(np.random.default_rng(4).choice([-1, 1], (16, 16)))
    changed = np.ascontiguousarray(np.stack([seen(picture[..., 0], view)] * 3, -1))
    fingerprints = [fingerprint(picture) or "", fingerprint(changed) or ""]
    (found,) = match(words_of(fingerprints))
    assert found.distance == 0
    assert (seen(changed[..., 0], found.view) == picture[..., 0]).all()
    assert found.view == view.inverse


def test_every_near_pair_among_many_is_found_and_no_other() -> None:
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**63, (300, 4), dtype=np.uint64) & ~np.uint64(1 << 63)
    for number in range(0, 300, 3):  # every third is one of its own with some bits changed
        for word, bit in zip(rng.integers(0, 4, 12), rng.integers(0, 63, 12), strict=True):
            words[number, word] = words[number - 1, word] ^ np.uint64(1 << int(bit))
    every = {
        (one, other)
        for one in range(300)
        for other in range(one + 1, 300)
        if (apart := np.bitwise_count(words[one] ^ words[other])).sum() <= NEAR and apart[0] <= 18
    }
    assert len(every) >= 30
    found = match(words)
    assert {(pair.one, pair.other) for pair in found if pair.view == View()} == every
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)


def test_the_nearest_partners_of_a_picture_are_followed_up_and_the_rest_through_these() -> None:
    one = words_of(["0123456789abcdef" * 4])
    found = match(np.concatenate([one, *(flipped(one, 1, bits % 20) for bits in range(30))]))
    assert [pair.distance for pair in found if pair.one == 0] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {pair.other for pair in found} == set(range(1, 31)), "nobody is left alone"


def test_pictures_of_earlier_scans_are_not_held_against_each_other() -> None:
    words = words_of(["0123456789abcdef" * 4] * 3)
    assert {(pair.one, pair.other) for pair in match(words, 1)} == {(0, 1), (0, 2)}
    assert match(words[:0]) == []
