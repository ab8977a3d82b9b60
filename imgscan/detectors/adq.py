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
  frequencies of log h1 / h0 (without its smooth part, which is content), mean of the blocks around, is compared with what it is
  at the same place on the shifted grid, quantised once (S) and twice (D): of two normal laws with the variance v of such means,

      log odds of having been quantised once = (D - S) (S + D - 2 R) / 2 v

  Most of the picture was quantised twice, or there is nothing to say; so D and v are corrected until they agree with it.  Where
  the file is that JPEG, its luma and its table are taken from it: they are exact, whatever program wrote the table.

Pixels at the ends of the range were clipped, which changes coefficients too.  In the first case a block with such a pixel can
only be cleared, in the second it says the less, the more there are.  Where no compression is found, or where all blocks fit,
the detector says nothing at all: a forgery that was made before the compression fits as well.  Nor where what deviates has no
outline (`outline.py`): then the picture was edited as a whole.  It does not see forgeries in a picture that was scaled after its
JPEG, or cropped off the grid between two JPEGs, nor parts of the picture that were moved by multiples of 8.

Ours: the law of e, the sums over neighbouring blocks, S, D and v, all constants; chosen on photographs and on small sets of real
forgeries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.detectors.double_quantisation import once_only
from imgscan.detectors.inconsistency import Array, Picture, block_mean, enlarged, luma
from imgscan.detectors.jpeg_blocks import (
    BLOCK,
    NOISE,
    STEPS,
    Numbers,
    around,
    beside,
    clipped,
    coefficients,
    grid_corner,
    mixture_gains,
)
from imgscan.detectors.outline import DEVIATING, fades
from imgscan.jpeg import Luma, quantization_table

MOST = 6.0  # nats; what is said of a block is never surer
SAMPLE = 1500  # blocks that steps are estimated from
FEW = 300  # blocks that tables are tried on
TOGETHER = 2048  # blocks whose e is computed at once: of megapixels they take gigabytes in double precision
OUTLIERS = 0.02  # share of coefficients that do not follow it
LEAST_STEPS = 3  # that have to be known
LEAST_GAIN = 8.0  # nats by which a step has to explain the coefficients of its frequency better than none
ALIKE = 0.85  # share of the gains that has to agree with a standard table for it to complete the steps
BETTER, STRETCHED = 4.0, 0.2  # nats by which so many frequencies are explained better by other steps than whole ones
E_PASSED, E_SPREAD = 0.33, 0.22  # e of blocks that passed the table: grey levels, and deviation of its logarithm
V_LEAST, V_SPREAD = 0.36, 0.5  # v: no less than that, and deviation of log e around log v
FLAT = 0.45  # grey levels; a block whose v is below is flat and fits any table
PASSED = 0.10  # of the blocks have to fit the table for it to be the picture's
EXACT_SHARE, EXACT = 0.65, 0.365  # a share of textured blocks; grey levels, median e of those that passed if they are fewer
MINORITY = 0.5  # of the blocks of which something is known; if more deviate, the whole picture was changed since
LEAST_BLOCKS = 64  # usable blocks in a picture that can be assessed
DEVIATING_SHARE = 0.002  # of the blocks, that have to deviate; fewer are no region
NEAR, STEP = (1, 2), 0.65  # blocks from what deviates, and the least step there, in the first case
SMOOTH = 0.7  # blocks, standard deviation of the weights of a block's neighbours, in the first case
WEIGHT = 2.0  # blocks that this mean counts for, as if they were independent
SPARED = 3  # frequencies of a block whose step may have been estimated wrong
FITTING, FIT = 0.98, 0.5  # so many blocks have an e below FIT grey levels if the table was the last one ...
TELLING = 0.2  # ... and at least so many that did not pass it have twice E_PASSED
MARGIN = 1  # grey levels from the ends of the range that count as ends after another compression
CLIPPED = 0.03  # share of a block's pixels at an end of the range, weighted as luma weighs colours, from which on it says nothing
SEED = 0


class Weighed(NamedTuple):
    """Log odds of blocks."""

    odds: Array  # H // 8 x W // 8, fewer where the grid starts late; nats, -MOST..MOST; 0 where nothing is known
    corner: tuple[int, int] = (0, 0)  # row and column, 0..7, of the first pixel of the first block


def score(rgb: Picture, saved: Luma | None = None) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: the logistic function of the log odds of blocks, 1/2 where one says nothing.

    0 everywhere where nothing deviates.
    """
    (height, width), (odds, (top, left)) = rgb.shape[:2], _log_odds(rgb, saved)
    if not odds.any():
        return np.zeros((height, width), np.float32)
    pixels = np.pad(enlarged(odds, BLOCK, height - top, width - left), ((top, 0), (left, 0)), "edge")
    return np.asarray(1 / (1 + np.exp(-pixels)), np.float32)


def weigh(rgb: Picture, saved: Luma | None = None) -> Weighed:
    """What the log odds of those who see pixels gain from the JPEG history of their blocks; 0 everywhere when nothing deviates.

    A block of which one pixel was pasted fits as little as one that was pasted whole.  So at the edge of a part that has an inside
    nothing is added, and the others draw the line.

    Args:
        rgb: H x W x 3 uint8.
        saved: what the file says of them, if it is a JPEG; of one that does not fit its pixels or its table nothing is said.
    """
    odds, corner = _log_odds(rgb, saved)
    other = odds > 0
    inside = ndimage.binary_erosion(other, np.ones((3, 3)), border_value=1)
    edge = ndimage.binary_propagation(inside, mask=other) & ~inside
    return Weighed(np.where(edge, np.float32(0), odds), corner)


def _log_odds(rgb: Picture, saved: Luma | None) -> Weighed:
    """Log odds, from equal prior odds, that a block has pixels of another history than the rest of its picture."""
    nothing = np.zeros((rgb.shape[0] // BLOCK, rgb.shape[1] // BLOCK), np.float32)
    on_grid: tuple[Array, Array] | None = None  # coefficients on the grid that starts at the first pixel, and beside it
    if saved is None:
        grey = luma(rgb)
    else:
        if saved.values.shape != rgb.shape[:2]:
            return Weighed(nothing)
        grey = saved.values.astype(np.float32)
        blocks = coefficients(grey)
        if not _fits_file(saved, blocks):
            return Weighed(nothing)
        on_grid = blocks, coefficients(beside(grey))
        if _tells(_some(on_grid[1]), saved.table):
            return Weighed(np.clip(_doubly(rgb, *on_grid, saved.table), -MOST, MOST))
    corner = grid_corner(grey)  # of the last compression, or where that was too fine to hide anything, of the one before
    if corner is None:
        return Weighed(nothing)
    top, left = corner
    if on_grid is None or corner != (0, 0):
        on_grid = coefficients(grey[top:, left:]), coefficients(beside(grey[top:, left:]))
    odds = _of_pixels(rgb[top:, left:], *on_grid, lossless=saved is not None)
    return Weighed(np.clip(odds, -MOST, MOST), corner)


def _fits_file(saved: Luma, blocks: Array) -> bool:
    """Whether the unclipped blocks of a file's luma, R x C x 64 coefficients, fit its table; else who knows what that is for."""
    whole = block_mean(((saved.values == 0) | (saved.values == 255)).astype(np.float32), BLOCK) == 0
    return bool(whole.sum() >= LEAST_BLOCKS) and _fits(_some(blocks[whole]), saved.table)


def _of_pixels(rgb: Picture, blocks: Array, shifted: Array, lossless: bool) -> Array:
    """The log odds where no table is known, on a grid that starts at the first pixel; `lossless`: and none came last."""
    usable = clipped(rgb) == 0
    nothing = np.zeros(usable.shape, np.float32)
    if usable.sum() < LEAST_BLOCKS:
        return nothing
    steps = estimate_steps(blocks[usable])
    if (steps > 1).sum() < LEAST_STEPS:
        return nothing
    last = None if lossless else _last_table(blocks, shifted, steps, usable)
    if last is None:
        return _by_residual(blocks, shifted, steps, usable)
    odds = _doubly(rgb, blocks, shifted, last)
    # Where a small part was pasted since, nearly all blocks fit as well.
    return odds if odds.any() else _by_residual(blocks, shifted, last, usable, spared=SPARED)


def _doubly(rgb: Picture, blocks: Array, shifted: Array, table: Numbers) -> Array:
    """The log odds where `table` was the last of two."""
    trust, shifted_trust = (np.clip(1 - clipped(one, margin=MARGIN) / CLIPPED, 0, 1) for one in (rgb, beside(rgb)))
    return once_only(blocks, shifted, table, trust, shifted_trust)


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
        possible = [step for step in STEPS if step / 2 <= largest]
        if possible:
            found = mixture_gains(_ratios(values, possible))
            best = int(found.argmax())
            if found[best] > LEAST_GAIN:
                steps[frequency], gains[frequency] = possible[best], found[best]
    weights = np.minimum(gains, 200) * (steps > 1)
    if weights.any():
        tables = _standard_tables()
        counted = weights * (tables <= STEPS[-1])  # of a larger step only divisors can have been found
        agreement = ((tables == steps) * counted).sum(1) / np.maximum(counted.sum(1), LEAST_GAIN)
        if agreement.max() > ALIKE:
            steps = _likeliest(blocks, tables[agreement == agreement.max()])
        elif _stretched(blocks, steps):
            steps = np.ones(64)
    return steps


def _likeliest(blocks: Array, tables: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of T x 64 tables that share the steps which are known, the one that explains the other coefficients of N x 64 best."""
    unlike = np.flatnonzero((tables != tables[0]).any(0) & (np.arange(64) > 0))
    gains = sum(mixture_gains(_ratios(blocks[:, at].astype(float), tables[:, at])) for at in unlike)
    chosen = tables[int(np.argmax(gains))].copy()
    chosen[0] = 1
    return np.asarray(chosen)


def _stretched(blocks: Array, steps: Numbers) -> bool:
    """Whether steps that are no whole numbers explain the coefficients better: the picture's contrast was changed since."""
    found = np.flatnonzero(steps > 1)
    better = 0
    for frequency in found:
        values, whole = blocks[:, frequency], float(steps[frequency])
        as_found, *others = mixture_gains(_ratios(values, [whole + part / 10 for part in (0, -4, -3, -2, 2, 3, 4)]))
        better += max(others) > as_found + BETTER
    return better > STRETCHED * len(found)


def _ratios(values: Numbers, steps: Sequence[float] | Numbers) -> Numbers:
    """p(coefficient | multiples of a step and rounding) / p(coefficient | anything), given the nearest multiple, of S steps: S x N.

    Near 0 a coefficient that fits says nothing: it may come from a flat block.
    """
    each = np.asarray(steps, float)[:, None]
    apart = each.astype(values.dtype)
    nearest = np.round(values / apart)
    away = (values - nearest * apart) / NOISE
    ratios = (1 - OUTLIERS) * each / (NOISE * np.sqrt(2 * np.pi)) * np.exp(-(away**2) / 2) + OUTLIERS
    return np.asarray(np.where(nearest == 0, np.minimum(ratios, 1), ratios))


def _by_residual(blocks: Array, shifted: Array, steps: Numbers, usable: npt.NDArray[np.bool_], spared: int = 0) -> Array:
    """Log odds that a block did not pass the table; 0 where unknown, and everywhere where too few passed.

    `spared` frequencies of each block, those that fit least, are not counted.
    """
    here, elsewhere = _residual(blocks, steps, spared), np.sqrt(around(_residual(shifted, steps, spared) ** 2, usable.shape))
    x, expected = np.log(np.maximum(here, 0.02)), np.log(np.maximum(elsewhere, V_LEAST))
    same = -((np.maximum(x - np.log(E_PASSED), 0) / E_SPREAD) ** 2) / 2 - np.log(E_SPREAD)
    other = -(((x - expected) / V_SPREAD) ** 2) / 2 - np.log(V_SPREAD)
    ratio = np.clip(same - other, -8, 4)
    ratio[(elsewhere < FLAT) & (here < 2 * E_PASSED)] = 0
    ratio[~usable] = np.maximum(ratio[~usable], 0)  # clipping can only have made them fit less
    # Neighbours have the same history, and a wide mean would carry a strong word far over the edge of what was pasted.
    odds: Array = (-WEIGHT * ndimage.gaussian_filter(ratio, SMOOTH)).astype(np.float32)
    passed, deviating, known = (ratio > 1).mean(), (odds > DEVIATING).mean(), ratio != 0
    worth = passed > PASSED and deviating > DEVIATING_SHARE and (odds[known] > 0).mean() < MINORITY
    telling = usable & (elsewhere > 2 * E_PASSED)
    worth = worth and _exact(here[telling])
    worth = worth and not fades(odds, _agreement(here, elsewhere), telling.astype(float), NEAR, STEP)
    return odds if worth else np.zeros(usable.shape, np.float32)


def _agreement(here: Numbers, elsewhere: Numbers) -> Numbers:
    """1 where e of a block is that of one which passed, 0 where it is that of the shifted grid, by their logarithms.

    Bounded, for `outline.py` takes means, and one block with an e of nothing would outweigh many.

    Args:
        here, elsewhere: R x C, e of the blocks and of those beside them, grey levels.
    """
    strange = np.log(np.maximum(elsewhere, 2 * E_PASSED))
    return np.asarray(np.clip((strange - np.log(np.maximum(here, 0.02))) / (strange - np.log(E_PASSED)), -0.5, 1.2))


def _exact(residuals: Numbers) -> bool:
    """Whether most textured blocks passed a table, by their e, or some so exactly as only the rounding of pixels is.

    Else tones were changed since: a curve bends the multiples of a step, those of strong textures most.
    """
    passed = residuals[residuals < 1.5 * E_PASSED]
    return len(passed) > EXACT_SHARE * len(residuals) or (len(passed) > 0 and float(np.median(passed)) < EXACT)


def _residual(blocks: Array, steps: Numbers, spared: int = 0) -> Numbers:
    """e of the module's text: ... x 64 coefficients -> ..., grey levels; frequencies whose step is unknown do not count."""
    known = (steps > 1) & (np.arange(64) > 0)  # the mean of a flat block is rounded with its pixels
    flat = blocks.reshape(-1, 64)
    found = np.empty(len(flat))
    for first in range(0, len(flat), TOGETHER):
        values = flat[first : first + TOGETHER, known]
        change = (values - np.round(values / steps[known]) * steps[known]) ** 2
        if spared:
            change = np.partition(change, -spared, axis=-1)[..., :-spared]
        found[first : first + TOGETHER] = np.sqrt(change.sum(-1) / 64)
    return found.reshape(blocks.shape[:-1])


def _last_table(blocks: Array, shifted: Array, steps: Numbers, usable: npt.NDArray[np.bool_]) -> Numbers | None:
    """The coarsest table that (nearly) all blocks fit and others would not; None: there is none, as after a save without loss.

    Args:
        blocks, shifted: R x C x 64 and r x c x 64 coefficients on the grid and beside it.
        steps: what the coefficients are multiples of; where they were quantised twice, mostly by the first.
        usable: R x C, blocks that were not clipped.
    """
    rows, columns = shifted.shape[:2]
    within = usable[:rows, :columns]
    if within.sum() < LEAST_BLOCKS // 2:
        return None
    some, others = _some(blocks[:rows, :columns][within]), _some(shifted[within])  # the same places
    table: Numbers
    for table in (steps, *_standard_tables()):
        flat = _residual(others, table) <= 2 * E_PASSED  # such blocks fit any table
        if (~flat).mean() > TELLING and _fits(some[~flat], table):
            return table
    return None


def _fits(blocks: Array, table: Numbers) -> bool:
    """Whether (nearly) all of some blocks, N x 64, fit a table."""
    return bool(np.quantile(_residual(blocks, table), FITTING) < FIT)


def _tells(shifted: Array, table: Numbers) -> bool:
    """Whether blocks beside the grid, N x 64, as if never quantised, would not fit a table."""
    return bool((_residual(shifted, table) > 2 * E_PASSED).mean() > TELLING)


def _some(blocks: Array) -> Array:
    """... x 64 -> FEW x 64 at most, of places that depend on the number of blocks alone."""
    flat = blocks.reshape(-1, 64)
    return flat if len(flat) <= FEW else flat[np.random.default_rng(SEED).choice(len(flat), FEW, replace=False)]


@cache
def _standard_tables() -> npt.NDArray[np.float64]:
    """100 x 64: the luma tables of qualities 1 to 100, row by row."""
    return np.array([quantization_table(quality) for quality in range(1, 101)], float).reshape(100, 64)
