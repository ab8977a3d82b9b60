"""NOI1: noise that differs from block to block, seen in the finest diagonal band of a wavelet transform.

Mahdian and Saic, "Using noise inconsistencies for blind image forensics", Image and Vision Computing 27(10), 2009.
https://doi.org/10.1016/j.imavis.2009.02.001

One level of the wavelet transform with Daubechies' filter of eight vanishing moments; in every block of its diagonal band HH the
noise level is the median absolute deviation (Donoho's estimator: image structure is sparse there, noise is not):

    sigma = median(|HH|) / 0.6745

What is done differently: the paper then merges neighbouring blocks whose sigma differs by less than a threshold that the user has
to choose, and shows the segments.  Here the statistic log sigma (3x3 median over the blocks) keeps its values, and the score is its
inconsistency (inconsistency.py).  The features are the same for red, green and blue apart.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from imgscan.detectors.inconsistency import (
    Array,
    Features,
    Picture,
    check_picture,
    directions,
    enlarged,
    log_noise,
    luma,
    squashed,
    standardised,
    where_exposed,
)

BLOCK = 8
"""Side of a block, in coefficients of HH."""
CELL = 2 * BLOCK
"""The same in pixels."""
FLOOR = 0.08  # log sigma of 64 coefficients varies by 0.15, the median of nine of them by about half of it

# Daubechies' extremal-phase filter of 16 taps (Ten Lectures on Wavelets, Table 6.1, N = 8); orthonormal, the sum is sqrt(2).
LOW_PASS = (
    0.05441584224308161,
    0.3128715909144659,
    0.6756307362980128,
    0.5853546836548691,
    -0.015829105256023893,
    -0.2840155429624281,
    0.00047248457399797254,
    0.128747426620186,
    -0.01736930100202211,
    -0.04408825393106472,
    0.013981027917015516,
    0.008746094047015655,
    -0.00487035299301066,
    -0.0003917403729959771,
    0.0006754494059985568,
    -0.00011747678400228192,
)
HIGH_PASS = tuple((-1) ** k * tap for k, tap in enumerate(reversed(LOW_PASS)))


def diagonal_band(plane: Array) -> Array:
    """HH of one level: H x W -> H // 2 x W // 2 float32, on the scale of the plane's noise (the filter is orthonormal)."""
    taps = np.array(HIGH_PASS, np.float32)
    half = plane.shape[0] // 2, plane.shape[1] // 2
    across = _halved(plane, taps, 1)[:, : half[1]]
    return np.asarray(_halved(across, taps, 0)[: half[0]], np.float32)


def _halved(plane: Array, taps: Array, axis: int) -> Array:
    """Filter along an axis and keep every second value; the picture is mirrored at its edges."""
    # upfirdn answers from the first overlap on; the high-pass filter has its weight in its last taps, so that six outputs later
    # the coefficient of the first pair of pixels comes
    from scipy.signal import upfirdn  # half a second to import, which every scan would pay

    filtered: Array = upfirdn(taps, plane, down=2, axis=axis, mode="symmetric")
    return filtered[:, 6:] if axis else filtered[6:]


def noise_level(plane: Array) -> Array:
    """sigma of each block: H x W float -> H // 16 x W // 16 float32, in the plane's own unit."""
    rows, columns = plane.shape[0] // CELL, plane.shape[1] // CELL
    if not rows or not columns:
        return np.zeros((rows, columns), np.float32)
    band = np.abs(diagonal_band(plane)[: rows * BLOCK, : columns * BLOCK])
    blocks = band.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows, columns, BLOCK * BLOCK)
    return np.asarray(np.median(blocks, axis=2, overwrite_input=True) / 0.6745, np.float32)


def statistic(plane: Array) -> Array:
    """log sigma of each block, the median of its 3x3 neighbours; NaN in clipped blocks: H x W -> H // 16 x W // 16 float32."""
    level = log_noise(noise_level(plane) ** 2)
    smooth = ndimage.median_filter(level, size=3, mode="nearest") if level.size else level
    return where_exposed(smooth, plane, CELL)


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: how far a block's noise lies from the picture's median."""
    return enlarged(squashed(standardised(statistic(luma(rgb)), FLOOR)), CELL, *rgb.shape[:2])


def features(rgb: Picture) -> Features:
    """H x W x 3 uint8 -> 4 x H // 16 x W // 16 unit vectors: 1 and the deviations of red, green and blue; cells of 16 pixels."""
    check_picture(rgb)
    planes = (np.ascontiguousarray(rgb[..., channel], np.float32) for channel in range(3))
    return directions([standardised(statistic(plane), FLOOR) for plane in planes], CELL)
