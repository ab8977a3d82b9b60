"""What `--data` of `imgscan evaluate` names, into entries: what is measured, as against what is trained on (resolve.py)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from imgscan.datasets import DATASETS, data_set
from imgscan.datasets.entries import Entry
from imgscan.datasets.names import forgery_of, names_forgeries
from imgscan.datasets.resolve import Wanted, folders_above, parse, published_in, resolve
from imgscan.datasets.trees import any_stem, is_generic, subfolders
from imgscan.errors import InputError
from imgscan.find import find, real

HALVES = ("images", "masks", "mask", "tp", "gt", "groundtruth", "ground_truth", "ground truth")
"""Folders, in lower case, beside which others belong: of pictures that were forged, or of their masks."""
_PICTURES_OF_SETS = ("image", "img", "imgs", "images", "probe", "sp", "cm", "dso-1", "dso1")
"""Folders, in lower case, that hold forgeries where masks lie in a folder beside."""


def read_set(text: str, roots: Sequence[Path] = (), split: Wanted | None = None) -> list[Entry]:
    """What --data names: a data set's test split, a folder with images/ and masks/, a folder of untouched pictures, or a list.

    A name of DATASETS is that set, as in training, though a folder be called so; ./name is the folder.

    Args:
        text: what --data says.
        roots: where named sets are.
        split: of a folder or list; None: all of it.  Of a named set that zero-shot tests use all of, too; None: its test split.

    Raises:
        InputError: nothing of that name, half a layout, or no pictures.
    """
    root = Path(text)
    if text in DATASETS or not root.is_dir():
        if len(parse(text)) > 1 or (text not in DATASETS and not root.is_file() and "*" in text):
            raise InputError(f"--data {text}: + and * are for training; wanted one --data for each set that is measured")
        is_list = text not in DATASETS and root.is_file()
        usual: Wanted = "all" if is_list else "test"
        may_choose = is_list or (text in DATASETS and data_set(text).INFO.whole)
        return resolve(text, roots, split or usual if may_choose else usual)
    if is_generic(root):
        entries = resolve(text, roots, split or "all")
        missing = [(entry.image, entry.mask) for entry in entries if entry.mask is not None and not entry.mask.exists()]
        if missing:
            image, mask = missing[0]
            stems = "this stem, or _gt, _mask or _edgemask behind it"
            said = f"{image}: no mask with {stems}, in {mask.parent} ({len(missing)} such pictures)"
            known = _read_as(root)
            raise InputError(said if known is None else f"{said}; wanted {known}")
        return entries
    sources = [source for source in find([root]) if not source.path.name.startswith("._")]  # what macOS puts beside pictures
    if not sources:
        raise InputError(f"{root}: no pictures; wanted images/ and masks/, or a folder of untouched pictures")
    half = _half_of_a_set(root, [source.path for source in sources])
    if half is not None:  # its masks would be measured as pictures that nobody touched, and its forgeries too
        if (known := _read_as(root)) is not None:
            raise InputError(f"{root}: {half}; wanted {known}")
        raise InputError(
            f"{root}: {half}, but no pictures in images/ with masks/ beside, nor in Tp/ with Gt/; wanted these, a --data for each "
            "set, the name of a data set (imgscan data list) with --data-root, a list (.csv with the columns image and mask), or a "
            "folder of untouched pictures"
        )
    return [Entry(source.path, None) for source in sources]


def _half_of_a_set(root: Path, pictures: Sequence[Path]) -> str | None:
    """What tells that pictures below a folder are forgeries or masks, and not untouched; None: nothing."""
    if root.name.lower() in HALVES and any(is_generic(one) for one in (root.parent, real(root).parent)):
        return "is itself a half of the set in the folder above"
    for folder in (root, *sorted({folder for one in pictures for folder in one.parents if root in folder.parents})):
        half = next((one for one in subfolders(folder) if one.name.lower() in HALVES or names_forgeries(one.name)), None)
        if half is not None:
            return f"has {half.relative_to(root)}/"
    there = {one.with_suffix("") for one in pictures}
    stems: dict[Path, set[str]] = {}
    for one in there:
        stems.setdefault(one.parent, set()).add(one.name.lower())
    for one in sorted(there):
        for stem in any_stem(one.name)[1:]:
            if one.with_name(stem) in there:
                return f"has {one.with_name(stem).relative_to(root)}, a mask beside its picture"
        if forgery := forgery_of(one.name, stems[one.parent]):
            return f"has {one.relative_to(root)}, which is called as forgeries or masks of {forgery} are"
    return _half_by_name(Path(os.path.abspath(root)))  # noqa: PTH100 - links stay


def _half_by_name(folder: Path) -> str | None:
    """What the name of a folder tells, with those of the folders beside it."""
    if names_forgeries(folder.name):
        return "is called as folders of forgeries or masks are"
    if folder.name.lower() not in _PICTURES_OF_SETS:
        return None
    others = (one.name for one in subfolders(folder.parent) if one.name != folder.name)
    truth = next((name for name in others if name.lower() == "reference" or names_forgeries(name)), None)
    return None if truth is None else f"has {truth}/ beside it, as folders of forgeries have"


def _read_as(root: Path) -> str | None:
    """How a folder can be named, where its pictures are of a published set in its own layout; None: they are of none."""
    if (found := published_in(root)) is not None:
        name, place = found
        if "test" in data_set(name).INFO.splits.names():
            return f"--data {name} --data-root {place}"
        return f"--data {name} --data-root {place}, which has no test split; imgscan data export --split all makes a list of it"
    return next((f"--data {place}" for place in folders_above(root) if is_generic(place)), None)


def names_below(entries: Sequence[Entry]) -> list[str]:
    """What each picture is called below the folder that holds them all."""
    if len(entries) < 2:
        return [entry.image.name for entry in entries]
    root = Path(os.path.commonpath([entry.image.absolute().parent for entry in entries]))
    return [entry.image.absolute().relative_to(root).as_posix() for entry in entries]
