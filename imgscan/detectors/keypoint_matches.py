"""Matches of keypoints within one picture, and the affine maps that groups of them follow: where its parts may have been copied to.

Steps 1 and 2 of copy_move.py, which has the papers; whether the pixels agree with a map is decided there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from imgscan.detectors.inconsistency import Array
from imgscan.detectors.keypoints import Keypoints, mirrored

COPIES = 2  # of one part that are told from a repeating pattern
RATIO = 0.75  # of the distances to a match and to the next
APART = 16.0  # pixels: nearer points are one and the same
LEAST = 3  # matches of a group
BLOCK = 128  # points of a tile, and whose similarities to all are in memory at once
TOGETHER = 16  # proposals that pairs are compared with at once

Pairs = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """Where a part went: (x, y) -> matrix (x, y) + shift, pixels."""

    matrix: Floats  # 2 x 2
    shift: Floats  # 2

    def __call__(self, places: npt.NDArray[np.floating]) -> Floats:
        """N x 2 places -> N x 2."""
        moved: Floats = places @ self.matrix.T + self.shift
        return moved

    def stretch(self) -> float:
        """The larger of the matrix's singular values over the smaller."""
        large, small = np.linalg.svd(self.matrix, compute_uv=False)
        return float(large / small)

    def plausible(self) -> bool:
        """No stretching beyond 2 : 1 and no scaling beyond 4."""
        large, small = np.linalg.svd(self.matrix, compute_uv=False)
        return bool(small > 0.25 and large < 4 and large < 2 * small)


def match(points: Keypoints) -> tuple[Pairs, Pairs]:
    """Pairs of keypoints that look alike and like nothing else, and those of which one does so in a mirror: M x 2 indices each.

    For a point's matches in order of distance, d_1 <= d_2 <= ..., each at another place: the first k, where d_k < RATIO d_(k + 1).
    """
    # The mirror swaps the elements of a descriptor in pairs.  With s the part of it that this leaves and t the one whose sign it
    # changes, a . b = s_a . s_b + t_a . t_b, and with one of them mirrored s_a . s_b - t_a . t_b: both for the price of one.
    told = points.descriptors
    some, others = (one[:, : told.shape[1] // 2] * np.float32(math.sqrt(0.5)) for one in (told, mirrored(told)))
    left, changed = some + others, some - others
    near = _Neighbours(points.places)
    hopeful = _hopeful(left, changed, points.places, near)
    found: tuple[list[Pairs], list[Pairs]] = ([], [])
    for first in range(0, len(hopeful), BLOCK):
        rows = hopeful[first : first + BLOCK]
        even, odd = left[rows] @ left.T, changed[rows] @ changed.T
        for pairs, alike in zip(found, (even + odd, even - odd), strict=True):
            pairs.append(_clear(alike, rows, near))
    plain, flipped = (_ordered(np.concatenate([np.zeros((0, 3), np.intp), *pairs])) for pairs in found)
    return plain, flipped


def _hopeful(left: Array, changed: Array, places: Array, near: _Neighbours) -> npt.NDArray[np.intp]:
    """The points that can have a clear match, as they are or mirrored, among them all that have one; a few of a hundred, mostly.

    A clear match needs d_1 < RATIO d_3, whether it is the first or the second.  d_1 is known from all points; of d_3 a bound does:
    of three points, each more than 2 APART from the others, the places of two matches cover two at most, so that d_3 is no more
    than the distance to the farthest of the three.  They are the most similar points of three tiles of the picture.  And it is
    one product for two tiles: what its rows say of its columns, its columns say of its rows.

    Args:
        left, changed: N x 64, as in `match`.
        places: N x 2.
    """
    import torch  # not for --help, which names the detectors

    order, count = _tiled(places), len(places)
    tiles = -(-count // BLOCK)
    rank = np.empty(count, np.intp)
    rank[order] = np.arange(count)
    even, odd = (torch.zeros(tiles * BLOCK, one.shape[1]) for one in (left, changed))
    even[:count], odd[:count] = torch.from_numpy(left[order]), torch.from_numpy(changed[order])
    most = torch.empty(2, tiles * BLOCK, tiles)  # of the similarities of each point to those of each tile; mirrored
    room = [torch.empty(BLOCK * tiles * BLOCK) for _ in range(3)]  # once: new pages cost as much as products
    for tile in range(tiles):
        first, last = tile * BLOCK, min((tile + 1) * BLOCK, count)
        row, column = near.beside(order[first:last])
        column = rank[column] - first
        row, column = row[column >= 0], column[column >= 0]
        wide = tiles * BLOCK - first
        alike, same, other = (one[: (last - first) * wide].view(last - first, wide) for one in room)
        torch.mm(even[first:last], even[first:].T, out=same)
        torch.mm(odd[first:last], odd[first:].T, out=other)
        for known, join in zip(most, (torch.add, torch.sub), strict=True):
            join(same, other, out=alike)
            alike.numpy()[row, column] = -1
            alike[:, count - first :] = -1
            known[first:last, tile:] = alike.view(last - first, -1, BLOCK).amax(2)
            known[first:, tile] = alike.amax(0)
    far = _far_apart(places[order])
    hopeful = np.zeros(count, bool)
    for known in most[:, :count].numpy():
        nearest = known.max(1)
        third = known
        for _ in range(2):
            third = np.where(far[third.argmax(1)], third, np.float32(-1))
        # Halves of squared distances; the last term is many times what rounding does to them.
        hopeful[order] |= 1 - nearest < RATIO**2 * (1 - third.max(1)) + 1e-5
    return np.flatnonzero(hopeful)


def _tiled(places: Array) -> npt.NDArray[np.intp]:
    """N x 2 places in an order in which every BLOCK of them lie beside each other: in columns, and these from top to bottom."""
    column = np.empty(len(places), np.intp)
    column[np.argsort(places[:, 0], kind="stable")] = np.arange(len(places))
    column //= BLOCK * math.ceil(math.sqrt(-(-len(places) // BLOCK)))
    return np.lexsort((places[:, 1], column))


def _far_apart(places: Array) -> npt.NDArray[np.bool_]:
    """Which BLOCKs of N x 2 places are more than 2 APART from which: T x T."""
    begins = np.arange(0, len(places), BLOCK)
    low, high = (extreme.reduceat(places.astype(np.float64), begins) for extreme in (np.minimum, np.maximum))
    gap = np.maximum(0, np.maximum(low[:, None] - high, low - high[:, None]))
    return np.asarray((gap**2).sum(2) > (2 * APART) ** 2)


def _clear(alike: Array, rows: npt.NDArray[np.intp], near: _Neighbours) -> Pairs:
    """The clear matches of some points by their similarities to all, n x N, which this changes: M x 3, the last says how clear."""
    near.hide(alike, rows)
    each = np.arange(len(rows))
    best = []
    for _ in range(COPIES + 1):
        column = alike.argmax(1)
        best.append((column, np.sqrt(np.maximum(2 - 2 * alike[each, column], 0))))
        near.hide(alike, column)
    decided = np.zeros(len(rows), bool)
    found = []
    for k in range(COPIES):
        clear = (best[k][1] < RATIO * best[k + 1][1]) & ~decided
        for number, (column, _) in enumerate(best[: k + 1]):
            found.append(np.stack([rows[clear], column[clear], np.full(clear.sum(), k * COPIES + number)], 1))
        decided |= clear
    return np.concatenate(found)


def _ordered(found: Pairs) -> Pairs:
    """M x 3 of `_clear` in the order in which proposals are drawn from them, M x 2: those of a BLOCK of points together."""
    point, _, clear = found.T
    return found[np.lexsort((point, clear, point // BLOCK)), :2]


class _Neighbours:
    """Which points lie so near to each that they cannot be its copy."""

    def __init__(self, places: Array) -> None:
        pairs = (
            cKDTree(places).query_pairs(APART, output_type="ndarray").astype(np.intp) if len(places) else np.zeros((0, 2), np.intp)
        )
        itself = np.arange(len(places))
        whose, self.all = (np.concatenate([pairs[:, side], pairs[:, 1 - side], itself]) for side in (0, 1))
        self.all = self.all[np.argsort(whose, kind="stable")]
        self.counts = np.bincount(whose, minlength=len(places))
        self.begins = np.cumsum(self.counts) - self.counts

    def beside(self, whose: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """For the points beside each of `whose`, and for itself: where in `whose` that is, and the point."""
        counts = self.counts[whose]
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.begins[whose] - ends + counts, counts)
        return np.repeat(np.arange(len(whose)), counts), self.all[places]

    def hide(self, alike: Array, whose: npt.NDArray[np.intp]) -> None:
        """In each row of n x N similarities: -1 for the points beside that row's point of `whose`, and for itself."""
        alike[self.beside(whose)] = -1


@dataclass(frozen=True)
class Consensus:
    """How groups of pairs that one map explains are looked for (RANSAC); pixels."""

    fit: Callable[[Floats, Floats], Affine | None]  # the map that takes N x 2 places nearest to others; None: there is none
    least: int  # pairs of a group
    groups: int  # most of a picture
    proposals: int  # most pairs that propose a map
    loose: float  # between a pair and where the frame of another takes it, ...
    drift: float  # ... and more for each pixel between the two: a frame's direction and scale are not known better
    near: float  # between a pair and where the map of its group takes it
    reach: float  # between neighbouring pairs of a group
    rounds: int  # of fitting

    def find(
        self, here: Floats, there: Floats, matrices: Floats, growth: Floats | None = None
    ) -> Iterator[tuple[Affine, npt.NDArray[np.intp]]]:
        """Maps, each with the pairs that it explains; the one with most first.

        Args:
            here, there: N x 2 places.
            matrices: N x 2 x 2, what each pair proposes: how its surroundings went from one place to the other.
            growth: N logarithms of the scale that each proposes, where it is measured; pairs of a group differ by less than 1/2.

        Yields:
            The map, and M indices of pairs.
        """
        shifts = there - (matrices @ here[:, :, None])[:, :, 0]
        told = np.column_stack([here, there, matrices.reshape(-1, 4), shifts, np.zeros(len(here)) if growth is None else growth]).T
        left = np.ones(len(here), bool)
        drawn = np.random.default_rng(0)
        for _ in range(self.groups):
            rest = np.flatnonzero(left)
            if len(rest) < self.least:
                return
            asked = rest if len(rest) <= self.proposals else drawn.choice(rest, self.proposals, replace=False)
            members = rest[self._agree(told, asked[[self._most(told, asked, rest)]], rest)[0]]
            if len(members) < self.least:
                return
            left[members] = False
            to, members = self._fitted(here, there, rest, members)
            if to is not None:
                left[members] = False
                yield to, members

    def _most(self, told: Floats, asked: npt.NDArray[np.intp], rest: npt.NDArray[np.intp]) -> int:
        """Which of the pairs `asked` has the proposal that most of `rest` agree with; the first of several."""
        # From left to right, some at a time: only pairs beside them can agree, and what is compared stays in the processor's cache.
        order, rest = asked[np.argsort(told[0, asked])], rest[np.argsort(told[0, rest])]
        columns, counts = told[0, rest], np.zeros(told.shape[1], np.intp)
        for first in range(0, len(order), TOGETHER):
            some = order[first : first + TOGETHER]
            start = columns.searchsorted(told[0, some[0]] - self.reach)
            stop = columns.searchsorted(told[0, some[-1]] + self.reach, "right")
            counts[some] = self._agree(told, some, rest[start:stop]).sum(1)
        return int(counts[asked].argmax())

    def _agree(self, told: Floats, asked: npt.NDArray[np.intp], rest: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Which pairs of `rest` agree with what each of `asked` proposes, n x m; told: the columns of all pairs."""
        x, y, u, v, *_, grown = told[:, rest]
        left, top, _, _, xx, xy, yx, yy, across, down, growth = told[:, asked, None]
        # Roots of squares: np.hypot takes five times as long, for numbers whose squares leave their range.
        away = np.sqrt((left - x) ** 2 + (top - y) ** 2)
        off = np.sqrt((xx * x + xy * y + (across - u)) ** 2 + (yx * x + yy * y + (down - v)) ** 2)
        agree: npt.NDArray[np.bool_] = (off < self.loose + self.drift * away) & (away < self.reach) & (np.abs(growth - grown) < 0.5)
        return agree

    def _fitted(
        self, here: Floats, there: Floats, rest: npt.NDArray[np.intp], members: npt.NDArray[np.intp]
    ) -> tuple[Affine | None, npt.NDArray[np.intp]]:
        """The map of some pairs, and all pairs of `rest` near them that it explains; None: there is none."""
        to = None
        for _ in range(self.rounds):
            to = self.fit(here[members], there[members])
            if to is None:
                return None, members
            close = rest[np.linalg.norm(to(here[rest]) - there[rest], axis=1) < self.near]
            if len(close):
                close = close[cKDTree(here[members]).query(here[close])[0] < self.reach]
            if len(close) < self.least:
                return None, members
            if np.array_equal(close, members):
                break
            members = close
        return to, members


def group(points: Keypoints, pairs: Pairs, flipped: bool) -> Iterator[tuple[Affine, npt.NDArray[np.intp]]]:
    """Affine maps, each with the matches (indices into `pairs`) that it explains; the one with most first."""
    here, there = (points.places[pairs[:, side]].astype(np.float64) for side in (0, 1))
    growth = np.log(points.sizes[pairs[:, 1]] / points.sizes[pairs[:, 0]])
    return CONSENSUS.find(here, there, _frames(points, pairs, flipped), growth)


def _frames(points: Keypoints, pairs: Pairs, flipped: bool) -> Floats:
    """The similarity that takes the frame of each match's first point to that of its second: M x 2 x 2."""
    first, second = pairs.T
    scale = (points.sizes[second] / points.sizes[first]).astype(np.float64)
    sign = -1 if flipped else 1  # a mirror turns the other way round
    turn = points.angles[second].astype(np.float64) - sign * points.angles[first]
    return similarities(turn, scale, flipped)


def similarities(turns: Floats, scales: npt.NDArray[np.floating] | float, flipped: bool) -> Floats:
    """N turns (radians, from x towards y) and scales, after a mirror (y -> -y) if flipped: N x 2 x 2."""
    sign = -1 if flipped else 1
    cos, sin = scales * np.cos(turns), scales * np.sin(turns)
    return np.stack([np.stack([cos, -sign * sin], 1), np.stack([sin, sign * cos], 1)], 1)


def _affine(here: Floats, there: Floats) -> Affine | None:
    """The plausible affine map of least squares; None: there is none, or the places lie on a line."""
    if np.linalg.svd(here - here.mean(0), compute_uv=False)[-1] < 3 * math.sqrt(len(here)):
        return None
    solved = np.linalg.lstsq(np.column_stack([here, np.ones(len(here))]), there, rcond=None)[0].astype(np.float64)
    to = Affine(solved[:2].T, solved[2])
    return to if to.plausible() else None


CONSENSUS = Consensus(_affine, LEAST, groups=16, proposals=400, loose=3.0, drift=0.1, near=3.0, reach=120.0, rounds=5)
