"""CFA1: where the pattern that demosaicing leaves in green is missing, weaker, or out of step.

Ferrara, Bianchi, De Rosa, Piva, "Image Forgery Localization via Fine-Grained Analysis of CFA Artifacts", IEEE TIFS 7(5), 2012.
https://doi.org/10.1109/TIFS.2012.2202227

A Bayer sensor measures green at every second pixel, as on a chess board; the others are interpolated.  An interpolated pixel is
predicted well by its neighbours, a measured one is not.  With e = G - (mean of the four neighbours), and s_A, s_I its
Gaussian-weighted variance over the measured (A) and the interpolated (I) pixels of a neighbourhood, the statistic of a block is

    L = mean over the block of log s_A - mean over the block of log s_I

What is done differently:

* The paper has to be told which of the two chess boards was measured.  L is kept signed instead, for one fixed board (x + y
  even): about 0 where there is no pattern, positive or negative by the board.  A paste from another camera, or from another
  place, may turn the sign, and counts as well as one that has no pattern.
* The paper fits two Gaussians to the L of the picture (one at 0) by EM and answers the probability of the one at 0: it takes for
  granted that the forged part has no pattern and the rest has.  Here the score is the inconsistency (inconsistency.py).
* s is evaluated once for each 2x2 pixels instead of at each, and 1/12 (1 + 1/4), the variance that rounding alone gives e, is
  added to it.  Pixels where nothing but rounding is left do not count, and a block of them has no statistic.

JPEG below a quality of about 95, and any resizing of the whole picture, removes the pattern; the map is then empty of meaning.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from imgscan.detectors.inconsistency import (
    ROUNDING,
    Array,
    Features,
    Picture,
    block_mean,
    check_picture,
    directions,
    enlarged,
    squashed,
    standardised,
)

CELL = 16
"""Side of a block, pixels (the paper: 2 to 8 in pictures that never saw a JPEG; larger ones are steadier)."""
WIDTH = 1.0  # standard deviation of the Gaussian window, in 2x2 cells: seven to nine pixels across, as the paper's 7x7
FLOOR = 0.15  # L of a block varies by about this much where e is white noise
STRONG = 1.0  # |L| of a pattern that nobody would doubt; one unit of the features
_ERROR_ROUNDING = ROUNDING * 1.25  # the pixel's own, and a quarter of that from the mean of four neighbours
_FLAT = 3 * _ERROR_ROUNDING  # a variance of e below this is rounding


def prediction_error(green: Array) -> Array:
    """e = G - mean of the four neighbours: H x W float -> H x W float32; mirrored about the outermost pixels."""
    padded = np.pad(green, 1, mode="reflect" if min(green.shape) > 1 else "edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1]
    around += padded[1:-1, :-2]
    around += padded[1:-1, 2:]
    return np.asarray(green - around / np.float32(4), np.float32)


def statistic(rgb: Picture) -> Array:
    """L of each block for the board x + y even: H x W x 3 uint8 -> H // 16 x W // 16 float32; NaN where the picture is flat."""
    check_picture(rgb)
    rows, columns = rgb.shape[0] // CELL, rgb.shape[1] // CELL
    if not rows or not columns:
        return np.zeros((rows, columns), np.float32)
    error = prediction_error(np.asarray(rgb[: rows * CELL, : columns * CELL, 1], np.float32))
    even = _variance(error[::2, ::2], error[1::2, 1::2])
    odd = _variance(error[::2, 1::2], error[1::2, ::2])
    ratio = np.log((even + np.float32(_ERROR_ROUNDING)) / (odd + np.float32(_ERROR_ROUNDING)))
    ratio[np.maximum(even, odd) < _FLAT] = 0
    counted = block_mean((np.maximum(even, odd) >= _FLAT).astype(np.float32), CELL // 2)
    mean = block_mean(ratio, CELL // 2) / np.maximum(counted, np.float32(0.25))
    return np.where(counted >= 0.25, mean, np.float32(np.nan))


def _variance(first: Array, second: Array) -> Array:
    """Gaussian-weighted local variance of e over one board, given as its two halves: h x w each -> h x w."""
    mean = ndimage.gaussian_filter((first + second) / 2, WIDTH, mode="nearest", truncate=2)
    square = ndimage.gaussian_filter((first * first + second * second) / 2, WIDTH, mode="nearest", truncate=2)
    return np.asarray(np.maximum(square - mean * mean, 0), np.float32)


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: how far a block's L lies from the picture's median."""
    return enlarged(squashed(standardised(statistic(rgb), FLOOR)), CELL, *rgb.shape[:2])


def features(rgb: Picture) -> Features:
    """H x W x 3 uint8 -> 2 x H // 16 x W // 16 unit vectors; cells of 16 pixels.

    L enters on its own scale, not on the picture's: where no pattern survived, all cells point the same way and the networks that
    it is fused with decide alone.
    """
    return directions([standardised(statistic(rgb), STRONG, spread=STRONG)], CELL)
