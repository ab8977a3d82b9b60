"""From a local statistic to a map of inconsistency: what all weight-free detectors share.

A detector measures one number a cell of the picture: a noise level, the strength of a CFA pattern.  Large or small says nothing by
itself; what speaks is a part that differs from the rest of ITS OWN picture.  With m the median of the statistic s over the cells
and d = 1.4826 median |s - m| (the median absolute deviation, on the scale of a Gaussian's standard deviation):

    z     = (s - m) / max(d, floor)
    score = z^2 / (z^2 + K^2)

so a cell at the median scores 0 and one that lies K = 3 deviations off, to either side, 1/2.  `floor` is what s differs by from
cell to cell through sampling alone: without it a picture whose cells agree almost perfectly would be full of "inconsistencies".
A statistic that could not be measured in a cell is NaN there, and the cell scores 0: no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
Features = tuple[Array, tuple[float, float]]
"""D x h x w float32, unit vectors along D; and the pixels a cell, down and across."""

K = 3.0
"""Deviations from the median at which the score is 1/2."""
GAUSSIAN = 1.4826  # standard deviation of a Gaussian over its median absolute deviation
ROUNDING = 1 / 12
"""Variance of rounding to whole grey levels; noise well below it cannot be told from none."""
_DARK, _BRIGHT = 8.0, 247.0  # grey levels; a cell beyond them is clipped, and clipping removes noise


def check_picture(rgb: Picture) -> None:
    """Raise ValueError unless `rgb` is H x W x 3 uint8 with at least one pixel."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise ValueError(f"picture is {rgb.shape} {rgb.dtype}; wanted H x W x 3 uint8")


def luma(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..255: the Y of JPEG (ITU-R BT.601)."""
    check_picture(rgb)
    grey: Array = rgb[..., 0] * np.float32(0.299)
    grey += rgb[..., 1] * np.float32(0.587)
    grey += rgb[..., 2] * np.float32(0.114)
    return grey


def block_mean(plane: Array, block: int) -> Array:
    """Mean of each block x block square: H x W -> H // block x W // block; pixels beyond the last whole square do not count."""
    rows, columns = plane.shape[0] // block, plane.shape[1] // block
    if not rows or not columns:
        return np.zeros((rows, columns), np.float32)
    whole = np.ascontiguousarray(plane[: rows * block, : columns * block])
    across = np.add.reduceat(whole, np.arange(0, columns * block, block), axis=1)
    return np.asarray(across.reshape(rows, block, columns).sum(1) / block**2, np.float32)


def where_exposed(statistic: Array, grey: Array, block: int) -> Array:
    """The statistic, NaN in the cells whose mean luma says that they are clipped to black or white."""
    level = block_mean(grey, block)
    return np.where((level >= _DARK) & (level <= _BRIGHT), statistic, np.float32(np.nan))


def log_noise(variance: Array) -> Array:
    """Noise variance (grey levels squared) -> log of the standard deviation with the rounding added: log sqrt(v + 1/12).

    Noise differs by factors, not by differences (gain, gamma, denoising), hence the logarithm.
    """
    return np.asarray(np.log(np.maximum(variance, 0) + ROUNDING) / 2, np.float32)


def standardised(statistic: Array, floor: float, centre: float | None = None, spread: float | None = None) -> Array:
    """z of the module's text, signed: h x w -> h x w float32; 0 where the statistic is NaN.

    Args:
        statistic: h x w float; NaN where it could not be measured.
        floor: least deviation to divide by, > 0.
        centre: the picture's dominant value; None: the median.
        spread: the deviation around it; None: the scaled median absolute deviation.
    """
    known = np.isfinite(statistic)
    if not known.any():
        return np.zeros(statistic.shape, np.float32)
    values = statistic[known]
    middle = float(np.median(values)) if centre is None else centre
    around = GAUSSIAN * float(np.median(np.abs(values - middle))) if spread is None else spread
    return np.where(known, (np.where(known, statistic, middle) - middle) / max(around, floor), 0).astype(np.float32)


def squashed(z: Array) -> Array:
    """z^2 / (z^2 + K^2), 0..1."""
    square = z * z
    return np.asarray(square / (square + np.float32(K * K)), np.float32)


def directions(deviations: Sequence[Array], cell: float) -> Features:
    """Signed deviations as unit vectors that a clustering by cosine, or a fusion with a network, can use.

    The vector of a cell is (1, z_1 / K, ..., z_n / K) scaled to length 1.  The constant keeps the size of the z in the direction:
    cells at the median all point to (1, 0, ..., 0), and one at K deviations stands at 45 degrees to them.

    Args:
        deviations: n maps, h x w; a picture smaller than one cell (h or w 0) gives one cell at the median.
        cell: pixels a cell, down and across.
    """
    shape = deviations[0].shape
    maps = list(deviations) if min(shape) else [np.zeros((1, 1), np.float32)] * len(deviations)
    stacked = np.stack([np.ones_like(maps[0]), *(z / np.float32(K) for z in maps)])
    return np.asarray(stacked / np.linalg.norm(stacked, axis=0), np.float32), (cell, cell)


def enlarged(cells: Array, cell: float, height: int, width: int) -> Array:
    """A map of cells, h x w, as one of pixels, height x width: bilinear between the cells' centres, constant beyond the last.

    A picture smaller than one cell (h or w 0) gives zeros: nothing in it can differ from the rest.
    """
    if not min(cells.shape):
        return np.zeros((height, width), np.float32)
    top, bottom, down = _neighbours(cells.shape[0], cell, height)
    left, right, across = _neighbours(cells.shape[1], cell, width)
    wide = cells[:, left] + (cells[:, right] - cells[:, left]) * across
    return np.asarray(wide[top] + (wide[bottom] - wide[top]) * down[:, None], np.float32)


def _neighbours(count: int, cell: float, length: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]:
    """For each of `length` pixels: the cells before and after its centre, and how far it is on the way to the second."""
    place = np.clip((np.arange(length) + 0.5) / cell - 0.5, 0, count - 1)
    before = np.floor(place).astype(np.intp)
    return before, np.minimum(before + 1, count - 1), (place - before).astype(np.float32)
