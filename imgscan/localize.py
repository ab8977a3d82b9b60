"""Localize: from clusters of cells to forged pixels of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

from imgscan.errors import InputError
from imgscan.records import Box, Clusters, Evidence, Features, Map, Mask, Part, Region, Sought, Twins
from imgscan.typed import within

FOUND = 0.5
"""What a detector has found and is less sure of is not marked."""
ODDS = 5.0
"""By how much the networks have to suspect one of two equal parts more than the other to tell the copy from its source."""
NOTHING = Sought()
JPEG, JPEG_SHARE = 1.0, 0.1  # nats that so many pixels of a region have gained, for its JPEG history to speak for it
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
    """The largest cluster is pristine, every other one forged (FOCAL, section 3.2); a mask head's own probability goes before that.

    `probability` ranks pixels by how far their feature is from the centre of the pristine cluster, (1 - cosine) / 2, and exists
    also where nothing is marked.  The released code has no such map (it answers 0 or 255); this one is ours.  A region of clusters
    is as strong as its pixels are far, less CONTROL of how far they are in the control, where the features have one, on the scale
    of the settings.

    Args:
        features: D x h x w, what was clustered.
        clusters: of the same grid.
        height, width: of the picture, pixels.
        settings: what is too weak or too small to be marked.
        found: what is there twice only adds: marks of its own, and a higher probability where it has one.  Log odds are added to
            those of a mask head; where clusters decide, they too only add.  Where the features have a verdict, it decides which
            regions count and how strong they are, and the probability how far they reach.
        speaks: what it is evidence of when the features alone mark something.
        drawn: how far the picture looks drawn, 0..1; in one that does nothing is marked, for nothing that judges was made for such.
    """
    weighed = [enlarge(one.values, one.cell, height, width, one.corner) for one in found.odds]
    odds = np.asarray(np.sum(weighed, axis=0), np.float32) if weighed else None
    verdict = None
    if features.probability is not None:
        probability = _weighed(features.probability, odds, height, width)
        verdict = None if features.verdict is None else _weighed(features.verdict, odds, height, width)
        part, suspicion = probability > settings.threshold, probability
    else:
        pristine = torch.from_numpy(clusters.labels == 0)
        # What was fused as the released code fuses is longer than 1.
        vectors = F.normalize(features.vectors, dim=0) if settings.grey else features.vectors
        distance = _distance(vectors, pristine)
        probability = suspicion = enlarge(distance, features.cell, height, width)
        if features.control is not None:
            traces = (distance - CONTROL * _distance(features.control, pristine)).clamp(min=0)
            suspicion = enlarge(traces, features.cell, height, width)
        outside = clusters.labels > 0
        part = np.zeros((height, width), bool)
        if 0 < outside.mean() <= settings.share:
            level = 127 / 255 if settings.grey else 0.5
            part = enlarge(torch.from_numpy(outside).float(), features.cell, height, width) > level
    most = round(settings.peak * height * width)

    def strength(values: npt.NDArray[np.float32]) -> float:
        own = region_strength(values, most)
        return settings.scaled(own) if features.probability is None else own

    if verdict is None:
        regions = _regions(part, suspicion, settings, strength)
    else:
        regions = _around(part, _regions(verdict > settings.threshold, verdict, settings, strength))
    copied = copies(found.twins, probability)
    scores = np.zeros((height, width), np.float32)
    for one in copied:
        scores[one.part.box] = np.where(one.part.inside, np.maximum(scores[one.part.box], one.score), scores[one.part.box])
    sure = [one for one in copied if one.score > FOUND]
    if odds is not None and features.probability is None:
        scores = np.maximum(scores, np.where(odds > 0, _logistic(odds), 0))
    # A score already counts the pixels; of a camera file's megapixels those of a thing that was cloned are a small share.
    enough = _union([_largest(one.part) for one in sure], (height, width))
    alone = _regions(scores > FOUND, scores, settings, lambda values: float(values.max()), enough)
    added = _strong(alone, settings.strength, together=False)
    # `strength` is for pictures of which nothing else is known; what a detector marked says already why this one is suspect.
    marked = _strong(regions, max(settings.strength, settings.beside) if added else settings.strength, settings.together)
    seen = marked
    if odds is not None and features.probability is not None:  # what the heads alone say of it
        own = _weighed(features.verdict or features.probability, None, height, width)
        seen = [one for one in marked if region_strength(own[one.box][one.inside], most) > FOUND]
    regions, marked, probability = regions + alone, marked + added, np.maximum(probability, scores)
    if not settings.judges(drawn):
        return replace(unjudged(height, width), probability=probability)
    strongest = max((region.strength for region in regions), default=0.0)
    return replace(_mask(probability, marked, _Reasons(speaks, _union(seen, (height, width)), odds, sure)), strongest=strongest)


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


@dataclass(frozen=True)
class Copied:
    """A part that equals another one and is taken for forged."""

    part: Part
    twin: Part
    score: float  # 0..1


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
    enough: npt.NDArray[np.bool_] | None = None,
) -> list[_Marked]:
    """The connected regions of `part` that are large enough or hold a pixel of `enough`, each as strong as its `values` make it."""
    return [
        _Marked(strength(values[box][inside]), box, inside)
        for box, inside in _connected(part)
        if inside.sum() >= settings.smallest * part.size or (enough is not None and (enough[box] & inside).any())
    ]


def _around(part: npt.NDArray[np.bool_], seeds: Sequence[_Marked]) -> list[_Marked]:
    """The connected regions of `part` that hold some of the seeds, each as strong as the strongest of its own."""
    numbered, _ = ndimage.label(part)
    strengths: dict[int, float] = {}
    for seed in seeds:
        number = int(numbered[seed.box][seed.inside].max())
        strengths[number] = max(seed.strength, strengths.get(number, 0.0))
    boxes = ndimage.find_objects(numbered)
    return [_Marked(strength, boxes[n - 1], numbered[boxes[n - 1]] == n) for n, strength in sorted(strengths.items()) if n]


def _connected(part: npt.NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.bool_]]]:
    numbered, _ = ndimage.label(part)
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        yield box, numbered[box] == number


def _strong(regions: Sequence[_Marked], least: float, together: bool) -> list[_Marked]:
    """Those that are at least so strong; `together`: all, if one of them is."""
    strongest = max((region.strength for region in regions), default=0.0)
    return [region for region in regions if (strongest if together else region.strength) >= least]


@dataclass(frozen=True)
class _Reasons:
    """What speaks for a region."""

    speaks: Evidence
    seen: npt.NDArray[np.bool_]  # H x W: where the features do
    odds: npt.NDArray[np.float32] | None  # H x W, nats
    copied: Sequence[Copied]

    def of(self, box: tuple[slice, slice], inside: npt.NDArray[np.bool_]) -> tuple[tuple[Evidence, ...], Box | None]:
        """The evidence for a region, and what equals it: of the largest copy in it, the twin's largest piece."""
        evidence: list[Evidence] = []
        if (self.seen[box] & inside).any():
            evidence.append(self.speaks)
        if self.odds is not None and (gained := self.odds[box][inside]).mean() > 0 and (gained > JPEG).mean() > JPEG_SHARE:
            evidence.append("jpeg")
        shared = [(_shared(box, inside, one.part), one) for one in self.copied]
        within = [(pixels, one) for pixels, one in shared if 2 * pixels > one.part.inside.sum()]
        if within:
            evidence.append("copy")
        twin = None
        if within:  # the box of all pieces would be that of the specks around them
            twin = _corners(_largest(max(within, key=lambda pair: pair[0])[1].twin).box)
        # Too little of each, enough together.
        return tuple(dict.fromkeys(evidence)) or (self.speaks,), twin


def _shared(box: tuple[slice, slice], inside: npt.NDArray[np.bool_], part: Part) -> int:
    """Pixels that a region and a part have in common."""
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, part.box, strict=True))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0

    def cut(where: tuple[slice, slice], pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        top, left = where[0].start, where[1].start
        return pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    return int((cut(box, inside) & cut(part.box, part.inside)).sum())


def _corners(box: tuple[slice, slice]) -> Box:
    return box[1].start, box[0].start, box[1].stop, box[0].stop


def _union(marked: Sequence[_Marked | Part], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    whole = np.zeros(shape, bool)
    for one in marked:
        whole[one.box] |= one.inside
    return whole


def _mask(probability: npt.NDArray[np.float32], marked: Sequence[_Marked], reasons: _Reasons) -> Mask:
    """Regions as a mask; those that touch become one, as strong as the strongest."""
    strengths = np.zeros(probability.shape)
    forged = _union(marked, probability.shape)
    for one in marked:
        strengths[one.box] = np.where(one.inside, np.maximum(strengths[one.box], one.strength), strengths[one.box])
    regions = []
    for box, inside in _connected(forged):
        evidence, twin = reasons.of(box, inside)
        strength = float(strengths[box][inside].max())
        regions.append(Region(_corners(box), int(inside.sum()), strength, evidence, twin))
    regions.sort(key=lambda r: (-r.strength, r.box))
    equal = [piece for one in reasons.copied if _marks(forged, one.part) for piece in _pieces(one.twin)]
    shown = [piece for piece in equal if not _marks(forged, piece)]
    sources = None
    if shown:
        sources = np.zeros(probability.shape, bool)
        for part in shown:
            sources[part.box] |= part.inside
    return Mask(probability, forged, tuple(regions), sources)


def _pieces(part: Part) -> list[Part]:
    """Its connected pieces."""
    top, left = part.box[0].start, part.box[1].start
    return [
        Part((slice(rows.start + top, rows.stop + top), slice(columns.start + left, columns.stop + left)), inside)
        for (rows, columns), inside in _connected(part.inside)
    ]


def _largest(part: Part) -> Part:
    """Its largest connected piece."""
    return max(_pieces(part), key=lambda piece: piece.inside.sum(), default=part)


def _marks(forged: npt.NDArray[np.bool_], part: Part) -> bool:
    """Whether most of a part is marked."""
    return bool(2 * forged[part.box][part.inside].sum() > part.inside.sum())


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
