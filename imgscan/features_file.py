"""features.h5: features, labels and hashes, a group per picture.

An HDF5 file that was not closed cannot be read, and a scan may be killed at any moment.  So each picture's arrays go to a file of
their own first, in PARTS, and features.h5 is put together from these when the scan ends.  The next scan into the same folder takes
arrays from either.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import h5py
import numpy as np
import numpy.typing as npt

from imgscan.digests import digest_of
from imgscan.errors import OutputError
from imgscan.records import Assessed, Line

FILE = "features.h5"
PARTS = "features.parts"
BROKEN = (OSError, KeyError, RuntimeError, ValueError)  # of a file that a kill, or a disk, left broken
BESIDE = 8192  # bytes at most that a picture takes in the file beside its arrays


@dataclass(frozen=True)
class _Entry:
    """A picture's place in the file."""

    name: str
    path: str
    sha256: str
    grid: tuple[int, int]
    size: tuple[int, int]  # height, width


class _Arrays(NamedTuple):
    """What is kept of a picture."""

    features: npt.NDArray[np.float16]  # D x h x w
    labels: npt.NDArray[np.int32]  # h x w
    box: npt.NDArray[np.int64]  # left, top, right, bottom: the pixels that the grid covers
    cell: npt.NDArray[np.float64]  # height, width of a cell in pixels, from the box's corner on; the last ones may reach over it


class FeaturesFile:
    """What one scan keeps of its features.

    Args:
        out: the output folder.
        key: of everything that decides a result; arrays under another key are not taken.
        model, weights: for the groups' attributes.

    Raises:
        OutputError: a file cannot be written.
    """

    def __init__(self, out: Path, *, key: str, model: str, weights: str) -> None:
        self.path = out / FILE
        self.key, self.model, self.weights = key, model, weights
        self._parts = out / PARTS / key[:16]
        self._entries: list[_Entry] = []
        self._places: dict[str, bytes] = {}  # sha256 -> where the old file has the picture, whatever it was called then
        self._old: h5py.File | None = None
        self._content: object = None  # what the old file says of the pictures in it
        with suppress(*BROKEN):  # there is none
            old = h5py.File(self.path, "r")
            with suppress(*BROKEN):
                self._old = old if old.attrs.get("key") == key else None
                self._content = old.attrs.get("content")
            if self._old is None:
                old.close()
            else:
                old.visititems(self._note_place)
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._parts}: cannot be written: {error.strerror or error}") from error

    def _note_place(self, name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and "sha256" in item.attrs:
            self._places[str(item.attrs["sha256"])] = os.fsencode(name)

    @property
    def has_old(self) -> bool:
        """Whether an earlier scan with the same key left a file."""
        return self._old is not None

    def has(self, line: Line) -> bool:
        """Whether an earlier scan kept the arrays of this picture."""
        try:
            self._arrays(line["sha256"])
        except (*BROKEN, EOFError, BadZipFile):
            return False
        return True

    def _part(self, sha256: str) -> Path:
        return self._parts / f"{sha256}.npz"

    def put(self, result: Assessed) -> None:
        """Keep a picture's arrays, if there are any; may be called from any thread."""
        if result.features is None or result.clusters is None:
            return
        path = self._part(result.finding.picture.sha256)
        new = path.with_suffix(".new")
        try:
            with new.open("wb") as file:
                arrays = _Arrays(
                    result.features.vectors.numpy().astype(np.float16),
                    result.clusters.labels,
                    np.array(result.features.inside or (0, 0, result.picture.width, result.picture.height)),
                    np.array(result.features.cell),
                )
                np.savez(file, **arrays._asdict())
            new.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def note(self, line: Line) -> None:
        """A picture that the file will have, in this order."""
        rows, columns = line["grid"]
        self._entries.append(_Entry(line["name"], line["path"], line["sha256"], (rows, columns), (line["height"], line["width"])))

    def gather(self, new: Path, *, complete: bool) -> bool:
        """Write the noted pictures to a new file; False: the old one holds exactly those and stays.

        Args:
            new: the file.
            complete: whether the scan has come to its end.
        """
        content = digest_of([_Arrays._fields, *(vars(entry) for entry in self._entries)])  # another version may keep more
        # One that was computed again was gone from the old file, or is asked for anew.
        again = any(self._part(entry.sha256).exists() for entry in self._entries)
        same = self._old is not None and self._content == content and not again
        if same and (is_complete(self.path) or not complete):
            self.close()
            return False
        try:
            self._check_space()
            with h5py.File(new, "w") as file:
                # A picture of one folder may be called as a folder of another: its group has to be there first.
                for entry in sorted(self._entries, key=lambda one: one.name.count("/")):
                    self._group(file, entry)
                file.attrs["key"], file.attrs["content"], file.attrs["complete"] = self.key, content, complete
        except (*BROKEN, EOFError, BadZipFile) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            if isinstance(error, KeyError):
                why = f"arrays are gone from {self._parts}; scan again"
            raise OutputError(f"{self.path}: cannot be written: {why}") from error
        finally:
            self.close()
        return True

    def _check_space(self) -> None:
        """OSError where the disk does not hold the noted pictures: HDF5 does not tell of it, but brings the process down."""
        free = shutil.disk_usage(self._parts).free
        wanted = sum(self._bytes(entry.sha256) + BESIDE for entry in self._entries)
        if wanted > free:
            raise OSError(errno.ENOSPC, f"no space left on device: it takes {wanted / 1e6:.1f} MB, there are {free / 1e6:.1f}")

    def clear(self) -> None:
        """The parts are not needed any more."""
        shutil.rmtree(self._parts.parent, ignore_errors=True)

    def _group(self, file: h5py.File, entry: _Entry) -> None:
        arrays = self._arrays(entry.sha256)
        # A picture's name may hold slashes, which HDF5 reads as nested groups: as in the folder it came from.
        try:
            group = file.create_group(os.fsencode(entry.name))
            group["features"] = arrays.features
            group["labels"] = arrays.labels
        except ValueError as error:  # a picture n/a.jpg of one folder, and n/a.jpg/labels of another that is scanned with it
            raise OutputError(
                f"{self.path}: cannot hold a picture called {entry.name!r}: another one's arrays have that name;"
                " scan with --no-features, or the folders one by one"
            ) from error
        group.attrs["path"] = np.bytes_(os.fsencode(entry.path)) if _surrogates(entry.path) else entry.path
        group.attrs["sha256"] = entry.sha256
        group.attrs["model"] = self.model
        group.attrs["weights"] = self.weights
        group.attrs["grid"] = entry.grid
        group.attrs["size"] = entry.size
        group.attrs["box"] = arrays.box
        group.attrs["cell"] = arrays.cell

    def _arrays(self, sha256: str) -> _Arrays:
        """From the picture's part or the old file; KeyError where neither has them."""
        path = self._part(sha256)
        if path.exists():
            with np.load(path, allow_pickle=False) as part:  # its checksums tell a broken file
                return _Arrays(*(part[name] for name in _Arrays._fields))
        if self._old is None:
            raise KeyError(sha256)
        group = self._old[self._places[sha256]]
        return _Arrays(group["features"][:], group["labels"][:], group.attrs["box"], group.attrs["cell"])

    def _bytes(self, sha256: str) -> int:
        """About how much a picture's arrays take."""
        with suppress(OSError):
            return self._part(sha256).stat().st_size
        if self._old is None:
            return 0
        group = self._old[self._places[sha256]]  # it may hold groups of other pictures, too
        return int(group["features"].nbytes + group["labels"].nbytes)

    def close(self) -> None:
        """Let go of the earlier file."""
        if self._old is not None:
            self._old.close()
            self._old = None


def keeps(line: Line) -> bool:
    """Whether the arrays of a result are kept: of a picture that was judged, and as one; the panels of a collage have no common
    grid."""
    return line["status"] == "assessed" and not line.get("withheld") and not line.get("panels")


def retire(out: Path, key: str, *, whole: bool) -> None:
    """For a scan that keeps no features: those of other weights or settings would pass for its own beside its record.

    They go when the scan has come to its end (`whole`), as when it had kept its own, and else are moved beside the record that
    they belong to.  Those under the same key stay: the next scan takes them.
    """
    path = out / FILE
    previous = path.with_name(f"{path.stem}.previous{path.suffix}")
    with suppress(*BROKEN):  # none, or one that nobody can read
        with h5py.File(path, "r") as file:
            own = file.attrs.get("key") == key
        if not own and whole:
            path.unlink()
            previous.unlink(missing_ok=True)
        elif not own and is_complete(path):
            path.replace(previous)


def is_complete(path: Path) -> bool:
    """Whether a features.h5 is that of a scan that came to its end (those of before that was noted count as such)."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("complete", True))
    except BROKEN:
        return False


def _surrogates(text: str) -> bool:
    """Whether a path holds bytes that are not UTF-8."""
    return any(0xD800 <= ord(c) <= 0xDFFF for c in text)
