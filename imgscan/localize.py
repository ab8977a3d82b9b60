"""Localize: from clusters of cells to forged pixels of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

from imgscan.records import Clusters, Features, Mask, Region


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


def localize(features: Features, clusters: Clusters, height: int, width: int, settings: LocalizeSettings) -> Mask:
    """The largest cluster is pristine, every other one forged (FOCAL, section 3.2); a mask head's own probability goes before that.

    `probability` ranks pixels by how far their feature is from the centre of the pristine cluster, (1 - cosine) / 2, and exists
    also where nothing is marked.  The released code has no such map (it answers 0 or 255); this one is ours.

    Args:
        features: D x h x w, what was clustered.
        clusters: of the same grid.
        height, width: of the picture, pixels.
        settings: what is too weak or too small to be marked.
    """
    if features.probability is not None:
        probability = enlarge(features.probability.values, features.probability.cell, height, width)
        return _marked(probability, probability > settings.threshold, settings, settings.peak, settings.together)
    pristine = torch.from_numpy(clusters.labels == 0)
    # What was fused as the released code fuses is longer than 1.
    vectors = F.normalize(features.vectors, dim=0) if settings.grey else features.vectors
    centre = F.normalize(vectors[:, pristine].mean(1), dim=0)
    distance = ((1 - torch.einsum("dhw,d->hw", vectors, centre)) / 2).clamp(0, 1)
    probability = enlarge(distance, features.cell, height, width)
    outside = clusters.labels > 0
    part = np.zeros((height, width), bool)
    if 0 < outside.mean() <= settings.share:
        level = 127 / 255 if settings.grey else 0.5
        part = enlarge(torch.from_numpy(outside).float(), features.cell, height, width) > level
    return _marked(probability, part, settings)


def _marked(
    probability: npt.NDArray[np.float32],
    part: npt.NDArray[np.bool_],
    settings: LocalizeSettings,
    peak: float = 0.0,
    together: bool = False,
) -> Mask:
    """The connected regions of `part` that are strong and large enough; `together`: all of those, if one of them is strong."""
    found: list[tuple[Region, tuple[slice, slice], npt.NDArray[np.bool_]]] = []
    numbered, _ = ndimage.label(part)
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        inside = numbered[box] == number
        area = int(inside.sum())
        if area < settings.smallest * part.size:
            continue
        strength = region_strength(probability[box][inside], round(peak * part.size))
        corners = (box[1].start, box[0].start, box[1].stop, box[0].stop)
        found.append((Region(box=corners, area=area, strength=strength), box, inside))
    strongest = max((region.strength for region, _, _ in found), default=0.0)
    forged = np.zeros(part.shape, bool)
    regions = []
    for region, box, inside in found:
        if (strongest if together else region.strength) >= settings.strength:
            forged[box] |= inside
            regions.append(region)
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
