"""Localize: from clusters of cells to forged pixels of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from imgscan.errors import InputError
from imgscan.frame import cut
from imgscan.marks import Copied, Marked, Reasons, around, as_mask, connected_regions, largest, moved, strong, union
from imgscan.records import Box, Clusters, Evidence, Features, Map, Mask, Sought, Twins
from imgscan.typed import within

FOUND = 0.5
"""What a detector has found and is less sure of is not marked."""
ODDS = 5.0
"""By how much the networks have to suspect one of two equal parts more than the other to tell the copy from its source."""
NOTHING = Sought()
WITHHELD = "looks drawn or typeset (a screenshot, a page, a chart), not photographed"
CONTROL = 0.5  # this share of what tells clusters apart in the control counts against them, for it is what is pictured
SURE = 1e-4  # probabilities nearer to 0 or 1 count as that far from it


@dataclass(frozen=True)
class LocalizeSettings:
    """[localize] of a weights card; InputError for what is no share or score."""

    strength: float = 0.0  # regions weaker than this are not marked; the lowest operating point, where some were measured
    smallest: float = 0.002  # regions smaller than this share of the picture are not marked, but for what is there twice
    share: float = 0.5  # forged clusters that together cover more of the picture than this are content, not forgery: not marked
    grey: bool = False  # mark a pixel as the released FOCAL code does, whose enlarged map of 0 and 255 must exceed 127
    threshold: float = 0.5  # of a mask head's probability: where regions begin
    peak: float = 0.0  # a region is as strong as its strongest pixels, as many as this share of the picture; 0: as all of them
    platt: tuple[float, ...] = ()  # a, b: a region of clusters is as strong as sigmoid(a x + b) of its distance x; (): as x
    together: bool = False  # where one region is strong enough, the weaker ones are marked too
    drawn: float = 1.0  # pictures that look drawn by so much or more (drawn.py) are not marked; 1: all are judged
    beside: float = 0.0  # in place of `strength`, if more, beside what a detector alone has marked; the operating point `likely`

    def __post_init__(self) -> None:
        within(self, 0, 1, "strength", "smallest", "share", "threshold", "peak", "drawn", "beside")
        if self.platt and (len(self.platt) != 2 or self.platt[0] <= 0):
            raise InputError(f"platt is {list(self.platt)}; wanted two numbers, of which the first is more than 0")

    def scaled(self, distance: float) -> float:
        """The strength, 0..1, of a region of clusters at a distance, 0..1: on the scale of what else marks (Platt, 1999)."""
        if not self.platt:
            return distance
        slope, offset = self.platt
        return (1 + math.tanh((slope * distance + offset) / 2)) / 2  # the logistic function, which does not overflow

    def judges(self, drawn: float) -> bool:
        """Whether a picture that looks drawn by so much, 0..1, is judged."""
        return self.drawn >= 1 or drawn < self.drawn


@dataclass(frozen=True)
class Area:
    """What is judged on its own: a picture, or a panel of one."""

    features: Features  # D x h x w, what was clustered
    clusters: Clusters  # of the same grid
    odds: tuple[Map, ...] = ()  # what weight-free detectors add
    box: Box | None = None  # of the picture; None: all


def localize(
    features: Features,
    clusters: Clusters,
    height: int,
    width: int,
    settings: LocalizeSettings,
    found: Sought = NOTHING,
    speaks: Evidence = "pixels",
    drawn: float = 0.0,
) -> Mask:
    """Localize in a picture that is judged as one: see localize_areas."""
    return localize_areas([Area(features, clusters, found.odds)], height, width, settings, found.twins, speaks, drawn)


def localize_areas(
    areas: Sequence[Area],
    height: int,
    width: int,
    settings: LocalizeSettings,
    twins: Sequence[Twins] = (),
    speaks: Evidence = "pixels",
    drawn: float = 0.0,
) -> Mask:
    """The largest cluster is pristine, every other one forged (FOCAL, section 3.2); a mask head's own probability goes before that.

    `probability` ranks pixels by how far their feature is from the centre of the pristine cluster, (1 - cosine) / 2, and exists
    also where nothing is marked.  The released code has no such map (it answers 0 or 255); this one is ours.  A region of clusters
    is as strong as its pixels are far, less CONTROL of how far they are in the control, where the features have one, on the scale
    of the settings.

    Args:
        areas: each is judged as if it were all: shares are of its own pixels.  Log odds are added to those of a mask head; where
            clusters decide, they only add.  Where the features have a verdict, it decides which regions count and how strong they
            are, and the probability how far they reach.
        height, width: of the picture, pixels; what is in no area is not probable.
        settings: what is too weak or too small to be marked.
        twins: what is there twice only adds: marks of its own, and a higher probability where it has one; a copy and its source may
            lie in two areas.
        speaks: what it is evidence of when the features alone mark something.
        drawn: how far the picture looks drawn, 0..1; in one that does nothing is marked, for nothing that judges was made for such.
    """
    suspected = [_suspected(one, height, width, settings) for one in areas]
    headed = all(one.features.probability is not None for one in areas)
    probability = _pasted([(one.box, one.probability) for one in suspected], height, width)
    weighed = [(one.box, one.odds) for one in suspected if one.odds is not None]
    odds = _pasted(weighed, height, width) if weighed else None
    copied = copies(twins, probability)
    scores = np.zeros((height, width), np.float32)
    for one in copied:
        scores[one.part.box] = np.where(one.part.inside, np.maximum(scores[one.part.box], one.score), scores[one.part.box])
    sure = [one for one in copied if one.score > FOUND]
    if odds is not None and not headed:
        scores = np.maximum(scores, np.where(odds > 0, _logistic(odds), 0))
    # A score already counts the pixels; of a camera file's megapixels those of a thing that was cloned are a small share.
    enough = union([largest(one.part) for one in sure], (height, width))
    alone = connected_regions(scores > FOUND, scores, settings.smallest, lambda values: float(values.max()), enough)
    added = strong(alone, settings.strength, together=False)
    # `strength` is for pictures of which nothing else is known; what a detector marked says already why this one is suspect.
    least = max(settings.strength, settings.beside) if added else settings.strength
    regions, marked, seen = [*alone], [*added], []
    for area in suspected:
        own = strong(area.regions, least, settings.together)
        heads_alone = own
        if area.said is not None:
            said = area.said()
            heads_alone = [one for one in own if region_strength(said[one.box][one.inside], area.most) > FOUND]
        regions += [moved(one, area.box) for one in area.regions]
        marked += [moved(one, area.box) for one in own]
        seen += [moved(one, area.box) for one in heads_alone]
    probability = np.maximum(probability, scores)
    if not settings.judges(drawn):
        return replace(unjudged(height, width), probability=probability)
    strongest = max((region.strength for region in regions), default=0.0)
    reasons = Reasons(speaks, union(seen, (height, width)), odds, sure)
    return replace(as_mask(probability, marked, reasons), strongest=strongest)


@dataclass(frozen=True)
class _Suspected:
    """What the features of an area, and log odds, say of it."""

    box: Box | None  # of the picture; None: all
    probability: npt.NDArray[np.float32]  # of its pixels
    odds: npt.NDArray[np.float32] | None
    regions: Sequence[Marked]  # in it, also those too weak to be marked
    most: int  # pixels that make a region strong; 0: all
    said: Callable[[], npt.NDArray[np.float32]] | None  # what mask heads say without the odds; None: there are none, or no odds


def _suspected(area: Area, height: int, width: int, settings: LocalizeSettings) -> _Suspected:
    """What is suspected in an area of a picture, height x width."""
    features = area.features
    if area.box is not None:
        height, width = area.box[3] - area.box[1], area.box[2] - area.box[0]
    weighed = [enlarge(one.values, one.cell, height, width, one.corner) for one in area.odds]
    odds = np.asarray(np.sum(weighed, axis=0), np.float32) if weighed else None
    verdict = said = None
    if features.probability is not None:
        probability = _weighed(features.probability, odds, height, width)
        verdict = None if features.verdict is None else _weighed(features.verdict, odds, height, width)
        part, suspicion = probability > settings.threshold, probability
        if odds is not None:
            said = partial(_weighed, features.verdict or features.probability, None, height, width)
    else:
        pristine = torch.from_numpy(area.clusters.labels == 0)
        # What was fused as the released code fuses is longer than 1.
        vectors = F.normalize(features.vectors, dim=0) if settings.grey else features.vectors
        distance = _distance(vectors, pristine)
        probability = suspicion = enlarge(distance, features.cell, height, width)
        if features.control is not None:
            traces = (distance - CONTROL * _distance(features.control, pristine)).clamp(min=0)
            suspicion = enlarge(traces, features.cell, height, width)
        outside = area.clusters.labels > 0
        part = np.zeros((height, width), bool)
        if 0 < outside.mean() <= settings.share:
            level = 127 / 255 if settings.grey else 0.5
            part = enlarge(torch.from_numpy(outside).float(), features.cell, height, width) > level
    most = round(settings.peak * height * width)

    def strength(values: npt.NDArray[np.float32]) -> float:
        own = region_strength(values, most)
        return settings.scaled(own) if features.probability is None else own

    if verdict is None:
        regions = connected_regions(part, suspicion, settings.smallest, strength)
    else:
        regions = around(part, connected_regions(verdict > settings.threshold, verdict, settings.smallest, strength))
    return _Suspected(area.box, probability, odds, regions, most, said)


def _pasted(parts: Sequence[tuple[Box | None, npt.NDArray[np.float32]]], height: int, width: int) -> npt.NDArray[np.float32]:
    """Maps of parts of a picture as one of the whole, height x width; 0 where there is none."""
    if len(parts) == 1 and parts[0][0] is None:
        return parts[0][1]
    whole = np.zeros((height, width), np.float32)
    for box, own in parts:
        cut(whole, box)[:] = own
    return whole


def unjudged(height: int, width: int) -> Mask:
    """The mask, height x width, of a picture that looks drawn: of what is not judged nothing is known."""
    return Mask(np.zeros((height, width), np.float32), np.zeros((height, width), bool), (), withheld=WITHHELD)


def placed(mask: Mask, inside: Box, height: int, width: int) -> Mask:
    """The mask of the part of a picture that lies within a box, as one of the whole; outside nothing is marked, nor probable.

    Args:
        mask: of the part.
        inside: the box, pixels.
        height, width: of the picture, pixels.
    """
    left, top, right, bottom = inside
    around = ((top, height - bottom), (left, width - right))

    def moved(box: Box) -> Box:
        return box[0] + left, box[1] + top, box[2] + left, box[3] + top

    return replace(
        mask,
        probability=np.pad(mask.probability, around),
        forged=np.pad(mask.forged, around),
        regions=tuple(replace(one, box=moved(one.box), twin=one.twin and moved(one.twin)) for one in mask.regions),
        sources=None if mask.sources is None else np.pad(mask.sources, around),
    )


def copies(found: Sequence[Twins], probability: npt.NDArray[np.float32]) -> list[Copied]:
    """Both parts of what is there twice, or where the networks tell which is the copy, that one.

    They tell it where the odds that they give the two parts (their mean logits) differ by ODDS or more: a copy that was scaled or
    saved in between is different from its surroundings, its source is not.
    """
    copied = []
    for twins in found:
        odds = [_logit(probability[part.box][part.inside]) for part in twins.parts]
        for part, twin, own in zip(twins.parts, twins.parts[::-1], odds, strict=True):
            if own > max(odds) - math.log(ODDS):
                copied.append(Copied(part, twin, twins.score))
    return copied


def _distance(vectors: torch.Tensor, pristine: torch.Tensor) -> torch.Tensor:
    """How far each of D x h x w vectors is from the centre of the pristine cells (h x w), (1 - cosine) / 2."""
    centre = F.normalize(vectors[:, pristine].mean(1), dim=0)
    return ((1 - torch.einsum("dhw,d->hw", vectors, centre)) / 2).clamp(0, 1)


def _weighed(said: Map, odds: npt.NDArray[np.float32] | None, height: int, width: int) -> npt.NDArray[np.float32]:
    """A mask head's probability in pixels, with log odds added to it."""
    probability = enlarge(said.values, said.cell, height, width)
    return probability if odds is None else _logistic(_logits(probability) + odds)


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


def region_strength(values: npt.NDArray[np.float32], most: int) -> float:
    """The mean of the `most` highest probabilities of a region (0: of all); what a smaller region lacks counts as 0."""
    if not most:
        return float(values.mean())
    highest = np.partition(values, -most)[-most:] if len(values) > most else values
    return float(highest.sum() / most)


def enlarge(
    cells: torch.Tensor, cell: tuple[float, float], height: int, width: int, corner: tuple[int, int] = (0, 0)
) -> npt.NDArray[np.float32]:
    """A map of cells, h x w, as one of pixels, height x width: bilinear between the cells' centres.

    The cells may reach a little over the picture's edge (padding) or stop short of it; their size in pixels and the row and column
    where the first one begins say where they lie.
    """
    top, left = corner
    rows, columns = cells.shape
    full = round(rows * cell[0]), round(columns * cell[1])
    large = F.interpolate(cells[None, None].float(), size=full, mode="bilinear", align_corners=False)[0, 0]
    over = (left, max(0, width - left - full[1]), top, max(0, height - top - full[0]))
    if any(over):
        large = F.pad(large[None, None], over, mode="replicate")[0, 0]
    return np.ascontiguousarray(large[:height, :width].numpy())
