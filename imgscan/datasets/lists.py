"""Entries, written as another tool's list: what manifests.py reads, the other way.

    imdlbenco    .json  [[image, mask or "Negative"], ...]                              forged: above 127
    forensichub  .json  [{"path": ..., "mask": ... or "Negative", "label": 0 or 1}]     forged: 255, not thresholded
    focal        .npy   n x 2 array of text: image, mask or ""                          forged: above 127, of its first channel
    mvss-net     .txt   image mask or None label, between blanks                        forged: above 0
    cat-net      .txt   image,mask or None,image (TruFor and SAFIRE read it too)        forged: above 0
    cfl-net      .txt   image x_0.jpg alone, whose mask is x_0_mask.png                 forged: 255, as a share
    csv          .csv   columns image, mask                                             forged: above 127

A list says nothing of how its masks are meant, and each tool has a rule of its own.  So a mask is only named as it is where the
other tool's rule, and that by which imgscan reads the list again, find in it what the entry's own rule finds.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imgscan.datasets.entries import Entry, Forged
from imgscan.datasets.manifests import Row
from imgscan.errors import InputError
from imgscan.find import PICTURE_SUFFIXES
from imgscan.pixels import is_deep

_ANY, _WHITE, _FULL = 0, 127, 254  # levels above these are forged


@dataclass(frozen=True)
class ListFormat:
    """How another tool's list is written, and what it can hold."""

    suffix: str
    render: Callable[[Sequence[Row]], bytes]
    above: tuple[int, ...]  # a mask has to say the same whichever of these levels is held against it
    takes: str  # what the tool takes for forged, in words
    between: str = ""  # what stands between names, so that none may hold it: a comma, a blank, or the end of a line alone
    text: bool = False  # lines of UTF-8, whose pictures are known by their suffixes
    beside: bool = False  # pictures alone, the mask of each found by its name


def _imdlbenco(rows: Sequence[Row]) -> bytes:
    return _json([[image, mask or "Negative"] for image, mask in rows])


def _forensichub(rows: Sequence[Row]) -> bytes:
    return _json([{"path": image, "mask": mask or "Negative", "label": int(bool(mask))} for image, mask in rows])


def _json(items: Sequence[object]) -> bytes:
    # In ASCII, for these tools open their lists in whatever encoding the system has.
    return ("[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]\n").encode()


def _focal(rows: Sequence[Row]) -> bytes:
    """Text of fixed width, no objects: FOCAL loads its lists without allow_pickle, which numpy refuses for objects."""
    content = io.BytesIO()
    np.save(content, np.array(list(rows), np.str_).reshape(len(rows), 2), allow_pickle=False)
    return content.getvalue()


def _mvss_net(rows: Sequence[Row]) -> bytes:
    return _lines(f"{image} {mask or None} {int(bool(mask))}" for image, mask in rows)


def _cat_net(rows: Sequence[Row]) -> bytes:
    return _lines(f"{image},{mask or None},{image}" for image, mask in rows)


def _cfl_net(rows: Sequence[Row]) -> bytes:
    return _lines(image for image, _ in rows)


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _csv(rows: Sequence[Row]) -> bytes:
    content = io.StringIO(newline="")
    table = csv.writer(content)
    table.writerow(("image", "mask"))
    table.writerows(rows)
    return content.getvalue().encode()


WRITERS: dict[str, ListFormat] = {
    "cat-net": ListFormat(".txt", _cat_net, (_ANY,), "levels above 0", ",", text=True),
    "cfl-net": ListFormat(".txt", _cfl_net, (_ANY, _WHITE, _FULL), "255 of 255", "\n", text=True, beside=True),
    "csv": ListFormat(".csv", _csv, (_WHITE,), "levels above 127", text=True),
    "focal": ListFormat(".npy", _focal, (_WHITE,), "levels above 127"),
    "forensichub": ListFormat(".json", _forensichub, (_ANY, _WHITE, _FULL), "255 of 255"),
    "imdlbenco": ListFormat(".json", _imdlbenco, (_WHITE,), "levels above 127"),
    "mvss-net": ListFormat(".txt", _mvss_net, (_ANY, _WHITE), "levels above 0", " ", text=True),
}


def misread(entry: Entry, forged: Forged, above: Sequence[int]) -> str:
    """Why another tool would find something else in the mask of a forged picture; empty: it would not.

    Args:
        entry: whose mask is looked at.
        forged: H x W bool, what its own rule finds.
        above: levels of 8 bits; what the tool takes for forged is above each of them.

    Raises:
        InputError: the mask cannot be decoded.
    """
    if entry.parts:
        return "it is one of several masks of its picture"
    if entry.mask is None:
        return ""
    try:
        with Image.open(io.BytesIO(entry.mask.read_bytes())) as file:
            if is_deep(file):
                return "it has more than 8 bits"
            levels = np.asarray(file.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        raise InputError(f"mask {entry.mask}: cannot be decoded: {error}") from error
    # Tools look at grey, at the mean of the channels or at one of them: they agree where all channels do.
    darkest, brightest = levels.min(2), levels.max(2)
    if darkest.shape == forged.shape and all(
        np.array_equal(side > level, forged) for level in above for side in (darkest, brightest)
    ):
        return ""
    if entry.rule == "black":
        return "black marks the forgery"
    if entry.rule == "green":
        return "green marks the forgery"
    return "it has grey levels or colours in between"


def unfit(entry: Entry, row: Row, wanted: ListFormat) -> str:
    """Why a format cannot hold an entry; empty: it can.

    Args:
        entry: of which the mask may have been written anew.
        row: the names as they would stand in the list.
        wanted: the format.
    """
    if wanted.beside and not row[1]:
        return "untouched, and the format has forged pictures alone"
    if wanted.beside and (not row[0].endswith("_0.jpg") or row[1] != f"{row[0].removesuffix('.jpg')}_mask.png"):
        return "the format finds the mask of x_0.jpg in x_0_mask.png beside it, and these are not called so"
    for name in filter(None, row):
        if _parted(name, wanted.between):
            said = {",": "a comma", " ": "a blank", "\n": "the end of a line"}[wanted.between]
            return f"a name, or its folder's, holds {said}, which stands between names in the format"
        if name != name.strip():
            return "a name begins or ends with a blank"
        if wanted.text and any(0xD800 <= ord(one) <= 0xDFFF for one in name):
            return "a name is not UTF-8"
    if wanted.suffix == ".txt" and entry.image.suffix.lower() not in PICTURE_SUFFIXES:
        return "the picture has none of the suffixes that pictures have"
    return ""


def _parted(name: str, between: str) -> bool:
    """Whether a name would be taken for two."""
    if between == " ":
        return any(one.isspace() for one in name)  # as str.split does, by which MVSS-Net reads its lines
    return bool(between) and any(one in name for one in f"{between}\n\r")


def rows_of(entries: Sequence[Entry], base: Path | None) -> list[Row]:
    """The names of pictures and masks as they stand in a list.

    Args:
        entries: with one mask each at most.
        base: the folder that names are relative to, with slashes; None: they are absolute.

    Raises:
        InputError: a file is not below it.
    """
    return [(_name(entry.image, base), "" if entry.mask is None else _name(entry.mask, base)) for entry in entries]


def _name(path: Path, base: Path | None) -> str:
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - links stay
    if base is None:
        return str(whole)
    try:
        return whole.relative_to(os.path.abspath(base)).as_posix()  # noqa: PTH100
    except ValueError as error:
        raise InputError(f"{path}: is not below --relative-to {base}") from error


def plain_masks(forged: Sequence[Entry], names: Sequence[str], folder: Path) -> dict[Path, Path]:
    """Where plain masks go: forged picture -> file below a folder, called as the picture is below what holds all of them.

    Pictures that differ in their suffix alone keep it: a/b.jpg and a/b.png have a/b.jpg.png and a/b.png.png.
    """
    called = {entry.image: name for entry, name in zip(forged, names, strict=True)}
    short = {image: Path(name).with_suffix(".png").as_posix() for image, name in called.items()}
    times = Counter(name.casefold() for name in short.values())
    return {image: folder / (name if times[name.casefold()] == 1 else f"{called[image]}.png") for image, name in short.items()}
