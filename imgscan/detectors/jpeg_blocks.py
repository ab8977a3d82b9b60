"""The 8x8 blocks of JPEG: their coefficients on the grid and beside it, and how much of them was clipped."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import fft

from imgscan.detectors.inconsistency import Array, Picture, luma

Level = TypeVar("Level", bound=np.generic)
Numbers = npt.NDArray[np.floating]
BLOCK = 8
HALF = BLOCK // 2
STEPS = range(2, 41)  # candidates of a quantisation step
NOISE = 0.4  # standard deviation of a coefficient through the rounding of pixels, grey levels


def coefficients(grey: Array) -> Array:
    """H x W grey levels -> H // 8 x W // 8 x 64 orthonormal DCT coefficients, row by row."""
    rows, columns = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    blocks = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2) - np.float32(128)
    return np.asarray(fft.dctn(blocks, axes=(2, 3), norm="ortho"), np.float32).reshape(rows, columns, 64)


def beside(plane: npt.NDArray[Level]) -> npt.NDArray[Level]:
    """The part of a picture, H x W (x 3), whose blocks start in the middle of the first one: as if never quantised."""
    return plane[HALF:, HALF:]


def around(cells: Numbers, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """What the blocks of the shifted grid say, for the blocks that they overlap: the mean of up to four; 0 where there is none."""
    total, count = np.zeros(shape), np.zeros(shape)
    for top in (0, 1):
        for left in (0, 1):
            rows, columns = min(cells.shape[0], shape[0] - top), min(cells.shape[1], shape[1] - left)
            total[top : top + rows, left : left + columns] += cells[:rows, :columns]
            count[top : top + rows, left : left + columns] += 1
    return np.asarray(total / np.maximum(count, 1))


def clipped(rgb: Picture, margin: int = 0) -> Array:
    """The share of a block's pixels at the ends of their range, weighted as luma weighs the channels.

    Args:
        rgb: H x W x 3 uint8.
        margin: grey levels from 0 and 255 that count as the end.

    Returns:
        H // 8 x W // 8 float32, 0..1.
    """
    ends = luma(((rgb <= margin) | (rgb >= 255 - margin)).astype(np.uint8))
    rows, columns = rgb.shape[0] // BLOCK, rgb.shape[1] // BLOCK
    return np.asarray(ends[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).mean((1, 3)), np.float32)


def mixture_gain(ratios: Numbers, counts: npt.NDArray[np.intp] | None = None) -> float:
    """The log-likelihood of a mixture in which some observations follow a law, over one in which none does; the best share.

    Args:
        ratios: N likelihood ratios.
        counts: how often each was seen; None: once.
    """
    logs = (np.log(share * ratios + 1 - share) for share in (0.5, 0.8, 0.97))
    return max(float(one.sum() if counts is None else (counts * one).sum()) for one in logs)
