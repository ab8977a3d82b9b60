"""Find the pictures: paths in, `Source` out, in stable order.  A picture is known by its first bytes, not by its suffix."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from imgscan.errors import InputError
from imgscan.records import Source

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"BM")
_SKIPPED_FOLDERS = frozenset({".git"})


def looks_like_picture(path: Path) -> bool:
    """Whether the first bytes are those of JPEG, PNG, TIFF, WebP or BMP.

    True also for a file that may not be read: a gate has to report it, not to pass over it.
    """
    try:
        if not path.is_file():  # a pipe would wait for a writer for ever
            return False
        with path.open("rb") as file:
            start = file.read(12)
    except PermissionError:
        return True
    except OSError:
        return False
    return start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def find(paths: Iterable[Path], out: Path | None = None) -> list[Source]:
    """Every picture at and below the paths, once each.

    A named file is always taken (if it is no picture, decoding says so).  In a folder, a file is taken when its first bytes are a
    picture's, or when its suffix claims so: a broken .jpg must not be passed over in silence.  `.git`, linked folders and the
    output folder of an earlier scan are not entered.  Within a folder, names are sorted; the paths keep their order.

    Args:
        paths: files and folders.
        out: the output folder, never scanned.

    Raises:
        InputError: a path does not exist, or two pictures would write the same output files.
    """
    found: dict[Path, Source] = {}
    names: dict[str, Path] = {}
    avoid = out.resolve() if out else None
    for path in paths:
        if not os.path.lexists(path):
            raise InputError(f"{path}: no such file or folder; wanted a picture or a folder of pictures")
        for source in _walk(path, avoid) if path.is_dir() else [Source(path, _name(path, path.parent))]:
            real = source.path.resolve()
            if real in found:
                continue
            if source.name in names:
                # Two scanned folders with the same file name below: tell them apart by their own folders' names.
                source = Source(source.path, _name(source.path.absolute().resolve(), Path(source.path.resolve().anchor)))
                if source.name in names:
                    raise InputError(f"{source.path} and {names[source.name]} would write the same output files; scan them apart")
            found[real] = source
            names[source.name] = source.path
    return list(found.values())


def _walk(root: Path, avoid: Path | None) -> Iterator[Source]:
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=unreadable.append):
        here = Path(folder)
        folders[:] = sorted(f for f in folders if f not in _SKIPPED_FOLDERS and (here / f).resolve() != avoid)
        for file in sorted(files):
            path = here / file
            claims = path.suffix.lower() in PICTURE_SUFFIXES and (path.is_file() or not path.exists())
            if claims or looks_like_picture(path):
                yield Source(path, _name(path, root))
    for error in unreadable:  # decoding will say why, and the scan is not complete
        path = Path(error.filename)
        yield Source(path, _name(path, root) if path != root else path.name)


def _name(path: Path, root: Path) -> str:
    """The output name: the path below the root; a part that climbs or is absolute cannot occur in it."""
    return path.relative_to(root).as_posix()
