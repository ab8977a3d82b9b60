"""How well parts that were cut out of one photograph and put into another are found: the numbers of man/alike.md.

    python -m imgscan.evaluation.reused_parts PHOTOS...

takes folders of photographs that nobody altered, each there once; what it says that two of them have in common should be looked at.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.alike.parts import Shared, growth, points_of, shared_parts, shrunk
from imgscan.alike.votes import Points, candidates
from imgscan.decode import decode
from imgscan.errors import InputError
from imgscan.evaluation.attacks import crop, jpeg, resize
from imgscan.find import find
from imgscan.records import Picture

MOST = 60  # photographs that others get parts of, evenly spread over all
SEED = 0
Rgb = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Made = tuple[Rgb, Bools]
"""A forgery, and which of its pixels are another picture's."""
Change = Callable[[Rgb, Rgb, np.random.Generator], Made]
"""What is made of a picture and one that gives the part."""


def _saved(made: Made, rng: np.random.Generator, quality: int) -> Made:
    return jpeg(*made, rng, quality=quality)


def _pasted(
    host: Rgb,
    donor: Rgb,
    rng: np.random.Generator,
    share: float,
    scale: float = 1.0,
    turned: float = 0.0,
    mirrored: bool = False,
    gain: float = 1.0,
    quality: int = 90,
    shrunk_to: float = 1.0,
) -> Made:
    """A disc of so much of the host, at drawn places, from the donor scaled and turned; all saved as JPEG."""
    radius = math.sqrt(share * host.shape[0] * host.shape[1] / math.pi)
    around = Image.fromarray(donor[:, ::-1] if mirrored else donor)
    around = around.resize((round(around.width * scale), round(around.height * scale)), Image.Resampling.BICUBIC)
    reach = math.ceil(radius * 1.5) + 1  # so that a turned window has no empty corners
    x, y = (rng.uniform(min(reach, side / 2), max(side - reach, side / 2)) for side in around.size)
    window = around.crop((round(x) - reach, round(y) - reach, round(x) + reach, round(y) + reach))
    part = np.asarray(window.rotate(turned, Image.Resampling.BICUBIC))
    rows, columns = np.ogrid[-reach:reach, -reach:reach]
    disc = np.hypot(rows, columns) <= radius
    at = [round(rng.uniform(radius + 1, side - radius - 1)) for side in host.shape[:2]]
    large = np.pad(host, ((reach, reach), (reach, reach), (0, 0)))
    mask = np.zeros(large.shape[:2], bool)
    place = tuple(slice(one, one + 2 * reach) for one in at)
    large[place] = np.where(disc[..., None], np.clip(gain * part.astype(np.float32), 0, 255).astype(np.uint8), large[place])
    mask[place] = disc
    inner = slice(reach, -reach)
    made = large[inner, inner], mask[inner, inner]
    return _saved(resize(*made, rng, scale=shrunk_to) if shrunk_to != 1 else made, rng, quality)


def _piece(host: Rgb, donor: Rgb, rng: np.random.Generator, share: float, scale: float = 1.0) -> Made:
    """No forgery: so much of the donor's sides, alone."""
    piece, _ = crop(donor, np.ones(donor.shape[:2], bool), rng, share=share)
    piece, mask = resize(piece, np.ones(piece.shape[:2], bool), rng, scale=scale)
    return _saved((piece, mask), rng, 85)


KINDS: dict[str, Change] = {
    **{f"{100 * share:g} % of the picture": partial(_pasted, share=share) for share in (0.01, 0.03, 0.1, 0.25)},
    "10 %, JPEG 60": partial(_pasted, share=0.1, quality=60),
    "10 %, half the size": partial(_pasted, share=0.1, scale=0.5),
    "10 %, 1.5 times the size": partial(_pasted, share=0.1, scale=1.5),
    "10 %, turned by 25 degrees": partial(_pasted, share=0.1, turned=25.0),
    "10 %, mirrored": partial(_pasted, share=0.1, mirrored=True),
    "10 %, darker by a fifth": partial(_pasted, share=0.1, gain=0.8),
    "10 %, all then shrunk to half, JPEG 75": partial(_pasted, share=0.1, quality=75, shrunk_to=0.5),
    "cropped by 5 %": partial(_piece, share=0.95),
    "cropped by 10 %": partial(_piece, share=0.9),
    "a piece of half the sides": partial(_piece, share=0.5),
    "a quarter of the sides, doubled": partial(_piece, share=0.25, scale=2.0),
}


@dataclass(frozen=True)
class _Shown:
    """A picture as it is held against others."""

    name: str
    rgb: Rgb
    points: Points


def _shown(name: str, rgb: Rgb) -> _Shown:
    small = shrunk(rgb)
    return _Shown(name, small, points_of(small))


def in_common(pictures: Sequence[_Shown]) -> Iterator[tuple[int, int, Shared]]:
    """The parts that pictures have in common, with the numbers of the two."""
    for pair in candidates([one.points for one in pictures]):
        one, other = pictures[pair.one], pictures[pair.other]
        larger = growth(one.points, other.points)
        if larger is not None:
            for shared in shared_parts(one.rgb, other.rgb, larger):
                yield pair.one, pair.other, shared


def _hits(shared: Shared, mask: Bools) -> bool:
    """Whether a part's box in the second picture is mostly where something is another picture's."""
    left, top, right, bottom = shared.boxes[1]
    high, wide = mask.shape
    inside = mask[round(top * high) : round(bottom * high), round(left * wide) : round(right * wide)]
    return bool(inside.size and inside.mean() > 0.5)


def rows(photographs: Sequence[_Shown]) -> Iterator[tuple[str, int, int, int]]:
    """By kind: the photographs, of how many the part is found, and pairs of others that are said to have one in common."""
    rng = np.random.default_rng(SEED)
    count = len(photographs)
    for kind, change in KINDS.items():
        made = [change(photographs[number - 1].rgb, one.rgb, rng) for number, one in enumerate(photographs)]
        found, wrong = set(), set()
        for one, other, shared in in_common([*photographs, *(_shown(kind, rgb) for rgb, _ in made)]):
            maker = other - count
            if one == maker and _hits(shared, made[maker][1]):  # the part's giver beside what was made of it
                found.add(maker)
            elif one < count and maker >= 0 and one not in (maker, (maker - 1) % count):  # nor its ground
                wrong.add((one, other))
        yield kind, count, len(found), len(wrong)


def main(folders: Sequence[str]) -> None:
    """Print every pair of photographs that are said to have a part in common, and the table."""
    sources = find([Path(folder) for folder in folders])
    if not sources:
        raise InputError(f"no pictures in {', '.join(folders)}; wanted folders of photographs")
    decoded = (made for source in sources if isinstance(made := decode(source), Picture) and made.fingerprint is not None)
    photographs = [_shown(made.source.name, made.rgb) for made in decoded]
    pairs = list(in_common(photographs))
    print(f"{len(photographs)} pictures, {len(photographs) * (len(photographs) - 1) // 2:,} pairs, {len(pairs)} parts in common")
    for one, other, shared in pairs:
        print(
            f"  {photographs[one].name}  {photographs[other].name}  {shared.score:.3f}  {100 * shared.areas[0]:.1f} %", flush=True
        )
    for kind, count, found, wrong in rows(photographs[:: max(1, len(photographs) // MOST)][:MOST]):
        print(f"{kind:<40} {count:4}  found {found / count:.3f}  other pairs {wrong}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
