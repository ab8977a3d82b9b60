"""Localize: from clusters of cells to forged pixels of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

from imgscan.records import Clusters, Features, Mask, Region, Sought, Twins

FOUND = 0.5
"""What a detector has found and is less sure of is not marked."""
ODDS = 5.0
"""By how much the networks have to suspect one of two equal parts more than the other to tell the copy from its source."""
NOTHING = Sought()
SURE = 1e-4  # probabilities nearer to 0 or 1 count as that far from it


@dataclass(frozen=True)
class LocalizeSettings:
    """[localize] of a weights card."""

    strength: float = 0.0  # regions weaker than this are not marked; the lowest operating point, where some were measured
    smallest: float = 0.002  # regions smaller than this share of the picture are not marked
    share: float = 0.5  # forged clusters that together cover more of the picture than this are content, not forgery: not marked
    grey: bool = False  # mark a pixel as the released FOCAL code does, whose enlarged map of 0 and 255 must exceed 127
    # Of a mask head only:
    threshold: float = 0.5  # of its probability: where regions begin
    peak: float = 0.0  # a region is as strong as its strongest pixels, as many as this share of the picture; 0: as all of them
    together: bool = False  # where one region is strong enough, the weaker ones are marked too


def localize(
    features: Features,
    clusters: Clusters,
    height: int,
    width: int,
    settings: LocalizeSettings,
    found: Sought = NOTHING,
) -> Mask:
    """The largest cluster is pristine, every other one forged (FOCAL, section 3.2); a mask head's own probability goes before that.

    `probability` ranks pixels by how far their feature is from the centre of the pristine cluster, (1 - cosine) / 2, and exists
    also where nothing is marked.  The released code has no such map (it answers 0 or 255); this one is ours.

    Args:
        features: D x h x w, what was clustered.
        clusters: of the same grid.
        height, width: of the picture, pixels.
        settings: what is too weak or too small to be marked.
        found: what is there twice only adds: marks of its own, and a higher probability where it has one.  Log odds are added to
            those of a mask head; where clusters decide, they too only add.
    """
    odds = None if found.odds is None else enlarge(found.odds.values, found.odds.cell, height, width)
    if features.probability is not None:
        probability = enlarge(features.probability.values, features.probability.cell, height, width)
        if odds is not None:
            probability = _logistic(_logits(probability) + odds)
        part, peak, together = probability > settings.threshold, settings.peak, settings.together
    else:
        pristine = torch.from_numpy(clusters.labels == 0)
        # What was fused as the released code fuses is longer than 1.
        vectors = F.normalize(features.vectors, dim=0) if settings.grey else features.vectors
        centre = F.normalize(vectors[:, pristine].mean(1), dim=0)
        distance = ((1 - torch.einsum("dhw,d->hw", vectors, centre)) / 2).clamp(0, 1)
        probability = enlarge(distance, features.cell, height, width)
        outside = clusters.labels > 0
        part, peak, together = np.zeros((height, width), bool), 0.0, False
        if 0 < outside.mean() <= settings.share:
            level = 127 / 255 if settings.grey else 0.5
            part = enlarge(torch.from_numpy(outside).float(), features.cell, height, width) > level
    most = round(peak * height * width)
    regions = _strong(_regions(part, probability, settings, lambda values: region_strength(values, most)), settings, together)
    scores = copies(found.twins, probability)
    if odds is not None and features.probability is None:
        scores = np.maximum(scores, np.where(odds > 0, _logistic(odds), 0))
    if not scores.any():
        return _mask(probability, regions)
    alone = _regions(scores > FOUND, scores, settings, lambda values: float(values.max()))  # however small
    return _mask(np.maximum(probability, scores), regions + _strong(alone, settings, together=False))


def copies(found: Sequence[Twins], probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores of what is there twice, H x W, 0..1: of both parts, or where the networks tell which is the copy, of that one.

    They tell it where the odds that they give the two parts (their mean logits) differ by ODDS or more: a copy that was scaled or
    saved in between is different from its surroundings, its source is not.
    """
    scores = np.zeros(probability.shape, np.float32)
    for twins in found:
        odds = [_logit(probability[part.box][part.inside]) for part in twins.parts]
        for part, own in zip(twins.parts, odds, strict=True):
            if own > max(odds) - math.log(ODDS):
                scores[part.box] = np.where(part.inside, np.maximum(scores[part.box], twins.score), scores[part.box])
    return scores


def _logit(values: npt.NDArray[np.float32]) -> float:
    """The mean logit of probabilities; of none, that of 1/2."""
    return float(_logits(values).mean()) if values.size else 0.0


def _logits(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log odds of probabilities, those of SURE at most."""
    sure = values.clip(SURE, 1 - SURE)
    return np.asarray(np.log(sure / (1 - sure)), np.float32)


def _logistic(odds: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of log odds."""
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


@dataclass(frozen=True)
class _Marked:
    """A connected region with its pixels."""

    strength: float
    box: tuple[slice, slice]
    inside: npt.NDArray[np.bool_]


def _regions(
    part: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float32],
    settings: LocalizeSettings,
    strength: Callable[[npt.NDArray[np.float32]], float],
) -> list[_Marked]:
    """The connected regions of `part` that are large enough, each as strong as the `values` in it make it."""
    return [
        _Marked(strength(values[box][inside]), box, inside)
        for box, inside in _connected(part)
        if inside.sum() >= settings.smallest * part.size
    ]


def _connected(part: npt.NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.bool_]]]:
    numbered, _ = ndimage.label(part)
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        yield box, numbered[box] == number


def _strong(regions: Sequence[_Marked], settings: LocalizeSettings, together: bool) -> list[_Marked]:
    """Those that are strong enough; `together`: all, if one of them is."""
    strongest = max((region.strength for region in regions), default=0.0)
    return [region for region in regions if (strongest if together else region.strength) >= settings.strength]


def _mask(probability: npt.NDArray[np.float32], marked: Sequence[_Marked]) -> Mask:
    """Regions as a mask; those that touch become one, as strong as the strongest."""
    strengths = np.zeros(probability.shape)
    forged = np.zeros(probability.shape, bool)
    for one in marked:
        forged[one.box] |= one.inside
        strengths[one.box] = np.where(one.inside, np.maximum(strengths[one.box], one.strength), strengths[one.box])
    regions = []
    for box, inside in _connected(forged):
        corners = (box[1].start, box[0].start, box[1].stop, box[0].stop)
        regions.append(Region(box=corners, area=int(inside.sum()), strength=float(strengths[box][inside].max())))
    regions.sort(key=lambda r: (-r.strength, r.box))
    return Mask(probability, forged, tuple(regions))


def region_strength(values: npt.NDArray[np.float32], most: int) -> float:
    """The mean of the `most` highest probabilities of a region (0: of all); what a smaller region lacks counts as 0."""
    if not most:
        return float(values.mean())
    highest = np.partition(values, -most)[-most:] if len(values) > most else values
    return float(highest.sum() / most)


def enlarge(cells: torch.Tensor, cell: tuple[float, float], height: int, width: int) -> npt.NDArray[np.float32]:
    """A map of cells, h x w, as one of pixels, height x width: bilinear between the cells' centres.

    The cells may reach a little over the picture's edge (padding) or stop short of it; their size in pixels says where they lie.
    """
    rows, columns = cells.shape
    full = round(rows * cell[0]), round(columns * cell[1])
    large = F.interpolate(cells[None, None].float(), size=full, mode="bilinear", align_corners=False)[0, 0]
    over = (0, max(0, width - full[1]), 0, max(0, height - full[0]))
    if any(over):
        large = F.pad(large[None, None], over, mode="replicate")[0, 0]
    return np.ascontiguousarray(large[:height, :width].numpy())
