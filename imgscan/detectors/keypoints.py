"""Keypoints and their descriptors: SIFT, on numpy and scipy.

Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60(2), 2004.  https://doi.org/10.1023/B:VISI.0000029664.99615.94

As in the paper: three scales an octave from sigma 1.6, extrema of the differences of Gaussians, one step of quadratic refinement
(section 4), no points on straight edges (4.1), the strongest gradient direction within 1.5 sigma (section 5), 4 x 4 histograms of 8
directions (section 6).  What is done differently, because a copied part may be small and smooth:

* a picture of few pixels is doubled first, and the contrast that a point needs is far lower;
* where there are too many points, every part of the picture keeps its best, not the picture as a whole;
* descriptors are compared by the Hellinger kernel (Arandjelovic and Zisserman, "Three things everyone should know to improve object
  retrieval", CVPR 2012): square roots of descriptors that sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.detectors.inconsistency import Array

SCALES = 3
"""Scales an octave (the paper's s)."""
SIGMA = 1.6
"""Blur of the first scale, pixels of its octave."""
CONTRAST = 1.2
"""Least difference of Gaussians at an extremum, grey levels; the paper's 0.03 of the range is 7.7."""
EDGE = 10.0
"""Largest ratio of principal curvatures (the paper's r)."""
COARSE = SIGMA
"""Size in pixels that a point needs to be there still where the picture is half as large: twice that of the finest scale."""
BORDER = 5  # pixels of an octave beside its edge where no extremum counts
BINS = 36  # of the histogram of directions around a point
DIRECTIONS, CELLS, SAMPLES = 8, 4, 12  # of a descriptor: directions of a cell; cells and samples a side
_SHARE = 48  # pixels a side of the parts among which the number of points is divided
_CHUNK = 256  # descriptors computed together, so that their samples stay in the processor's cache


@dataclass(frozen=True)
class Keypoints:
    """N keypoints of a picture."""

    places: Array  # N x 2 float32: x, y; pixels of the picture, the centre of the first pixel is 0, 0
    sizes: Array  # N float32: sigma, pixels of the picture
    angles: Array  # N float32: radians, from x towards y
    descriptors: Array  # N x 128 float32, unit vectors without negative values


@dataclass(frozen=True)
class _Octave:
    """What the points of one octave are described by."""

    step: float  # pixels of the picture a pixel of the octave
    sigma: float  # of its first scale, pixels of the octave
    slopes: Array  # n x 2 x h x w float32: dx, dy of its inner scales


def find_keypoints(grey: Array, most: int, doubled: bool, coarse: int = 0) -> Keypoints:
    """The keypoints of a picture.

    Args:
        grey: H x W float32, 0..255.
        most: about so many points are kept.
        doubled: look at the picture at twice its size, too: four times as many points, for parts of few pixels.
        coarse: about so many more are kept of those of COARSE and above.
    """
    image, step = (_doubled(grey), 0.5) if doubled else (grey, 1.0)
    # A camera's picture is taken to be blurred by half a pixel (section 3.3).
    finer = 0 if doubled else SCALES  # without doubling, the first octave's grid carries an octave of finer scales as well
    image = _blurred(image, SIGMA / 2 ** (finer / SCALES), 0.5 / step)
    octaves: list[_Octave] = []
    rows: list[npt.NDArray[np.float64]] = []
    while min(image.shape) >= 8 * BORDER:
        sigmas = [SIGMA * 2 ** (level / SCALES) for level in range(-finer, SCALES + 3)]
        scales = [image]
        for sigma, already in zip(sigmas[1:], sigmas, strict=False):
            scales.append(_blurred(scales[-1], sigma, already))
        found = _extrema(_between(scales))
        rows.append(np.column_stack([np.full(len(found), len(octaves)), found]))
        octaves.append(_Octave(step, sigmas[0], _slopes(scales[1:-2])))
        image, step = np.ascontiguousarray(scales[finer + SCALES][::2, ::2]), step * 2
        finer = 0
    points = np.concatenate(rows) if rows else np.zeros((0, 5))
    kept = _spread(points, octaves, most)
    if coarse:
        finest = np.array([octave.step * octave.sigma for octave in octaves])[points[:, 0].astype(int)]
        large = finest * 2 ** (points[:, 1] / SCALES) >= COARSE
        large[kept] = False
        more = np.flatnonzero(large)
        kept = np.concatenate([kept, more[_spread(points[more], octaves, coarse)]])
    return _described(points[kept], octaves)


def mirrored(descriptors: Array) -> Array:
    """N x 128 descriptors as they would be in the mirrored picture (about the axis of each point's own direction)."""
    cells = descriptors.reshape(-1, CELLS, CELLS, DIRECTIONS)
    return np.ascontiguousarray(cells[:, ::-1, :, -np.arange(DIRECTIONS) % DIRECTIONS]).reshape(descriptors.shape)


def _doubled(grey: Array) -> Array:
    """Bilinear, pixel i at 2 i."""
    high, wide = grey.shape
    large = np.empty((2 * high - 1, 2 * wide - 1), np.float32)
    large[::2, ::2] = grey
    large[1::2, ::2] = (grey[1:] + grey[:-1]) / 2
    large[:, 1::2] = (large[:, 2::2] + large[:, :-1:2]) / 2
    return large


def _blurred(image: Array, to: float, already: float) -> Array:
    """A Gaussian of standard deviation `to` where `already` was applied."""
    more = (to * to - already * already) ** 0.5
    return np.asarray(ndimage.gaussian_filter(image, more, mode="nearest", truncate=3.0), np.float32)


def _between(scales: list[Array]) -> Array:
    """The differences of n + 1 scales: n x h x w."""
    differences = np.empty((len(scales) - 1, *scales[0].shape), np.float32)
    for blurred, sharp, into in zip(scales[1:], scales, differences, strict=False):
        np.subtract(blurred, sharp, out=into)
    return differences


def _slopes(scales: list[Array]) -> Array:
    """dx and dy of n scales, n x 2 x h x w: central differences, at the edge those of two neighbours."""
    slopes = np.empty((len(scales), 2, *scales[0].shape), np.float32)
    for scale, (across, down) in zip(scales, slopes, strict=True):
        for image, slope in ((scale, down), (scale.T, across.T)):
            np.subtract(image[2:], image[:-2], out=slope[1:-1])
            slope[1:-1] *= 0.5
            slope[0], slope[-1] = image[1] - image[0], image[-1] - image[-2]
    return slopes


def _extrema(differences: Array) -> npt.NDArray[np.float64]:
    """Extrema of the differences of Gaussians of an octave: n x 4, scale, y, x (refined) and contrast."""
    # Four neighbours at once, which leaves few; the others one by one.
    extreme = np.empty((len(differences) - 2, *(side - 2 * BORDER for side in differences.shape[1:])), bool)
    for difference, found in zip(differences[1:-1], extreme, strict=True):
        _four_beside(difference, found)
    level, y, x = np.unravel_index(np.flatnonzero(extreme), extreme.shape)
    values, shape = differences.reshape(-1), differences.shape
    place = np.ravel_multi_index((level + 1, y + BORDER, x + BORDER), shape)
    centre = values[place]
    sign = np.sign(centre)
    height = sign * centre
    for step in sorted(np.ndindex(3, 3, 3), key=lambda s: abs(s[0] - 1)):
        if step == (1, 1, 1):
            continue
        away = ((step[0] - 1) * shape[1] + step[1] - 1) * shape[2] + step[2] - 1
        kept = sign * values[place + away] <= height
        place, height, sign = place[kept], height[kept], sign[kept]
    if not len(place):
        return np.zeros((0, 4))
    level, y, x = np.unravel_index(place, shape)

    def at(dl: int, dy: int, dx: int) -> npt.NDArray[np.float64]:
        return np.asarray(differences[level + dl, y + dy, x + dx], np.float64)

    first = np.stack([at(1, 0, 0) - at(-1, 0, 0), at(0, 1, 0) - at(0, -1, 0), at(0, 0, 1) - at(0, 0, -1)], 1) / 2
    middle = at(0, 0, 0)
    ll, yy, xx = (at(*s) + at(*(-v for v in s)) - 2 * middle for s in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    ly, lx, yx = (
        (at(*a) + at(*(-v for v in a)) - at(*b) - at(*(-v for v in b))) / 4
        for a, b in (((1, 1, 0), (1, -1, 0)), ((1, 0, 1), (1, 0, -1)), ((0, 1, 1), (0, 1, -1)))
    )
    hessian = np.stack([ll, ly, lx, ly, yy, yx, lx, yx, xx], 1).reshape(-1, 3, 3)
    hessian += np.eye(3) * 1e-6
    regular = np.abs(np.linalg.det(hessian)) > 1e-9
    shift = np.zeros_like(first)
    shift[regular] = -np.linalg.solve(hessian[regular], first[regular][..., None])[..., 0]
    shift = np.clip(shift, -0.6, 0.6)
    determinant = yy * xx - yx * yx
    kept = (determinant > 0) & ((yy + xx) ** 2 * EDGE < (EDGE + 1) ** 2 * determinant)
    return np.column_stack([level + shift[:, 0], y + shift[:, 1], x + shift[:, 2], np.abs(middle)])[kept]


def _four_beside(difference: Array, found: npt.NDArray[np.bool_]) -> None:
    """Say where an h x w difference of Gaussians is beyond CONTRAST and none of its four neighbours more so; without BORDER."""
    inner = difference[BORDER:-BORDER, BORDER:-BORDER]
    high, low = inner > CONTRAST, inner < -CONTRAST
    across, down = difference[BORDER:-BORDER, BORDER - 1 : 1 - BORDER], difference[BORDER - 1 : 1 - BORDER, BORDER:-BORDER].T
    for line, more, less in ((across, high, low), (down, high.T, low.T)):
        # Each pair of neighbours is compared once, for both.
        rises, falls = line[:, 1:] >= line[:, :-1], line[:, 1:] <= line[:, :-1]
        more &= rises[:, :-1]
        more &= falls[:, 1:]
        less &= falls[:, :-1]
        less &= rises[:, 1:]
    np.logical_or(high, low, out=found)


def _spread(points: npt.NDArray[np.float64], octaves: list[_Octave], most: int) -> npt.NDArray[np.intp]:
    """At most about `most` of n x 5 points (octave, scale, y, x, contrast), by number: the best of every part of the picture."""
    if len(points) <= most:
        return np.arange(len(points))
    steps = np.array([octave.step for octave in octaves])[points[:, 0].astype(int)]
    cell = (points[:, 2:4] * steps[:, None] // _SHARE).astype(int)
    number = cell[:, 0] * (cell[:, 1].max() + 1) + cell[:, 1]
    order = np.lexsort((-points[:, 4], number))
    begins = np.flatnonzero(np.diff(number[order], prepend=-1))
    counts = np.diff(np.append(begins, len(points)))
    rank = np.arange(len(points)) - np.repeat(begins, counts)
    each = next(n for n in range(int(counts.max()), 0, -1) if np.minimum(counts, n).sum() <= most or n == 1)
    return np.sort(order[rank < each])


def _described(points: npt.NDArray[np.float64], octaves: list[_Octave]) -> Keypoints:
    """Directions and descriptors of n x 5 points; one with two directions counts twice."""
    parts: list[tuple[Array, Array, Array, Array]] = []
    for number, octave in enumerate(octaves):
        here = points[points[:, 0] == number]
        for first in range(0, len(here), _CHUNK):
            chunk = here[first : first + _CHUNK]
            level = np.clip(np.rint(chunk[:, 1]).astype(int), 1, len(octave.slopes)) - 1
            sigma = (octave.sigma * 2 ** (chunk[:, 1] / SCALES)).astype(np.float32)
            y, x = (chunk[:, axis].astype(np.float32) for axis in (2, 3))
            who, angle = _directions(octave.slopes, level, y, x, sigma)
            told = _descriptors(octave.slopes, level[who], y[who], x[who], sigma[who], angle)
            step = np.float32(octave.step)
            parts.append((np.stack([x[who], y[who]], 1) * step, sigma[who] * step, angle, told))
    if not parts:
        return Keypoints(np.zeros((0, 2), np.float32), *(np.zeros(0, np.float32),) * 2, np.zeros((0, 128), np.float32))
    places, sizes, angles, descriptors = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Keypoints(places, sizes, angles, descriptors)


def _sampled(
    slopes: Array, level: npt.NDArray[np.intp], y: npt.NDArray[np.floating], x: npt.NDArray[np.floating]
) -> tuple[Array, Array]:
    """dx and dy at n x m places, nearest pixel; 0 outside."""
    high, wide = slopes.shape[2:]
    row, column = np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)
    inside = (row >= 0) & (row < high) & (column >= 0) & (column < wide)
    flat = np.where(inside, row * wide + column, 0) + level[:, None] * (2 * high * wide)
    values = slopes.reshape(-1)
    return values[flat] * inside, values[flat + high * wide] * inside


def _directions(slopes: Array, level: npt.NDArray[np.intp], y: Array, x: Array, sigma: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """The strongest direction of each of n points, and a second one of 0.8 of its strength: whose it is, and radians."""
    offsets = np.linspace(-3, 3, 13, dtype=np.float32)  # in 1.5 sigma, to three deviations of the weight
    across, down = np.meshgrid(offsets, offsets)
    within = across**2 + down**2 <= 9
    across, down = across[within][None], down[within][None]
    weight = np.exp(-(across**2 + down**2) / 2)
    width = 1.5 * sigma[:, None]
    dx, dy = _sampled(slopes, level, y[:, None] + down * width, x[:, None] + across * width)
    strength = np.hypot(dx, dy) * weight
    turn = np.arctan2(dy, dx) * np.float32(BINS / (2 * np.pi))
    low = np.floor(turn).astype(np.intp)
    part = turn - low
    base = np.arange(len(y))[:, None] * BINS
    size = len(y) * BINS
    histogram = np.bincount((base + low % BINS).ravel(), (strength * (1 - part)).ravel(), size)
    histogram += np.bincount((base + (low + 1) % BINS).ravel(), (strength * part).ravel(), size)
    histogram = histogram.reshape(-1, BINS)
    for _ in range(2):
        histogram = np.asarray((np.roll(histogram, 1, 1) + histogram + np.roll(histogram, -1, 1)) / 3)
    before, after = np.roll(histogram, 1, 1), np.roll(histogram, -1, 1)
    peaks = np.where((histogram > before) & (histogram >= after), histogram, 0)
    highest = peaks.max(1, keepdims=True)
    second = peaks.copy()
    second[np.arange(len(y)), peaks.argmax(1)] = 0
    chosen = (peaks > 0) & ((peaks == highest) | ((second == second.max(1, keepdims=True)) & (second >= 0.8 * highest)))
    who, peak = np.nonzero(chosen)
    a, b, c = before[who, peak], histogram[who, peak], after[who, peak]
    exact = peak + (a - c) / (2 * np.minimum(a + c - 2 * b, -1e-12))
    return who, (exact * (2 * np.pi / BINS)).astype(np.float32)


def _cells() -> Array:
    """How much each of SAMPLES^2 samples counts in each of CELLS^2 cells: bilinear, under a Gaussian of half the window."""
    place = (np.arange(SAMPLES) + 0.5) * CELLS / SAMPLES - 0.5
    share = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(CELLS)))
    both = np.einsum("yi,xj->yxij", share, share)
    centred = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
    weight = np.exp(-(centred[:, None] ** 2 + centred**2) / 2)
    return np.asarray((both * weight[..., None, None]).reshape(SAMPLES**2, CELLS**2), np.float32)


_CELL_WEIGHTS = _cells()


def _descriptors(slopes: Array, level: npt.NDArray[np.intp], y: Array, x: Array, sigma: Array, angle: Array) -> Array:
    """n x 128: 4 x 4 cells of 3 sigma each, turned by the point's direction, with 8 directions each."""
    unit = ((np.arange(SAMPLES, dtype=np.float32) + 0.5) / SAMPLES - 0.5) * (3 * CELLS)  # in sigma
    across, down = (np.float32(plane).reshape(1, -1) for plane in np.meshgrid(unit, unit))
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    width = sigma[:, None]
    rows, columns = y[:, None] + (sin * across + cos * down) * width, x[:, None] + (cos * across - sin * down) * width
    dx, dy = _sampled(slopes, level, rows, columns)
    strength = np.hypot(dx, dy)
    turn = ((np.arctan2(dy, dx) - angle[:, None]) * np.float32(DIRECTIONS / (2 * np.pi))) % DIRECTIONS
    spread = np.empty((DIRECTIONS, len(y), SAMPLES**2), np.float32)
    for direction, near in enumerate(spread):  # strength x max(0, 1 - directions apart), in place
        np.abs(turn - np.float32(direction), out=near)
        if direction == 0:  # on the circle it is the one beyond the last, too
            np.minimum(near, DIRECTIONS - near, out=near)
        np.subtract(1, near, out=near)
        np.maximum(0, near, out=near)
        near *= strength
    told = (spread @ _CELL_WEIGHTS).transpose(1, 2, 0).reshape(len(y), -1)
    told = np.minimum(told, 0.2 * np.linalg.norm(told, axis=1, keepdims=True))
    return np.asarray(np.sqrt(told / np.maximum(told.sum(1, keepdims=True), 1e-12)), np.float32)
