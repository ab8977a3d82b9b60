"""Compare: whether two pictures are one photograph, and where it differs between them.

Fingerprints say what may be alike; this looks.  The second picture is laid over the first: an affine map (Lucas and Kanade, IJCAI
1981; coarse to fine, with gain and offset of the luma, and weights that what differs has little say in) undoes crops, scales and
small turns, a curve of the luma, the median of one picture's levels at each of the other's, undoes tones.  What is left is looked
at cell by cell.  With the mean absolute difference d and the mean gradient g of a cell, in grey levels,

    r = min over both directions of the curve of   d / (EVEN + EDGES g + TONES t)

is what saving, scaling and an error of a third of a pixel explain where it is below 1; t is what the curve moves the levels of the
cell by, for strong toning is no function of the luma alone.  Two directions, for where one picture is clipped the other one's tones
cannot be had from it.  One photograph: at most UNLIKE of the cells with texture have r > 1, t left out, for between pictures that
have nothing in common it is large.  A part differs: cells that touch each other and have r > DIFFERENT, together at least PROOF
above 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

SIDE = 256  # pixels of the longer side at which pictures are compared, at most
LEVELS = (32, 64, 128)  # longer sides at which one is laid over the other, in turn
STEPS = 8  # at most, at each of them
STILL = 0.02  # pixels: a step that moves nothing by more is the last
CELL = 8  # pixels
EVEN, EDGES, TONES = 4.0, 0.35, 0.2  # grey levels; of the gradient, in levels a pixel; of what the curve adds
SMOOTH = 0.7  # pixels, sigma: without it fine patterns differ after scaling
TEXTURE = 6.0  # grey levels: the standard deviation of a cell that tells something
FEWEST = 12  # such cells, in both
UNLIKE = 0.4  # share of them
DIFFERENT, PROOF = 1.5, 2.0
OVERLAP = 0.5  # of the first picture, that the second has to cover
BINS, SOME = 24, 4  # of the curve, and which pixels it is read from: every so many
MOST_BOXES = 8

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Compared:
    """Two pictures of one photograph."""

    differs: npt.NDArray[np.bool_]  # rows x columns of cells over the first picture, edge to edge: where they are not the same


def luma(rgb: npt.NDArray[np.uint8]) -> Grey:
    """H x W x 3 -> luma, 0..255, at most SIDE pixels a side."""
    grey = Image.fromarray(np.ascontiguousarray(rgb)).convert("L")
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.float32)


def compare(one: Grey, other: Grey) -> Compared | None:
    """What differs between two pictures; None: they are not of one photograph.

    Args:
        one, other: luma, H x W, 0..255, each of its own size; the second turned as the first is.
    """
    scale = min(1.0, min(SIDE, max(one.shape), max(other.shape)) / max(one.shape))
    height, width = (max(CELL, round(side * scale / CELL) * CELL) for side in one.shape)
    first, second = _resized(one, height, width), _resized(other, height, width)
    place = _laid_over(first, second)
    if place is None:
        return None
    second = _taken(second, place)
    covered = np.isfinite(second)
    if covered.mean() < OVERLAP:
        return None
    first, second = (ndimage.gaussian_filter(np.where(covered, one, 0), SMOOTH) for one in (first, second))
    plain, toned, texture = np.minimum(_unlike(first, second, covered), _unlike(second, first, covered))
    whole = _cells(covered) == 1
    told = whole & (texture > TEXTURE)
    if told.sum() < FEWEST or (plain[told] > 1).mean() > UNLIKE:
        return None
    return Compared(_proven(np.where(whole, toned, 0)))


def boxes(differs: npt.NDArray[np.bool_]) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of where they differ, in shares of the sides, the largest first, at most MOST_BOXES."""
    rows, columns = differs.shape
    numbered, _ = ndimage.label(differs, np.ones((3, 3)))
    found = [(b.start / columns, a.start / rows, b.stop / columns, a.stop / rows) for a, b in ndimage.find_objects(numbered)]
    return sorted(found, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))[:MOST_BOXES]


def _resized(grey: Grey, height: int, width: int) -> Grey:
    way = Image.Resampling.BOX if height <= grey.shape[0] and width <= grey.shape[1] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(grey).resize((width, height), way), np.float32)


def _laid_over(one: Grey, other: Grey) -> npt.NDArray[np.float64] | None:
    """3 x 3: from places in one picture to those in the other, of equal size, as rows and columns in shares of the sides from the
    middle; None: they do not fit."""
    place = np.eye(3)
    for side in LEVELS:
        scale = min(1.0, side / max(one.shape))
        height, width = (max(CELL, round(length * scale)) for length in one.shape)
        small, moved = _resized(one, height, width), _resized(other, height, width)
        for _ in range(STEPS):
            step = _step(small, _taken(moved, place))
            if step is None:
                return None
            place = place @ step
            if np.abs(step - np.eye(3)).max() * side < STILL:
                break
    return place


def _step(one: Grey, other: Grey) -> npt.NDArray[np.float64] | None:
    """One step of Gauss and Newton towards the map that lays the other picture, NaN where it does not reach, over the first."""
    height, width = one.shape
    within = np.isfinite(other)
    down, across = np.gradient(np.where(within, other, 0))
    within = ndimage.binary_erosion(within, np.ones((3, 3)))
    if within.mean() < OVERLAP:
        return None
    rows, columns = np.meshgrid(_middles(height), _middles(width), indexing="ij")
    down, across = down * height, across * width  # a unit is the whole side
    slopes = np.stack([down * rows, down * columns, down, across * rows, across * columns, across], -1)[within].astype(np.float64)
    levels, wanted = other[within].astype(np.float64), one[within].astype(np.float64)
    tones = np.stack([levels, np.ones_like(levels)], -1)
    weights = np.ones_like(levels)
    for _ in range(2):
        gain, offset = _solved(tones, wanted, weights)
        error = wanted - gain * levels - offset
        weights = 1 / (1 + (error / (1.5 * np.median(np.abs(error)) + 1)) ** 2)
    change = _solved(np.concatenate([gain * slopes, tones], -1), error, weights)[:6]
    return np.eye(3) + np.vstack([change.reshape(2, 3), np.zeros(3)])


def _solved(
    terms: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weighted least squares; a little is added to the diagonal, for a plain picture says nothing."""
    weighted = terms * weights[:, None]
    return np.asarray(np.linalg.solve(weighted.T @ terms + 1e-6 * np.eye(terms.shape[1]), weighted.T @ wanted), np.float64)


def _middles(length: int) -> npt.NDArray[np.float64]:
    """Where the pixels of a side lie, as shares of it from its middle."""
    return (np.arange(length) + 0.5) / length - 0.5


def _taken(picture: Grey, place: npt.NDArray[np.float64]) -> Grey:
    """A picture as the map lays it over another one of its size, NaN where it does not reach."""
    sides = np.array(picture.shape)
    turn = place[:2, :2] * sides[:, None] / sides[None]
    middle = sides / 2 - 0.5
    shift = place[:2, 2] * sides + middle - turn @ middle
    taken: Grey = ndimage.affine_transform(picture, turn, shift, order=1, cval=np.nan)
    return taken


def _unlike(one: Grey, other: Grey, covered: npt.NDArray[np.bool_]) -> Grey:
    """3 x rows x columns: r without t, r, and the texture of every cell, the other's tones brought to the first picture's."""
    toned = np.zeros_like(one)
    line, curve = _tones(other[covered][::SOME], one[covered][::SOME])
    toned[covered] = np.polyval(line, other[covered]) + np.interp(other[covered], *curve)
    edges = np.maximum(_cells(_gradient(one)), _cells(_gradient(toned)))
    differ, moved = _cells(np.abs(one - toned)), _cells(np.abs(other - toned))
    texture = np.maximum(_cells_std(one), _cells_std(toned))  # of pictures that have nothing in common the curve leaves none
    plain = EVEN + EDGES * edges
    return np.stack([differ / plain, differ / (plain + TONES * moved), texture])


def _tones(levels: Grey, wanted: Grey) -> tuple[npt.NDArray[np.float64], tuple[list[float], list[float]]]:
    """The curve that brings levels nearest to what is wanted: a line, and the median of what it misses around some levels."""
    plain = np.ptp(levels) <= 1
    line = np.array([0.0, np.median(wanted)]) if plain else np.asarray(np.polyfit(levels, wanted, 1), np.float64)
    missed = wanted - np.polyval(line, levels)
    edges = np.unique(np.quantile(levels, np.linspace(0, 1, BINS + 1)))
    bins = [(levels >= low) & (levels <= high) for low, high in pairwise(edges)] or [np.ones(len(levels), bool)]
    return line, ([float(np.median(levels[one])) for one in bins], [float(np.median(missed[one])) for one in bins])


def _gradient(picture: Grey) -> Grey:
    return np.hypot(*np.gradient(picture))  # type: ignore[no-any-return]


def _by_cell(picture: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    rows, columns = (side // CELL for side in picture.shape)
    return picture.reshape(rows, CELL, columns, CELL).astype(np.float32)


def _cells(picture: npt.NDArray[np.generic]) -> Grey:
    """The mean of every cell."""
    return np.asarray(_by_cell(picture).mean((1, 3)), np.float32)


def _cells_std(picture: Grey) -> Grey:
    """The standard deviation of every cell."""
    return np.asarray(_by_cell(picture).std((1, 3)), np.float32)


def _proven(ratio: Grey) -> npt.NDArray[np.bool_]:
    """Cells that touch each other and together differ by more than chance makes them."""
    numbered, count = ndimage.label(ratio > DIFFERENT, np.ones((3, 3)))
    above = ndimage.sum_labels(ratio - 1, numbered, np.arange(count + 1))
    above[0] = 0
    return np.isin(numbered, np.flatnonzero(above >= PROOF))
