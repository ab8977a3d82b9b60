"""Other tools' lists of pictures and masks, read as entries.

    .json  IMDLBenCo JsonDataset    [[image, mask or "Negative"], ...]
           IMDLBenCo BalancedDataset [["ManiDataset" or "JsonDataset", path], ...]
           IMDLBenCo test list      {"name": path, ...}
           ForensicHub              [{"path": ..., "mask": ... or "Negative", "label": 0 or 1}, ...]
    .txt   CAT-Net, TruFor, SAFIRE  image,mask or None,jpg image[,type]
           MVSS-Net                 image mask or None label (0 untouched, else the kind of forgery)
           CFLNet, compRAISE        image alone; IMDLBenCo's IMD2020 names give the mask: x_0.jpg -> x_0_mask.png
    .npy   FOCAL                    n x 2 array of image, mask or ""
    .csv   imgscan                  columns image, mask (empty: untouched), as `imgscan data synth` writes them

Masks that are called as those of a published set are read by its rule (names.py), whatever the list's own; several masks of one
picture make one truth.  A list that is called so (`VIPP_fake.txt`) is of forgeries alone, none of which is without a mask.

Relative names are looked up beside the list and then below the roots.  FOCAL's lists may be pickled object arrays; numpy would run
whatever code such a file holds, so they go through an unpickler that can rebuild an array of text and nothing else.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from imgscan.datasets.entries import Entry, MaskRule
from imgscan.datasets.names import forgery_of, rule_of_mask
from imgscan.datasets.trees import generic
from imgscan.errors import InputError, unknown
from imgscan.find import PICTURE_SUFFIXES

Row = tuple[str, str]  # image, mask ("": untouched)
UNTOUCHED = frozenset({"", "none", "negative"})  # what stands in place of a mask, in lower case
_SUFFIXES = "|".join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))
_SPACED = re.compile(rf"(.+?\.(?:{_SUFFIXES}))\s+(None|.+?)(?:\s+(-?\d+))?", re.IGNORECASE)
_FORGED_LIST = re.compile(r"(?!.*(real|auth|pristine|orig|untouched|all))(?:.*[^a-z])?(fake|tamp|tampered|forged)(?:[^a-z].*)?")
_MASKED = ("_0", "_fake")  # ends of stems that say forged, in lists without masks


def read_manifest(path: Path, roots: Sequence[Path] = (), source: str = "", within: tuple[Path, ...] = ()) -> list[Entry]:
    """The entries of a list; which kind it is, its suffix and its first line say.

    Args:
        path: .json, .txt, .npy or .csv.
        roots: where relative names are looked up, after the list's own folder.
        source: of the entries; by default the list's stem.
        within: the lists that name this one.

    Raises:
        InputError: not one of the known kinds, broken, empty, or none of its pictures is found.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: {unknown('kind of list', path.suffix, READERS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such list")
    if path.resolve() in within:
        raise InputError(f"{path}: a list that names itself")
    try:
        rows, rule, more = reader(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from error
    nameless = next((number for number, (image, _) in enumerate(rows, 1) if not image.strip()), None)
    if nameless is not None:  # the folder itself would be found
        raise InputError(f"{path}: entry {nameless} of {len(rows)} names no picture; wanted one in each")
    places = (path.parent, *roots)
    entries = _joined([_entry(path, number, row, rule, places, source or path.stem) for number, row in enumerate(rows, 1)])
    for inner in more:
        place = _found(inner, places)
        entries += generic(place, source) if place.is_dir() else read_manifest(place, roots, source, (*within, path.resolve()))
    if not entries:
        raise InputError(f"{path}: an empty list")
    if not any(os.path.exists(entry.image) for entry in entries):  # noqa: PTH110 - Path.exists may raise
        looked = ", ".join(str(place) for place in places)
        raise InputError(
            f"{path}: none of its {len(entries)} pictures is found, {rows[0][0] if rows else ''} for one; looked in {looked} "
            "(--data-root names other folders)"
        )
    return entries


def _entry(path: Path, number: int, row: Row, rule: MaskRule, places: Sequence[Path], source: str) -> Entry:
    image, mask = (text.strip() for text in row)
    if mask.lower() in UNTOUCHED:
        if known := forgery_of(PurePosixPath(image.replace("\\", "/")).stem):
            raise InputError(f"{path}: entry {number}, {image}, is called as forgeries of {known} are and has no mask; remove it")
        return Entry(_found(image, places), None, rule, source)
    if mask == image:
        raise InputError(
            f"{path}: entry {number} names {image} as picture and as mask; such a list, as TruFor's of DSO-1, means two folders "
            "with the same names in them: write both into it, or give the data set by name (imgscan data list)"
        )
    found = _found(mask, places)
    return Entry(_found(image, places), found, rule_of_mask(found, rule), source)


def _joined(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, those of one picture with several masks as one: CAT-Net's of NIST16 have a line for every part pasted in."""
    masks: dict[Path, dict[Path, None]] = {}
    for entry in entries:
        if entry.mask is not None:
            masks.setdefault(entry.image, {})[entry.mask] = None
    made, joined = [], set[Path]()
    for entry in entries:
        its = [] if entry.mask is None else list(masks[entry.image])
        if len(its) < 2:
            made.append(entry)
        elif entry.image not in joined:
            joined.add(entry.image)
            made.append(replace(entry, parts=tuple(mask for mask in its if mask != entry.mask)))
    return made


def _found(name: str, places: Sequence[Path]) -> Path:
    """Where the file is; where it is nowhere, where it should be in the first place."""
    slashed = name.replace("\\", "/")  # a list of Windows, unless files here have such names
    there = (place / one for one in (name, slashed) for place in places if os.path.exists(place / one))  # noqa: PTH110 - may raise
    return next(there, places[0] / slashed)


Read = tuple[list[Row], MaskRule, list[str]]  # rows, the rule of their masks, further folders and lists


def _json(path: Path) -> Read:
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if isinstance(data, dict) and "path" not in data and all(isinstance(value, str) for value in data.values()):
        return [], "white", list(data.values())
    rows: list[Row] = []
    more: list[str] = []
    for number, item in enumerate(data if isinstance(data, list) else [data]):
        if isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item):
            if item[0] in ("ManiDataset", "JsonDataset"):
                more.append(item[1])
            else:
                rows.append((item[0], item[1]))
        elif isinstance(item, dict) and isinstance(item.get("path"), str):
            rows.append((item["path"], _forensichub_mask(path, number, item)))
        else:
            raise InputError(
                f'{path}: item {number} is {str(item)[:60]}; wanted [image, mask or "Negative"] or {{"path", "mask", "label"}}'
            )
    return rows, "white", more


def _forensichub_mask(path: Path, number: int, item: dict[str, Any]) -> str:
    mask = str(item.get("mask") or "")
    if str(item.get("label")).strip().lower() in ("1", "1.0", "true"):
        _check_mask(path, f"item {number}", item["path"], mask, "1")
    return mask


def _check_mask(path: Path, where: str, image: str, mask: str, label: str) -> None:
    """A picture that is forged by its label must not pass for an untouched one."""
    if mask.strip().lower() in UNTOUCHED:
        raise InputError(
            f"{path}: {where}, {image}, has label {label} and no mask; a picture forged as a whole is no localization: remove it"
        )


def _text(path: Path) -> Read:
    rows: list[Row] = []
    rule: MaskRule = "white"
    forged = _FORGED_LIST.fullmatch(path.stem.lower())  # of forgeries alone, by its name
    for number, line in enumerate(map(str.strip, path.read_text("utf-8-sig").split("\n")), 1):
        fields = [field.strip() for field in line.split(",")]
        by_commas = len(fields) > 1 and Path(fields[0]).suffix.lower() in PICTURE_SUFFIXES  # else a name may hold them
        if not line:
            continue
        if not by_commas and (found := _SPACED.fullmatch(line)):
            rows.append((found[1], found[2]))
            if int(found[3] or 0) > 0:  # 0 is untouched, the others are kinds of forgeries
                _check_mask(path, f"line {number}", found[1], found[2], found[3])
        elif len(fields) > 1:
            rows.append((fields[0], fields[1]))
            rule = "any"  # CAT-Net and those after it take every level above 0
            if forged:  # TruFor's of VIPP, whose masks are not all published
                _check_mask(path, f"line {number}", fields[0], fields[1], f"{forged[2]!r} by the list's name")
        elif Path(line).suffix.lower() in PICTURE_SUFFIXES:
            bare = Path(line).with_suffix("").as_posix()
            rows.append((line, f"{bare}_mask.png" if bare.endswith(_MASKED) else ""))
        else:
            raise InputError(f"{path}: line {number} is {line[:60]!r}; wanted image,mask,... or image mask label, None for no mask")
    return rows, rule, []


def _npy(path: Path) -> Read:
    array = read_text_array(path)
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(f"{path}: an array of shape {array.shape}; wanted n x 2 of image and mask")
    return [(str(image), str(mask)) for image, mask in array.tolist()], "white", []


def _csv(path: Path) -> Read:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.reader(file, skipinitialspace=True)
        try:
            names = [name.strip() for name in next(table, [])]
            if "image" not in names or "mask" not in names:
                raise InputError(f"{path}: columns {', '.join(names)}; wanted image and mask, separated by commas")
            rows = []
            for fields in table:
                row = dict(zip(names, (field.strip() for field in fields), strict=False))
                if not any(row.values()):  # of commas alone, as spreadsheets write them
                    continue
                if not row.get("image"):
                    why = "names no image" if "image" in row else "has fewer fields than the header"
                    raise InputError(f"{path}: line {table.line_num} {why}; wanted at least image")
                rows.append((row["image"], row.get("mask", "")))
        except csv.Error as error:
            raise InputError(f"{path}: line {table.line_num}: not CSV: {error}") from error
        return rows, "white", []


READERS: dict[str, Callable[[Path], Read]] = {".json": _json, ".txt": _text, ".npy": _npy, ".csv": _csv}


def read_text_array(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """A .npy array of text, plain or pickled, without running anything that the file holds.

    Raises:
        InputError: not an array of text, or a pickle that asks for more than an array of text needs.
    """
    try:
        with path.open("rb") as file:
            array = _read_array(path, file)
    except InputError:
        raise
    except Exception as error:  # a broken file makes numpy and pickle raise nearly anything
        raise InputError(f"{path}: not a .npy array: {error}") from error
    if array.dtype.kind != "U" and not all(type(item) is str for item in array.flat):
        raise InputError(f"{path}: an array of {array.dtype}; wanted text")
    return array


def _read_array(path: Path, file: IO[bytes]) -> np.ndarray[Any, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"{path}: .npy version {version}; wanted 1.0 or 2.0")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = header(file)
    if not kind.hasobject:
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
    array = _TextOnly(file, path).load()
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise InputError(f"{path}: its pickle holds a {type(array).__name__}; wanted an array of shape {shape}")
    return array


class _TextOnly(pickle.Unpickler):
    """Rebuilds arrays of text.  Text, bytes, lists and tuples need no name; every name but the three of an array is refused."""

    _ALLOWED: frozenset[tuple[str, str]] = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise InputError(
                f"{self.path}: its pickle asks for {module}.{name}; a list of pictures needs only text, so nothing of it was run. "
                "Get the list from its author as text"
            )
        if name == "_reconstruct":
            return _reconstruct
        return np.ndarray if name == "ndarray" else np.dtype

    def persistent_load(self, pid: Any) -> Any:
        raise InputError(f"{self.path}: its pickle refers to something outside of it")


def _reconstruct(kind: type, shape: tuple[int, ...], code: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """What numpy's own function does for an array, and for nothing else; the array's content follows in its state."""
    if kind is not np.ndarray or shape != (0,):
        raise ValueError(f"cannot rebuild a {kind.__name__} of shape {shape}")
    return np.ndarray(shape, np.dtype("i1") if code in (b"b", "b") else np.dtype(code))
