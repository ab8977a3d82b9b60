"""NOI2: the local noise level from the kurtosis of band-pass filtered pictures.

Lyu, Pan, Zhang, "Exposing Region Splicing Forgeries with Blind Local Noise Estimation", IJCV 110(2), 2014.
https://doi.org/10.1007/s11263-013-0688-y

The kurtosis of natural pictures is about the same in all band-pass domains (kurtosis concentration); Gaussian noise lowers it by
its share of the band's variance.  With kappa_k and v_k the excess kurtosis and the variance of the noisy picture in band k, kappa that of
the clean picture and sigma^2 the variance of the noise,

    sqrt(kappa_k) = sqrt(kappa) (1 - sigma^2 / v_k)

a straight line in 1 / v_k.  Its least squares fit over the bands has the closed form (Eq. 12; < > is the mean over k)

    sqrt(kappa) = (<sqrt(kappa_k)> <1/v_k^2> - <sqrt(kappa_k)/v_k> <1/v_k>) / (<1/v_k^2> - <1/v_k>^2)
    sigma^2     = 1/<1/v_k> - <sqrt(kappa_k)> / (sqrt(kappa) <1/v_k>)

and the moments of all windows come from sums over rectangles.

What is done differently: the bands are the 15 AC functions of the 4x4 DCT at every second pixel (the paper: 63 of the 8x8 DCT at each), and the
windows are 48 pixels wide, one every 16 pixels, so a sum over a window is one over 3x3 cells.  sigma^2 is kept between 0 and the smallest
v_k: noise cannot be more than all there is.  Where the fit says nothing (no kurtosis to lose, or equal bands: pure noise), it is the
smallest v_k.  Score and features are the inconsistency of log sigma (inconsistency.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage

from imgscan.detectors.inconsistency import Array, Features, Picture, directions, enlarged, log_noise, luma, squashed, standardised
from imgscan.detectors.inconsistency import where_exposed as exposed

SIDE = 4
"""Side of the DCT."""
STEP = 2  # pixels from one DCT to the next
CELL = 16
"""Pixels from one window to the next."""
WINDOW = 3
"""Side of a window, in cells."""
FLOOR = 0.1  # log sigma varies by about this much from window to window of pure noise

Double = npt.NDArray[np.float64]


def _bands() -> Array:
    """15 x 16: the AC functions of the orthonormal 4x4 DCT-II, pixels in row-major order."""
    rows = fft.dct(np.eye(SIDE), norm="ortho", axis=0)
    return np.einsum("ux,vy->uvxy", rows, rows).reshape(SIDE**2, SIDE**2)[1:].astype(np.float32)


def moments(plane: Array) -> Double:
    """The mean of c, c^2, c^3, c^4 over the windows, c the coefficients of a band: H x W -> 4 x 15 x H // 16 x W // 16 float64."""
    rows, columns = plane.shape[0] // CELL, plane.shape[1] // CELL
    bands = _bands()
    sums = np.zeros((4, len(bands), rows, columns))
    if not sums.size:
        return sums
    reach = SIDE - STEP  # the last DCT of a cell looks this far into the next
    padded = np.pad(plane[: rows * CELL, : columns * CELL], ((0, reach), (0, reach)), mode="reflect")
    side = CELL // STEP
    for row in range(rows):  # a strip of cells at a time: its coefficients stay in the cache
        strip = padded[row * CELL : (row + 1) * CELL + reach]
        patches = sliding_window_view(strip, (SIDE, SIDE))[::STEP, ::STEP]
        coefficients = bands @ patches.transpose(2, 3, 0, 1).reshape(SIDE**2, -1)
        power = coefficients.copy()
        for order in range(4):
            # first down (whole rows of memory), then across
            down = power.reshape(len(bands), side, columns * side).sum(1)
            sums[order, :, row] = down.reshape(len(bands), columns, side).sum(2)
            if order < 3:
                power *= coefficients
    sums /= side**2
    return np.asarray(ndimage.uniform_filter(sums, size=(1, 1, WINDOW, WINDOW), mode="nearest"), np.float64)


def noise_variance(plane: Array) -> Array:
    """sigma^2 of each window: H x W float -> H // 16 x W // 16 float32, in the square of the plane's unit."""
    first, second, third, fourth = moments(plane)
    variance = np.maximum(second - first**2, 1e-6)
    central = fourth - 4 * third * first + 6 * second * first**2 - 3 * first**4
    root = np.sqrt(np.maximum(central / variance**2 - 3, 0))
    inverse = 1 / variance
    x, xx, y, xy = inverse.mean(0), (inverse**2).mean(0), root.mean(0), (root * inverse).mean(0)
    spread = xx - x**2
    clean = (y * xx - xy * x) / np.maximum(spread, 1e-12)
    smallest = variance.min(0)
    fits = (spread > 1e-4 * xx) & (clean > 0.05)
    fitted = (1 - y / np.where(fits, clean, 1)) / x
    return np.asarray(np.where(fits, np.clip(fitted, 0, smallest), smallest), np.float32)


def statistic(plane: Array) -> Array:
    """log sigma of each window, NaN where it is clipped: H x W float -> H // 16 x W // 16 float32."""
    return exposed(log_noise(noise_variance(plane)), plane, CELL)


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: how far a window's noise lies from the picture's median."""
    return enlarged(squashed(standardised(statistic(luma(rgb)), FLOOR)), CELL, *rgb.shape[:2])


def features(rgb: Picture) -> Features:
    """H x W x 3 uint8 -> 2 x H // 16 x W // 16 unit vectors: 1 and the deviation of log sigma; cells of 16 pixels."""
    return directions([standardised(statistic(luma(rgb)), FLOOR)], CELL)
