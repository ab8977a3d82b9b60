"""Store: masks, overlays and features on disk.  Every file is written under a temporary name and moved into place."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from types import TracebackType

import h5py
import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from imgscan.errors import InputError, OutputError
from imgscan.records import Assessed, Mask, Picture, Source

_SHADE = np.array([255, 32, 32], np.float32)  # of the forged region on the overlay
_LINE = np.array([255, 255, 0], np.uint8)  # its outline
MOST_NAME = 255  # bytes of a file's name, on nearly every file system
SUFFIXES = {"masks": ".png", "overlays": ".jpg"}  # overlays are for people: a PNG takes twenty times as long, four times the space
JPEG_SIDE = 65_500  # pixels, the most that libjpeg takes
TRIM_EVERY = 20  # pictures
_BACKLOG = 8  # pictures waiting to be written before the scan has to wait


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well; OutputError names what failed."""
    new = path.with_name(f".{get_ident():x}.new")  # short: the picture's own name may be as long as a name can be
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield new
        new.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def settle(new: Path, path: Path, *, whole: bool) -> None:
    """Move a finished file into place.  What an interrupted scan wrote does not replace an earlier one: that is kept beside it."""
    if not whole and path.exists():
        path.replace(path.with_name(f"{path.stem}.previous{path.suffix}"))
    new.replace(path)


def check_out(out: Path, sources: Sequence[Source]) -> None:
    """Refuse an output folder where the scan would write over a picture it reads, or over masks that are not its own.

    Raises:
        InputError: says which file or folder is in the way.
    """
    inputs = {source.path.resolve() for source in sources}
    for folder in SUFFIXES:
        if (out / folder).exists() and not any((out / name).exists() for name in ("results.jsonl", "results.jsonl.new")):
            raise InputError(
                f"--out {out}: has a {folder}/ that no scan of imgscan made; wanted a new folder, or one of an earlier scan"
            )
        for source in sources:
            path = output_path(out, folder, source.name)
            if path.resolve() in inputs:
                raise InputError(f"--out {out}: {path} is one of the scanned pictures; wanted another folder")


def output_name(folder: str, name: str) -> str:
    """`a/b.jpg` -> masks/a/b.jpg.png: equal stems never collide.  A name that would get too long is cut and gets a hash."""
    path = Path(folder) / f"{name}{SUFFIXES[folder]}"
    if len(os.fsencode(path.name)) > MOST_NAME:
        stem = os.fsencode(path.name)[: MOST_NAME - 13].decode(errors="ignore")
        path = path.with_name(f"{stem}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{SUFFIXES[folder]}")
    return path.as_posix()


def output_path(out: Path, folder: str, name: str) -> Path:
    """The same below an output folder; InputError for a name that leads out of it."""
    path = Path(output_name(folder, name))
    if ".." in path.parts:
        raise InputError(f"{name}: would be written outside {out}")
    return out / path


def overlay(picture: Picture, mask: Mask) -> Image.Image:
    """The picture with the forged region shaded and outlined, upright, for people."""
    rgb = picture.rgb.copy()
    if mask.forged.any():
        inside = mask.forged
        rgb[inside] = (0.6 * rgb[inside] + 0.4 * _SHADE).astype(np.uint8)
        thick = max(1, round(max(inside.shape) / 400))
        rgb[ndimage.binary_dilation(inside, iterations=thick) & ~ndimage.binary_erosion(inside, iterations=thick)] = _LINE
    image = Image.fromarray(rgb)
    image.getexif()[0x0112] = picture.orientation
    return ImageOps.exif_transpose(image)


class Store:
    """Writes what `--out` receives; use as a context manager.

    Pictures are encoded in threads beside the scan; the HDF5 file is written by the caller's thread.

    Raises:
        OutputError: the folder or a file cannot be written; what was written before stays.
    """

    def __init__(self, out: Path, *, features: bool, model: str, weights: str, threads: int = 1) -> None:
        self.out, self.model, self.weights = out, model, weights
        self._pending: list[Future[None]] = []
        self._finished = False
        self._count = 0
        self._file: h5py.File | None = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            if features:
                self._new = out / "features.h5.new"
                self._file = h5py.File(self._new, "w")
        except OSError as error:
            raise OutputError(f"--out {out}: cannot be written: {error.strerror or error}") from error
        self._threads = ThreadPoolExecutor(max_workers=max(1, threads))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=True)
        if self._file is not None:  # also after an interruption: the groups written so far are whole
            try:
                self._file.close()
                settle(self._new, self.out / "features.h5", whole=self._finished)
            except (OSError, RuntimeError) as failed:
                raise OutputError(f"{self.out / 'features.h5'}: cannot be written: {failed}") from failed

    def finish(self) -> None:
        """Wait until every picture handed over is on disk; OutputError for the first that is not."""
        for pending in self._pending:
            pending.result()
        self._pending.clear()
        self._finished = True

    def add(self, result: Assessed) -> None:
        """Write one picture's mask, overlay and features."""
        self._count += 1
        if self._count % TRIM_EVERY == 0:
            _return_memory()
        done = [p for p in self._pending if p.done()]
        for pending in done or (self._pending[:1] if len(self._pending) >= _BACKLOG else []):
            pending.result()
            self._pending.remove(pending)
        self._pending.append(self._threads.submit(self._images, result))
        if self._file is not None:
            self._features(self._file, result)

    def _images(self, result: Assessed) -> None:
        name = result.finding.picture.name
        with replacing(output_path(self.out, "masks", name)) as new:
            Image.fromarray(result.mask.forged.astype(np.uint8) * 255).save(new, "PNG")
        with replacing(output_path(self.out, "overlays", name)) as new:
            shown = overlay(result.picture, result.mask)
            shown.thumbnail((JPEG_SIDE, JPEG_SIDE))
            shown.save(new, "JPEG", quality=90)

    def _features(self, file: h5py.File, result: Assessed) -> None:
        facts = result.finding.picture
        try:
            # A picture's name may hold slashes, which HDF5 reads as nested groups: as in the folder it came from.
            group = file.create_group(os.fsencode(facts.name))
            group["features"] = result.features.vectors.numpy().astype(np.float16)
            group["labels"] = result.clusters.labels
            group.attrs["path"] = np.bytes_(os.fsencode(facts.path)) if _surrogates(facts.path) else facts.path
            group.attrs["sha256"] = facts.sha256
            group.attrs["model"] = self.model
            group.attrs["weights"] = self.weights
            group.attrs["grid"] = result.finding.grid
            group.attrs["size"] = (facts.height, facts.width)
        except BaseException as error:
            with suppress(Exception):
                del file[os.fsencode(facts.name)]  # no half groups
            if not isinstance(error, (OSError, ValueError)):
                raise
            raise OutputError(f"{self.out / 'features.h5'}: cannot be written: {error}") from error


def _return_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc).

    HDF5's small records settle between the pictures' large arrays and pin the heap: without this, memory grows with every picture.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _surrogates(text: str) -> bool:
    """Whether a path holds bytes that are not UTF-8."""
    return any(0xD800 <= ord(c) <= 0xDFFF for c in text)
