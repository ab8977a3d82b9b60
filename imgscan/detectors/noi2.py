"""NOI2: the local noise level from the kurtosis of band-pass filtered pictures.

Lyu, Pan, Zhang, "Exposing Region Splicing Forgeries with Blind Local Noise Estimation", IJCV 110(2), 2014.
https://doi.org/10.1007/s11263-013-0688-y

The kurtosis of natural pictures is about the same in all band-pass domains (kurtosis concentration); Gaussian noise lowers it by
its share of the band's variance.  With kappa_k and v_k the excess kurtosis and the variance of the noisy picture in band k, kappa
that of the clean picture and sigma^2 the variance of the noise,

    sqrt(kappa_k) = sqrt(kappa) (1 - sigma^2 / v_k)

a straight line in 1 / v_k.  Its least squares fit over the bands has the closed form (< > is the mean over k)

    sqrt(kappa) = (<sqrt(kappa_k)> <1/v_k^2> - <sqrt(kappa_k)/v_k> <1/v_k>) / (<1/v_k^2> - <1/v_k>^2)
    sigma^2     = 1/<1/v_k> - <sqrt(kappa_k)> / (sqrt(kappa) <1/v_k>)

and the moments of all windows come from sums over rectangles.

What is done differently: the bands are the 63 AC functions of the 8x8 DCT at every second pixel, not at each, and the windows are
48 pixels wide, one every 16 pixels, so that a sum over a window is one over 3x3 cells.  sigma^2 is kept between 0 and the mean v
of the third of the bands that have least: noise cannot be more than all there is.  Where the line says nothing (no kurtosis to
lose, or equal bands: pure noise), sigma^2 is that mean.  Score and features are the inconsistency of log sigma (inconsistency.py).

JPEG empties the weakest bands, and what is left there is rare and large: the line slopes the other way, and sigma^2 is 0.  In
photographs as cameras save them that is so in most windows; then only a part that is much noisier can be seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage

from imgscan.detectors.inconsistency import (
    Array,
    Features,
    Picture,
    directions,
    enlarged,
    log_noise,
    luma,
    squashed,
    standardised,
    where_exposed,
)

SIDE = 8
"""Side of the DCT."""
STEP = 2  # pixels from one DCT to the next
CELL = 16
"""Pixels from one window to the next."""
WINDOW = 3
"""Side of a window, in cells."""
EQUAL = 0.03  # the 1 / v_k of a window of pure noise scatter by about a tenth of their mean, so their squares by a hundredth
FLAT = 0.3  # sqrt(kappa) that a window of pure noise shows by chance
FLOOR = 0.1  # log sigma varies by about this much from window to window of pure noise

Double = npt.NDArray[np.float64]


def _bands() -> Array:
    """63 x 64: the AC functions of the orthonormal 8x8 DCT-II, pixels in row-major order."""
    rows = fft.dct(np.eye(SIDE), norm="ortho", axis=0)
    bands: Array = np.einsum("ux,vy->uvxy", rows, rows).reshape(SIDE**2, SIDE**2)[1:].astype(np.float32)
    return bands


def moments(plane: Array) -> Double:
    """The mean of c, c^2, c^3, c^4 over the windows, c the coefficients of a band: H x W -> 4 x 63 x H // 16 x W // 16 float64."""
    rows, columns = plane.shape[0] // CELL, plane.shape[1] // CELL
    bands = _bands()
    sums = np.zeros((4, len(bands), rows, columns))
    if not sums.size:
        return sums
    reach = SIDE - STEP  # the last DCT of a cell starts in it and looks this far into the next
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
    return fitted_noise(variance, np.sqrt(np.maximum(central / variance**2 - 3, 0)))


def fitted_noise(variance: Double, root: Double) -> Array:
    """The line's sigma^2 from v_k and sqrt(kappa_k): bands x h x w -> h x w float32, at least 0 and at most as above."""
    inverse = 1 / variance
    x, xx, y, xy = inverse.mean(0), (inverse**2).mean(0), root.mean(0), (root * inverse).mean(0)
    spread = xx - x**2
    clean = (y * xx - xy * x) / np.maximum(spread, 1e-12)
    most = np.sort(variance, axis=0)[: len(variance) // 3].mean(0)
    fits = (spread > EQUAL * xx) & (clean > FLAT) & (y > FLAT)
    fitted = (1 - y / np.where(fits, clean, 1)) / x
    return np.asarray(np.where(fits, np.clip(fitted, 0, most), most), np.float32)


def statistic(plane: Array) -> Array:
    """log sigma of each window, NaN where it is clipped: H x W float -> H // 16 x W // 16 float32."""
    return where_exposed(log_noise(noise_variance(plane)), plane, CELL)


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: how far a window's noise lies from the picture's median."""
    return enlarged(squashed(standardised(statistic(luma(rgb)), FLOOR)), CELL, *rgb.shape[:2])


def features(rgb: Picture) -> Features:
    """H x W x 3 uint8 -> 2 x H // 16 x W // 16 unit vectors: 1 and the deviation of log sigma; cells of 16 pixels."""
    return directions([standardised(statistic(luma(rgb)), FLOOR)], CELL)
