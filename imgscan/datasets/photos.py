"""Photographs that forgeries are made from: where they are, and decoded, as many as a number of bytes holds.  No torch here."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from imgscan.datasets.entries import Entry, Rgb, read_rgb
from imgscan.datasets.splits import KeptAside
from imgscan.datasets.trees import is_picture, without_made
from imgscan.errors import InputError
from imgscan.find import find
from imgscan.memory import memory_bytes

CACHE_BYTES = 1_500_000_000  # of decoded photographs that a process keeps: by their number they would fill any memory
CACHE_SHARE = 0.25  # of the memory there is, that all processes together keep of them

_cache: OrderedDict[Path, Rgb] = OrderedDict()  # one per process, oldest first


def pictures_below(roots: Sequence[Path]) -> list[Path]:
    """The picture files below folders as a scan finds them: without masks and overlays that scans wrote, each file once.

    Raises:
        InputError: no such folder, or one below it may not be read, for nobody knows what is missing then.
    """
    found = [source.path for source in find(roots)]
    for path in found:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where it may not look
            raise InputError(f"{path}: this folder may not be read; make it readable, or name the others one by one")
    return [path for path in found if is_picture(path)]


def find_photos(roots: list[Path]) -> list[Path]:
    """Every picture file below the folders, in stable order; InputError when a folder is missing, may not be read or holds none.

    What `imgscan data synth` and scans wrote there is left out.
    """
    photos: list[Path] = []
    for root in roots:
        if not root.is_dir():
            raise InputError(
                f"training photographs: {root} is not a folder; wanted a folder of pristine pictures (--data-root DIR)"
            )
        found = sorted(pictures_below([root]))
        if not found:
            raise InputError(f"{root}: no pictures below it; wanted .jpg, .png, .tif or .webp files")
        photographs = without_made(found)
        if not photographs:
            raise InputError(f"{root}: only forgeries that imgscan data synth wrote; wanted pristine pictures (--data-root DIR)")
        photos += photographs
    return photos


def keep_aside(photos: list[Path]) -> tuple[list[Path], list[Path]]:
    """Photographs to train on and a tenth of them to validate on, decided by the hash of each file's name.

    InputError when there are too few to keep any aside.
    """
    rule = KeptAside()
    kept = [path for path in photos if rule.of(Entry(path, None)) == "val"]
    rest = sorted(set(photos) - set(kept))
    if not kept or not rest:
        raise InputError(f"{len(photos)} photographs are too few to keep a tenth aside for validation; give --validation-root DIR")
    return rest, kept


def read_photo(path: Path, processes: int = 1) -> Rgb:
    """A decoded photograph, H x W x 3 uint8, from the cache where it is; InputError names a file that is broken.

    Each of `processes` that keep one has CACHE_BYTES at most, and its part of CACHE_SHARE.
    """
    if path in _cache:
        _cache.move_to_end(path)
        return _cache[path]
    photo = _cache[path] = read_rgb(path)
    most = min(CACHE_BYTES, CACHE_SHARE * memory_bytes() / processes)
    while sum(one.nbytes for one in _cache.values()) > most and len(_cache) > 1:
        _cache.popitem(last=False)
    return photo
