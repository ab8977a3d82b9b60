"""ADQ, aligned double quantisation: 8x8 blocks that did not pass the JPEG compression which the rest of the picture passed.

A photograph that was saved as JPEG keeps that in its DCT coefficients: on the grid of its blocks they are multiples of the
steps of its quantisation table.  What is pasted into it later comes from another grid, another table or another scale, and is
not.  Two cases:

* Saved without loss since (PNG, TIFF).  The steps are estimated from the picture itself, one frequency at a time: the largest
  periods that make its coefficients likely; where they are those of a table of the JPEG standard (ITU-T T.81, K.1, scaled as
  the IJG library does), that table completes them.  With d_f what quantising with these steps changes in coefficient f,

      e = sqrt(sum over f of d_f^2 / 64)

  is a third of a grey level in a block that passed them (the rounding of its pixels), and in another block what it is, v, on the
  grid shifted by half a block, where no block passed them.  The log-likelihood ratio of a block compares e with both: a normal
  law of log e, one-sided around E_PASSED, another around v.  (JPEG ghosts, Farid, "Exposing Digital Forgeries From JPEG Ghosts",
  IEEE TIFS 2009, with the picture's own table.)
* Saved as JPEG since: nearly all blocks fit that last table.  Those that were saved with another one before show periodic gaps and
  peaks in their histograms, the others do not (Lin, He, Tang, Tang, "Fast, automatic and fine-grained tampered JPEG image
  detection via DCT coefficient analysis", Pattern Recognition 2009).  As in Bianchi and Piva, "Image Forgery Localization via
  Block-Grained Analysis of JPEG Artifacts", IEEE TIFS 2012, the histogram h0 of coefficients that were quantised once is that
  of the picture on a shifted grid, and h1 is made from it for every candidate of the first step.  R, the sum over the
  frequencies of log h1 / h0 (without its smooth part, which is content), is compared with what it is at the same place on the
  shifted grid, quantised once (S) and twice (D): the log odds of having been quantised once go as S + D - 2 R.

Blocks with pixels at 0 or 255 say nothing: clipping changes coefficients too.  Where no compression is found, or where all
blocks fit, the detector says nothing at all: a forgery that was made before the compression fits as well.  It does not see
forgeries in a picture that was scaled after its JPEG, or cropped so that the grid no longer starts at the first pixel, nor
parts of the picture that were moved by multiples of 8.

Ours: the law of e, the sums over neighbouring blocks, S and D, all constants; chosen on photographs and on small sets of real
forgeries.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from imgscan.detectors.inconsistency import Array, Picture, enlarged, luma
from imgscan.jpeg_tables import quantization_table

Numbers = npt.NDArray[np.floating]
BLOCK = 8
MOST = 6.0  # nats; what is said of a block is never surer
SAMPLE = 1500  # blocks that steps are estimated from
FEW = 300  # blocks that tables are tried on
STEPS = range(2, 41)  # candidates of a quantisation step
NOISE = 0.4  # standard deviation of a coefficient through the rounding of pixels, grey levels
OUTLIERS = 0.02  # share of coefficients that do not follow it
LEAST_GAIN = 8.0  # nats by which a step has to explain the coefficients of its frequency better than none
ALIKE = 0.85  # share of the gains that has to agree with a standard table for it to complete the steps
E_PASSED, E_SPREAD = 0.33, 0.22  # e of blocks that passed the table: grey levels, and deviation of its logarithm
V_LEAST, V_SPREAD = 0.36, 0.5  # v: no less than that, and deviation of log e around log v
FLAT = 0.45  # grey levels; a block whose v is below is flat and fits any table
PASSED = 0.10  # of the blocks have to fit the table for it to be the picture's
LEAST_BLOCKS = 64  # usable blocks in a picture that can be assessed
DEVIATING = 3.0  # nats for "another history" from which on the detector speaks
DEVIATING_SHARE = 0.002  # of the blocks, that have to deviate; fewer are no region
SMOOTH = 0.7  # blocks, standard deviation of the weights of a block's neighbours, in the first case
WEIGHT = 2.0  # blocks that this mean counts for, as if they were independent
SMOOTH_DOUBLE = 5  # blocks a side of the square whose mean counts, in the second case: there a block says less
FITTING, FIT = 0.98, 0.5  # so many blocks have an e below FIT grey levels if the table was the last one ...
TELLING = 0.2  # ... and at least so many that did not pass it have twice E_PASSED
FREQUENCIES = 28  # the lowest, in whose histograms double quantisation is sought
DOUBLE_GAIN = 15.0  # nats by which double quantisation has to explain a histogram better
DOUBLE_SCALE = 3.0  # from S + D - 2 R, means over a square, to log odds
DOUBLE = -2.0  # log odds below which a block was quantised twice ...
DOUBLE_SHARE = 0.3  # ... and the share of the picture that has to be for the rest to be of another history
LARGEST = 60  # multiples of the last step; larger coefficients count as that
MOST_SINGLE = 0.97  # a frequency with more zeros than that has no histogram
SEED = 0


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: the logistic function of the log odds of blocks, 1/2 where one says nothing.

    0 everywhere where nothing deviates.
    """
    odds = _log_odds(rgb)
    if not odds.any():
        return np.zeros(rgb.shape[:2], np.float32)
    return np.asarray(1 / (1 + np.exp(-enlarged(odds, BLOCK, *rgb.shape[:2]))), np.float32)


def weigh(rgb: Picture) -> Array:
    """What the log odds of those who see pixels gain from the JPEG history of their blocks.

    A block of which one pixel was pasted fits as little as one that was pasted whole.  So at the edge of a part that has an inside
    nothing is added, and the others draw the line.

    Args:
        rgb: H x W x 3 uint8; blocks start at the first pixel, as in a picture that was not cropped.

    Returns:
        H // 8 x W // 8 float32, nats, -MOST..MOST; 0 where nothing is known, and everywhere when nothing deviates.
    """
    odds = _log_odds(rgb)
    other = odds > 0
    inside = ndimage.binary_erosion(other, np.ones((3, 3)), border_value=1)
    edge = ndimage.binary_propagation(inside, mask=other) & ~inside
    return np.where(edge, np.float32(0), odds)


def _log_odds(rgb: Picture) -> Array:
    """Log odds, from equal prior odds, that a block has pixels of another history than the rest of its picture; as `weigh`."""
    grey = luma(rgb)
    blocks = _coefficients(grey)
    usable = ~_clipped(rgb)
    nothing = np.zeros(usable.shape, np.float32)
    if usable.sum() < LEAST_BLOCKS:
        return nothing
    steps = estimate_steps(blocks[usable])
    if (steps > 1).sum() < 3:
        return nothing
    shifted = _shifted(grey)
    last = _last_table(blocks[usable], shifted.reshape(-1, 64), steps)
    odds = _by_residual(blocks, shifted, steps, usable) if last is None else _by_histogram(blocks, shifted, last, usable)
    return odds if (odds > DEVIATING).mean() > DEVIATING_SHARE else nothing


def estimate_steps(blocks: Array) -> npt.NDArray[np.float64]:
    """The quantisation steps that the coefficients of most blocks are multiples of.

    Args:
        blocks: N x 64 float, coefficients of blocks in row-major order of their frequencies.

    Returns:
        64 float64; 1 where nothing can be said of a frequency (and of the mean, which is one).
    """
    if len(blocks) > SAMPLE:
        blocks = blocks[np.random.default_rng(SEED).choice(len(blocks), SAMPLE, replace=False)]
    steps, gains = np.ones(64), np.zeros(64)
    for frequency in range(1, 64):
        values = blocks[:, frequency]
        largest = np.abs(values).max()
        for step in STEPS:
            if largest < step / 2:
                break
            gain = _gain(np.exp(_periodicity(values, step)), None)
            if gain > max(gains[frequency], LEAST_GAIN):
                steps[frequency], gains[frequency] = step, gain
    weights = np.minimum(gains, 200) * (steps > 1)
    if weights.any():
        tables = _standard_tables()
        counted = weights * (tables <= STEPS[-1])  # of a larger step only divisors can have been found
        agreement = ((tables == steps) * counted).sum(1) / np.maximum(counted.sum(1), LEAST_GAIN)
        if agreement.max() > ALIKE:
            steps = _standard_tables()[agreement.argmax()].copy()
            steps[0] = 1
    return steps


def _periodicity(values: Array, step: float) -> Numbers:
    """log p(coefficient | multiples of `step` and rounding) - log p(coefficient | anything), given the nearest multiple.

    Near 0 a coefficient that fits says nothing: it may come from a flat block.
    """
    nearest = np.round(values / step)
    away = (values - nearest * step) / NOISE
    ratio = np.log((1 - OUTLIERS) * step / (NOISE * np.sqrt(2 * np.pi)) * np.exp(-(away**2) / 2) + OUTLIERS)
    return np.asarray(np.where(nearest == 0, np.minimum(ratio, 0), ratio))


def _gain(ratios: Numbers, counts: npt.NDArray[np.intp] | None) -> float:
    """The log-likelihood of a mixture in which some coefficients follow the law, over one in which none does; the best share."""
    logs = (np.log(share * ratios + 1 - share) for share in (0.5, 0.8, 0.97))
    return max(float(one.sum() if counts is None else (counts * one).sum()) for one in logs)


def _by_residual(blocks: Array, shifted: Array, steps: Numbers, usable: npt.NDArray[np.bool_]) -> Array:
    """Log odds that a block did not pass the table; 0 where unknown, and everywhere where too few passed."""
    here, elsewhere = _residual(blocks, steps), _residual(shifted, steps)
    elsewhere = np.sqrt(_around(elsewhere**2, usable.shape))
    x, expected = np.log(np.maximum(here, 0.02)), np.log(np.maximum(elsewhere, V_LEAST))
    passed = -((np.maximum(x - np.log(E_PASSED), 0) / E_SPREAD) ** 2) / 2 - np.log(E_SPREAD)
    other = -(((x - expected) / V_SPREAD) ** 2) / 2 - np.log(V_SPREAD)
    ratio = np.clip(passed - other, -8, 4)
    ratio[~usable | ((elsewhere < FLAT) & (here < 2 * E_PASSED))] = 0
    if (ratio > 1).mean() <= PASSED:
        return np.zeros(usable.shape, np.float32)
    # Neighbours have the same history, and a wide mean would carry a strong word far over the edge of what was pasted.
    odds: Array = np.clip(-WEIGHT * ndimage.gaussian_filter(ratio, SMOOTH), -MOST, MOST).astype(np.float32)
    return odds


def _residual(blocks: Array, steps: Numbers) -> Numbers:
    """e of the module's text: ... x 64 coefficients -> ..., grey levels; frequencies whose step is unknown do not count."""
    known = steps > 1
    values = blocks[..., known]
    change = values - np.round(values / steps[known]) * steps[known]
    return np.asarray(np.sqrt((change**2).sum(-1) / 64))


def _shifted(grey: Array) -> Array:
    """The coefficients of the grid that starts in the middle of the first block: as if never quantised."""
    return _coefficients(grey[BLOCK // 2 :, BLOCK // 2 :])


def _around(cells: Numbers, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """What the blocks of the shifted grid say, for the blocks that they overlap: the mean of up to four; 0 where there is none."""
    total, count = np.zeros(shape), np.zeros(shape)
    for top in (0, 1):
        for left in (0, 1):
            rows, columns = min(cells.shape[0], shape[0] - top), min(cells.shape[1], shape[1] - left)
            total[top : top + rows, left : left + columns] += cells[:rows, :columns]
            count[top : top + rows, left : left + columns] += 1
    return np.asarray(total / np.maximum(count, 1))


def _by_histogram(blocks: Array, shifted: Array, last_table: Numbers, usable: npt.NDArray[np.bool_]) -> Array:
    """Log odds that a block was quantised only once, by the last table, where most were twice; 0 everywhere if not so."""
    rng = np.random.default_rng(SEED)
    rounding = rng.normal(0, NOISE, shifted.shape[:2])
    sample = rng.choice(rounding.size, min(rounding.size, 20_000), replace=False)
    here, once, twice = np.zeros(usable.shape), np.zeros(rounding.shape), np.zeros(rounding.shape)
    for frequency in _low_frequencies():
        last, values = float(last_table[frequency]), shifted[..., frequency]
        if last <= 1:
            continue
        bins = _bins(blocks[..., frequency], last)
        found = _first_step(
            np.bincount(bins[usable], minlength=2 * LARGEST + 1), values.ravel()[sample], rounding.ravel()[sample], last
        )
        if found is not None:
            first, ratio = found
            here += ratio[bins]
            once += ratio[_bins(values, last)]
            twice += ratio[_bins(np.round(values / first) * first + rounding, last)]
    weight = usable.astype(float)

    def mean(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        total, known = (ndimage.uniform_filter(one, SMOOTH_DOUBLE) for one in (cells * weight, weight))
        return np.asarray(total / np.maximum(known, 0.2))

    middle = mean(_around(once + twice, usable.shape))
    odds = np.clip(DOUBLE_SCALE * (middle - 2 * mean(here)), -MOST, MOST).astype(np.float32)
    return odds if (odds < DOUBLE).mean() >= DOUBLE_SHARE else np.zeros_like(odds)


def _last_table(blocks: Array, shifted: Array, steps: Numbers) -> Numbers | None:
    """The coarsest table that (nearly) all blocks fit and others would not; None: there is none, as after a save without loss.

    Args:
        blocks, shifted: N x 64 coefficients on the grid and beside it.
        steps: what the coefficients are multiples of; where they were quantised twice, mostly by the first.
    """
    rng = np.random.default_rng(SEED)
    some, others = (one[rng.choice(len(one), min(len(one), FEW), replace=False)] for one in (blocks, shifted))
    table: Numbers
    for table in (steps, *_standard_tables()):
        fits = np.quantile(_residual(some, table), FITTING) < FIT
        if fits and (_residual(others, table) > 2 * E_PASSED).mean() > TELLING:
            return table
    return None


def _first_step(
    seen: npt.NDArray[np.intp], values: Array, rounding: npt.NDArray[np.float64], last: float
) -> tuple[int, npt.NDArray[np.float64]] | None:
    """The step before the last one that explains a histogram, and the log-likelihood ratios of its bins; None: there was none.

    Args:
        seen: 2 LARGEST + 1 counts of the picture's coefficients, in units of `last`.
        values: N coefficients as if never quantised, grey levels.
        rounding: N changes by the rounding of pixels between the two compressions, grey levels.
        last: grey levels.
    """
    if seen[LARGEST] > MOST_SINGLE * seen.sum():
        return None
    single = _histogram(values, last) + 0.3
    single /= single.sum()
    gain, found = DOUBLE_GAIN, None
    for first in STEPS:
        if last % first == 0:  # leaves no trace
            continue
        double = _histogram(np.round(values / first) * first + rounding, last) + 0.3
        double /= double.sum()
        width = max(1.0, first / last)
        smooth = ndimage.gaussian_filter1d(double, width) / ndimage.gaussian_filter1d(single, width)
        odds = 0.97 * double / single / smooth + 0.03
        odds /= (odds * single).sum()
        odds[LARGEST] = min(odds[LARGEST], 1)  # a zero may come from a flat block
        better = _gain(odds, seen)
        if better > gain:
            gain, found = better, (first, np.clip(np.log(odds), -3, 3))
    return found


def _bins(values: Numbers, step: float) -> npt.NDArray[np.intp]:
    """The multiple of `step` nearest to each coefficient, from 0 for -LARGEST to 2 LARGEST."""
    return (np.clip(np.round(values / step), -LARGEST, LARGEST) + LARGEST).astype(np.intp)


def _histogram(values: Numbers, step: float) -> npt.NDArray[np.float64]:
    """2 LARGEST + 1 counts, symmetric: coefficients have no sign of their own."""
    counts = np.bincount(_bins(values, step), minlength=2 * LARGEST + 1).astype(float)
    return np.asarray((counts + counts[::-1]) / 2)


@cache
def _low_frequencies() -> tuple[int, ...]:
    """The FREQUENCIES lowest but the mean, by the sum of their row and column."""
    return tuple(sorted(range(1, 64), key=lambda one: one // 8 + one % 8)[:FREQUENCIES])


@cache
def _standard_tables() -> npt.NDArray[np.float64]:
    """100 x 64: the luma tables of qualities 1 to 100, row by row."""
    return np.array([quantization_table(quality) for quality in range(1, 101)], float).reshape(100, 64)


def _coefficients(grey: Array) -> Array:
    """H x W grey levels -> H // 8 x W // 8 x 64 orthonormal DCT coefficients, row by row."""
    rows, columns = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    blocks = grey[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2) - np.float32(128)
    return np.asarray(fft.dctn(blocks, axes=(2, 3), norm="ortho"), np.float32).reshape(rows, columns, 64)


def _clipped(rgb: Picture) -> npt.NDArray[np.bool_]:
    """H // 8 x W // 8: blocks with a pixel at 0 or 255 in a channel."""
    rows, columns = rgb.shape[0] // BLOCK, rgb.shape[1] // BLOCK
    extreme = ((rgb == 0) | (rgb == 255)).any(2)[: rows * BLOCK, : columns * BLOCK]
    return np.asarray(extreme.reshape(rows, BLOCK, columns, BLOCK).any((1, 3)))
