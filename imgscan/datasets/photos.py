"""Decoded photographs that forgeries are made from, as many as a number of bytes holds.  No torch here."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from imgscan.datasets.entries import Rgb, read_rgb

CACHE_BYTES = 1_500_000_000  # of decoded photographs that a process keeps: by their number they would fill any memory

_cache: OrderedDict[Path, Rgb] = OrderedDict()  # one per process, oldest first


def read_photo(path: Path) -> Rgb:
    """A decoded photograph, H x W x 3 uint8, from the cache where it is; InputError names a file that is broken."""
    if path in _cache:
        _cache.move_to_end(path)
        return _cache[path]
    photo = _cache[path] = read_rgb(path)
    while sum(one.nbytes for one in _cache.values()) > CACHE_BYTES and len(_cache) > 1:
        _cache.popitem(last=False)
    return photo
