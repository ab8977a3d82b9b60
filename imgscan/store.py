"""Store: masks, overlays and features on disk.  Every file is written under a temporary name and moved into place."""

from __future__ import annotations

import csv
import ctypes
import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from scipy import ndimage

from imgscan.errors import InputError, OutputError
from imgscan.features_file import FeaturesFile, is_complete
from imgscan.find import holds_scan, real
from imgscan.frame import cut
from imgscan.jpeg import MOST_SIDE
from imgscan.printable import as_cell
from imgscan.records import Assessed, Box, Mask, Picture, Source

_PALE = 112  # of 255; half of what there is comes on top
_SHADE = np.array([255, 32, 32], np.float32)  # of the forged region on the overlay
_LINE = np.array([255, 255, 0], np.uint8)  # its outline
_SOURCE = np.array([0, 220, 255], np.uint8)  # that of what a marked copy equals
MOST_NAME = 255  # bytes of a file's name, on nearly every file system
MOST_PATH = 2048  # bytes of a name with its folders: what is left of Linux's 4,096 is for the output folder
SUFFIXES = {"masks": ".png", "overlays": ".jpg"}  # overlays are for people: a PNG takes twenty times as long, four times the space
TRIM_EVERY = 20  # pictures
STRIP = 256  # rows that are shaded at once


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well; OutputError names what failed.

    The name is always the same for a path, so that what a killed process left behind goes when the file is written again.
    """
    # Short: the picture's own name may be as long as a name can be.
    new = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield new
        new.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {why_not_made(error)}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def why_not_made(error: OSError) -> str:
    """Why a folder, or a file in it, cannot be made; what lies where a folder has to be is named."""
    if isinstance(error, FileExistsError):
        return f"{error.filename} is there and is no folder"
    return error.strerror or str(error)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file that begins with the names of its columns; OutputError where it cannot be written.

    Names and other texts that a spreadsheet would take for a formula get an apostrophe in front (of_cell); numbers stay numbers.
    """
    with replacing(path) as new, new.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([as_cell(str(one)) if isinstance(one, str | Path) else one for one in row] for row in rows)


def settle(new: Path, path: Path, *, whole: bool, is_complete: Callable[[Path], bool]) -> None:
    """Move a finished file into place.

    What an interrupted scan wrote does not replace the file of a complete one, which is kept beside it until another scan comes to
    its end.

    Args:
        new: the file; one that is not there has nothing to replace.
        path: its place.
        whole: whether the scan that wrote it came to its end.
        is_complete: says it of the file that is in that place.
    """
    previous = path.with_name(f"{path.stem}.previous{path.suffix}")
    if not whole and path.exists() and is_complete(path):
        path.replace(previous)
    if new.exists():
        new.replace(path)
    if whole:
        previous.unlink(missing_ok=True)


def check_out(out: Path, sources: Sequence[Source]) -> None:
    """Refuse an output folder where the scan would write over a picture it reads, or over masks that are not its own.

    Raises:
        InputError: says which file or folder is in the way.
    """
    inputs = {real(source.path) for source in sources}
    for folder in SUFFIXES:
        if os.path.lexists(out / folder) and not holds_scan(out):
            raise InputError(
                f"--out {out}: has a {folder}/ that no scan of imgscan made; wanted a new folder, or one of an earlier scan"
            )
        for source in sources:
            path = output_path(out, folder, source.name)
            if real(path) in inputs:
                raise InputError(f"--out {out}: {path} is one of the scanned pictures; wanted another folder")
    written = {output_name(folder, source.name): source for folder in SUFFIXES for source in sources}
    for name, source in written.items():
        for parent in Path(name).parents:
            if (other := written.get(parent.as_posix())) is not None:
                raise InputError(f"{source.path} and {other.path} would write {parent} as a folder and as a file; scan them apart")


def output_name(folder: str, name: str) -> str:
    """`a/b.jpg` -> masks/a/b.jpg.png: equal stems never collide.  A name that would get too long is cut and gets a hash."""
    path = Path(folder) / f"{name}{SUFFIXES[folder]}"
    if len(os.fsencode(name)) > MOST_PATH:  # folders below folders: all such pictures go into one
        path = Path(folder) / "~deep" / path.name
    elif len(os.fsencode(path.name)) <= MOST_NAME:
        return path.as_posix()
    stem = os.fsencode(path.name)[: MOST_NAME - 13].decode(errors="ignore")
    return path.with_name(f"{stem}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{SUFFIXES[folder]}").as_posix()


def output_path(out: Path, folder: str, name: str) -> Path:
    """The same below an output folder; InputError for a name that leads out of it."""
    path = Path(output_name(folder, name))
    if ".." in path.parts:
        raise InputError(f"{name}: would be written outside {out}")
    return out / path


def overlay(picture: Picture, mask: Mask, shown: Sequence[Box] = ()) -> Image.Image:
    """The picture with the forged region shaded and outlined, upright, for people; what was copied is outlined only.

    What lies outside the boxes that were looked at, if those were not all (none), is pale.
    """
    rgb = picture.rgb.copy()
    if shown:
        rgb = (rgb // 2 + _PALE).astype(np.uint8)
    for box in shown:
        cut(rgb, box)[:] = cut(picture.rgb, box)
    thick = max(1, round(max(mask.forged.shape) / 400))
    if mask.sources is not None:
        rgb[_outline(mask.sources, thick)] = _SOURCE
    if mask.forged.any():
        forged = mask.forged
        for first in range(0, len(rgb), STRIP):  # what is marked takes eight times its room in double precision
            strip, marked = rgb[first : first + STRIP], forged[first : first + STRIP]
            strip[marked] = (0.6 * strip[marked] + 0.4 * _SHADE).astype(np.uint8)
        rgb[_outline(forged, thick)] = _LINE
    image = Image.fromarray(rgb)
    image.getexif()[0x0112] = picture.orientation
    return ImageOps.exif_transpose(image)


def _outline(inside: npt.NDArray[np.bool_], thick: int) -> npt.NDArray[np.bool_]:
    """The pixels at most `thick` from an edge."""
    outline = ndimage.binary_dilation(inside, iterations=thick) & ~ndimage.binary_erosion(inside, iterations=thick)
    return np.asarray(outline)


class Store:
    """Writes what `--out` receives; use as a context manager.

    Pictures are encoded and written in a thread beside the scan; features.h5 is put together when the scan ends.

    Raises:
        OutputError: the folder or a file cannot be written; what was written before stays.
    """

    def __init__(self, out: Path, *, features: FeaturesFile | None) -> None:
        self.out, self.features = out, features
        self._finished = False
        self._count = 0
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--out {out}: cannot be written: {why_not_made(error)}") from error
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=True)
        # Also after an interruption: what there is, is whole.  But a file of earlier scans of the same kind stays as it is, for the
        # next scan takes up from that and from the parts beside it.
        if self.features is None or self._finished:
            return
        if self.features.has_old or _is_full(error):  # nothing more fits
            self.features.close()
        else:
            self._gather(self.features)

    def finish(self) -> None:
        """The scan came to its end: features.h5 is put together; an earlier one is replaced, not kept beside it.

        Raises:
            OutputError: it cannot be written; everything else is there, and the parts stay for the next scan.
        """
        self._finished = True
        if self.features is not None:
            self._gather(self.features)

    def _gather(self, features: FeaturesFile) -> None:
        new = features.path.with_suffix(".h5.new")
        try:
            made = features.gather(new, complete=self._finished)
            if made or self._finished:
                settle(new, features.path, whole=self._finished, is_complete=is_complete)
        except OSError as failed:
            raise OutputError(f"{features.path}: cannot be written: {failed.strerror or failed}") from failed
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)

    def add(self, result: Assessed) -> Future[dict[str, str]]:
        """Write one picture's mask, overlay and features; mask_sha256 and overlay_sha256 when all of them are on disk."""
        self._count += 1
        if self._count % TRIM_EVERY == 0:
            _return_memory()
        return self._thread.submit(self._write, result)

    def drop(self, name: str) -> None:
        """Of a picture that could not be assessed, nothing of an earlier scan may stay beside the record that says so."""
        for path in (output_path(self.out, folder, name) for folder in SUFFIXES):
            try:
                if not path.is_dir():  # as the mask of a/b.jpg needs one
                    path.unlink(missing_ok=True)
            except NotADirectoryError:
                continue
            except OSError as error:
                raise OutputError(f"{path}: cannot be removed: {error.strerror or error}") from error

    def _write(self, result: Assessed) -> dict[str, str]:
        name, within = result.finding.picture.name, result.finding.panels or [box for box in [result.finding.inside] if box]
        mask = Image.fromarray(result.mask.forged.astype(np.uint8) * 255)
        shown = overlay(result.picture, result.mask, within)
        shown.thumbnail((MOST_SIDE, MOST_SIDE))
        digests = {
            "mask_sha256": _save(mask, output_path(self.out, "masks", name), "PNG"),
            "overlay_sha256": _save(shown, output_path(self.out, "overlays", name), "JPEG", quality=90),
        }
        if self.features is not None:
            self.features.put(result)
        return digests


def _is_full(error: BaseException | None) -> bool:
    """Whether a scan ends because nothing can be written any more."""
    return isinstance(error, OutputError) or getattr(error, "errno", None) == errno.ENOSPC


def _save(image: Image.Image, path: Path, kind: str, **settings: int) -> str:
    """Encode, write, and say the SHA-256 of what was written."""
    content = io.BytesIO()
    image.save(content, kind, **settings)
    with replacing(path) as new:
        new.write_bytes(content.getvalue())
    return hashlib.sha256(content.getvalue()).hexdigest()


def _return_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc).

    Small lasting allocations settle between the pictures' large arrays and pin the heap: without this, memory grows with every
    picture.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
