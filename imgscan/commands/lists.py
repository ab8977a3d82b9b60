"""`imgscan data export`: a data set as the list of another tool; torch is not imported."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from imgscan.cores import cores
from imgscan.datasets.entries import Entry, masks_of, read_entry
from imgscan.datasets.lists import WRITERS, ListFormat, misread, plain_masks, rows_of, unfit
from imgscan.datasets.manifests import READERS, UNTOUCHED, Row
from imgscan.datasets.resolve import Wanted, resolve
from imgscan.datasets.sets import names_below, read_set
from imgscan.errors import ExitCode, InputError, OutputError, unknown
from imgscan.find import can_be_made, real
from imgscan.printable import say
from imgscan.progress import Bar, bar
from imgscan.store import replacing

SHOWN = 3  # pictures named for each reason


@dataclass(frozen=True)
class _Looked:
    """What reading a picture and its masks has shown."""

    broken: str = ""  # why it cannot be read, or its mask
    misread: str = ""  # why the other tool would find something else in the mask


def export_command(
    data: Sequence[str],
    *,
    name: str,
    out: Path,
    roots: Sequence[Path],
    split: str | None,
    masks: Path | None,
    relative_to: Path | None,
) -> ExitCode:
    """Write the list, and with `masks` plain masks for it; 2 where pictures were left out, which are named.

    Raises:
        InputError: no such format, set or split, a list that would be empty, masks that would be misread, or files that would be
            written over.
        OutputError: the list or a mask cannot be written.
    """
    if name not in WRITERS:
        raise InputError(f"--format: {unknown('list', name, WRITERS)}")
    wanted = WRITERS[name]
    if out.suffix.lower() != wanted.suffix:
        raise InputError(f"--out {out}: a list of {name} is a {wanted.suffix} file")
    if not can_be_made(out):
        raise OutputError(f"--out {out}: cannot be written; wanted a file in a folder that may be written to")
    if wanted.beside and masks is not None:
        raise InputError(f"--masks: {name} finds masks beside their pictures, so its list can name no others")
    entries = [entry for one in data for entry in _entries(one, roots, split)]
    forged = [entry for entry in entries if entry.mask is not None]
    places = {} if masks is None else plain_masks(forged, names_below(forged), masks)
    if masks is not None:
        _keep_sources(entries, places, masks)
    named = [_replaced(entry, places) for entry in entries]
    rows = rows_of(named, relative_to)
    reasons = [unfit(entry, row, wanted) for entry, row in zip(named, rows, strict=True)]
    looked = _look(entries, reasons, places if masks is not None else None, wanted)
    if not wanted.beside:
        _refuse_misread(looked, name, wanted)
    kept: list[Row] = []
    left_out: dict[str, list[Path]] = {}
    for entry, row, unfitting in zip(entries, rows, reasons, strict=True):
        reason = unfitting or looked[entry].broken or looked[entry].misread
        if reason:
            left_out.setdefault(reason, []).append(entry.image)
        else:
            kept.append(row)
    for reason, paths in left_out.items():
        say(f"imgscan: left out {_some(list(dict.fromkeys(paths)))}: {reason}")
    if not kept:
        raise InputError(f"--out {out}: none of the {len(entries):,} pictures can be in it")
    _write(out, kept, wanted)
    _remark(kept, name, masks)
    print(out)
    return ExitCode.CLEAN if len(kept) == len(entries) else ExitCode.INCOMPLETE


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN:,} more" if len(paths) > SHOWN else ""
    return f"{', '.join(map(str, paths[:SHOWN]))}{more}"


def _entries(data: str, roots: Sequence[Path], split: str | None) -> list[Entry]:
    if split is None:
        return read_set(data, roots)
    if split not in get_args(Wanted):
        raise InputError(f"--split: {unknown('split', split, get_args(Wanted))}")
    return resolve(data, roots, split)  # type: ignore[arg-type]


def _replaced(entry: Entry, places: dict[Path, Path]) -> Entry:
    if entry.mask is None or not places:
        return entry
    return replace(entry, mask=places[entry.image], parts=(), rule="white")


def _keep_sources(entries: Sequence[Entry], places: dict[Path, Path], masks: Path) -> None:
    """Refuse a folder for plain masks where these would lie over the set's own files, or over each other."""
    sources = {real(path) for entry in entries for path in (entry.image, *masks_of(entry))}
    over = next((path for path in places.values() if real(path) in sources), None)
    if over is not None:
        raise InputError(f"--masks {masks}: {over} is a file of the set itself; wanted another folder")
    truths = {entry.image: entry for entry in entries if entry.mask is not None}
    both = next((e for e in entries if e.mask is not None and masks_of(e) != masks_of(truths[e.image])), None)
    if both is not None:
        raise InputError(f"--masks {masks}: {both.image} is listed with several masks; wanted a set in which it has one")


def _look(
    entries: Sequence[Entry], reasons: Sequence[str], places: dict[Path, Path] | None, wanted: ListFormat
) -> dict[Entry, _Looked]:
    """Read every picture that the format can hold, and either write its mask anew or ask whether the tool would misread it."""
    asked = list(dict.fromkeys(entry for entry, reason in zip(entries, reasons, strict=True) if not reason))
    with bar("reading", len(asked)) as progress, ThreadPoolExecutor(cores()) as threads:
        try:
            found = threads.map(partial(_look_at, places=places, wanted=wanted, progress=progress), asked)
            return dict(zip(asked, found, strict=True))
        finally:
            threads.shutdown(cancel_futures=True)


def _look_at(entry: Entry, *, places: dict[Path, Path] | None, wanted: ListFormat, progress: Bar) -> _Looked:
    try:
        _, forged = read_entry(entry)
        if entry.mask is None:
            return _Looked()
        if places is None:
            return _Looked(misread=misread(entry, forged, wanted.above))
    except InputError as error:
        return _Looked(broken=f"it cannot be measured: {error}")
    finally:
        progress.advance()
    content = io.BytesIO()
    Image.fromarray(forged.astype(np.uint8) * 255).save(content, "PNG")
    _write_mask(places[entry.image], content.getvalue())
    return _Looked()


def _write_mask(path: Path, content: bytes) -> None:
    """A mask that is there already may be that of an earlier call alone."""
    try:
        if os.path.lexists(path):
            if path.read_bytes() != content:
                raise InputError(f"--masks: {path} is there already, and another mask; wanted another folder")
            return
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    with replacing(path) as new:
        new.write_bytes(content)


def _refuse_misread(looked: dict[Entry, _Looked], name: str, wanted: ListFormat) -> None:
    wrong = [entry for entry, one in looked.items() if one.misread]
    if wrong:
        forged = sum(entry.mask is not None for entry in looked)
        raise InputError(
            f"{len(wrong):,} of {forged:,} masks would be misread, {wrong[0].mask} for one: {looked[wrong[0]].misread}, and {name} "
            f"takes {wanted.takes} for forged; --masks DIR writes plain ones for the list"
        )


def _write(out: Path, rows: Sequence[Row], wanted: ListFormat) -> None:
    """The list, after it was read again."""
    with replacing(out) as new:
        new.write_bytes(wanted.render(rows))
        read, _, _ = READERS[wanted.suffix](new)
        again = [(image, "" if mask.lower() in UNTOUCHED else mask) for image, mask in read]
        odd = next((row for row, other in zip_longest(rows, again) if row != other), None)
        if odd is not None:
            raise InputError(f"--out {out}: {odd[0]} would be read as something else; rename it, or choose another --format")


def _remark(rows: Sequence[Row], name: str, masks: Path | None) -> None:
    forged = sum(bool(mask) for _, mask in rows)
    where = "" if masks is None else f"; masks in {masks}"
    say(f"imgscan: {len(rows):,} pictures, {forged:,} of them forged{where}")
    others = sum(Path(image).suffix.lower() not in (".jpg", ".jpeg") for image, _ in rows)
    if name == "cat-net" and others:
        say(
            f"imgscan: {others:,} pictures are no JPEG files; CAT-Net, where it reads from JPEG, wants the name of a copy saved as "
            "JPEG in the third column, in which their own stand (TruFor does not look there)"
        )
