"""Seen: which of the pictures that are measured a model was trained on, byte for byte.

The card of a training names its data and where that lay.  Where it still lies there, its files are held against those that are
measured, by their hashes where their sizes are equal.  Pictures that were saved once more are not recognised, nor is what lies
elsewhere by now.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from imgscan.datasets import SYNTH
from imgscan.datasets.doubles import leaked
from imgscan.datasets.entries import Entry
from imgscan.datasets.photos import find_photos, keep_aside
from imgscan.datasets.resolve import resolve
from imgscan.errors import InputError
from imgscan.weights import Card


def trained_files(card: Card) -> list[Path]:
    """The pictures that weights were trained on, as far as their card tells and they are there; not those that validated them."""
    training = card.data.get("training", {})
    data, roots = training.get("data"), training.get("roots", [])
    if not isinstance(data, str) or not isinstance(roots, list):
        return []
    there = [Path(root) for root in roots if isinstance(root, str) and os.path.isdir(root)]  # noqa: PTH112 - Path's may raise
    try:
        if data == SYNTH:
            return _photographs(there, training.get("pictures")) if there else []
        untouched = card.data.get("recipe", {}).get("data", {}).get("authentic", False)
        return [entry.image for entry in resolve(data, there, "train") if untouched or entry.mask is not None]
    except (InputError, OSError):  # it is gone, or not the user's to read
        return []


def _photographs(roots: list[Path], count: object) -> list[Path]:
    """Below the roots: all of them, or where no more than those were trained on, all but the tenth that is kept aside."""
    photos = find_photos(roots)
    if isinstance(count, int) and count < len(photos):
        rest, _ = keep_aside(photos)
        if count <= len(rest):
            return rest
    return photos


def seen(measured: Iterable[Path], trained: Iterable[Path]) -> list[Path]:
    """The measured pictures of which a byte-identical one was trained on, in their order."""
    return [path for path, _ in leaked([Entry(path, None) for path in measured], [Entry(path, None) for path in trained])]
