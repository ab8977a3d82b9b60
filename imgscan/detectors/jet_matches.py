"""Places of one picture that look alike whichever way they are turned, pixel by pixel: what keypoints are too coarse for.

A keypoint's descriptor reaches over 20 pixels and more, so a copy that is hardly larger has no keypoint that does not see its edge.
Here every textured pixel is described by the derivatives of a small Gaussian (its local jet: Koenderink and van Doorn,
"Representation of local geometry in the visual system", Biological Cybernetics 1987; for matching: Schmid and Mohr, "Local
grayvalue invariants for image retrieval", TPAMI 1997).  With D = d/dx + i d/dy and G a Gaussian,

    f_(m, k) = D^m (d^2/dx^2 + d^2/dy^2)^k (G * picture),      m + 2 k = 1 ... 4

a turn by theta multiplies f_(m, k) by e^(i m theta), a mirror conjugates it, and so |f| says what is there and the phases how it is
turned.  All f are scaled to the same noise.

Pairs are found by hashing |f| with random projections (Datar et al., "Locality-sensitive hashing scheme based on p-stable
distributions", SoCG 2004), which takes time in proportion to the pixels; a pair counts if its f agree once one is turned.  What
misses most pairs of a copy still finds dozens, and they all follow one map.  The mean colours around a place help to tell it from
others.  One hash table knows the brightness too, the other does not: for what was lit otherwise, whose contrast LIKE bears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.detectors.inconsistency import Array
from imgscan.detectors.keypoint_matches import APART

SIGMA = 1.6  # pixels, of the Gaussian
ORDER = 4  # of the highest derivatives
PROJECTIONS, WIDTH = 5, 20.0  # numbers of a key, grey levels a step of each
NEXT = 3  # places of one key that each is compared with
MOST = 50_000  # pairs of a table and a distance in it
LIKE = 0.3  # of a place's strength: how far f of a pair may lie apart ...
NOISE = 100.0  # ... beyond what saving does to them, squared
STRENGTH = 600.0  # least sum of |f|^2 of a textured place
CORNER = 60.0  # least strength across the main direction, squared: on straight edges everything matches
COLOUR = 3.0  # weight of a mean colour beside f
PARTNERS = 3  # more parts of the picture that look like a place make it a pattern
TURNS = 48  # steps of a turn that are tried; between them a parabola
_CELL = 16  # pixels a side of the parts that PARTNERS counts
_BORDER = 5  # pixels beside the picture's edge
_CHUNK = 2048  # pairs turned together, so that what is known of them stays in the processor's cache

_Reals = npt.NDArray[Any]
_Complex = npt.NDArray[np.complex64]
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class JetMatches:
    """N pairs of places that look alike."""

    here: npt.NDArray[np.float64]  # N x 2: x, y
    there: npt.NDArray[np.float64]  # N x 2
    turns: npt.NDArray[np.float64]  # N: radians from x towards y, after the mirror (y -> -y) if there is one

    def __getitem__(self, which: npt.NDArray[np.bool_] | _Places) -> JetMatches:
        return JetMatches(self.here[which], self.there[which], self.turns[which])


@dataclass(frozen=True)
class _Jets:
    """N places and what they look like."""

    x: _Places
    y: _Places
    strength: Array  # N: sum of |f|^2
    plain: Array  # N x 4: what no turn changes: m = 0, and the mean chroma
    luma: Array  # N: mean
    turning: _Complex  # N x 6
    modulus: Array  # N x 6: of those
    orders: npt.NDArray[np.intp]  # m of each of the 6


def match_jets(planes: Array) -> tuple[JetMatches, JetMatches]:
    """Pairs of places that look alike, turned, and those that do so turned in a mirror.

    Args:
        planes: 3 x H x W float32: luma, 0..255, and two planes of chroma.
    """
    jets = _described(planes)
    pairs = _hashed(jets)
    first, second = pairs.T
    limit = LIKE**2 * np.minimum(jets.strength[first], jets.strength[second]) + NOISE
    still = ((jets.plain.take(first, 0) - jets.plain.take(second, 0)) ** 2).sum(1)
    power = (jets.modulus**2).sum(1)
    still += power[first] + power[second]
    here, there = jets.turning.take(first, 0), jets.turning.take(second, 0)
    found = [_turned(one * there, jets.orders) for one in (here.conj(), here)]
    apart = [still - 2 * agreement for _, agreement in found]
    matches = []
    for (turns, _), own, other in zip(found, apart, apart[::-1], strict=True):
        good = (own < limit) & (own <= other)
        who, whom = first[good], second[good]
        here_places, there_places = (np.stack([jets.x[one], jets.y[one]], 1).astype(np.float64) for one in (who, whom))
        matches.append(_distinct(JetMatches(here_places, there_places, turns[good])))
    return matches[0], matches[1]


def _derivatives(plane: _Reals) -> tuple[list[_Reals], list[tuple[int, npt.NDArray[Any]]]]:
    """f of the module's text: those with m = 0, and the others, each with its m."""

    columns = [ndimage.gaussian_filter1d(plane, SIGMA, 0, order, truncate=3.5) for order in range(ORDER + 1)]

    def d(across: int, down: int) -> _Reals:
        return np.asarray(ndimage.gaussian_filter1d(columns[down], SIGMA, 1, across, truncate=3.5))

    x, y = d(1, 0), d(0, 1)
    xx, xy, yy = d(2, 0), d(1, 1), d(0, 2)
    xxx, xxy, xyy, yyy = d(3, 0), d(2, 1), d(1, 2), d(0, 3)
    xxxx, xxxy, xxyy, xyyy, yyyy = d(4, 0), d(3, 1), d(2, 2), d(1, 3), d(0, 4)
    still = [xx + yy, xxxx + 2 * xxyy + yyyy]
    turning = [
        (1, x + 1j * y),
        (1, xxx + xyy + 1j * (xxy + yyy)),
        (2, xx - yy + 2j * xy),
        (2, xxxx - yyyy + 2j * (xxxy + xyyy)),
        (3, xxx - 3 * xyy + 1j * (3 * xxy - yyy)),
        (4, xxxx - 6 * xxyy + yyyy + 4j * (xxxy - xyyy)),
    ]
    return still, turning


def _noise() -> tuple[list[float], list[float]]:
    """By how much each f of white noise is stronger than the noise, a component."""
    impulse = np.zeros((33, 33))
    impulse[16, 16] = 1
    still, turning = _derivatives(impulse)
    return [float(np.linalg.norm(one)) for one in still], [float(np.linalg.norm(one) / np.sqrt(2)) for _, one in turning]


_STILL, _TURNING = _noise()


def _described(planes: Array) -> _Jets:
    """The textured places of a picture that are no straight edge."""
    still, turning = _derivatives(planes[0])
    slope = (turning[0][1] / np.float32(_TURNING[0])).astype(np.complex64)
    across, down = slope.real, slope.imag
    xx, yy, xy = (ndimage.gaussian_filter(one, 2.0) for one in (across * across, down * down, across * down))
    corner = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy) > CORNER
    corner[:_BORDER] = corner[-_BORDER:] = False
    corner[:, :_BORDER] = corner[:, -_BORDER:] = False
    y, x = np.nonzero(corner)  # mostly a part of the picture; only there the rest is worth its time
    plain = np.stack([one[y, x] / np.float32(noise) for one, noise in zip(still, _STILL, strict=True)], -1)
    units = zip(turning, _TURNING, strict=True)
    f = np.stack([one[y, x] / np.float32(noise) for (_, one), noise in units], -1).astype(np.complex64)
    modulus = np.abs(f)
    strength = (plain**2).sum(-1) + (modulus**2).sum(-1)
    textured = np.flatnonzero(strength > STRENGTH)
    y, x, plain = y[textured], x[textured], plain[textured]
    luma, *chroma = (np.float32(COLOUR) * ndimage.gaussian_filter(plane, SIGMA)[y, x] for plane in planes)
    orders = np.array([m for m, _ in turning])
    unturned = np.column_stack([plain, *chroma]).astype(np.float32)
    return _Jets(x, y, strength[textured], unturned, luma, f[textured], modulus[textured], orders)


def _hashed(jets: _Jets) -> _Places:
    """Pairs of places, APART pixels or more from each other, that share a key and nearly their |f|: M x 2, each pair once."""
    unlit = np.concatenate([jets.plain, jets.modulus], 1)
    drawn = np.random.default_rng(0)
    limit = LIKE**2 * jets.strength + NOISE
    pairs = [np.zeros((0, 2), np.intp)]
    for told in (np.column_stack([unlit, jets.luma]), unlit) if len(unlit) else ():
        ways = drawn.standard_normal((told.shape[1], PROJECTIONS + 1), dtype=np.float32)
        ways /= np.linalg.norm(ways, axis=0)
        thrown = told @ ways
        steps = np.floor(thrown[:, :-1] / np.float32(WIDTH) + drawn.random(PROJECTIONS, dtype=np.float32)).astype(np.int64)
        key = np.zeros(len(told), np.int64)
        for column in steps.T:
            key = key * 1_000_003 + column
        rest = thrown[:, -1] - thrown[:, -1].min()  # places of one key: in the order of one more projection
        key = (key << 12) & 0x7FFF_FFFF_FFFF_F000
        order = _order(key | (rest * (4095 / max(float(rest.max()), 1e-3))).astype(np.int64))
        key, x, y = key[order], jets.x[order], jets.y[order]
        told = told.take(order, 0)  # once: what is compared then lies close together
        for gap in range(1, NEXT + 1):
            far = np.maximum(np.abs(y[gap:] - y[:-gap]), np.abs(x[gap:] - x[:-gap])) >= APART
            same = np.flatnonzero((key[gap:] == key[:-gap]) & far)
            one, other = order[same], order[same + gap]
            apart = told.take(same, 0)
            apart -= told.take(same + gap, 0)
            near = np.einsum("ij,ij->i", apart, apart) < np.minimum(limit[one], limit[other])
            one, other = one[near], other[near]
            some = slice(None, None, 1 + len(one) // MOST)  # a pattern has millions, and needs no more to be known for one
            one, other = one[some], other[some]
            pairs.append(np.stack([np.minimum(one, other), np.maximum(one, other)], 1))
    first, second = np.concatenate(pairs).T
    numbers = np.sort(first * (len(unlit) + 1) + second)
    once = numbers[np.flatnonzero(np.diff(numbers, prepend=-1))]
    return np.stack(np.divmod(once, len(unlit) + 1), 1).astype(np.intp)


def _order(keys: npt.NDArray[np.int64]) -> _Places:
    """np.argsort(keys, kind="stable"), in a third of its time where few are equal: only these are put into the order they had."""
    order = np.argsort(keys)
    fresh = np.diff(keys[order], prepend=-1) != 0  # no key is negative
    tied = np.flatnonzero(~(fresh & np.append(fresh[1:], True)))
    order[tied] = order[tied][np.lexsort((order[tied], np.cumsum(fresh)[tied]))]
    return order


def _turned(products: _Complex, orders: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.float64], Array]:
    """The turn at which two places agree most, radians, and the sum of Re(products e^(-i m turn)) there; N x 6 products."""
    steps = np.arange(TURNS) * (2 * np.pi / TURNS)
    waves = np.exp(-1j * np.outer(orders, steps)).astype(np.complex64)
    cos, sin = np.ascontiguousarray(waves.real), np.ascontiguousarray(waves.imag)
    turns, agreements = np.empty(len(products)), np.empty(len(products), np.float32)
    for first in range(0, len(products), _CHUNK):
        some = products[first : first + _CHUNK]
        agreement = some.real @ cos
        agreement -= some.imag @ sin
        best = agreement.argmax(1)
        each = np.arange(len(best))
        before, top, after = agreement[each, best - 1], agreement[each, best], agreement[each, (best + 1) % TURNS]
        beyond = (before - after) / (2 * np.minimum(before + after - 2 * top, -1e-6))
        turns[first : first + _CHUNK] = (best + beyond) * (2 * np.pi / TURNS)
        agreements[first : first + _CHUNK] = top - (before - after) * beyond / 4
    return turns, agreements


def _distinct(matches: JetMatches) -> JetMatches:
    """Without places that look like more than PARTNERS parts of the picture."""
    places = np.concatenate([matches.here, matches.there]).astype(np.int64)
    partners = np.concatenate([matches.there, matches.here]).astype(np.int64) // _CELL
    place = places[:, 1] << 17 | places[:, 0]
    part = partners[:, 1] << 13 | partners[:, 0]
    # One number for both, which sorts in a part of the time of rows of two; no side has more than 17 bits (copy_move.MOST_PIXELS).
    # Sorted here, for np.unique hashes first, and takes many times as long.
    both = np.sort(place << 26 | part)
    known = both[np.flatnonzero(np.diff(both, prepend=-1))] >> 26
    begins = np.flatnonzero(np.diff(known, prepend=-1))
    counts = np.diff(np.append(begins, len(known)))
    many = np.isin(place, known[begins[counts > PARTNERS]])
    return matches[~(many[: len(matches.here)] | many[len(matches.here) :])]
