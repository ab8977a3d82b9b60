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
BLOCK = 128  # points whose similarities to all are in memory at once
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
    room = [np.empty((min(BLOCK, len(told)), len(told)), np.float32) for _ in range(3)]  # once: new pages cost as much as products
    found: tuple[list[Pairs], list[Pairs]] = ([], [])
    for first in range(0, len(told), BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(told)))
        here, even, odd = (one[: len(rows)] for one in room)
        np.matmul(left[rows], left.T, out=even)
        np.matmul(changed[rows], changed.T, out=odd)
        for pairs, join in zip(found, (np.add, np.subtract), strict=True):
            pairs += _clear(join(even, odd, out=here), rows, near)
    plain, flipped = (np.concatenate([np.zeros((0, 2), np.intp), *pairs]) for pairs in found)
    return plain, flipped


def _clear(alike: Array, rows: npt.NDArray[np.intp], near: _Neighbours) -> Iterator[Pairs]:
    """The clear matches of some points by their similarities to all, n x N, which this changes."""
    near.hide(alike, rows)
    each = np.arange(len(rows))
    best = []
    for _ in range(COPIES + 1):
        column = alike.argmax(1)
        best.append((column, np.sqrt(np.maximum(2 - 2 * alike[each, column], 0))))
        near.hide(alike, column)
    decided = np.zeros(len(rows), bool)
    for k in range(COPIES):
        clear = (best[k][1] < RATIO * best[k + 1][1]) & ~decided
        for column, _ in best[: k + 1]:
            yield np.stack([rows[clear], column[clear]], 1)
        decided |= clear


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

    def hide(self, alike: Array, whose: npt.NDArray[np.intp]) -> None:
        """In each row of n x N similarities: -1 for the points beside that row's point of `whose`, and for itself."""
        counts = self.counts[whose]
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.begins[whose] - ends + counts, counts)
        alike[np.repeat(np.arange(len(whose)), counts), self.all[places]] = -1


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
