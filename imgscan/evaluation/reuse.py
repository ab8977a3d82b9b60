"""How well copies of photographs are known again, and how often different ones are taken for one: the numbers of man/alike.md.

    python -m imgscan.evaluation.reuse PHOTOS...

takes folders of photographs that nobody altered, each there once; what it says that are two of one should be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance
from scipy import ndimage

from imgscan.alike.compare import Grey, compare, luma
from imgscan.alike.fingerprint import fingerprint, words_of
from imgscan.alike.match import match, seen
from imgscan.decode import decode
from imgscan.errors import InputError
from imgscan.evaluation.attacks import crop, jpeg, noise, resize, webp
from imgscan.find import find
from imgscan.records import Picture

MOST = 60  # photographs that copies are made of, evenly spread over all
SEED = 0
Rgb = npt.NDArray[np.uint8]
Change = Callable[[Rgb, np.random.Generator], Rgb]


def _attacked(rgb: Rgb, rng: np.random.Generator, steps: Sequence[Callable[..., tuple[Rgb, npt.NDArray[np.bool_]]]]) -> Rgb:
    mask = np.zeros(rgb.shape[:2], bool)
    for step in steps:
        rgb, mask = step(rgb, mask, rng)
    return rgb


def _toned(rgb: Rgb, rng: np.random.Generator, curve: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Rgb:
    table = np.clip(255 * curve(np.arange(256) / 255), 0, 255).round().astype(np.uint8)
    return table[rgb]


def _coloured(rgb: Rgb, rng: np.random.Generator, saturation: float) -> Rgb:
    return np.asarray(ImageEnhance.Color(Image.fromarray(rgb)).enhance(saturation))


def _leaned(rgb: Rgb, rng: np.random.Generator, degrees: float) -> Rgb:
    """Turned by so much, and what is empty then cut off."""
    leaned = np.asarray(Image.fromarray(rgb).rotate(degrees, Image.Resampling.BICUBIC))
    cut = int(np.ceil(max(rgb.shape) * np.sin(np.radians(degrees))))
    return leaned[cut:-cut, cut:-cut]


def _altered(rgb: Rgb, rng: np.random.Generator, share: float, other: Callable[[Rgb], Rgb]) -> Rgb:
    """With a disc of so much of the picture, at a drawn place, from another version of it."""
    height, width = rgb.shape[:2]
    radius = min(np.sqrt(share * height * width / np.pi), (min(height, width) - 1) / 2)
    row, column = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    rows, columns = np.ogrid[:height, :width]
    within = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return np.where(within[..., None], other(rgb), rgb)


def _elsewhere(rgb: Rgb) -> Rgb:
    return np.roll(rgb, (rgb.shape[0] // 5, rgb.shape[1] // 3), (0, 1))


def _blurred(rgb: Rgb) -> Rgb:
    return np.asarray(ndimage.gaussian_filter(rgb, (max(rgb.shape) / 30, max(rgb.shape) / 30, 0)))


def _copy(*steps: Callable[..., tuple[Rgb, npt.NDArray[np.bool_]]]) -> Change:
    return partial(_attacked, steps=steps)


COPIES: dict[str, Change] = {
    **{f"JPEG {quality}": _copy(partial(jpeg, quality=quality)) for quality in (95, 75, 50, 30)},
    "WebP 60": _copy(partial(webp, quality=60)),
    **{f"resized {scale:g}": _copy(partial(resize, scale=scale)) for scale in (0.25, 0.5, 0.75, 1.5, 2)},
    **{f"cropped {100 * share:.0f} %": _copy(partial(crop, share=1 - share)) for share in (0.01, 0.02, 0.05, 0.1)},
    "gamma 0.7": partial(_toned, curve=lambda level: level**0.7),
    "gamma 1.4": partial(_toned, curve=lambda level: level**1.4),
    "brighter": partial(_toned, curve=lambda level: level + 0.12),
    "contrast 1.4": partial(_toned, curve=lambda level: (level - 0.5) * 1.4 + 0.5),
    "grey": partial(_coloured, saturation=0.0),
    "colours 1.8": partial(_coloured, saturation=1.8),
    "noise 5": _copy(partial(noise, sigma=5)),
    "mirrored": lambda rgb, rng: rgb[:, ::-1],
    "turned by 90 degrees": lambda rgb, rng: np.rot90(rgb),
    "turned by 1 degree": partial(_leaned, degrees=1.0),
    "cropped 3 %, half, JPEG 60": _copy(partial(crop, share=0.97), partial(resize, scale=0.5), partial(jpeg, quality=60)),
    **{f"{100 * share:g} % copied": partial(_altered, share=share, other=_elsewhere) for share in (0.003, 0.01, 0.03, 0.1, 0.25)},
    **{f"{100 * share:g} % blurred": partial(_altered, share=share, other=_blurred) for share in (0.003, 0.01, 0.03, 0.1, 0.25)},
}


@dataclass(frozen=True)
class _Shown:
    """A picture as far as it matters here."""

    name: str
    fingerprint: str | None
    luma: Grey
    rgb: Rgb | None = None


def _shown(name: str, rgb: Rgb, kept: bool = False) -> _Shown:
    return _Shown(name, fingerprint(rgb), luma(rgb), rgb if kept else None)


def known_again(one: _Shown, copy: _Shown) -> bool | None:
    """Whether a picture and its copy differ somewhere; None: they are not taken for one photograph."""
    if one.fingerprint is None or copy.fingerprint is None:
        return None
    for pair in match(words_of([one.fingerprint, copy.fingerprint])):
        if (compared := compare(one.luma, seen(copy.luma, pair.view))) is not None:
            return bool(compared.differs.any())
    return None


def rows(photographs: Sequence[_Shown]) -> Iterator[tuple[str, int, int, int]]:
    """By kind of copy: the photographs, those that were known again, and those of which it is said that a part differs."""
    rng = np.random.default_rng(SEED)
    for kind, change in COPIES.items():
        told = [
            known_again(one, _shown(kind, np.ascontiguousarray(change(one.rgb, rng)))) for one in photographs if one.rgb is not None
        ]
        yield kind, len(told), sum(one is not None for one in told), sum(one is True for one in told)


def main(folders: Sequence[str]) -> None:
    """Print the table, and every pair of photographs that is taken for one."""
    sources = find([Path(folder) for folder in folders])
    if not sources:
        raise InputError(f"no pictures in {', '.join(folders)}; wanted folders of photographs")
    every = max(1, len(sources) // MOST)
    decoded = ((number, made) for number, source in enumerate(sources) if isinstance(made := decode(source), Picture))
    photographs = [_shown(made.source.name, made.rgb, number % every == 0) for number, made in decoded]
    telling = [one for one in photographs if one.fingerprint is not None]
    pairs = match(words_of([one.fingerprint or "" for one in telling]))
    same = [pair for pair in pairs if compare(telling[pair.one].luma, seen(telling[pair.other].luma, pair.view)) is not None]
    print(f"{len(photographs)} pictures, {len(telling)} with a fingerprint, {len(telling) * (len(telling) - 1) // 2:,} pairs")
    print(f"{len(pairs)} pairs whose fingerprints are near, {len(same)} of them taken for one photograph")
    for pair in same:
        print(f"  {telling[pair.one].name}  {telling[pair.other].name}  {pair.distance} bits")
    for kind, count, found, differ in rows(photographs):
        print(f"{kind:<28} {count:4}  known again {found / count:.3f}  a part differs {differ / count:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
