"""An entry of a data set: a picture, its mask, and the rule that says which levels of the mask mean forged.

Masks are where data sets disagree most: white or black marks the forgery, grey levels carry a second meaning, a mask was saved as
JPEG or turned by 90 degrees.  So the rule travels with the entry, and reading is strict: a mask is never resized to make it fit.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from imgscan.errors import InputError
from imgscan.pixels import as_stored, deep_levels, is_deep, orientation_of, to_rgb

Rgb = npt.NDArray[np.uint8]
Forged = npt.NDArray[np.bool_]
MaskRule = Literal["white", "black", "any", "green"]

# What of a mask is forged; grey and green are H x W uint8.
RULES: dict[MaskRule, Callable[[npt.NDArray[np.uint8]], Forged]] = {
    "white": lambda grey: grey > 127,
    "black": lambda grey: grey < 128,
    "any": lambda grey: grey > 0,
    "green": lambda green: green > 127,
}


@dataclass(frozen=True)
class Entry:
    """A picture of a data set and its truth; reading it is read_entry's work."""

    image: Path
    mask: Path | None  # None: untouched
    rule: MaskRule = "white"
    source: str = ""  # name of the data set it came from
    parts: tuple[Path, ...] = ()  # further masks; a pixel is forged when any of the masks says so (MISD)
    group: str = ""  # near-duplicates share it and stay in one split; empty: the picture's stem alone


def read_entry(entry: Entry) -> tuple[Rgb, Forged]:
    """Decode a picture and its mask.

    Returns:
        rgb H x W x 3 uint8, in the file's own pixel order (EXIF orientation is not applied: masks were drawn on the pixels), and
        forged H x W bool, all False for an untouched picture.

    Raises:
        InputError: a file is missing or broken, or the mask has another size than the picture.
    """
    rgb = read_rgb(entry.image)
    return rgb, read_truth(entry, rgb.shape[:2])


def read_truth(entry: Entry, size: tuple[int, ...]) -> Forged:
    """Forged pixels of an entry, H x W bool, all False for an untouched picture.

    Args:
        entry: whose masks are read.
        size: height, width of its picture.

    Raises:
        InputError: a mask is missing or broken, or has another size than the picture.
    """
    forged = np.zeros(size, np.bool_)
    for mask in masks_of(entry):
        if not os.path.lexists(mask):
            raise InputError(f"{entry.image}: its mask {mask} does not exist")
        one = read_forged(mask, entry.rule)
        if one.shape != size:
            raise InputError(size_complaint(entry.image, size, mask, one.shape))
        forged |= one
    return forged


def masks_of(entry: Entry) -> tuple[Path, ...]:
    """Every mask file of an entry; none for an untouched picture."""
    return () if entry.mask is None else (entry.mask, *entry.parts)


def size_complaint(image: Path, size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> str:
    """The line for a mask that does not fit; sizes are height, width."""
    text = f"{image} is {size[1]} x {size[0]} pixels but its mask {mask} is {mask_size[1]} x {mask_size[0]}"
    if mask_size == size[::-1]:
        return f"{text}: rotated by 90 degrees; turn the mask or get the corrected one"
    return f"{text}; wanted equal sizes"


class Decoded(NamedTuple):
    """A picture file."""

    rgb: Rgb  # H x W x 3, in the file's own pixel order
    orientation: int  # EXIF, 1..8
    content: bytes  # of the file


def read_rgb(path: Path) -> Rgb:
    """H x W x 3 uint8; InputError names a file that cannot be decoded."""
    return read_picture(path).rgb


def read_picture(path: Path) -> Decoded:
    """A picture, with what else its file says; InputError names one that cannot be decoded."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as file:
            turned = orientation_of(file)
            return Decoded(as_stored(to_rgb(file), file.format, turned), turned, content)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise InputError(f"{path}: cannot be decoded: {_why(error)}") from error


def _why(error: Exception) -> str:
    """Pillow's words, where they are not about an object in memory: one file has to be called the same every time."""
    return "not a picture that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)


def read_levels(path: Path, rule: MaskRule = "white") -> npt.NDArray[np.uint8]:
    """What the rule looks at: the green channel for "green", else the grey picture; H x W uint8."""
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as file:
            turned = orientation_of(file)
            if rule == "green":
                levels = np.array(file.convert("RGB").getchannel("G"))
            elif is_deep(file):
                levels = _deep_grey(file)
            else:
                levels = np.array(file.convert("L"))
            return as_stored(levels, file.format, turned)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise InputError(f"mask {path}: cannot be decoded: {_why(error)}") from error


def read_forged(path: Path, rule: MaskRule) -> Forged:
    """Forged pixels of a mask file, H x W bool."""
    return RULES[rule](read_levels(path, rule))


def _deep_grey(file: Image.Image) -> npt.NDArray[np.uint8]:
    """16- and 32-bit grey as uint8; Pillow's own conversion would clip it.  A level above 0 stays above 0, for the rule `any`."""
    levels, white = deep_levels(file)
    deep: npt.NDArray[np.uint8] = np.clip(np.ceil(levels * (255 / white)), 0, 255).astype(np.uint8)
    return deep
