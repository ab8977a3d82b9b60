"""The pictures of the drift check: the small ones that ship, and two that are made of them, for what small ones do not go through.

`tall` is larger than what networks see at once: it is cut into tiles, and seen once more as a whole.  `framed` lies in a frame that
is cut off.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.decode import decode
from imgscan.errors import WeightsError
from imgscan.find import find
from imgscan.places import weights_folder
from imgscan.records import Picture, Source

FOLDER = "answers"  # of the weights that ship
CLUSTERED = ("lossless.webp", "spliced.jpg")  # whose features are clustered too, where a model has thresholds for that

_Pixels = npt.NDArray[np.uint8]


def _tall(small: Mapping[str, _Pixels]) -> _Pixels:
    """832 x 160: a splice between views of one photograph, of which one is a copy of another.

    Tiles of 448 pixels, as most cards want them, meet in the middle of the splice.
    """
    photograph = small["untouched.jpg"]
    views = np.concatenate([small["spliced.jpg"], photograph, photograph[::-1], photograph[:, ::-1]])
    return np.roll(views, 312, 0)[:, :160]


def _framed(small: Mapping[str, _Pixels]) -> _Pixels:
    """A splice within a light frame that is as wide on no two sides."""
    return np.pad(small["lossless.webp"], ((21, 27), (13, 30), (0, 0)), constant_values=240)


_MADE: dict[str, Callable[[Mapping[str, _Pixels]], _Pixels]] = {"tall": _tall, "framed": _framed}


def pictures() -> list[Picture]:
    """The small pictures that ship, decoded, and those made of them; WeightsError where they are not there, or broken."""
    folder = weights_folder() / FOLDER
    decoded = [decode(source) for source in find([folder])] if folder.is_dir() else []
    whole = [one for one in decoded if isinstance(one, Picture)]
    small = {one.source.name: one.rgb for one in whole}
    try:
        made = {name: make(small) for name, make in _MADE.items()}
    except (KeyError, ValueError) as error:  # one is not there, or of another size
        raise _incomplete(folder) from error
    if len(whole) < len(decoded):
        raise _incomplete(folder)
    return [*whole, *(_stored(name, rgb, whole) for name, rgb in made.items())]


def _incomplete(folder: Path) -> WeightsError:
    return WeightsError(f"{folder}: the pictures that ship with imgscan are not there, or broken; reinstall imgscan")


def _stored(name: str, rgb: _Pixels, small: list[Picture]) -> Picture:
    """A picture as if it had been a PNG file; its SHA-256 is that of the files that it is made of."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG")
    picture = decode(Source(Path(name), name, file.getvalue()))
    assert isinstance(picture, Picture), picture
    return replace(picture, sha256=hashlib.sha256("\n".join([name, *(one.sha256 for one in small)]).encode()).hexdigest())
