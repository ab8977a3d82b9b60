"""From what Pillow has opened to pixels in the order of the file.  No torch here: data sets are listed without it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

_ORIENTATION = 0x0112  # EXIF tag
# From upright to stored: steps along rows and columns, after the axes of 5 to 8 were swapped.
_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
Pixels = TypeVar("Pixels", bound=npt.NDArray[Any])


def orientation_of(file: Image.Image) -> int:
    """EXIF orientation, 1..8; 1 where the tag is missing or nonsense, which is no reason to refuse a good picture.

    To be asked before the pixels are loaded: of a TIFF, Pillow then takes the tag away.
    """
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


def is_deep(file: Image.Image) -> bool:
    """Whether a picture is grey of more than 8 bits (Pillow's modes I, I;16, F)."""
    return file.mode.startswith("I") or file.mode == "F"


def to_rgb(file: Image.Image) -> npt.NDArray[np.uint8]:
    """H x W x 3 uint8; deep grey is scaled (Pillow's own conversion would clip it), transparency is dropped."""
    if is_deep(file):
        levels = np.asarray(file, np.float32)
        white = white_level(levels[np.isfinite(levels)], file.mode)
        grey = np.clip(np.nan_to_num(levels, posinf=white) * (255 / white), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(file.convert("RGB"))


def white_level(levels: npt.NDArray[np.float32], mode: str) -> float:
    """What counts as white in a picture of Pillow's mode I (whole numbers) or F (floats, often 0 to 1), by what it holds."""
    most = float(levels.max(initial=0))
    # Filters overshoot: a few pixels a little above 1 make no picture of 0 to 255.
    if mode == "F" and (most <= 1 or (most <= 2 and np.percentile(levels, 99) <= 1)):
        return 1.0
    return 255.0 if most <= 255 else max(65535.0, most)
