"""Whether what deviates in a picture ends at an outline, as a pasted part does, or fades into the rest, as an edit of the whole.

A vignette, a graduated filter, a haze or a light leak leave the middle of a picture as it was and change the rest by and by.  There
the multiples of a quantisation step are no multiples any more, as in a pasted part; but there is no place where that begins.  With
a(b) how much block b is like blocks that passed the compression in question (1) and like those that did not (0), the step at the
outline is

    (mean of a just outside what deviates - mean inside, 0 at least) / mean of a far from it

1 where one thing ends and another begins, and little where blocks near the outline are half changed themselves, or those inside are
not quite strange.  The agreement is each detector's own (`adq.py`, `double_quantisation.py`).  Ours; the bounds were
chosen on vignettes, gradients and light leaks, and on parts pasted into photographs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.detectors.jpeg_blocks import Numbers

DEVIATING = 3.0  # nats for "another history" from which on a block deviates
FAR = 8  # blocks from what deviates; where there is none, all that is not near
FEWEST = 5  # blocks that a mean needs


def fades(odds: Numbers, agreement: Numbers, weight: Numbers, near: tuple[int, int], least: float) -> bool:
    """Whether the step at the outline of what deviates is less than `least`; False where too few blocks tell.

    Args:
        odds: R x C, log odds of blocks; what exceeds DEVIATING deviates.
        agreement: R x C, a of the module's text.
        weight: R x C, >= 0, how much a block tells.
        near: blocks, the least and the greatest distance (in rows or columns, whichever is more) of what is just outside.
        least: 0..1.
    """
    deviating = odds > DEVIATING
    if not deviating.any():
        return False
    distance = ndimage.distance_transform_cdt(~deviating, "chessboard")
    inside = _mean(agreement, weight, deviating)
    outside = _mean(agreement, weight, (distance >= near[0]) & (distance <= near[1]))
    far = _mean(agreement, weight, distance >= FAR)
    if far is None:
        far = _mean(agreement, weight, distance > near[1])
    if inside is None or outside is None or far is None:
        return False
    return outside - max(inside, 0.0) < least * far


def _mean(values: Numbers, weight: Numbers, where: npt.NDArray[np.bool_]) -> float | None:
    """The weighted mean of some blocks; None where too few tell."""
    weights = weight[where]
    return None if (weights > 0).sum() < FEWEST else float((values[where] * weights).sum() / weights.sum())
