"""Which 8x8 blocks of a JPEG were quantised only once, where most were twice: the second case of adq.py, which has the formulas."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.detectors.inconsistency import GAUSSIAN, Array
from imgscan.detectors.jpeg_blocks import NOISE, STEPS, Numbers, around, mixture_gains
from imgscan.detectors.outline import fades

FREQUENCIES = 28  # the lowest, in whose histograms double quantisation is sought
LEAST_GAIN = 15.0  # nats by which double quantisation has to explain a histogram better
LARGEST = 60  # multiples of the last step; larger coefficients count as that
MOST_ZEROS = 0.97  # a frequency with more zeros than that has no histogram
SAMPLE = 12_000  # blocks that histograms are made from
LEAST_BLOCKS = 64  # unclipped blocks in a picture that can be assessed
SQUARE = 5  # blocks a side of the square whose mean counts: alone a block says little
AROUND = 11  # blocks a side of the square in which the variance of what a block says is measured ...
EVERYWHERE = 0.3  # ... and the weight of that of the whole picture beside it
AGREEING = (0.3, 1.3)  # what most blocks say, in units of D - S, is taken for D within these bounds
KNOWN = 0.6  # share of a square that is not clipped, for it to count there
TWICE, TWICE_SHARE = -2.0, 0.3  # log odds below which a block was quantised twice, and how many have to be
ONCE, ONCE_SHARE = 8.0, 0.002  # log odds of having been quantised once that so many have to reach; a few reach 3 by chance
NEAR, STEP = (3, 4), 0.85  # blocks from what deviates that its squares do not reach, and the least step there
SEED = 0


class _Sums(NamedTuple):
    """Sums of log h1 / h0 over the frequencies."""

    here: npt.NDArray[np.float64]  # R x C, of the blocks
    once: npt.NDArray[np.float64]  # r x c, of those of the shifted grid, quantised once
    twice: npt.NDArray[np.float64]  # and twice


class _Compared(NamedTuple):
    """Blocks, R x C."""

    odds: Array  # log odds of having been quantised once
    agreement: Numbers  # R = D: 1, R = S: 0, of the block alone
    weight: Numbers  # how much that tells: (D - S)^2, 0 of clipped blocks


def once_only(blocks: Array, shifted: Array, last_table: Numbers, trust: Array, shifted_trust: Array) -> Array:
    """Log odds, from equal prior odds, that a block was quantised only once, by the last table.

    Args:
        blocks: R x C x 64 coefficients on the grid, grey levels.
        shifted: r x c x 64 coefficients beside it.
        last_table: 64 steps, row by row.
        trust, shifted_trust: R x C and r x c, 0..1: 0 of blocks that clipping changed.

    Returns:
        R x C float32, nats; 0 where nothing is known, and everywhere where most were not quantised twice, or all, or where those
        quantised once fade into the others.
    """
    nothing = np.zeros(trust.shape, np.float32)
    if min((trust > 0.5).sum(), (shifted_trust > 0.5).sum()) < LEAST_BLOCKS:
        return nothing
    sums = _sums(blocks, shifted, last_table, trust > 0.5, shifted_trust > 0.5)
    odds, agreement, weight = _compare(sums, trust, shifted_trust)
    twice, once = (odds < TWICE).mean(), (odds > ONCE).mean()
    worth = twice >= TWICE_SHARE and once > ONCE_SHARE and not fades(odds, agreement, weight, NEAR, STEP)
    return odds if worth else nothing


def _sums(
    blocks: Array, shifted: Array, last_table: Numbers, usable: npt.NDArray[np.bool_], shifted_usable: npt.NDArray[np.bool_]
) -> _Sums:
    rng = np.random.default_rng(SEED)
    places = np.flatnonzero(shifted_usable)
    sample = places if len(places) <= SAMPLE else rng.choice(places, SAMPLE, replace=False)
    here, once, twice = np.zeros(blocks.shape[:2]), np.zeros(shifted.shape[:2]), np.zeros(shifted.shape[:2])
    for frequency in _low_frequencies():
        last, values = float(last_table[frequency]), shifted[..., frequency]
        if last <= 1:
            continue
        rounding = rng.normal(0, NOISE, values.shape)
        bins = _bins(blocks[..., frequency], last)
        seen = np.bincount(bins[usable], minlength=2 * LARGEST + 1)
        found = first_step(seen, values.ravel()[sample], rounding.ravel()[sample], last)
        if found is not None:
            first, ratio = found
            here += ratio[bins]
            once += ratio[_bins(values, last)]
            twice += ratio[_bins(np.round(values / first) * first + rounding, last)]
    return _Sums(here, once, twice)


def _compare(sums: _Sums, trust: Array, shifted_trust: Array) -> _Compared:
    """What `once_only` answers, whether or not it is worth saying."""
    shape, weight = sums.here.shape, trust.astype(float)
    beside = around(shifted_trust.astype(float), shape)

    def mean(cells: npt.NDArray[np.float64], side: int = SQUARE) -> npt.NDArray[np.float64]:
        """Of cells of the shifted grid, in the squares around the blocks."""
        total = ndimage.uniform_filter(around(cells * shifted_trust, shape), side)
        return np.asarray(total / np.maximum(ndimage.uniform_filter(beside, side), 1e-3))

    known = ndimage.uniform_filter(weight, SQUARE)
    said = ndimage.uniform_filter(sums.here * weight, SQUARE) / np.maximum(known, 1e-3)
    once, twice = mean(sums.once), mean(sums.twice)
    variance = np.zeros(shape)
    for cells in (sums.once, sums.twice):
        near = np.maximum(mean(cells**2, AROUND) - mean(cells, AROUND) ** 2, 0)
        variance += ((1 - EVERYWHERE) * near + EVERYWHERE * cells[shifted_trust > 0.5].var()) / 2
    # The mean of a square of blocks is compared with that of the shifted blocks that overlap them, of which there are more.
    variance *= (1 / SQUARE**2 + 1 / (SQUARE + 1) ** 2) / np.maximum(known, 0.05)
    gap = np.maximum(twice - once, 1e-6)
    agreement, weight = (sums.here - once) / gap, gap**2 * (trust > 0.5)
    telling = (known > KNOWN) & (gap >= np.median(gap))
    if telling.sum() < LEAST_BLOCKS // 2 or variance.max() == 0:
        return _Compared(np.zeros(shape, np.float32), agreement, weight)
    gap = gap * np.clip(np.median(((said - once) / gap)[telling]), *AGREEING)
    twice = once + gap
    deviation = np.median(np.abs(said - twice)[known > KNOWN] / np.sqrt(variance[known > KNOWN])) * GAUSSIAN
    odds = gap * (once + twice - 2 * said) / (2 * variance * max(1.0, deviation) ** 2)
    return _Compared(np.where(known < 0.1, 0, odds).astype(np.float32), agreement, weight)


def first_step(
    seen: npt.NDArray[np.intp], values: Array, rounding: npt.NDArray[np.float64], last: float
) -> tuple[int, npt.NDArray[np.float64]] | None:
    """The step before the last one that explains a histogram, and the log-likelihood ratios of its bins; None: there was none.

    Args:
        seen: 2 LARGEST + 1 counts of the picture's coefficients, in units of `last`.
        values: N coefficients as if never quantised, grey levels.
        rounding: N changes by the rounding of pixels between the two compressions, grey levels.
        last: grey levels.
    """
    if seen[LARGEST] > MOST_ZEROS * seen.sum():
        return None
    firsts = np.array([step for step in STEPS if last % step], np.float32)[:, None]  # a divisor leaves no trace
    single = _shares(values[None], last)
    double = _shares(np.rint(values / firsts) * firsts + rounding.astype(np.float32), last)
    smooth = np.einsum("cij,cj->ci", blur := _smoothing(last), double) / (blur @ single[0])
    odds = 0.97 * double / single / smooth + 0.03
    odds /= _whole(odds * single).sum(1, keepdims=True)
    odds[:, 0] = np.minimum(odds[:, 0], 1)  # a zero may come from a flat block
    folded = seen[LARGEST:] + seen[LARGEST::-1]
    folded[0] //= 2
    gains = mixture_gains(odds, folded)
    best = int(np.argmax(gains))
    if gains[best] <= LEAST_GAIN:
        return None
    return int(firsts[best, 0]), np.clip(np.log(_whole(odds[best : best + 1])[0]), -3, 3)


def _bins(values: Numbers, step: float) -> npt.NDArray[np.intp]:
    """The multiple of `step` nearest to each coefficient, from 0 for -LARGEST to 2 LARGEST."""
    return np.asarray(np.clip(np.rint(values / np.float32(step)), -LARGEST, LARGEST) + LARGEST, np.intp)


def _shares(values: Numbers, step: float) -> npt.NDArray[np.float64]:
    """C x N coefficients -> C x LARGEST + 1: shares of multiples of `step` from 0 on; coefficients have no sign of their own."""
    multiples = np.minimum(np.abs(np.rint(values / np.float32(step))), LARGEST).astype(np.intp)
    multiples += (LARGEST + 1) * np.arange(len(values))[:, None]
    counts = np.bincount(multiples.ravel(), minlength=(LARGEST + 1) * len(values)).reshape(-1, LARGEST + 1).astype(float)
    counts[:, 1:] /= 2  # the other half has the other sign
    counts += 0.3
    return np.asarray(counts / _whole(counts).sum(1, keepdims=True))


def _whole(half: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """C x LARGEST + 1 values of multiples from 0 on -> C x 2 LARGEST + 1 of all multiples."""
    return np.concatenate([half[:, :0:-1], half], axis=1)


@lru_cache(maxsize=64)
def _smoothing(last: float) -> npt.NDArray[np.float32]:
    """For every candidate of the first step a matrix that blurs values of multiples from 0 on by its width, in steps of `last`."""
    widths = np.maximum(1.0, np.array([step for step in STEPS if last % step]) / last)[:, None, None]
    place = np.arange(LARGEST + 1)
    near, mirrored = place[:, None] - place, place[:, None] + place
    weights = np.exp(-((near / widths) ** 2) / 2) + np.where(place > 0, np.exp(-((mirrored / widths) ** 2) / 2), 0)
    return np.asarray(weights / weights.sum(2, keepdims=True), np.float32)


@cache
def _low_frequencies() -> tuple[int, ...]:
    """The FREQUENCIES lowest but the mean, by the sum of their row and column."""
    return tuple(sorted(range(1, 64), key=lambda one: one // 8 + one % 8)[:FREQUENCIES])
