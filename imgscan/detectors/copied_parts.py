"""Two parts of a picture that a map takes to each other: where they lie, how well they agree, the map that makes them agree best.

What copy_move.py and small_copies.py share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from imgscan.detectors.inconsistency import Array
from imgscan.detectors.keypoint_matches import LEAST, Affine, Floats

OVERLAP = 0.1  # share of a part that its copy may cover: nothing can be pasted over what it was copied from
WINDOW, REACH = 2.0, 5  # pixels: standard deviation of the Gaussian windows, and how far they reach
SLIGHT, SLIGHT_GAIN = 1.5, 0.03  # grey levels between means, and logarithm of a gain, that saving explains
MOST_GAIN = 2.0  # between two parts, up or down
CLEARER = 0.8  # of the differences without a tone: what it may leave of them
ROUNDING = 1.0  # grey levels squared
FEWEST = 30  # pixels that tell a tone

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tone:
    """How one part is lit otherwise than another: one = gain * other + offset, in luma and the two planes of chroma."""

    gain: float = 1.0
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, others: Array) -> Array:
        """3 x ... of the other part, as if lit like the one."""
        shift = np.asarray(self.offsets, np.float32).reshape(-1, *[1] * (others.ndim - 1))
        return np.asarray(np.float32(self.gain) * others + shift)


PLAIN = Tone()


@dataclass(frozen=True)
class Copy:
    """A part of the picture that is there twice."""

    box: tuple[slice, slice]  # rows and columns around the part
    inside: Bools  # of the box
    to: Affine  # where the other is
    evidence: float
    tone: Tone = PLAIN  # of the part beside the other


def tone_between(one: Array, other: Array) -> Tone:
    """The tone of pixels beside those they correspond to, 3 x N each.

    The gain is the ratio of the standard deviations of luma: neither noise that both have changes it, nor a map that is off by a
    pixel, which would both lessen the slope of a regression.
    """
    if one.shape[1] < FEWEST:
        return PLAIN
    gain = float(np.clip(one[0].std() / max(float(other[0].std()), 1e-3), 1 / MOST_GAIN, MOST_GAIN))
    luma, blue, red = (float(mean) for mean in one.mean(1) - gain * other.mean(1))
    return Tone(gain, (luma, blue, red))


def clear_tone(one: Array, other: Array) -> Tone:
    """The tone where it explains most of what pixels and those they correspond to, 3 x N each, differ by; else PLAIN."""
    tone = tone_between(one, other)
    if abs(math.log(tone.gain)) < SLIGHT_GAIN and np.abs(one.mean(1) - other.mean(1)).max() < SLIGHT:
        return PLAIN
    left, before = (float(np.median(np.abs(one[0] - seen[0]))) for seen in (tone(other), other))
    return tone if left < CLEARER * before else PLAIN


def patterns(copies: Sequence[Copy], shape: tuple[int, ...]) -> list[bool]:
    """Which cannot have been copied: a part that overlaps its own copy repeats by itself, and so does what lies within it."""
    repeating = np.zeros(shape, bool)
    overlapping = []
    for copy in copies:
        box, inside = counterpart(copy, shape)
        taken = np.zeros(shape, bool)
        taken[box] = inside
        overlapping.append(bool(taken[copy.box][copy.inside].sum() > OVERLAP * copy.inside.sum()))
        if overlapping[-1]:
            repeating |= taken
            repeating[copy.box] |= copy.inside
    return [
        overlaps or bool(repeating[copy.box][copy.inside].sum() > copy.inside.sum() / 2)
        for copy, overlaps in zip(copies, overlapping, strict=True)
    ]


def counterpart(copy: Copy, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], Bools]:
    """Where a part is for the second time, in a picture of H x W: the box around that, and which pixels of the box it takes."""
    rows, columns = np.nonzero(copy.inside)
    places = np.stack([columns + copy.box[1].start, rows + copy.box[0].start], 1).astype(np.float64)
    box = around(copy.to(places), 2, shape)
    back = np.linalg.inv(copy.to.matrix).astype(np.float64)
    y, x = mapped(box, Affine(back, -back @ copy.to.shift))
    row, column = np.rint(y).astype(np.intp) - copy.box[0].start, np.rint(x).astype(np.intp) - copy.box[1].start
    within = (row >= 0) & (column >= 0) & (row < copy.inside.shape[0]) & (column < copy.inside.shape[1])
    inside = np.zeros(within.shape, bool)
    inside[within] = copy.inside[row[within], column[within]]
    return box, inside


def around(places: Floats, margin: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns around N x 2 places, no farther than the picture."""
    (left, top), (right, bottom) = places.min(0) - margin, places.max(0) + margin
    high, wide = shape
    return (
        slice(max(0, int(top)), max(1, min(high, int(bottom) + 1))),
        slice(max(0, int(left)), max(1, min(wide, int(right) + 1))),
    )


def box_of(part: Bools, margin: int) -> tuple[slice, slice]:
    """Rows and columns within `margin` of the pixels of a part, which has some; they may end beyond the array."""
    (top, bottom), (left, right) = (np.flatnonzero(part.any(axis))[[0, -1]].tolist() for axis in (1, 0))
    return slice(max(0, top - margin), bottom + 1 + margin), slice(max(0, left - margin), right + 1 + margin)


def box_within(box: tuple[slice, slice], cut: tuple[slice, slice]) -> tuple[slice, slice]:
    """Rows and columns of the picture for rows and columns of a box in it."""
    rows, columns = (slice(of.start + side.start, min(of.start + side.stop, of.stop)) for of, side in zip(box, cut, strict=True))
    return rows, columns


def hull_of(places: Floats, shape: tuple[int, ...], margin: float) -> Bools | None:
    """The pixels within `margin` of the convex hull of N x 2 places; None: fewer than LEAST, or all on a line."""
    if len(places) < LEAST:
        return None
    try:
        lines = ConvexHull(places).equations
    except QhullError:
        return None
    box = _reached(lines, shape, margin)
    rows, columns = np.ogrid[box]
    inside = np.zeros(shape, bool)
    inside[box] = True
    for across, down, offset in lines:
        inside[box] &= across * columns + down * rows + offset <= margin
    return inside


def _reached(lines: Floats, shape: tuple[int, ...], margin: float) -> tuple[slice, slice]:
    """Rows and columns of a picture, beyond which nothing lies within `margin` of all of E x 3 lines (across, down, offset)."""
    high, wide = shape
    across, down, offset = lines.T[:, :, None]
    bound = margin + 1 - offset - down * np.arange(high)  # of across * column, in each row; 1: for the rounding of all this
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = bound / across
    first = np.where(across < 0, ends, 0).max(0).clip(0)
    last = np.where(across > 0, ends, np.where((across < 0) | (bound >= 0), wide - 1, -1)).min(0)
    rows = np.flatnonzero(first <= last)
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(first[rows].min()), int(last[rows].max()) + 1)


def disk(radius: int) -> Bools:
    """The pixels of a square within `radius` of its middle."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(np.hypot(rows, columns) <= radius + 0.3)


def dilated(part: Bools, radius: int) -> Bools:
    """The pixels of a part and those within disk(radius) of them.

    The disk's rows are runs of pixels, and a longer run is a shorter one and a pixel more on either side: a tenth of the time of
    scipy's binary_dilation, which looks at every pixel of the disk.
    """
    run, whole = part.copy(), part.copy()
    reach = 0
    half = disk(radius).sum(1) // 2
    for width in np.unique(half):
        while reach < width:
            reach += 1
            run[:, reach:] |= part[:, :-reach]
            run[:, :-reach] |= part[:, reach:]
        for down in np.flatnonzero(half == width) - radius:
            whole[max(0, down) : max(0, len(part) + down)] |= run[max(0, -down) : max(0, len(part) - down)]
    return whole


def eroded(part: Bools, radius: int) -> Bools:
    """The pixels of a part whose whole disk(radius) it has; what is outside the array is no part of it."""
    return ~dilated(np.pad(~part, radius, constant_values=True), radius)[radius:-radius, radius:-radius]


def mapped(box: tuple[slice, slice], to: Affine) -> tuple[Floats, Floats]:
    """Rows and columns that the pixels of a box are mapped to."""
    rows, columns = np.mgrid[box]
    moved = to(np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float64))
    return moved[:, 1].reshape(rows.shape), moved[:, 0].reshape(rows.shape)


def fetched(planes: Array, rows: Floats, columns: Floats) -> Array:
    """C x H x W at h x w places between its pixels, C x h x w; at its edge beyond it.

    By torch, a tenth of the time of scipy's map_coordinates, which computes in double precision.
    """
    import torch  # not for --help, which names the detectors
    from torch.nn.functional import grid_sample

    high, wide = planes.shape[1:]
    places = np.stack([columns * (2 / (wide - 1)) - 1, rows * (2 / (high - 1)) - 1], -1).astype(np.float32)
    seen = grid_sample(torch.from_numpy(planes)[None], torch.from_numpy(places)[None], padding_mode="border", align_corners=True)
    return np.asarray(seen[0])


def seen_through(planes: Array, box: tuple[slice, slice], to: Affine) -> tuple[Array, Bools]:
    """3 x H x W at the places that the pixels of a box are mapped to, and which of these lie within the picture."""
    rows, columns = mapped(box, to)
    high, wide = planes.shape[1:]
    within = (rows >= 0) & (columns >= 0) & (rows <= high - 1) & (columns <= wide - 1)
    return fetched(planes, rows, columns), within


def ground_of(grey: Array) -> Array:
    """3 x H x W, what refined() wants: luma, smoothed, and its slopes across and down."""
    calm = np.asarray(ndimage.gaussian_filter(grey, 1.0, truncate=3.0), np.float32)
    down, across = np.gradient(calm)
    return np.stack([calm, across, down])


def smooth(plane: Array) -> Array:
    """Means of a plane in the windows."""
    return np.asarray(ndimage.gaussian_filter(plane, WINDOW, mode="nearest", radius=REACH))


def refined(ground: Array, box: tuple[slice, slice], part: Bools, to: Affine, tone: Tone = PLAIN) -> Affine:
    """The map that leaves the least difference over the pixels of a part: Gauss-Newton on its six numbers, robustly weighted.

    Args:
        ground: of ground_of.
        box, part: rows and columns, and which of their pixels count.
        to: where to begin.
        tone: of the part beside where it is mapped to.
    """
    rows, columns = np.nonzero(part)
    if len(rows) < 100:
        return to
    step = -(-len(rows) // 4000)
    places = np.stack([columns[::step] + box[1].start, rows[::step] + box[0].start], 1).astype(np.float64)
    middle, size = places.mean(0), float(np.ptp(places, axis=0).max())
    u, v = ((places - middle) / size).T
    here = ground[0][places[:, 1].astype(np.intp), places[:, 0].astype(np.intp)]
    for _ in range(4):
        x, y = to(places).T
        there, across, down = np.float32(tone.gain) * fetched(ground, y[None], x[None])[:, 0]
        difference = here - there - np.float32(tone.offsets[0])
        weight = 1 / (1 + (difference / 6) ** 2)
        slopes = np.stack([across * u, across * v, across, down * u, down * v, down], 1)
        normal = (slopes * weight[:, None]).T @ slopes
        normal += np.eye(6) * (1e-3 * np.trace(normal) / 6 + 1e-9)
        change = np.clip(np.linalg.solve(normal, (slopes * weight[:, None]).T @ difference), -2, 2)
        turned = change[[0, 1, 3, 4]].reshape(2, 2) / size
        to = Affine(to.matrix + turned, to.shift + change[[2, 5]] - turned @ middle)
        if np.abs(change).max() < 0.02:
            break
    return to


def unevenness(difference: Array, part: Bools) -> float:
    """median of m^2 / median of s over a part; m and s: means of its difference to the copy and of the square in a window.

    Where the two differ by less than a grey level, rounding and a tone that is nearly right are most of it: s is ROUNDING at least.
    """
    if not part.any():
        return math.inf
    mean, power = smooth(difference)[part], smooth(difference * difference)[part]
    return float(np.median(mean * mean) / max(float(np.median(power)), ROUNDING))
