"""NOI5: the noise level of blocks from their principal components, and the smaller of two clusters of it.

Zeng, Zhan, Kang, Lin, "Image splicing localization using PCA-based noise level estimation", Multimedia Tools and Applications
76(4), 2017.  https://doi.org/10.1007/s11042-016-3712-8
The estimator is Pyatykh, Hesser, Zheng, "Image Noise Level Estimation by Principal Component Analysis", IEEE TIP 22(2), 2013.

Small patches of a picture lie near a subspace; what is left in the directions outside of it is noise.  With lambda_1 >= ... >=
lambda_M the eigenvalues of the covariance of the patches (here M = 16, 4x4 pixels) of a block,

    sigma^2 = mean of lambda_(M-m+1), ..., lambda_M

Then 2-means over log sigma of all blocks; the larger cluster is the picture, the smaller one was put in.

What is done differently:

* Zeng et al. estimate in 64x64 blocks, cluster, and repeat in 32x32 blocks along the borders found; here all blocks are 32x32.
* Pyatykh et al. drop the most textured patches until the last m = 7 of 25 eigenvalues agree; here the half with less variance
  stays, always, and m is 3.  That half has less of the noise as well: sigma comes out low, by a quarter in flat blocks and by a
  sixth in textured ones.  Only ratios between blocks of one picture are used.
* In one dimension the best two clusters are a cut of the sorted values, found exactly.  They count only where they explain more
  than 80 % of the variance (the halves of a Gaussian explain 64 %, of a uniform distribution 75 %); else all are one cluster.
* The answer is not the small cluster but the inconsistency (inconsistency.py) around the large one: its median and its deviation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from imgscan.detectors.inconsistency import (
    GAUSSIAN,
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

SIDE = 4
"""Side of a patch."""
CELL = 32
"""Side of a block, pixels."""
SMALLEST = 3
"""m, eigenvalues taken for noise."""
FLOOR = 0.08  # log sigma varies by about this much from block to block of pure noise
EXPLAINED = 0.8


def noise_variance(plane: Array) -> Array:
    """sigma^2 of each block: H x W float -> H // 32 x W // 32 float32, in the square of the plane's unit."""
    rows, columns = plane.shape[0] // CELL, plane.shape[1] // CELL
    covariance = np.zeros((rows, columns, SIDE**2, SIDE**2), np.float32)
    if not covariance.size:
        return np.zeros((rows, columns), np.float32)
    for row in range(rows):
        strip = plane[row * CELL : (row + 1) * CELL, : columns * CELL]
        blocks = strip.reshape(CELL, columns, CELL).swapaxes(0, 1)
        blocks = blocks - blocks.mean((1, 2), keepdims=True)  # float32 keeps small variances only near 0
        patches = sliding_window_view(blocks, (SIDE, SIDE), (1, 2)).transpose(0, 3, 4, 1, 2).reshape(columns, SIDE**2, -1)
        texture = patches.var(1)
        kept = texture <= np.median(texture, axis=1, keepdims=True)
        weight = (kept / kept.sum(1, keepdims=True)).astype(np.float32)[:, None]
        centred = patches - (patches * weight).sum(2, keepdims=True)
        covariance[row] = (centred * weight) @ centred.swapaxes(1, 2)
    weakest = np.linalg.eigvalsh(covariance)[..., :SMALLEST].mean(-1)
    return np.asarray(np.maximum(weakest, 0), np.float32)


def statistic(plane: Array) -> Array:
    """log sigma of each block, NaN where it is clipped: H x W float -> H // 32 x W // 32 float32."""
    return where_exposed(log_noise(noise_variance(plane)), plane, CELL)


def dominant_cluster(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The larger of the two clusters of n values, n >= 1, that minimise the variance within; all, where they do not stand apart."""
    ordered = np.sort(values)
    count = np.arange(1, ordered.size)
    total = np.cumsum(ordered, dtype=np.float64)
    scatter = float(((ordered - ordered.mean(dtype=np.float64)) ** 2).sum())
    if scatter < ordered.size * 1e-9:
        return ordered
    low, high = total[:-1] / count, (total[-1] - total[:-1]) / (ordered.size - count)
    between = count * (ordered.size - count) / ordered.size * (high - low) ** 2
    cut = int(between.argmax())
    if between[cut] <= EXPLAINED * scatter:
        return ordered
    return ordered[: cut + 1] if 2 * (cut + 1) >= ordered.size else ordered[cut + 1 :]


def deviation(plane: Array) -> Array:
    """Signed deviations of log sigma from the larger cluster: H x W float -> H // 32 x W // 32 float32."""
    level = statistic(plane)
    known = level[np.isfinite(level)]
    if not known.size:
        return np.zeros(level.shape, np.float32)
    own = dominant_cluster(known)
    centre = float(np.median(own))
    return standardised(level, FLOOR, centre, GAUSSIAN * float(np.median(np.abs(own - centre))))


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: how far a block's noise lies from that of the larger cluster."""
    return enlarged(squashed(deviation(luma(rgb))), CELL, *rgb.shape[:2])


def features(rgb: Picture) -> Features:
    """H x W x 3 uint8 -> 2 x H // 32 x W // 32 unit vectors: 1 and the deviation of log sigma; cells of 32 pixels."""
    return directions([deviation(luma(rgb))], CELL)
