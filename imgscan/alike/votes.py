"""Votes: which pictures of many may have a part in common, by keypoints that look alike and lie alike.

After Jegou, Douze and Schmid, "Hamming embedding and weak geometric consistency for large scale image search", ECCV 2008
(https://doi.org/10.1007/978-3-540-88682-2_24): descriptors are sorted into words of a vocabulary, here made of the batch's own, and
only those of a word are held against each other; each pair that is near votes for a change of scale and direction between the two
pictures, and only votes that agree on both count together.  Different here: a picture's descriptors are looked up in the PROBED
nearest words, as they are and mirrored; distances are those of the descriptors themselves; and near is what is clearly nearer
than the COMMON-th of other pictures, which keeps letters, a logo and plain edges from voting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import MiniBatchKMeans

from imgscan.detectors.keypoints import Keypoints, mirrored

NEAR = 0.5
"""Distance of unit vectors, up to which two descriptors are of one thing."""
COMMON, CLEAR = 16, 0.8
"""How much nearer than the so-manieth of other pictures a descriptor has to be; what more pictures have in common has no vote."""
LEAST = 3
"""Votes that agree, which a pair of pictures needs."""
PROBED = 4  # words in which a descriptor is looked up
OF_WORD = 256  # descriptors of a word, on average, ...
MOST_WORDS = 4096  # ... as long as there are no more than so many words
STOPPED = 16  # times as many as on average: a word of edges that are everywhere, which is left out
TAUGHT = 32  # descriptors of each word that the vocabulary is learned from
ROUNDING = 1e-3  # of a product of two unit vectors: what many have to the bit must not be nearer than itself
SCALE = 510.0  # descriptors as whole numbers: their elements are below 1/2 but for a few
TURN = math.pi / 6  # radians: what the directions of votes that agree differ by, at most; their scales by a factor of 2
AT_ONCE, MOST_PRODUCTS = 1 << 17, 1 << 22  # descriptors that are looked up at once, and products of two in memory

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """What is kept of a picture's keypoints."""

    places: Floats  # N x 2: x, y
    descriptors: npt.NDArray[np.uint8]  # N x 128, times SCALE
    scales: Floats  # N: logarithms to the base 2 of their sizes
    angles: Floats  # N: radians

    @classmethod
    def of(cls, keypoints: Keypoints) -> Points:
        """Of keypoints."""
        told = np.clip(np.rint(keypoints.descriptors * SCALE), 0, 255).astype(np.uint8)
        return cls(keypoints.places, told, np.log2(np.maximum(keypoints.sizes, 1e-3)), keypoints.angles)

    def keypoints(self) -> Keypoints:
        """These again, but for what rounding took."""
        return Keypoints(self.places, np.exp2(self.scales), self.angles, _unit(self.descriptors))


@dataclass(frozen=True)
class Candidate:
    """Two pictures that may have a part in common."""

    one: int  # number of the first
    other: int  # of the second, higher
    votes: int  # that agree


def candidates(pictures: Sequence[Points], first: int | None = None) -> list[Candidate]:
    """The pairs of pictures with LEAST votes that agree, those with most first.

    Args:
        pictures: their keypoints.
        first: pairs need one of the first so many; None: all.
    """
    counts = [len(one.scales) for one in pictures]
    if sum(counts) < 2 * LEAST:
        return []
    told = np.concatenate([one.descriptors for one in pictures])
    whose = np.repeat(np.arange(len(pictures)), counts)
    scales, angles = (np.concatenate([getattr(one, name) for one in pictures]) for name in ("scales", "angles"))
    asking = np.flatnonzero(whose < (len(pictures) if first is None else first))
    words = _vocabulary(told)
    home = np.concatenate([_nearest_words(_unit(told[some]), words, 1)[:, 0] for some in _blocks(np.arange(len(told)))])
    keys = [np.zeros(0, np.int64)]
    for flipped in (False, True):
        one, other = _near_pairs(told, whose, asking, words, home, flipped)
        turn = angles[other] + angles[one] if flipped else angles[other] - angles[one]
        keys.append(_ballots(whose[one], whose[other], len(pictures), scales[other] - scales[one], turn, flipped))
    box, votes = np.unique(np.concatenate(keys), return_counts=True)
    best: dict[int, int] = {}
    for pair, count in zip((box[votes >= LEAST] // BOXES).tolist(), votes[votes >= LEAST].tolist(), strict=True):
        best[pair] = max(count, best.get(pair, 0))
    found = [Candidate(*divmod(pair, len(pictures)), count) for pair, count in best.items()]
    return sorted(found, key=lambda one: (-one.votes, one.one, one.other))


def _unit(told: npt.NDArray[np.uint8]) -> Floats:
    """Unit vectors of kept descriptors."""
    vectors = told.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    return vectors


def _blocks(numbers: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    return (numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE))


def _vocabulary(told: npt.NDArray[np.uint8]) -> Floats:
    """K x 128: the words, unit vectors in the middle of what they stand for."""
    count = min(MOST_WORDS, max(1, len(told) // OF_WORD))
    taught = np.random.default_rng(0).permutation(len(told))[: count * TAUGHT]
    means = MiniBatchKMeans(count, random_state=0, n_init=1, max_iter=10, batch_size=4096).fit(_unit(told[taught]))
    centres = np.asarray(means.cluster_centers_, np.float32)
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)
    return centres


def _nearest_words(vectors: Floats, words: Floats, count: int) -> npt.NDArray[np.intp]:
    """N x count: the words that each vector is nearest to, in no order."""
    count = min(count, len(words))
    every = max(1, MOST_PRODUCTS // len(words))
    found = np.empty((len(vectors), count), np.intp)
    for start in range(0, len(vectors), every):
        alike = torch.from_numpy(vectors[start : start + every] @ words.T)
        found[start : start + every] = alike.topk(count, 1, sorted=False).indices  # a quarter of the time of numpy's argpartition
    return found


def _near_pairs(
    told: npt.NDArray[np.uint8],
    whose: npt.NDArray[np.intp],
    asking: npt.NDArray[np.intp],
    words: Floats,
    home: npt.NDArray[np.intp],
    flipped: bool,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of descriptors of two pictures that are near each other, the first's the lower number.

    A descriptor is in one pair, its nearest, with those of each other picture.
    """
    order = np.argsort(home, kind="stable")
    ends = np.searchsorted(home[order], np.arange(len(words) + 1))
    stop = STOPPED * len(told) / len(words)
    found = [np.zeros((0, 2), np.intp)]
    alike = [np.zeros(0, np.float32)]
    for some in _blocks(asking):
        vectors = _unit(told[some])
        if flipped:
            vectors = mirrored(vectors)
        probed = _nearest_words(vectors, words, PROBED)
        best = np.full((probed.size, COMMON), -1, np.float32)
        which = np.zeros((probed.size, COMMON), np.intp)
        by_word = np.argsort(probed.ravel(), kind="stable")
        begins = np.searchsorted(probed.ravel()[by_word], np.arange(len(words) + 1))
        for word in np.unique(probed):
            there = order[ends[word] : ends[word + 1]]
            if not 0 < len(there) <= stop:
                continue
            most, every = min(COMMON, len(there)), max(1, MOST_PRODUCTS // len(there))
            for start in range(begins[word], begins[word + 1], every):
                asked = by_word[start : min(start + every, begins[word + 1])]
                here = asked // probed.shape[1]
                like = vectors[here] @ _unit(told[there]).T
                like[whose[some[here]][:, None] == whose[there]] = -1
                columns = np.argpartition(like, -most, axis=1)[:, -most:]
                best[asked, :most] = np.take_along_axis(like, columns, 1)
                which[asked, :most] = there[columns]
        best, which = best.reshape(len(some), -1), which.reshape(len(some), -1)
        usual = 1 - np.partition(best, -COMMON, axis=1)[:, [-COMMON]]
        row, column = np.nonzero(1 - best + ROUNDING < np.minimum(CLEAR * CLEAR * usual, NEAR * NEAR / 2))
        found.append(np.stack([some[row], which[row, column]], 1))
        alike.append(best[row, column])
    return _nearest_only(np.concatenate(found), np.concatenate(alike), whose)


def _nearest_only(
    pairs: npt.NDArray[np.intp], alike: Floats, whose: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Of M x 2 pairs of descriptors those that are either one's nearest of the other one's picture, the first picture's first."""
    pairs = pairs[np.argsort(-alike, kind="stable")]
    pairs.sort(axis=1)  # descriptors are numbered picture by picture
    for side in (0, 1):
        # of a descriptor and a picture the first pair, which is the nearest
        _, first = np.unique(pairs[:, side] * (int(whose.max()) + 1) + whose[pairs[:, 1 - side]], return_index=True)
        pairs = pairs[np.sort(first)]
    return pairs[:, 0], pairs[:, 1]


SCALES = 16  # boxes of factors of 2 between 1/256 and 256
TURNS = round(2 * math.pi / TURN)
BOXES = 2 * 4 * SCALES * TURNS  # mirrored or not, in one of four grids


def _ballots(
    one: npt.NDArray[np.intp], other: npt.NDArray[np.intp], count: int, growth: Floats, turn: Floats, flipped: bool
) -> Numbers:
    """4 x M numbers, those of votes that agree the same: of the pair of pictures, and of a box of scales and turns.

    Boxes of two grids in either direction, half a box apart: votes that differ by less than half a box share at least one of them.
    """
    pairs = one.astype(np.int64) * count + other
    ballots = []
    for grid in range(4):
        scale = np.floor(growth + 0.5 * (grid % 2)).astype(np.int64).clip(-SCALES // 2, SCALES // 2 - 1) + SCALES // 2
        angle = np.floor(turn / TURN + 0.5 * (grid // 2)).astype(np.int64) % TURNS
        ballots.append((((pairs * 2 + flipped) * 4 + grid) * SCALES + scale) * TURNS + angle)
    return np.concatenate(ballots)
