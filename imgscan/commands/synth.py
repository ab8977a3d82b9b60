"""`imgscan data synth`: forgeries written to disk, continued where a call was cut short; torch is imported where processes help.

Forgery number i is a pure function of the settings, the photographs and i.  So the settings are written first (synth.toml), then
pictures and masks, each whole or not at all, and after every pair its row of manifest.csv: what has a row is complete, and the
same call makes the rest.  Worker processes write pictures and masks, the main one the rows, in the order of the numbers.
"""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan import __version__
from imgscan.datasets.families import Families, forge_as, parse_families
from imgscan.datasets.forge import KINDS, Forgery, Rgb, forge
from imgscan.datasets.photos import pictures_below, read_photo
from imgscan.datasets.trees import MADE, without_made
from imgscan.errors import ExitCode, ImgscanError, InputError, OutputError, unknown
from imgscan.locks import locked
from imgscan.printable import say
from imgscan.progress import bar
from imgscan.store import replacing, write_rows
from imgscan.toml import to_toml

SETTINGS = "synth.toml"  # beside images/ and masks/: what the forgeries were made with
MANIFEST = "manifest.csv"
FEW = 50  # forgeries that are made before worker processes have begun
Rows = dict[int, list[str]]  # of the manifest, by the forgery's number


def synth_command(
    *,
    roots: list[Path],
    count: int,
    side: int,
    kinds: list[str],
    families: str,
    seed: int,
    out: Path,
    jobs: int | None = 1,
) -> ExitCode:
    """Write `count` forgeries as images/ and masks/ (PNG, white is forged) and manifest.csv.

    Number i is a pure function of (seed, i), the other settings and the photographs; the same call writes the same files, and
    none that is there already, by however many `jobs`, processes; None: one a core where that many forgeries are worth it.

    Raises:
        InputError: no photographs, an unknown kind, kinds beside families, a side that is no multiple of 8, or an output folder
            that holds something else.
        ConfigError: an unknown family.
        OutputError: the folder cannot be written, or another call writes into it.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"--kind: {unknown('kind of forgery', kind, KINDS)}")
    if kinds and families:
        raise InputError("--kind and --families do not go together: with families the kind is drawn")
    chosen = parse_families(families, "--families")
    if side % 8 or side < 64:
        raise InputError(f"--side {side}; wanted a multiple of 8, at least 64")
    if not roots:
        raise InputError("forgeries need pristine photographs: give --data-root DIR (repeatable)")
    found = pictures_below(roots)
    photos = without_made(found)
    if len(photos) < len(found):
        say(f"imgscan: passed over {len(found) - len(photos):,} pictures that imgscan data synth wrote")
    if not photos:
        raise InputError(f"{', '.join(str(root) for root in roots)}: no pictures; wanted .jpg, .png, .tif, .webp or .bmp files")
    areas = np.array([_area(path) for path in photos])
    if not areas.any():
        raise InputError(f"none of {len(photos)} photographs can be opened, {photos[0]} for one; wanted pristine pictures")
    settings = {
        "imgscan": __version__,
        "seed": seed,
        "side": side,
        "kinds": kinds,
        "families": sorted(chosen),
        "photographs": len(photos),
        "photographs_sha256": _digest(photos, areas),
    }
    try:
        with _opened(out, settings, count) as rows:
            _write(_Maker(tuple(photos), areas, side, tuple(kinds), chosen, seed, out), count, jobs, rows)
    except OSError as error:
        raise OutputError(f"--out {out} cannot be written: {error.strerror or error}") from error
    print(out / MANIFEST)
    return ExitCode.CLEAN


def _digest(photos: list[Path], areas: npt.NDArray[np.int64]) -> str:
    """Of the names, sizes and pixels of the photographs, in the order they are drawn from; reading them whole would take long."""
    digest = hashlib.sha256()
    for photo, area in zip(photos, areas, strict=True):
        try:
            size = photo.stat().st_size
        except OSError:
            size = -1
        digest.update(f"{photo.name}\0{size}\0{area}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


@contextmanager
def _opened(out: Path, settings: dict[str, Any], count: int) -> Iterator[Rows]:
    """The output folder, made or continued, locked within a block; the rows of the forgeries that are complete.

    Raises:
        InputError: it holds a data set that was made otherwise, or more forgeries than are wanted.
        OutputError, OSError: it cannot be written, or another call writes into it.
    """
    for name in ("images", "masks", MANIFEST):
        if (out / name).exists() and not (out / SETTINGS).exists():
            raise InputError(f"--out {out} holds a data set already, and no {SETTINGS} by which to go on; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, "imgscan data synth"):
        rows = _rows(out)
        if rows and (changed := _changes(out, settings)):
            raise InputError(f"--out {out} holds a data set already, made with other settings ({changed}); choose another folder")
        if rows and (most := max(rows) + 1) > count:
            raise InputError(f"--out {out} holds {most:,} forgeries already, more than --count {count}; choose another folder")
        with replacing(out / SETTINGS) as new:
            new.write_text(to_toml(settings), "utf-8")
        for name in ("images", "masks"):
            (out / name).mkdir(exist_ok=True)
        write_rows(out / MANIFEST, MADE, rows.values())  # what a kill left of a row goes
        yield rows
        if list(rows) != sorted(rows):
            write_rows(out / MANIFEST, MADE, (rows[number] for number in sorted(rows)))


def _rows(out: Path) -> Rows:
    """The rows of forgeries that are on the disk, in their order in the manifest."""
    try:
        lines = (out / MANIFEST).read_bytes().split(b"\n")[:-1]  # behind the last end of a line is what a kill left
    except FileNotFoundError:
        return {}
    rows: Rows = {}
    for row in csv.reader(line.decode(errors="replace") for line in lines):
        if len(row) != len(MADE) or not row[-1].isdecimal():
            continue
        stem = _stem(int(row[-1]))
        if row[:2] == [f"images/{stem}", f"masks/{stem}"] and all((out / name).is_file() for name in row[:2]):
            rows[int(row[-1])] = row
    return rows


def _stem(number: int) -> str:
    return f"{number:06d}.png"


def _changes(out: Path, settings: dict[str, Any]) -> str:
    """What differs from the settings that the folder's forgeries were made with; empty: nothing."""
    try:
        before = tomllib.loads((out / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        return f"{SETTINGS} cannot be read: {error}"
    changed = [
        f"{name} {before.get(name)!r}, now {value!r}"
        for name, value in settings.items()
        if before.get(name) != value and name != "photographs_sha256"
    ]
    if not changed and before.get("photographs_sha256") != settings["photographs_sha256"]:
        return "other photographs, by their names and sizes"
    return "; ".join(changed)


@dataclass
class _Made:
    """A pair that is on the disk."""

    row: list[str]  # of the manifest
    unreadable: list[tuple[int, str]]  # photographs that were drawn first: their places, and what is wrong with them


@dataclass
class _Maker:
    """Makes and writes forgeries by their numbers; in a worker process it is a copy."""

    photos: tuple[Path, ...]
    areas: npt.NDArray[np.int64]  # pixels of each; 0: it cannot be opened, and from the first time that decoding failed
    side: int
    kinds: tuple[str, ...]
    families: Families
    seed: int
    out: Path
    processes: int = 1

    def __post_init__(self) -> None:
        self.edges = np.cumsum(self.areas)  # of all that can be opened: what is broken is drawn in any process, and passed over

    def __call__(self, number: int) -> _Made | ImgscanError:
        """Picture and mask on the disk; an error is the answer and not raised, for on its way between processes it would change."""
        unreadable: list[tuple[int, str]] = []
        try:
            one, stem = self._forged(np.random.default_rng((self.seed, number)), unreadable), _stem(number)
            forged = one.labels > 0
            for name, pixels in (("images", one.rgb), ("masks", forged.astype(np.uint8) * 255)):
                with replacing(self.out / name / stem) as new:
                    Image.fromarray(pixels).save(new, "PNG")
        except ImgscanError as error:
            return error
        row = [f"images/{stem}", f"masks/{stem}", one.kind, f"{forged.mean():.4f}", str(self.seed), str(number)]
        return _Made(row, unreadable)

    def _forged(self, rng: np.random.Generator, unreadable: list[tuple[int, str]]) -> Forgery:
        def photo() -> Rgb:
            while self.areas.any():
                place = min(int(np.searchsorted(self.edges, rng.random() * self.edges[-1], side="right")), len(self.photos) - 1)
                if not self.areas[place]:
                    continue
                try:
                    return read_photo(self.photos[place], self.processes)
                except InputError as error:  # another one is drawn, as in training
                    self.areas[place] = 0
                    unreadable.append((place, str(error)))
            raise InputError(f"none of {len(self.photos)} photographs can be read")

        if self.families:
            return forge_as(photo, self.side, rng, self.families)
        return forge(photo, self.side, rng, self.kinds[int(rng.integers(len(self.kinds)))] if self.kinds else None)


def _write(maker: _Maker, count: int, jobs: int | None, rows: Rows) -> None:
    """Make what is not among the rows, and its rows."""
    if rows:
        say(f"imgscan: {len(rows):,} of {count:,} forgeries are there already")
    missing = [number for number in range(count) if number not in rows]
    told: set[int] = set()  # places of photographs: every process comes upon a broken one
    with bar("forging", count) as progress, (maker.out / MANIFEST).open("a", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        progress.advance(by=len(rows))
        for number, made in zip(missing, _made(maker, missing, jobs), strict=True):
            if isinstance(made, ImgscanError):
                raise made
            for place, text in made.unreadable:
                if place not in told:
                    told.add(place)
                    say(f"imgscan: passed over {text}")
            rows[number] = made.row
            table.writerow(made.row)
            file.flush()
            progress.advance()


def _made(maker: _Maker, numbers: list[int], jobs: int | None) -> Iterator[_Made | ImgscanError]:
    """The forgeries of these numbers in their order, by so many processes; None: by one a core, where there are more than a few."""
    if (jobs is not None and jobs < 2) or (jobs is None and len(numbers) < FEW):
        yield from map(maker, numbers)
        return
    from imgscan.scanner import default_jobs
    from imgscan.workers import busy, each

    workers = busy(numbers, default_jobs() if jobs is None else jobs)
    yield from each(numbers, replace(maker, processes=max(1, workers)), workers)


def _area(path: Path) -> int:
    """Pixels of a picture, from its header; a photograph is drawn in proportion, so that many small ones do not crowd out few."""
    try:
        with Image.open(path) as picture:
            return picture.width * picture.height
    except Exception as error:  # Pillow raises nearly anything on broken files
        say(f"imgscan: passed over {path}: cannot be opened: {error}")
        return 0
