"""Marks: connected regions of a picture, how strong each is, what speaks for it, and the mask that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.records import Box, Evidence, Mask, Part, Region

JPEG, JPEG_SHARE = 1.0, 0.1  # nats that so many pixels of a region have gained, for its JPEG history to speak for it


@dataclass(frozen=True)
class Copied:
    """A part that equals another one and is taken for forged."""

    part: Part
    twin: Part
    score: float  # 0..1


@dataclass(frozen=True)
class Marked:
    """A connected region with its pixels."""

    strength: float
    box: tuple[slice, slice]
    inside: npt.NDArray[np.bool_]


def connected_regions(
    part: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float32],
    smallest: float,
    strength: Callable[[npt.NDArray[np.float32]], float],
    enough: npt.NDArray[np.bool_] | None = None,
) -> list[Marked]:
    """The connected regions of `part` that are large enough or hold a pixel of `enough`, each as strong as its `values` make it."""
    return [
        Marked(strength(values[box][inside]), box, inside)
        for box, inside in _connected(part)
        if inside.sum() >= smallest * part.size or (enough is not None and (enough[box] & inside).any())
    ]


def around(part: npt.NDArray[np.bool_], seeds: Sequence[Marked]) -> list[Marked]:
    """The connected regions of `part` that hold some of the seeds, each as strong as the strongest of its own."""
    numbered, _ = ndimage.label(part)
    strengths: dict[int, float] = {}
    for seed in seeds:
        number = int(numbered[seed.box][seed.inside].max())
        strengths[number] = max(seed.strength, strengths.get(number, 0.0))
    boxes = ndimage.find_objects(numbered)
    return [Marked(strength, boxes[n - 1], numbered[boxes[n - 1]] == n) for n, strength in sorted(strengths.items()) if n]


def moved(one: Marked, box: Box | None) -> Marked:
    """A region of what lies within a box of the picture (None: all) as one of the picture."""
    if box is None:
        return one
    rows, columns = (slice(part.start + by, part.stop + by) for part, by in zip(one.box, (box[1], box[0]), strict=True))
    return Marked(one.strength, (rows, columns), one.inside)


def _connected(part: npt.NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.bool_]]]:
    numbered, _ = ndimage.label(part)
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        yield box, numbered[box] == number


def strong(regions: Sequence[Marked], least: float, together: bool) -> list[Marked]:
    """Those that are at least so strong; `together`: all, if one of them is."""
    strongest = max((region.strength for region in regions), default=0.0)
    return [region for region in regions if (strongest if together else region.strength) >= least]


@dataclass(frozen=True)
class Reasons:
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
            twin = _corners(largest(max(within, key=lambda pair: pair[0])[1].twin).box)
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


def union(marked: Sequence[Marked | Part], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The pixels of all of them, in a picture of H x W."""
    whole = np.zeros(shape, bool)
    for one in marked:
        whole[one.box] |= one.inside
    return whole


def as_mask(probability: npt.NDArray[np.float32], marked: Sequence[Marked], reasons: Reasons) -> Mask:
    """Regions as a mask; those that touch become one, as strong as the strongest."""
    strengths = np.zeros(probability.shape)
    forged = union(marked, probability.shape)
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
    return Mask(probability, forged, tuple(regions), union(shown, probability.shape) if shown else None)


def _pieces(part: Part) -> list[Part]:
    """Its connected pieces."""
    top, left = part.box[0].start, part.box[1].start
    return [
        Part((slice(rows.start + top, rows.stop + top), slice(columns.start + left, columns.stop + left)), inside)
        for (rows, columns), inside in _connected(part.inside)
    ]


def largest(part: Part) -> Part:
    """Its largest connected piece."""
    return max(_pieces(part), key=lambda piece: piece.inside.sum(), default=part)


def _marks(forged: npt.NDArray[np.bool_], part: Part) -> bool:
    """Whether most of a part is marked."""
    return bool(2 * forged[part.box][part.inside].sum() > part.inside.sum())
