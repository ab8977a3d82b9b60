"""The 8x8 blocks of JPEG: where their grid lies, their coefficients on it and beside it, how much of them was clipped."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import fft

from imgscan.detectors.inconsistency import GAUSSIAN, Array, Picture, block_mean, luma

Level = TypeVar("Level", bound=np.generic)
Numbers = npt.NDArray[np.floating]
BLOCK = 8
HALF = BLOCK // 2
ROWS = 8  # of blocks that are computed at once: they stay in the processor's cache, and of megapixels no copy is made
STEPS = range(2, 41)  # candidates of a quantisation step
NOISE = 0.4  # standard deviation of a coefficient through the rounding of pixels, grey levels
PLACES = 400  # in a picture, at which its grid is sought
ZERO = 0.6  # grey levels, a coefficient that was 0 before its pixels were rounded
STANDS_OUT = 8.0  # deviations from the median of all grids; grids of JPEGs have 12 and more, the largest of others mostly 1 to 3
LEAST_DEVIATION = 1e-3  # of the share of zeros
SEED = 0
_HIGH = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)) >= 3  # frequencies; the lowest are hardly ever 0


def coefficients(grey: Array) -> Array:
    """H x W grey levels -> H // 8 x W // 8 x 64 orthonormal DCT coefficients, row by row."""
    rows, columns = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    found = np.empty((rows, columns, BLOCK, BLOCK), np.float32)
    for first in range(0, rows, ROWS):
        into = found[first : first + ROWS]
        strip = grey[first * BLOCK : (first + len(into)) * BLOCK, : columns * BLOCK]
        blocks = strip.reshape(len(into), BLOCK, columns, BLOCK).swapaxes(1, 2) - np.float32(128)
        into[:] = fft.dctn(blocks, axes=(2, 3), norm="ortho", overwrite_x=True)
    return found.reshape(rows, columns, 64)


def beside(plane: npt.NDArray[Level]) -> npt.NDArray[Level]:
    """The part of a picture, H x W (x 3), whose blocks start in the middle of the first one: as if never quantised."""
    return plane[HALF:, HALF:]


def grid_corner(grey: Array) -> tuple[int, int] | None:
    """Where the first whole block of a picture lies that was once saved as JPEG, however it was cropped since.

    On the grid of its blocks far more coefficients are 0 than on the 63 other grids.

    Returns:
        Row and column, 0..7; None: no grid stands out, as in a picture that was never saved or was scaled since.
    """
    rows, columns = (length // BLOCK - 1 for length in grey.shape)
    if min(rows, columns) < 1:
        return None
    rng = np.random.default_rng(SEED)
    tops, lefts = (rng.integers(0, count, PLACES) * BLOCK for count in (rows, columns))
    windows = np.lib.stride_tricks.sliding_window_view(grey, (BLOCK, BLOCK))
    zeros = np.empty((BLOCK, BLOCK))
    for row in range(BLOCK):
        for column in range(BLOCK):
            values = fft.dctn(windows[tops + row, lefts + column], axes=(1, 2), norm="ortho")
            zeros[row, column] = (np.abs(values[:, _HIGH]) < ZERO).mean()
    usual = np.median(zeros)
    deviation = GAUSSIAN * np.median(np.abs(zeros - usual)) + LEAST_DEVIATION
    if zeros.max() - usual < STANDS_OUT * deviation:
        return None
    return divmod(int(zeros.argmax()), BLOCK)


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
    """The share of a block's pixels at the ends of the range, weighted as luma weighs the channels.

    The ends are the least and the greatest value of a channel in the picture: where one was brightened, what was clipped at 0 is
    no longer there.

    Args:
        rgb: H x W x 3 uint8.
        margin: grey levels from the ends that count as well.

    Returns:
        H // 8 x W // 8 float32, 0..1.
    """
    # Row by row, in bytes: over rows and columns at once, or beside 64 bits, numpy takes ten times as long.
    least, most = rgb.min(0).min(0).astype(int) + margin, rgb.max(0).max(0).astype(int) - margin
    low, high = (np.tile(end.clip(0, 255).astype(np.uint8), (rgb.shape[1], 1)) for end in (least, most))
    strips = (rgb[first : first + ROWS * BLOCK] for first in range(0, len(rgb), ROWS * BLOCK))
    return np.concatenate([block_mean(luma(((one <= low) | (one >= high)).view(np.uint8)), BLOCK) for one in strips])


def mixture_gains(ratios: Numbers, counts: npt.NDArray[np.intp] | None = None) -> npt.NDArray[np.float64]:
    """The log-likelihood of a mixture in which some observations follow a law, over one in which none does; the best share.

    Args:
        ratios: L x N likelihood ratios, of L laws.
        counts: N, how often each was seen; None: once.

    Returns:
        L, nats.
    """
    logs = (np.log(share * ratios + 1 - share) for share in (0.5, 0.8, 0.97))
    return np.asarray(np.max([(one if counts is None else counts * one).sum(1) for one in logs], axis=0))
