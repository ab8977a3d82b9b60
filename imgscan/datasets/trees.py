"""Folders of pictures and masks into entries, paired by stem.

Pairing by sorted order, as several tools do, mis-pairs a whole set as soon as one file is missing (SunnyHaze/IML-ViT issue 16).
Here a picture without its mask becomes an entry whose mask does not exist: the doctor lists it and reading it fails, but it
neither shifts its neighbours nor turns into an untouched picture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from imgscan.datasets.entries import Entry, MaskRule
from imgscan.datasets.info import SetInfo
from imgscan.datasets.names import rule_of_mask
from imgscan.errors import InputError
from imgscan.find import PICTURE_SUFFIXES


def same_stem(stem: str) -> Sequence[str]:
    """Stems a mask may have: the picture's own."""
    return (stem,)


def any_stem(stem: str) -> Sequence[str]:
    """Stems a mask may have in a folder of unknown habits: also Columbia's, and Coverage's `1forged` for `1t`."""
    coverage = (f"{stem[:-1]}forged",) if re.fullmatch(r"\d+t", stem.lower()) else ()
    return (stem, f"{stem}_gt", f"{stem}_mask", f"{stem}_edgemask", *coverage)


def own_stem(image: Path) -> str:
    """The group of a picture that has no near-duplicates."""
    return ""


@dataclass(frozen=True)
class Part:
    """A folder of a set's layout, and the folder of its masks.  Names are compared without case; the first that exists counts."""

    images: tuple[str, ...]  # folder below the root, parts joined by /
    masks: tuple[str, ...] = ()  # empty: untouched pictures
    mask_stems: Callable[[str], Sequence[str]] = same_stem
    rule: MaskRule = "white"
    pick: str = "*"  # of the pictures' file names, in lower case
    optional: bool = False


GENERIC = (
    (Part(("images",), ("masks",), any_stem), Part(("authentic", "Au"), optional=True)),
    (Part(("Tp",), ("Gt",), any_stem), Part(("authentic", "Au"), optional=True)),
)


def beside(repository: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names, and the same in a repository that was cloned, or unpacked from GitHub's archive, beside the pictures."""
    return tuple(f"{folder}{name}" for folder in ("", f"{repository}/", f"{repository}-master/") for name in names)


def below(root: Path, names: Sequence[str]) -> Path | None:
    """The first of the folders `a/b` that exists below root, or what was unpacked into it.

    The case of letters does not count, nor blanks, hyphens and underscores; what is called exactly so goes first.
    """
    return next((found for name in names for found in _steps(root, name.split("/"))), None)


def _steps(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Where a chain of folders leads: `a/a` before `a`, for an archive may hold a folder of its own name and be unpacked into one,
    and `a` too, for what was unpacked apart lies there."""
    if not names:
        yield folder
        return
    child = _child(folder, names[0])
    for one in (child / child.name, child) if child else ():
        if _is_dir(one):
            yield from _steps(one, names[1:])


def _child(folder: Path, name: str) -> Path | None:
    if _is_dir(folder / name):
        return folder / name
    if not _is_dir(folder):
        return None
    there = sorted(one for one in folder.iterdir() if _spelled(one.name) == _spelled(name) and _is_dir(one))
    return next((one for one in there if one.name.lower() == name.lower()), there[0] if there else None)


def _spelled(name: str) -> str:
    return re.sub(r"[ _-]", "", name.lower())


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where it may not look


def is_picture(path: Path) -> bool:
    """Whether a path is a picture file by its name; hidden files (macOS' `._x.jpg`) are none.

    True also for a link that leads nowhere (data that git-annex or DVC has not fetched) and for what may not be looked at: a set
    must not become smaller without a word, reading says what is wrong.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES or path.name.startswith("."):
        return False
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 - those of Path may raise


MADE = ("image", "mask", "kind", "forged_share", "seed", "number")  # columns of the manifest.csv that `imgscan data synth` writes


def without_made(paths: Iterable[Path]) -> list[Path]:
    """The paths but those of forgeries and masks that `imgscan data synth` wrote: a photograph is what nobody forged."""
    made: dict[Path, bool] = {}
    kept = []
    for path in paths:
        folder = path.parent
        if folder not in made:
            made[folder] = folder.name in ("images", "masks") and _is_made(folder.parent / "manifest.csv")
        if not made[folder]:
            kept.append(path)
    return kept


def _is_made(manifest: Path) -> bool:
    try:
        with manifest.open("rb") as file:
            return file.readline(200).rstrip() == ",".join(MADE).encode()
    except OSError:
        return False


def pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, in stable order; hidden files (macOS' `._x.jpg`) are none."""
    return sorted(p for p in folder.iterdir() if is_picture(p))


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder, in stable order, but those that macOS puts into archives; [] where it is none."""
    there = sorted(folder.iterdir()) if _is_dir(folder) else []
    return [p for p in there if _is_dir(p) and not p.name.startswith(".") and p.name != "__MACOSX"]


def by_stem(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Lower-case stem -> files."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.stem.lower(), []).append(path)
    return found


def homes(root: Path, parts: Sequence[Part]) -> Iterator[Path]:
    """The root and the folders directly below it, those that have every folder the parts need."""
    for folder in (root, *subfolders(root)):
        if all(below(folder, p.images) and (not p.masks or below(folder, p.masks)) for p in parts if not p.optional):
            yield folder


def home(root: Path, parts: Sequence[Part]) -> Path | None:
    """The first of its homes."""
    return next(homes(root, parts), None)


def is_filled(home: Path, parts: Sequence[Part]) -> bool:
    """Whether there are pictures where a layout needs some; Tp/ of CASIA 1.0 is that of CASIA 2.0 by name, but holds folders."""
    images = [below(home, part.images) for part in parts if not part.optional]
    return any(pictures(folder) for folder in images if folder is not None)


def pair(root: Path, part: Part, source: str, group: Callable[[Path], str] = own_stem) -> list[Entry]:
    """The entries of one part; [] when an optional folder is not there.

    Where the masks' folder is not there, the pictures are forged all the same, and without their masks.

    Raises:
        InputError: two masks claim one picture.
    """
    images = below(root, part.images)
    if images is None:
        return []
    chosen = [path for path in pictures(images) if fnmatch(path.name.lower(), part.pick)]
    if not part.masks:
        return [Entry(path, None, part.rule, source, group=group(path)) for path in chosen]
    masks = below(root, part.masks) or root / part.masks[0]
    there = by_stem(pictures(masks)) if _is_dir(masks) else {}
    made = []
    for path in chosen:
        stems = part.mask_stems(path.stem)
        found = next((there[stem.lower()] for stem in stems if stem.lower() in there), [masks / f"{stems[0]}.png"])
        if len(found) > 1:
            raise InputError(f"{path}: {len(found)} masks, {found[0]} and {found[1]}; wanted one, remove the others")
        made.append(Entry(path, found[0], rule_of_mask(found[0], part.rule), source, group=group(path)))
    return made


def collect(
    info: SetInfo,
    root: Path,
    parts: Sequence[Part],
    group: Callable[[Path], str] = own_stem,
    others: Sequence[Sequence[Part]] = (),
) -> list[Entry]:
    """The entries of a published layout at root or one folder below it, or else of a plain tree at root.

    Args:
        info: of the set; what it leaves out is left out.
        root: the set's folder.
        parts: its layout.
        group: names the near-duplicates of a picture.
        others: further layouts in which it is passed on.

    Raises:
        InputError: neither layout is there; says what was expected and what was found.
    """
    for layout in (parts, *others, *GENERIC):
        for place in homes(root, layout):
            if layout in GENERIC and place != root:
                break  # a plain tree one folder below could be any other set's
            found = (entry for part in layout for entry in pair(place, part, info.name, group)) if is_filled(place, layout) else ()
            made = [entry for entry in found if not is_named(entry.image, info.left_out)]
            if made:
                return made
    raise not_there(info.name, root, parts)


def not_there(name: str, root: Path, parts: Sequence[Part]) -> InputError:
    """The complaint about a layout that was not found."""
    wanted = [f"{folder}/" for part in parts if not part.optional for folder in (*part.images[:1], *part.masks[:1])]
    if not root.is_dir():
        return InputError(f"{name}: {root} is not a folder; wanted one with {', '.join(dict.fromkeys(wanted))}")
    found = sorted(f"{p.name}/" if p.is_dir() else p.name for p in root.iterdir())
    shown = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
    others = "".join(f", nor {a} and {b}" for a, b in (("images/", "masks/"), ("Tp/", "Gt/")) if not {a, b} <= set(wanted))
    return InputError(
        f"{name}: {root} has not the folders {', '.join(dict.fromkeys(wanted))} with pictures{others}; found {shown or 'nothing'}"
    )


def is_named(path: Path, names: Iterable[str]) -> bool:
    """Whether the path without its suffix ends in one of the names (`folder/stem` or `stem`)."""
    bare = path.with_suffix("").as_posix().lower()
    return any(bare == name.lower() or bare.endswith("/" + name.lower()) for name in names)


def is_generic(root: Path) -> bool:
    """Whether `generic` finds its folders in a root."""
    return any(home(root, layout) == root for layout in GENERIC)


def generic(root: Path, source: str = "") -> list[Entry]:
    """A folder with images/ and masks/ (or Tp/ and Gt/), and untouched pictures in authentic/ (or Au/) if it has them.

    Raises:
        InputError: the folders are not there or hold no pictures.
    """
    for layout in GENERIC:
        if home(root, layout) == root:
            made = [entry for part in layout for entry in pair(root, part, source or root.name)]
            if made:
                return made
    raise not_there(str(root), root, GENERIC[0])
