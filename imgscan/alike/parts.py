"""Parts: what two pictures have in common though they are not one photograph.

An object cut out of one picture and pasted into another is a copy-move from picture to picture.  So the two are laid side by side,
keypoints of one are matched with those of the other alone, and what decides is what decides for copies within a picture
(detectors/copy_move.py): the pixels, after a map and a tone were refined on them, have to differ by the noise of saving, and not by
light and shade.  Two photographs of one thing do not pass.  The score is that of copy_move.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.alike.votes import Points
from imgscan.detectors.copied_parts import Bools, counterpart, ground_of
from imgscan.detectors.copy_move import DOUBLED, grown, planes_of, twins_of
from imgscan.detectors.keypoint_matches import Affine, group
from imgscan.detectors.keypoints import Keypoints, find_keypoints, mirrored

SIDE = 768  # pixels of the longer side at which pictures are looked at, at most
FEW, MANY = 1400, 3000  # keypoints that pictures are chosen by, and by which two that were chosen are compared
COARSE = 350  # more that they are chosen by, of coarser detail: of leaves the 1400 are gone where a picture was shrunk to half
NEAR = 0.6  # distance of the descriptors of a match
FIRM = 5  # matches that one map explains, before pixels are looked at
SURE = 0.5  # score
UNEQUAL = 1.25  # times larger in one of them: it is shrunk, for detail that the other cannot have is no difference
GAP = 32  # pixels between the two
SAME = 0.5  # share of a part that a surer one may have: the same one, found twice
ALIKE = 4.0  # pixels between where two maps take something: one map, whose part was cut in two

Rgb = npt.NDArray[np.uint8]
Edges = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of a picture's sides."""


@dataclass(frozen=True)
class Shared:
    """A part of a picture that is a part of another one, too."""

    score: float  # SURE..1
    boxes: tuple[Edges, Edges]  # in the first picture, and in the second
    areas: tuple[float, float]  # shares of the pictures
    mirrored: bool  # left for right, from the first to the second; and then ...
    turned: int  # ... degrees clockwise, 0..359


def points_of(rgb: Rgb) -> Points:
    """What a picture, H x W x 3, of at most SIDE pixels a side, is chosen by."""
    return Points.of(find_keypoints(planes_of(rgb)[0], FEW, False, COARSE))


def shrunk(rgb: Rgb, factor: float | None = None) -> Rgb:
    """A picture by a factor of at most 1; None: to SIDE pixels a side."""
    factor = min(1.0, SIDE / max(rgb.shape)) if factor is None else factor
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    if size == rgb.shape[1::-1]:
        return rgb
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.LANCZOS))


def growth(one: Points, other: Points) -> float | None:
    """How many times larger a part is in the second picture than in the first, by their points alone; None: they share none."""
    found = [match for flipped in (False, True) for match in _matches(one.keypoints(), other.keypoints(), flipped)]
    if not found:
        return None
    to, _ = max(found, key=lambda match: len(match[1]))
    return math.sqrt(abs(float(np.linalg.det(to.matrix))))


def shared_parts(one: Rgb, other: Rgb, larger: float = 1.0) -> list[Shared]:
    """The parts that two pictures have in common, the surest first.

    Args:
        one, other: H x W x 3, at most SIDE pixels a side.
        larger: how many times parts are larger in the second, about.
    """
    if larger > UNEQUAL:
        other = shrunk(other, 1 / larger)
    elif larger < 1 / UNEQUAL:
        one = shrunk(one, larger)
    first, second = (find_keypoints(planes_of(rgb)[0], MANY, rgb[..., 0].size < DOUBLED) for rgb in (one, other))
    across = one.shape[1] + GAP
    both = np.full((max(len(one), len(other)), across + other.shape[1], 3), 128, np.uint8)
    both[: len(one), : one.shape[1]], both[: len(other), across:] = one, other
    planes = planes_of(both)
    ground = ground_of(planes[0])
    found = []
    for flipped in (False, True):
        for to, places in _matches(first, second, flipped, across):
            for copy in grown(planes, ground, places, to):
                (twins,) = twins_of([copy], planes.shape[1:], 1, both)
                if twins.score >= SURE:  # its parts have no holes; what two pictures have in common may
                    parts = (copy.box, copy.inside), counterpart(copy, planes.shape[1:])
                    here, there = (_whole(*part, planes.shape[1:]) for part in parts)
                    found.append(_Piece(twins.score, here[: len(one), : one.shape[1]], there[: len(other), across:], copy.to))
    return [one.told() for one in _joined(sorted(found, key=lambda part: -part.score))]


@dataclass
class _Piece:
    """What one map explains, while it is put together."""

    score: float
    here: Bools  # of all of the first picture
    there: Bools  # of all of the second
    to: Affine

    def told(self) -> Shared:
        areas = float(self.here.mean()), float(self.there.mean())
        return Shared(self.score, (_edges(self.here), _edges(self.there)), areas, *_view(self.to))

    def continues(self, other: _Piece) -> bool:
        """Whether the other's map takes its pixels where its own takes them."""
        places = np.argwhere(self.here)[:, ::-1].astype(np.float64)
        return bool(np.median(np.linalg.norm(self.to(places) - other.to(places), axis=1)) < ALIKE)


def _joined(found: Sequence[_Piece]) -> list[_Piece]:
    """The surest first, without those found twice, and in one what is only cut in two by what was put upon it."""
    kept: list[_Piece] = []
    for piece in found:
        if not (piece.here.any() and piece.there.any()):
            continue
        if any(one.here[piece.here].mean() > SAME for one in kept):
            continue
        whole = next((one for one in kept if piece.continues(one)), None)
        if whole is None:
            kept.append(piece)
        else:
            whole.here |= piece.here
            whole.there |= piece.there
    return kept


def _matches(
    first: Keypoints, second: Keypoints, flipped: bool, across: float = 0.0
) -> Iterator[tuple[Affine, npt.NDArray[np.float64]]]:
    """Maps from places in one picture to places in another that lies `across` pixels to the right, and the places, N x 2, that each
    map explains: N is FIRM at least."""
    if min(len(first.sizes), len(second.sizes)) < FIRM:
        return
    alike = first.descriptors @ (mirrored(second.descriptors) if flipped else second.descriptors).T
    nearest = alike.argmax(1)
    one = np.flatnonzero(alike.argmax(0)[nearest] == np.arange(len(nearest)))
    one = one[alike[one, nearest[one]] > 1 - NEAR * NEAR / 2]
    places = np.concatenate([first.places, second.places + np.array([across, 0], np.float32)])
    sizes, angles = (np.concatenate([getattr(points, name) for points in (first, second)]) for name in ("sizes", "angles"))
    pairs = np.stack([one, nearest[one] + len(nearest)], 1)
    for to, members in group(Keypoints(places, sizes, angles, first.descriptors), pairs, flipped):
        if len(members) >= FIRM:
            yield to, places[pairs[members, 0]].astype(np.float64)


def _whole(box: tuple[slice, slice], inside: Bools, shape: tuple[int, ...]) -> Bools:
    """A part as pixels of the whole picture."""
    whole = np.zeros(shape, bool)
    whole[box] = inside
    return whole


def _edges(part: Bools) -> Edges:
    (top, bottom), (left, right) = (np.flatnonzero(part.any(axis))[[0, -1]].tolist() for axis in (1, 0))
    return left / part.shape[1], top / part.shape[0], (right + 1) / part.shape[1], (bottom + 1) / part.shape[0]


def _view(to: Affine) -> tuple[bool, int]:
    """Whether a map mirrors, and by how many degrees it turns clockwise, after having changed left for right if it does."""
    (xx, xy), (yx, yy) = to.matrix.tolist()
    mirrors = xx * yy < xy * yx
    if mirrors:
        xx, yx = -xx, -yx
    return mirrors, round(math.degrees(math.atan2(yx - xy, xx + yy))) % 360
