"""Copies that keypoints are too coarse for: of some hundred pixels, or in pictures of few.

1. Pairs of places that look alike come from jet_matches.py, pixel by pixel.
2. Neighbouring pairs that one turn, scale and shift explain make a group.  (A patch of 20 pixels does not tell six numbers.)
3. The map is refined on the grey values, and the part grows to all pixels whose difference to the copy is small beside their
   texture.

What is as small as this is there twice by nature far more often: bars of a grille, windows, wheels, the wings of a butterfly.  So
more is asked than of large parts.  With

    n    the textured pixels of the part that agree, q their share within the part and between its pairs;
    d    the mean squared difference between part and copy, and d' the least one between the middle of the part and any OTHER
         place of the picture, shifted (the test of the next best match, Lowe's, for whole parts);
    b    the median squared difference around the part, and a within it: a copy ends abruptly, a likeness fades;
    rho  as in copy_move.py;
    s    the larger singular value of the map over the smaller: few stretch what they paste, and likenesses seldom fit unstretched;
    t    the share of the part that its copy covers or touches: bars of a grille lie beside each other;
    k    half the number of parts of at least half this size that the picture seems to have twice, or 1: windows come in rows

the evidence, and that on the scale of copy_move.py, whose HALF it meets where the score is 1/2, are

    v        = d' / (d + 5),      V = min(MOST_UNLIKE, v) / (1 + (RIVAL / v)^2)
    R        = min(MOST_ABRUPT, (b + 5) / (a + 5))
    e        = n q^2 V R / (k^(3/2) (1 + rho / RHO) (1 + (rho / WHITE)^2) (1 + (s - 1) / STRETCHED) (1 + (t / TOUCH)^2))
    evidence = HALF sqrt(e / ENOUGH)

Of a copy that is lit otherwise (copied_parts.py), d is what its tone leaves, and d' what any tone leaves.

Exponents and constants are rounded from a logistic regression on the logarithms, 240 copies of 200 to 17,000 pixels made from the
training photographs against the likenesses of 465 untouched ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from imgscan.detectors.copied_parts import (
    PLAIN,
    REACH,
    Bools,
    Copy,
    around,
    box_of,
    box_within,
    clear_tone,
    counterpart,
    dilated,
    eroded,
    ground_of,
    hull_of,
    patterns,
    refined,
    seen_through,
    smooth,
    tone_between,
    unevenness,
)
from imgscan.detectors.inconsistency import Array
from imgscan.detectors.jet_matches import JetMatches, match_jets
from imgscan.detectors.keypoint_matches import Affine, Consensus, Floats, similarities

ENOUGH = 3_000.0
"""e at which the score is 1/2."""
RHO, WHITE, STRETCHED = 0.005, 0.06, 0.01  # rho (twice) and s - 1 at which e is halved
RIVAL = 4.0  # v at which V is half of it: with what is nearly as like there is a pattern
MOST_UNLIKE, MOST_ABRUPT = 50.0, 100.0  # so that no measure outweighs all others
LOSS = 5.0  # grey levels squared beside differences: of saving
TOUCH = 0.05  # share of a part beside its copy that halves e
STRETCH = 2.5  # largest scale, up or down
PAIRS, EACH = 2_000, 8  # most pairs that are grouped, and most between two cells
MARGIN = 2  # pixels around the pairs that belong to a part
FEWEST = 40  # pixels of a part
CLOSING = 4  # pixels between what belongs together
BESIDE = 3  # pixels between a part and its copy that touch
RING = 2, 5  # pixels from a part, between which lies what is around it
_CELL = 12  # pixels a side of cells whose pairs vote for each other
_VOTES = 3  # least of a pair
_NARROW = 1.2  # pixels, standard deviation of the windows of the difference
_SHARE, _NOISE = 0.2, 8.0  # of the texture that the difference may have, and grey levels squared beside it
_TEXTURE = 30.0  # grey levels squared: variance from which on a window is textured
RIVALLED = 48  # pixels a side of the part's middle that rivals are compared with: as a whole a large pattern fits nowhere else
_OWN = 5  # pixels around a part and its copy that are no rival


@dataclass(frozen=True)
class _Candidate:
    copy: Copy  # its evidence: e but for d' and k
    core: Bools  # of the box: the part without the pixels beside it
    size: int  # n
    apart: float  # d


def find_small(planes: Array) -> list[Copy]:
    """The parts that are there twice; their evidence is sqrt(e / ENOUGH), so 1 where the score is 1/2.

    Args:
        planes: 3 x H x W float32: luma, 0..255, and two planes of chroma.
    """
    ground = ground_of(planes[0])
    every = [
        one
        for flipped, matches in zip((False, True), match_jets(planes), strict=True)
        for to, places in _groups(matches, flipped)
        for one in _grown(planes, ground, places, to)
    ]
    repeat = patterns([one.copy for one in every], planes.shape[1:])
    found = [one for one, no in zip(every, repeat, strict=True) if not no]
    rivals = _Rivals(planes[0])
    copies = []
    for one in found:
        crowd = max(1.0, sum(other.size > one.size / 2 for other in found) / 2)  # a copy may come in two pieces
        evidence = one.copy.evidence / crowd**1.5
        if evidence * MOST_UNLIKE > ENOUGH / 4:
            unlike = rivals.nearest(one) / (one.apart + LOSS)
            evidence *= min(MOST_UNLIKE, unlike) / (1 + (RIVAL / max(unlike, 1e-3)) ** 2)
        if evidence > ENOUGH / 4:
            copies.append(replace(one.copy, evidence=math.sqrt(evidence / ENOUGH)))
    return copies


def _groups(matches: JetMatches, flipped: bool) -> Iterator[tuple[Affine, Floats]]:
    """Similarities, each with the places (N x 2) that it explains; the one with most first."""
    matches = matches[_voted(matches)]
    consensus = replace(CONSENSUS, fit=partial(_similarity, flipped=flipped))
    for to, members in consensus.find(matches.here, matches.there, similarities(matches.turns, 1.0, flipped)):
        yield to, matches.here[members]


def _voted(matches: JetMatches) -> npt.NDArray[np.intp]:
    """At most PAIRS of the pairs: those between two cells that more pairs join, of each two cells a few."""
    cells = np.concatenate([matches.here, matches.there], 1).astype(np.int64)
    votes = np.zeros(len(cells), np.int64)
    for offset in (0, _CELL // 2):
        _, which, counts = np.unique(_numbered((cells + offset) // _CELL), return_inverse=True, return_counts=True)
        votes = np.maximum(votes, counts[which])
    kept = np.flatnonzero(votes >= _VOTES)
    if len(kept) <= PAIRS:
        return kept
    number = _numbered(cells[kept] // _CELL)
    order = np.argsort(number, kind="stable")
    begins = np.flatnonzero(np.diff(number[order], prepend=-1))
    rank = np.arange(len(kept)) - np.repeat(begins, np.diff(np.append(begins, len(kept))))
    kept = kept[np.sort(order[rank < EACH])]
    return kept[np.argsort(-votes[kept], kind="stable")[:PAIRS]]


def _numbered(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number for each row of N x 4 cells."""
    return np.asarray(((cells[:, 0] << 12 | cells[:, 1]) << 12 | cells[:, 2]) << 12 | cells[:, 3])


def _similarity(here: Floats, there: Floats, flipped: bool) -> Affine | None:
    """The turn, scale and shift, after a mirror (y -> -y) if flipped, that take N x 2 places nearest to others."""
    sign = -1 if flipped else 1
    (x, y), (u, v) = (here - here.mean(0)).T, (there - there.mean(0)).T
    y = sign * y
    spread = float((x * x + y * y).sum())
    if spread < 1:
        return None
    cos, sin = float((x * u + y * v).sum()) / spread, float((x * v - y * u).sum()) / spread
    if not 1 / STRETCH < np.hypot(cos, sin) < STRETCH:
        return None
    matrix = np.array([[cos, -sign * sin], [sin, sign * cos]])
    return Affine(matrix, there.mean(0) - matrix @ here.mean(0))


CONSENSUS = Consensus(
    partial(_similarity, flipped=False), least=6, groups=6, proposals=64, loose=1.5, drift=0.15, near=2.0, reach=40.0, rounds=4
)


def _grown(planes: Array, ground: Array, places: Floats, to: Affine) -> Iterator[_Candidate]:
    """The connected parts around matched places (N x 2) whose pixels look like those they are mapped to."""
    shape = planes.shape[1:]
    box = around(places, max(16.0, float(np.ptp(places, axis=0).max())) * 0.7 + 16, shape)
    size = box[0].stop - box[0].start, box[1].stop - box[1].start
    seeds = places - (box[1].start, box[0].start)
    column, row = np.rint(seeds).astype(np.intp).T
    near = np.zeros(size, bool)
    near[row.clip(0, size[0] - 1), column.clip(0, size[1] - 1)] = True
    around_them = _apart_from(near) <= CLOSING
    here = planes[:, box[0], box[1]]
    there, _ = seen_through(planes, box, to)
    tone = clear_tone(here[:, around_them], there[:, around_them])
    to = refined(ground, box, around_them, to, tone)
    if not to.plausible():
        return
    there, within = seen_through(planes, box, to)
    if tone != PLAIN:
        tone = tone_between(here[:, around_them], there[:, around_them])
        there = tone(there)
    difference = here[0] - there[0]
    strangeness = _narrow(difference * difference)
    texture = np.minimum(_variance(here[0]), _variance(there[0]))
    alike = within & (strangeness < _SHARE * texture + _NOISE) & (texture > _TEXTURE)
    if (alike & near).sum() < CONSENSUS.least:
        return
    colour = sum(_narrow((one - other) ** 2) for one, other in zip(here[1:], there[1:], strict=True))
    alike &= colour < 4 * _NOISE + _SHARE / 2 * texture
    core = dilated(eroded(alike, 1), 1)
    closed = _apart_from(_apart_from(np.pad(core, 2 * CLOSING)) > CLOSING) > CLOSING
    numbered, _ = ndimage.label(closed[2 * CLOSING : -2 * CLOSING, 2 * CLOSING : -2 * CLOSING])
    owner = numbered[row.clip(0, size[0] - 1), column.clip(0, size[1] - 1)]
    for number in np.unique(owner[owner > 0]):
        hull = hull_of(seeds[owner == number], size, MARGIN)
        if hull is None:
            continue
        cut = box_of(hull | (numbered == number), max(REACH, RING[1]))
        part = numbered[cut] == number
        alike_here, textured_here, strange = alike[cut], (texture[cut] > _TEXTURE) & within[cut], strangeness[cut]
        agreeing = int((part & alike_here).sum())
        if agreeing < FEWEST:
            continue
        counted = (hull[cut] | part) & textured_here
        share = (counted & alike_here).sum() / max(1, counted.sum())
        copy = Copy(box_within(box, cut), dilated(part, 1), to, 0.0, tone)
        beside = _apart_from(part)
        ring = within[cut] & (beside > RING[0]) & (beside <= RING[1])
        within_it, around_it = (float(np.median(strange[where])) if where.any() else 0.0 for where in (part, ring))
        abrupt = min(MOST_ABRUPT, (around_it + LOSS) / (within_it + LOSS))
        rho = unevenness(difference[cut], part & alike_here)
        doubt = (1 + rho / RHO) * (1 + (rho / WHITE) ** 2) * (1 + (to.stretch() - 1) / STRETCHED)
        doubt *= 1 + (_touching(copy, shape) / TOUCH) ** 2
        evidence = agreeing * min(1.0, share) ** 2 * abrupt / doubt
        apart = float((difference[cut][part] ** 2).mean())
        yield _Candidate(replace(copy, evidence=float(evidence)), part, agreeing, apart)


def _apart_from(part: Bools) -> Floats:
    """How far each pixel lies from those of a part; 0 within it."""
    return np.asarray(ndimage.distance_transform_edt(~part))


def _narrow(plane: Array) -> Array:
    return np.asarray(ndimage.gaussian_filter(plane, _NARROW, mode="nearest", truncate=2.5))


def _variance(plane: Array) -> Array:
    mean = smooth(plane)
    return smooth(plane * plane) - mean * mean


def _touching(copy: Copy, shape: tuple[int, ...]) -> float:
    """The share of a part that its copy covers or touches."""
    box, inside = counterpart(copy, shape)
    margin = [(min(BESIDE, side.start), min(BESIDE, length - side.stop)) for side, length in zip(box, shape, strict=True)]
    taken = np.zeros(shape, bool)
    wide = tuple(slice(side.start - before, side.stop + after) for side, (before, after) in zip(box, margin, strict=True))
    taken[wide] = _apart_from(np.pad(inside, margin)) <= BESIDE
    return float(taken[copy.box][copy.inside].sum() / max(1, copy.inside.sum()))


def _middle(places: npt.NDArray[np.intp]) -> slice:
    """At most RIVALLED pixels in the middle of those at N places along an axis."""
    first, last = int(places.min()), int(places.max()) + 1
    spare = max(0, last - first - RIVALLED) // 2
    return slice(first + spare, min(last, first + spare + RIVALLED))


class _Rivals:
    """What else in a picture looks like a part of it."""

    def __init__(self, grey: Array) -> None:
        self.grey = grey - grey.mean()
        self.shape = [fft.next_fast_len(length, real=True) for length in grey.shape]

    @cached_property
    def transforms(self) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64]]:
        """Of the picture and of its square; most pictures need none."""
        return fft.rfft2(self.grey, self.shape), fft.rfft2(self.grey * self.grey, self.shape)

    def nearest(self, one: _Candidate) -> float:
        """d': the least mean squared difference of a part's middle to the picture, shifted, but for itself and its copy."""
        rows, columns = np.nonzero(one.core)
        cut = _middle(rows), _middle(columns)
        if not one.core[cut].any():  # the middle of a ring
            cut = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        mask = one.core[cut].astype(np.float32)
        part = self.grey[one.copy.box][cut] * mask
        high, wide = mask.shape
        apart = self._as_they_are(part, mask) if one.copy.tone == PLAIN else self._in_any_tone(part, mask)
        corner = np.array([one.copy.box[1].start + cut[1].start, one.copy.box[0].start + cut[0].start])
        middle = np.array([(wide - 1) / 2, (high - 1) / 2])
        down, across = np.ogrid[: apart.shape[0], : apart.shape[1]]
        for x, y in (corner, one.copy.to((corner + middle)[None])[0] - middle):
            apart[(np.abs(down - y) < _OWN) & (np.abs(across - x) < _OWN)] = np.inf
        return float(apart.min())

    def _as_they_are(self, part: Array, mask: Array) -> Array:
        """The mean squared difference of a part, 0 where the mask is, to every place of the picture."""
        plain, square = self.transforms
        product = square * np.conj(fft.rfft2(mask, self.shape)) - 2 * plain * np.conj(fft.rfft2(part, self.shape))
        return np.asarray(np.maximum(self._back(product, mask.shape) + (part * part).sum(), 0) / mask.sum())

    def _in_any_tone(self, part: Array, mask: Array) -> Array:
        """What a gain, no negative one, and an offset for each place leave of that."""
        plain, square = self.transforms
        window, count = np.conj(fft.rfft2(mask, self.shape)), mask.sum()
        part = (part - part.sum() / count) * mask
        shared = self._back(plain * np.conj(fft.rfft2(part, self.shape)), mask.shape)
        spread = self._back(square * window, mask.shape) - self._back(plain * window, mask.shape) ** 2 / count
        return np.asarray(np.maximum((part * part).sum() - np.maximum(shared, 0) ** 2 / np.maximum(spread, count), 0) / count)

    def _back(self, product: npt.NDArray[np.complex64], size: tuple[int, ...]) -> Array:
        """A correlation with a window of `size`, wherever that lies within the picture."""
        rows, columns = (length - side + 1 for length, side in zip(self.grey.shape, size, strict=True))
        return np.asarray(fft.irfft2(product, self.shape)[:rows, :columns])
