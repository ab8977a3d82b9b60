"""Find the pictures: paths in, `Source` out, in stable order.  A picture is known by its first bytes, not by its suffix."""

from __future__ import annotations

import os
import reprlib
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from imgscan.errors import InputError
from imgscan.memory import memory_bytes
from imgscan.records import Source

FROM_STDIN = "<stdin>"  # the path of a picture that came through standard input, which no file holds
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # Pillow knows others, one of which runs a program (EPS, Ghostscript)
MOST_BYTES = 4_000_000_000  # of a file, which is read whole: more than twice what the most pixels that are decoded take raw
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes of the second header of a BMP, by version
# Pictures of formats that are not decoded, by the bytes that they begin with
_OTHERS = (
    *(b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"8BPS"),
    *(b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILM"),  # raw files of cameras that begin as no TIFF does
)
_OTHER_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heif", b"mif1", b"msf1", b"crx "})  # of ISO files, after `ftyp`
_SKIPPED_FOLDERS = frozenset({".git"})
_WRITTEN = frozenset({"masks", "overlays"})  # by a scan, ...
_ROOT = "\0"  # what a pattern begins with whose rest is held against whole names
_RECORDS = frozenset({"results.jsonl", "results.jsonl.new", "journal.jsonl"})  # ... beside one of these


def _is_picture(start: bytes) -> bool:
    """Whether the first bytes of a file are those of JPEG, PNG, TIFF, WebP or BMP."""
    bitmap = start[:2] == b"BM" and start[6:10] == b"\0\0\0\0" and int.from_bytes(start[14:18], "little") in _BITMAP_HEADERS
    return bitmap or start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _is_other_picture(start: bytes) -> bool:
    """Whether the first bytes of a file are those of GIF, AVIF, HEIC, JPEG 2000 or XL, Photoshop or a camera; none is decoded."""
    return start.startswith(_OTHERS) or (start[4:8] == b"ftyp" and start[8:12] in _OTHER_BRANDS)


def _start(path: Path) -> bytes | None:
    """The first bytes of a file, none of what is no file; None: it may not be read."""
    try:
        if not path.is_file():  # a pipe would wait for a writer for ever
            return b""
        with path.open("rb") as file:
            return file.read(18)
    except PermissionError:
        return None
    except OSError:
        return b""


def unfit(path: Path) -> str:
    """Why nobody should read what lies there: a device, such as a disk or /dev/zero, or too much; "": nothing is wrong with it.

    OSError where nobody may look.
    """
    there, most = path.stat(), min(MOST_BYTES, memory_bytes() // 2)
    if stat.S_ISCHR(there.st_mode) or stat.S_ISBLK(there.st_mode):
        return "is a device, which may never end; wanted a file"
    return f"has {there.st_size:,} bytes; at most {most:,} are read" if there.st_size > most else ""


def real(path: Path) -> Path:
    """The path without links; of links in a circle, which Path.resolve refuses, what is left of it."""
    return Path(os.path.realpath(path))


def can_be_made(path: Path) -> bool:
    """Whether a file can be written at a path whose folders may have to be made first, as far as permissions tell."""
    if os.path.isdir(path):  # noqa: PTH112
        return False
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 - links stay
    while not os.path.lexists(folder):
        folder = folder.parent
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)  # noqa: PTH112 - Path.is_dir may raise


def holds_scan(folder: Path) -> bool:
    """Whether a scan has written into a folder."""
    return any(os.path.exists(folder / name) for name in _RECORDS)  # noqa: PTH110 - Path.exists raises where it may not look


@dataclass(frozen=True)
class Filter:
    """Which files are scanned: --include and --exclude.

    A pattern is a shell's (`*`, `?`, `[a-z]`); one with a slash is held against the whole name below the scanned folder, where `*`
    also crosses slashes, one without against every part of it, so that `thumbs` excludes all folders of that name. Exclusion goes
    before inclusion. A pattern that begins with `./` or with the path of the scanned folder is for what lies right there. Files
    named on the command line are taken whatever the patterns say; with `force` all files' paths from the working directory are held
    against those of exclusion too.
    """

    include: tuple[str, ...] = ()  # empty: everything
    exclude: tuple[str, ...] = ()
    force: bool = False  # --force-exclude: also for files named on the command line

    def excludes(self, name: str) -> bool:
        """Whether a pattern of --exclude is for this name."""
        return any(_matches(name, pattern) for pattern in self.exclude)

    def takes(self, name: str, named: bool = False) -> bool:
        """Whether a file of this name below its folder is scanned; `named`: on the command line, whose patterns `refuses` knows."""
        if named:
            return True
        if self.excludes(name):
            return False
        return not self.include or any(_matches(name, pattern) for pattern in self.include)

    def refuses(self, path: Path) -> bool:
        """Whether a file is not scanned though it or a folder around it is named.

        Its path from the working directory is held against --exclude; of a file elsewhere only its own name, for nobody means the
        folders that a whole disk lies in.
        """
        if not self.force:
            return False
        names: set[str] = set()
        with suppress(OSError, ValueError):  # no working directory, or a path outside of it
            names.add(Path(os.path.abspath(path)).relative_to(Path.cwd()).as_posix())  # noqa: PTH100 - links stay
        with suppress(OSError, ValueError):  # the same through links to the folders
            names.add((real(path.parent) / path.name).relative_to(real(Path())).as_posix())
        return any(self.excludes(name) for name in names or {path.name})

    def below(self, folder: Path) -> Filter:
        """The same for names below a folder, of which patterns may begin with the path: as it was typed, or absolute."""
        paths = {folder.as_posix(), os.path.abspath(folder).replace(os.sep, "/")} - {"."}  # noqa: PTH100 - links stay

        def inner(patterns: tuple[str, ...]) -> tuple[str, ...]:
            plain = [pattern.removeprefix("./") for pattern in patterns]
            rests = (one[len(path) + 1 :] for one in plain for path in paths if one.startswith(f"{path}/"))
            return (*patterns, *(f"{_ROOT}{rest}" for rest in rests))

        return replace(self, include=inner(self.include), exclude=inner(self.exclude))


def _matches(name: str, pattern: str) -> bool:
    whole = pattern.startswith((_ROOT, "./"))
    pattern = pattern.removeprefix(_ROOT).removeprefix("./").strip("/")
    if whole or "/" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")
    return any(fnmatchcase(part, pattern) for part in name.split("/"))


def read_list(content: bytes, zero: bool) -> list[Path]:
    """The paths of --files-from: one a line, or ended by NUL bytes; names may hold any other byte.

    InputError: lines with NUL bytes, which no path holds.
    """
    if not zero and b"\0" in content:
        raise InputError("--files-from: has NUL bytes, as paths of find -print0 and git -z end with; wanted -0 for such a list")
    parts = content.split(b"\0" if zero else b"\n")
    return [Path(os.fsdecode(part if zero else part.removesuffix(b"\r"))) for part in parts if part.strip(b"\r")]


def find(
    paths: Iterable[Path],
    out: Path | None = None,
    chosen: Filter | None = None,
    others: list[Path] | None = None,
    listed: Collection[Path] = (),
) -> list[Source]:
    """Every picture at and below the paths, once each.

    A named file is always taken (if it is no picture, decoding says so).  In a folder, a file is taken when its first bytes are a
    picture's, or when its suffix claims so: a broken .jpg must not be passed over in silence.  `.git`, linked folders and what
    scans have written, into `out` or elsewhere, are not entered.  Within a folder, names are sorted; the paths keep their order.

    Args:
        paths: files and folders.
        out: the output folder, never scanned.
        chosen: which files; None: all.
        others: receives the pictures that are passed over in folders because their format is not decoded (GIF, AVIF, ...).
        listed: paths out of a list; a picture among them may be gone by now, and cannot be read, as decoding will say.

    Raises:
        InputError: another path does not exist, or two pictures would write the same output files.
    """
    return Finder(out, chosen).take(paths, others, listed)


class Finder:
    """Finds in several calls what `find` would in one: a picture once, under a name that no other has."""

    def __init__(self, out: Path | None = None, chosen: Filter | None = None) -> None:
        self.avoid = real(out) if out else None
        self.chosen = chosen or Filter()
        self._found: set[Path] = set()
        self._names: dict[str, Path] = {}

    def take(
        self, paths: Iterable[Path], others: list[Path] | None = None, listed: Collection[Path] = (), late: bool = False
    ) -> list[Source]:
        """Every picture at and below the paths that no call before has found; see find.

        Args:
            paths, others, listed: as there.
            late: whether the scan runs already and the paths come from what happens on the disk: whatever is gone by now cannot be
                read, and what a scan writes into the output folder is none of its pictures, though it is named.
        """
        made: list[Source] = []
        chosen, names = self.chosen, self._names
        for path in paths:
            if late and self.avoid is not None and real(path).is_relative_to(self.avoid):
                continue
            gone = late or (path in listed and path.suffix.lower() in PICTURE_SUFFIXES)
            if not gone and not os.path.lexists(path):
                raise InputError(f"{path}: no such file or folder; wanted a picture or a folder of pictures")
            whole = os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where it may not look
            passed: list[Source] = []
            here = chosen.below(path) if whole else chosen
            for source in _walk(path, self.avoid, passed) if whole else [Source(path, _name(path, path.parent))]:
                # A folder among them is one that cannot be read: nobody knows whether what is to be included is in there.
                sealed = whole and os.path.isdir(source.path)  # noqa: PTH112
                if chosen.refuses(source.path):
                    continue
                if here.excludes(source.name) if sealed else not here.takes(source.name, named=not whole):
                    continue
                file = real(source.path)
                if file in self._found:
                    continue
                if source.name in names:
                    # Two scanned folders with the same file name below: tell them apart by their own folders' names.
                    typed, whole_name = source.path.as_posix(), _name(file, Path(file.anchor))
                    climbs = source.path.is_absolute() or ".." in source.path.parts
                    source = Source(source.path, whole_name if climbs or typed in names else typed)
                    if source.name in names:
                        raise InputError(
                            f"{source.path} and {names[source.name]} would write the same output files; scan them apart"
                        )
                self._found.add(file)
                names[source.name] = source.path
                made.append(source)
            if others is not None:
                others += [source.path for source in passed if here.takes(source.name)]
        return made


def find_all(pictures: Iterable[str | os.PathLike[str] | bytes | bytearray | memoryview]) -> list[Source]:
    """Files and folders as `find` does, and pictures that are bytes, called 0, 1, ... after their place.

    Raises:
        InputError: as there, and for what is neither.
    """
    sources: list[Source] = []
    for number, one in enumerate(pictures):
        if isinstance(one, bytes | bytearray | memoryview):
            sources.append(Source(Path(f"<{number}>"), str(number), bytes(one)))
        elif not isinstance(one, str | os.PathLike) or not os.fspath(one):
            shown = " ".join(reprlib.repr(one).split())  # one line, of an array too
            raise InputError(f"picture {number} is {shown}; wanted a path, or the bytes of a picture")
        else:
            sources += find([Path(os.fsdecode(one))])  # os.scandir(b"...") has paths in bytes
    return sources


def _walk(root: Path, avoid: Path | None, passed: list[Source]) -> Iterator[Source]:
    """The pictures below a folder; `passed` receives those of other formats."""
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=unreadable.append):
        here = Path(folder)
        skipped = _SKIPPED_FOLDERS | (_WRITTEN if _RECORDS & set(files) and set(folders) >= _WRITTEN else set())
        folders[:] = sorted(f for f in folders if f not in skipped and real(here / f) != avoid)
        for file in sorted(files):
            path = here / file
            claims = path.suffix.lower() in PICTURE_SUFFIXES and (
                os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113
            )
            source = Source(path, _name(path, root))
            start = b"" if claims else _start(path)
            if claims or start is None or _is_picture(start):  # what may not be read has to be reported, not passed over
                yield source
            elif _is_other_picture(start):
                passed.append(source)
    for error in unreadable:  # decoding will say why, and the scan is not complete
        path = Path(error.filename)
        yield Source(path, _name(path, root) if path != root else path.name)


def _name(path: Path, root: Path) -> str:
    """The output name: the path below the root; a part that climbs or is absolute cannot occur in it."""
    return path.relative_to(root).as_posix()
