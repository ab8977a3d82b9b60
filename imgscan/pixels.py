"""From what Pillow has opened to pixels in the order of the file.  No torch here: data sets are listed without it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

_ORIENTATION = 0x0112  # EXIF tag
_BITS, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # levels of 8, 10, 12, 14 and 16 bits
_FEW = 16  # levels of 8 bits that are left of 12 where only the upper byte of 16 is kept
# From upright to stored: steps along rows and columns, after the axes of 5 to 8 were swapped.
_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
Pixels = TypeVar("Pixels", bound=npt.NDArray[Any])


def orientation_of(file: Image.Image) -> int:
    """EXIF orientation, 1..8; 1 where the tag is missing or nonsense, which is no reason to refuse a good picture.

    Its pixels are loaded first, and what Pillow raises on broken ones is passed on: asked before, Pillow itself loads a PNG, and a
    second load of broken pixels gives black ones without an error.  A TIFF has to be asked before, for Pillow takes the tag away.
    """
    if file.format != "TIFF":
        file.load()
    try:
        value = int(file.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF parsers raise nearly anything on broken metadata
        return 1
    return value if 1 <= value <= 8 else 1


def as_stored(pixels: Pixels, kind: str | None, orientation: int) -> Pixels:
    """H x W or H x W x C in the order of the file: of TIFF alone, Pillow has turned the pixels upright as it loaded them.

    Args:
        pixels: as Pillow gave them.
        kind: Pillow's name of the format.
        orientation: of the file, from orientation_of.
    """
    if kind != "TIFF" or orientation == 1:
        return pixels
    plane = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels  # the last four lie on their side
    down, across = _STEPS[orientation]
    return np.ascontiguousarray(plane[::down, ::across])  # type: ignore[return-value]


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """H x W or H x W x C in the order of the file, as it is looked at: what as_stored undoes."""
    if orientation == 1:
        return pixels
    down, across = _STEPS[orientation]
    turned = pixels[::down, ::across]
    return turned.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else turned  # type: ignore[return-value]


def is_deep(file: Image.Image) -> bool:
    """Whether a picture is grey of more than 8 bits (Pillow's modes I, I;16, F)."""
    return file.mode.startswith("I") or file.mode == "F"


def to_rgb(file: Image.Image) -> npt.NDArray[np.uint8]:
    """H x W x 3 uint8; deep grey is scaled (Pillow's own conversion would clip it), transparency is dropped."""
    if is_deep(file):
        levels, white = deep_levels(file)
        return np.repeat((levels * (255 / white)).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(file.convert("RGB"))


def deep_levels(file: Image.Image) -> tuple[npt.NDArray[np.float32], float]:
    """Levels of a picture of deep grey, H x W float32 from 0, black, to the level that is white, and that level."""
    levels = np.asarray(file, np.float32)
    white = _white_level(levels[np.isfinite(levels)], file)
    levels = np.clip(np.nan_to_num(levels, posinf=white), 0, white)
    return (white - levels if _tag(file, _PHOTOMETRIC) == 0 else levels), white  # 0: MinIsWhite, which Pillow heeds up to 8 bits


def _white_level(levels: npt.NDArray[np.float32], file: Image.Image) -> float:
    """What counts as white in a picture of Pillow's mode I (whole numbers) or F (floats, often 0 to 1).

    2^n - 1 where its TIFF tag says n bits below 16.  Else by what it holds, for cameras, microscopes and X-rays put 10, 12 or 14
    bits into 16: the smallest of 1 (floats), 255, 1023, 4095, 16383 and 65535 that is not below its highest level.  A picture of
    true 16 bits that is that dark comes out brighter; unscaled it would use a few of 256 levels.
    """
    bits = _tag(file, _BITS)
    if 8 < bits < 16:
        return float(2**bits - 1)
    most = float(levels.max(initial=0))
    # Filters overshoot: a few pixels a little above 1 make no picture of 0 to 255.
    if file.mode == "F" and (most <= 1 or (most <= 2 and np.percentile(levels, 99) <= 1)):
        return 1.0
    return next((white for white in _WHITE if most <= white), most)


def lost_its_lower_byte(file: Image.Image, rgb: npt.NDArray[np.uint8]) -> bool:
    """Whether a TIFF's colours are 12 bits or less in 16, of which Pillow keeps the upper 8, so that 16 levels are left at most."""
    return not is_deep(file) and _tag(file, _BITS) == 16 and 0 < int(rgb.max()) < _FEW


def _tag(file: Image.Image, number: int) -> int:
    """A TIFF's tag, the first of several values; -1 where it is none, or has no such tag."""
    value = getattr(file, "tag_v2", {}).get(number, -1)
    return int(value[0] if isinstance(value, tuple) else value)
