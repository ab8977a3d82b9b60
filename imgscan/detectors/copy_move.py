"""Copy-move: two parts of one picture that are the same but for a shift, a turn, a scale or a mirror, and the noise of saving.

Amerini, Ballan, Caldelli, Del Bimbo, Serra, "A SIFT-based forensic method for copy-move attack detection and transformation
recovery", TIFS 2011 (https://doi.org/10.1109/TIFS.2011.2129512), with many weak keypoints as in Li and Zhou, "Fast and effective
image copy-move forgery detection via hierarchical feature point matching", TIFS 2019:

1. Keypoints (keypoints.py) are matched within the picture (keypoint_matches.py).  A match counts where the next best one,
   elsewhere, is clearly worse (Amerini's g2NN, up to COPIES copies): the windows of a facade all match each other, and none of
   them clearly.
2. Neighbouring matches that one affine map explains make a group (RANSAC; every match proposes the similarity of its two frames).
3. The map is refined on the grey values themselves (Lucas and Kanade, 1981), and the part grows to all pixels that look the same as
   those they are mapped to.

What differs: the papers count matches, and so take for copies what merely repeats.  Here the pixels decide.  With T the textured
pixels of the part that agree, q the share of the textured pixels between its keypoints that do, r the difference between part and
copy, and m and s the means of r and of r^2 in a small window around a pixel:

    rho      = median of m^2 / median of s, over the part
    evidence = T q^2 / (1 + (rho / WHITE)^2)
    score    = evidence^3 / (evidence^3 + HALF^3)

What is left between a part and its copy is the noise of saving it: it changes sign from pixel to pixel and its local mean is close
to 0.  Between two windows of one facade it is light and shade.  Where one gain and offset for the whole part explain most of the
difference, the copy was made brighter, darker, or of another contrast, and r is what they leave; likenesses that need this are
seldom the same shape, so that with s, the larger singular value of the map over the smaller, their evidence is divided by

    TONED (1 + ((s - 1) / STRETCHED)^2)

What a program draws, letters and icons, it draws often, and every time the same.  With e how even the part is (drawn.py), or its
copy if that is more, evidence is divided by

    1 + (e / EVEN)^12

Nothing can be pasted over what it is a copy of: parts that overlap their copy are a pattern.  The score is given to both the part
and the copy, for the pixels alone do not say which is which; those of neither have 0, which says nothing about them.

Copies of some hundred pixels have no keypoints that do not see their edge; small_copies.py finds those, by other means and on the
same scale of evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from imgscan.detectors.copied_parts import (
    PLAIN,
    REACH,
    Bools,
    Copy,
    Tone,
    around,
    box_of,
    box_within,
    clear_tone,
    counterpart,
    dilated,
    eroded,
    ground_of,
    hull_of,
    patterns,
    refined,
    seen_through,
    smooth,
    tone_between,
    unevenness,
)
from imgscan.detectors.inconsistency import Array, Picture, block_mean, check_picture
from imgscan.detectors.keypoint_matches import LEAST, Affine, Floats, group, match
from imgscan.detectors.keypoints import find_keypoints
from imgscan.detectors.small_copies import find_small
from imgscan.drawn import evenness
from imgscan.records import Part, Twins

HALF = 500.0
"""Evidence, in pixels, at which the score is 1/2."""
WHITE = 0.06
"""rho at which the evidence is halved; those of the 40 copies of CMH lie between 0.001 and 0.036."""
TONED, STRETCHED = 1.2, 0.02
"""By what evidence is divided where the copy is lit otherwise, and s - 1 at which it is halved there."""
EVEN = 0.45
"""Evenness at which the evidence is halved; those of the copies of CMH are 0.38 at most."""
MOST_PIXELS = 1_500_000
"""A larger picture is looked at smaller, by a whole factor."""
DOUBLED = 400_000
"""A picture of fewer pixels is looked at twice as large as well."""
SMALL_PIXELS = 400_000
"""In a larger picture small copies are looked for at half its size."""
SMALLEST = 32  # pixels a side of a picture that has room for a part and its copy
MOST = 7_000  # keypoints
MARGIN = 6  # pixels around the keypoints that belong to a part
HOPELESS = 100  # pixels: fewer that agree, before the map is refined, never become a part that counts
RELIT = 2  # rounds in which a tone and a map are refined by each other
EDGE = 3  # pixels beside the edge of a part whose windows reach over it, so that they do not agree though they belong to it
_NOISE = 4.0  # grey levels squared: keeps the similarity of two flat windows from resting on their noise
_TEXTURE = 9.0  # grey levels squared: the variance from which on a window is textured


def score(rgb: Picture) -> Array:
    """H x W x 3 uint8 -> H x W float32, 0..1: above 0 where something is there twice."""
    found = np.zeros(rgb.shape[:2], np.float32)
    for twins in find(rgb):
        for part in twins.parts:
            found[part.box] = np.where(part.inside, np.maximum(found[part.box], twins.score), found[part.box])
    return found


def find(rgb: Picture) -> list[Twins]:
    """The parts of a picture, H x W x 3 uint8, that are there twice; a part and its copy may come in either order, or in both."""
    check_picture(rgb)
    factor = math.ceil(math.sqrt(rgb.shape[0] * rgb.shape[1] / MOST_PIXELS))
    planes = planes_of(rgb, factor)
    copies = list(find_copies(planes))
    repeat = patterns(copies, planes.shape[1:])
    found = twins_of([copy for copy, no in zip(copies, repeat, strict=True) if not no], planes.shape[1:], factor, rgb)
    if planes[0].size > SMALL_PIXELS:
        planes, factor = np.stack([block_mean(plane, 2) for plane in planes]), 2 * factor
    if min(planes.shape[1:]) >= SMALLEST:
        small = [replace(copy, evidence=copy.evidence * HALF) for copy in find_small(planes)]
        found += twins_of(small, planes.shape[1:], factor, rgb)
    return found


def twins_of(copies: Sequence[Copy], shape: tuple[int, ...], factor: int, rgb: Picture) -> list[Twins]:
    """Copies in a picture of h x w that was looked at `factor` times smaller, in its own pixels and with their score."""
    found = []
    for copy in _solid(copies):
        here, there = (_enlarged(*one, factor) for one in ((copy.box, copy.inside), counterpart(copy, shape)))
        evidence = copy.evidence / (1 + (max(evenness(rgb, here), evenness(rgb, there)) / EVEN) ** 12)
        found.append(Twins(1 / (1 + (HALF / max(evidence, 1e-3)) ** 3), (here, there)))
    return found


def _enlarged(box: tuple[slice, slice], inside: Bools, factor: int) -> Part:
    """A part of a picture that was looked at `factor` times smaller, in the picture's own pixels."""
    rows, columns = (slice(side.start * factor, side.stop * factor) for side in box)
    return Part((rows, columns), inside.repeat(factor, 0).repeat(factor, 1))


def _solid(copies: Sequence[Copy]) -> list[Copy]:
    """Without holes: what was pasted came in one piece, and where saving left too little in common it is no less copied."""
    return [replace(copy, inside=np.asarray(ndimage.binary_fill_holes(copy.inside))) for copy in copies]


def planes_of(rgb: Picture, factor: int = 1) -> Array:
    """Luma and the two chroma planes of JPEG, 3 x h x w float32, `factor` times smaller."""
    channels = (np.asarray(rgb[..., channel], np.float32) for channel in range(3))
    red, green, blue = (block_mean(channel, factor) if factor > 1 else channel for channel in channels)
    grey = red * np.float32(0.299)
    grey += green * np.float32(0.587)
    grey += blue * np.float32(0.114)
    return np.stack([grey, np.float32(0.564) * (blue - grey), np.float32(0.713) * (red - grey)])


def find_copies(planes: Array) -> Iterator[Copy]:
    """The parts that are there twice.

    Args:
        planes: 3 x H x W float32: luma, 0..255, and two planes of chroma.
    """
    grey = planes[0]
    points = find_keypoints(grey, MOST, grey.size < DOUBLED)
    if len(points.places) < 2 * LEAST:
        return
    ground = ground_of(grey)
    for flipped, pairs in zip((False, True), match(points), strict=True):
        for to, members in group(points, pairs, flipped):
            yield from grown(planes, ground, points.places[pairs[members, 0]].astype(np.float64), to)


def grown(planes: Array, ground: Array, places: Floats, to: Affine) -> Iterator[Copy]:
    """The connected parts around matched keypoints (`places`, N x 2) whose pixels look like those they are mapped to."""
    shape = planes.shape[1:]
    box = around(places, max(20.0, float(np.ptp(places, axis=0).max())) * 0.7 + 20, shape)
    seeds = places - (box[1].start, box[0].start)
    hull = hull_of(seeds, (box[0].stop - box[0].start, box[1].stop - box[1].start), MARGIN)
    if hull is None:
        return
    close = box_of(hull, MARGIN + REACH)
    part = np.zeros(hull.shape, bool)
    to, tone, part[close] = _begun(planes, ground, box_within(box, close), hull[close], to)
    if part.sum() < HOPELESS:
        return
    here = planes[:, box[0], box[1]]
    there, within = seen_through(planes, box, to)
    if tone != PLAIN:
        tone = tone_between(here[:, part], there[:, part])
        there = tone(there)
    alike, textured = _compared(here, there, 0.8, 3.0)
    alike &= within
    numbered = _numbered(alike, textured)
    column, row = np.rint(seeds).astype(np.intp).T
    owner = numbered[row.clip(0, numbered.shape[0] - 1), column.clip(0, numbered.shape[1] - 1)]
    difference = here[0] - there[0]
    for number in np.unique(owner[owner > 0]):
        hull = hull_of(seeds[owner == number], numbered.shape, MARGIN)
        if hull is None:
            continue
        cut = box_of(hull | (numbered == number), REACH)  # a facade has hundreds of parts in a box as large as the picture
        hull, part, textured_here, alike_here = hull[cut], numbered[cut] == number, textured[cut], alike[cut]
        counted = (hull | part) & textured_here & within[cut]
        same = int((part & textured_here & alike_here).sum())
        share = (counted & alike_here).sum() / max(1, counted.sum())
        rho = unevenness(difference[cut], part & textured_here)
        evidence = same * share**2 / (1 + (rho / WHITE) ** 2)
        if tone != PLAIN:
            evidence /= TONED * (1 + ((to.stretch() - 1) / STRETCHED) ** 2)
        yield Copy(box_within(box, cut), dilated(part, EDGE), to, float(evidence), tone)


def _numbered(alike: Bools, textured: Bools) -> npt.NDArray[np.int32]:
    """The connected parts that agree, from 1 on: textured ones, what is between them, and what is flat beside them."""
    core = dilated(eroded(alike & textured, 2), 2)
    numbered = np.zeros(core.shape, np.int32)
    if core.any():
        cut = box_of(core, MARGIN + 2)
        core = np.pad(core[cut], MARGIN + 2)  # or the closing would end at the edge
        inner = slice(MARGIN + 2, -MARGIN - 2)
        closed = eroded(dilated(core, MARGIN), MARGIN)[inner, inner]
        beside = dilated(core, 3)[inner, inner]
        ndimage.label(closed | (alike[cut] & beside), output=numbered[cut])
    return numbered


def _begun(planes: Array, ground: Array, box: tuple[slice, slice], hull: Bools, to: Affine) -> tuple[Affine, Tone, Bools]:
    """The map refined by the pixels near a hull that agree with it, the tone, and which these are: none where it is hopeless."""
    here = planes[:, box[0], box[1]]
    there, within = seen_through(planes, box, to)
    tone = clear_tone(here[:, hull], there[:, hull])
    alike, textured = _compared(here, tone(there), 0.6, 6.0)
    alike &= textured & within
    if (alike & hull).sum() < HOPELESS:
        return to, tone, np.zeros_like(hull)
    part = alike & dilated(hull, MARGIN)
    to = refined(ground, box, part, to, tone)
    if tone != PLAIN:
        to, part = _relit(planes, ground, box, part, to)
    return to, tone, part


def _relit(planes: Array, ground: Array, box: tuple[slice, slice], part: Bools, to: Affine) -> tuple[Affine, Bools]:
    """A map refined in the tone of what agrees with it, and which pixels of a part do, of which not all may have been copied."""
    here = planes[:, box[0], box[1]]
    for _ in range(RELIT):
        there, _ = seen_through(planes, box, to)
        tone = tone_between(here[:, part], there[:, part])
        part = part & _compared(here, tone(there), 0.8, 6.0)[0]
        to = refined(ground, box, part, to, tone_between(here[:, part], there[:, part]))
    return to, part


def _compared(here: Array, there: Array, similar: float, near: float) -> tuple[Bools, Bools]:
    """Which pixels of two parts look alike, and which are textured in both.

    Args:
        here, there: 3 x h x w, as in find_copies.
        similar: least structural similarity of luma, (2 cov + c) / (var + var + c) in Gaussian windows.
        near: most grey levels between the windows' means, in each plane.
    """
    mean, other = smooth(here[0]), smooth(there[0])
    variance = smooth(here[0] * here[0]) - mean * mean
    other_variance = smooth(there[0] * there[0]) - other * other
    shared = smooth(here[0] * there[0]) - mean * other
    alike = ((2 * shared + _NOISE) > similar * (variance + other_variance + _NOISE)) & (np.abs(mean - other) < near)
    for one, twin in zip(here[1:], there[1:], strict=True):
        alike &= np.abs(smooth(one - twin)) < near
    return alike, np.minimum(variance, other_variance) > _TEXTURE
