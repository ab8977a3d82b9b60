"""The doctor: what is wrong with a data set on this disk, before a week of training says so.

Every picture and mask is opened.  What it looks for has each cost somebody's results (issue threads of IML-ViT, IMDLBenCo, Mesorch,
TruFor, FOCAL): pictures and masks without each other, sizes that differ, masks on their side, empty or full masks, masks in the
other polarity, unreadable files, one file in two splits or as forged and as untouched, one photograph in two splits, files known to
be bad, and counts that are not those of the papers.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from PIL import Image

from imgscan.alike.groups import Tell, untold
from imgscan.alike.pictures import Known
from imgscan.datasets import DATASETS, data_set
from imgscan.datasets.diagnosis import KINDS, Diagnosis, Finding
from imgscan.datasets.doubles import identical
from imgscan.datasets.entries import RULES, Entry, masks_of, read_levels
from imgscan.datasets.info import SetInfo
from imgscan.datasets.resolve import find
from imgscan.datasets.scenes import Shared, known_in, shared
from imgscan.datasets.sets import read_set
from imgscan.datasets.splits import KeptAside, SplitRule
from imgscan.datasets.trees import is_generic, is_named, is_picture, pictures, subfolders, without_made
from imgscan.errors import InputError
from imgscan.find import PICTURE_SUFFIXES
from imgscan.pixels import is_deep

# Folders, in lower case, in which the pictures of a set of one's own are, or of which people believe it.
_READ = ("images", "tp", "authentic", "au")
_NOT_READ = ("real", "pristine", "original", "originals", "normal", "untouched", "negative")
_TRUTH = re.compile(r"mask|truth|^gt$")  # in the names of folders of masks


@dataclass
class _Notes:
    """Files by kind of defect, while the set is gone through."""

    scenes: bool = True  # whether what pictures show matters
    files: dict[str, list[Path]] = field(default_factory=dict)
    known: dict[Path, Known] = field(default_factory=dict)  # of those that can be decoded
    forged: list[float] = field(default_factory=list)  # share of forged pixels of every mask that is neither empty nor misfit

    def add(self, kind: str, *paths: Path) -> None:
        self.files.setdefault(kind, []).extend(paths)


def check(
    name_or_path: str,
    root: Path | None = None,
    step: Callable[[int, int], None] = lambda done, total: None,
    *,
    scenes: bool = True,
    against: Sequence[str] = (),
    parts: bool = False,
    jobs: int = 0,
    tell: Tell = untold,
) -> Diagnosis:
    """Examine a set of DATASETS below root, or a folder or list.

    Args:
        name_or_path: what resolve takes, without + and *, or a folder of photographs.
        root: the set's folder or one that holds it; for lists, where relative names are looked up.
        step: called after every picture, with how many are done and how many there are.
        scenes: whether photographs that two splits share are looked for, which takes longer than all the rest.
        against: other sets, named the same way, whose photographs this one is to have none of; where there are some, its own splits
            are not held against each other.
        parts: whether pictures with a part in common are looked for as well.
        jobs: worker processes for that.
        tell: called with how many of how many pictures, or pairs, were held against others.

    Raises:
        InputError: a set is not found at all.
    """
    roots = [root] if root else []
    for name in (name_or_path, *against):
        if name in DATASETS and root is None:
            raise InputError(
                f"where {name} is has to be said: imgscan data check {name_or_path} ROOT, its folder or one that holds it"
            )
    entries, rule = _found(name_or_path, roots)
    others = {entry.image: name for name in against for entry in _found(name, roots)[0]}
    info = data_set(name_or_path).INFO if name_or_path in DATASETS else None
    notes = _Notes(scenes)
    for done, entry in enumerate(entries, 1):
        _examine(entry, notes)
        step(done, len(entries) + len(others))
    given = []
    for done, (path, name) in enumerate(others.items(), len(entries) + 1):
        if (one := _known(path, notes, name)) is not None:
            given.append(one)
        step(done, len(entries) + len(others))
    # A list may well name a part of a folder; only whole folders have strays.
    listed = Path(name_or_path).is_file() if info is None else any(entry.source not in DATASETS for entry in entries)
    if not listed:
        _strays(entries, info, notes)
        _unused(entries, info, None if info else Path(name_or_path), notes)
    _shared(entries, notes)
    if info is not None:
        _known_bad(entries, info, root, notes)
    if notes.forged and np.mean(np.array(notes.forged) > 0.5) > 0.5:
        notes.files.pop("mostly-forged", None)  # nearly all of them
        notes.add("inverted-polarity", *[e.mask for e in entries if e.mask is not None and os.path.lexists(e.mask)][:1])
    findings = [Finding(kind, KINDS[kind][1], tuple(paths)) for kind, paths in notes.files.items()]
    findings += _duplicates(entries, rule)
    sides: dict[str, list[Known]] = {name_or_path: list(notes.known.values())}
    if not against:
        splits = {entry.image: rule.of(entry) for entry in entries}
        sides = {name: [one for path, one in notes.known.items() if splits[path] == name] for name in rule.names()}
        given = [replace(one, record="train") for one in sides.pop("train", ())]
    if scenes:
        seen = _scenes(shared(given, sides, parts=parts, jobs=jobs, tell=tell))
        findings += [one for one in seen if against or one.kind != "across-sets"]  # files in two splits were found above
    forged = sum(entry.mask is not None for entry in entries)
    findings += _counts(info, forged, len(entries) - forged)
    order = list(KINDS)
    count = Counter(rule.of(entry) for entry in entries)
    return Diagnosis(
        name=name_or_path,
        forged=forged,
        authentic=len(entries) - forged,
        splits={name: count[name] for name in rule.names()},
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.kind))),
    )


def _found(name: str, roots: Sequence[Path]) -> tuple[list[Entry], SplitRule]:
    """A set, or photographs that forgeries are made of on the fly: of a folder that has neither pictures beside masks nor half of
    that."""
    folder = Path(name)
    if name not in DATASETS and folder.is_dir() and not is_generic(folder):
        with suppress(InputError):
            photographs = without_made(entry.image for entry in read_set(name))
            return [Entry(path, None) for path in photographs], KeptAside()
    return find(name, roots)


def _known(path: Path, notes: _Notes, record: str | None = None) -> Known | None:
    """What a scan would know of a picture of the set `record`; None, and noted, where it cannot be decoded."""
    try:
        return known_in(path, record, shows=notes.scenes)
    except InputError:
        notes.add("unreadable-image", path)
        return None


def _examine(entry: Entry, notes: _Notes) -> None:
    """One picture and its masks, opened."""
    known = _known(entry.image, notes)
    size: tuple[int, ...] | None = None
    if known is not None:
        notes.known[entry.image] = known
        size = known.height, known.width
    if entry.mask is not None and not os.path.lexists(entry.mask):
        notes.add("unpaired-image", entry.image)
        return
    forged = np.zeros(size or (0, 0), np.bool_)
    faint = False
    for mask in masks_of(entry):
        try:
            levels = read_levels(mask, entry.rule)
        except InputError:
            notes.add("unreadable-mask", mask)
            return
        if size is None:
            return
        if levels.shape != size:
            notes.add("rotated-mask" if levels.shape == size[::-1] else "wrong-size", mask)
            return
        forged |= RULES[entry.rule](levels)
        faint |= bool(levels.any())
    if entry.mask is None or size is None:
        return
    if entry.rule != "green" and _is_coloured(entry.mask):
        notes.add("coloured-mask", entry.mask)
    share = float(forged.mean())
    if share == 0:
        notes.add("faint-mask" if faint else "empty-mask", entry.mask)
    elif share == 1:
        notes.add("full-mask", entry.mask)
    elif share > 0.5:
        notes.add("mostly-forged", entry.mask)
    if share > 0:
        notes.forged.append(share)


def _is_coloured(mask: Path) -> bool:
    """Whether more than a thousandth of a mask that can be decoded has a colour: Columbia's, CoMoFoD's, those of a palette."""
    with Image.open(mask) as file:
        if file.mode in ("1", "L", "LA") or is_deep(file):
            return False
        levels = np.asarray(file.convert("RGB"))
    return float((np.ptp(levels, 2) > 100).mean()) > 0.001


def _strays(entries: Sequence[Entry], info: SetInfo | None, notes: _Notes) -> None:
    """Files beside the masks that are no entry's."""
    used = {path for entry in entries for path in (entry.image, *masks_of(entry))}
    folders = {mask.parent for entry in entries for mask in masks_of(entry)}
    left_out = _left_out(info)
    kept = info.beside_masks if info else ()
    strays = [
        path
        for folder in sorted(folders)
        for path in (pictures(folder) if folder.is_dir() else ())
        if path not in used and not is_named(path, left_out) and not any(fnmatch(path.name.lower(), pattern) for pattern in kept)
    ]
    if strays:
        notes.add("unpaired-mask", *strays)


def _left_out(info: SetInfo | None) -> list[str]:
    """Names, without suffix, of what is known to be bad and of its masks."""
    return [f"{name}{end}" for name in (info.left_out if info else ()) for end in ("", "_mask", "_gt")]


def _unused(entries: Sequence[Entry], info: SetInfo | None, tree: Path | None, notes: _Notes) -> None:
    """Pictures where those of the set lie, or in folders there, that are no entry's: nobody looks below images/ or Au/.

    Args:
        entries: of the set.
        info: of a published one.
        tree: the folder of a set that is not published.
        notes: take them.
    """
    known = {path for entry in entries for path in (entry.image, *masks_of(entry))} | set(notes.files.get("unpaired-mask", ()))
    folders = {entry.image.parent for entry in entries}
    if tree is not None:
        folders |= {folder for folder in subfolders(tree) if folder.name.lower() in (*_READ, *_NOT_READ)}
    left_out = _left_out(info)
    unused = {
        path
        for folder in folders
        for path in folder.rglob("*")
        if path not in known
        and is_picture(path)
        and not is_named(path, left_out)
        and not any(_TRUTH.search(part.lower()) for part in path.parent.relative_to(folder).parts)
    }
    if unused:
        notes.add("unused-image", *sorted(unused))


def _shared(entries: Sequence[Entry], notes: _Notes) -> None:
    """Pictures such as x.jpg and x.png that were given the same mask: one of them may be another picture, or the original."""
    owners: dict[tuple[Path, Path, str], dict[Path, None]] = {}
    for entry in entries:
        if entry.mask is not None:
            key = entry.mask, entry.image.parent, entry.image.stem.lower()
            owners.setdefault(key, {})[entry.image] = None
    if shared := [path for paths in owners.values() if len(paths) > 1 for path in paths]:
        notes.add("shared-mask", *shared)


def _known_bad(entries: Sequence[Entry], info: SetInfo, root: Path | None, notes: _Notes) -> None:
    """Files that the module of the set leaves out or warns of, where they are on the disk."""
    bad = {path for entry in entries for path in (entry.image,) if is_named(path, info.suspects) and _misfit(entry)}
    if info.left_out and root is not None:
        bad |= {path for path in root.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and is_named(path, info.left_out)}
    if bad:
        notes.add("known-bad", *sorted(bad))


def _misfit(entry: Entry) -> bool:
    """Whether a suspect has the defect it is suspected of; a corrected file is not reported."""
    try:
        with Image.open(entry.image) as picture:
            size = picture.size
        for mask in masks_of(entry):
            with Image.open(mask) as file:
                if file.size != size:
                    return True
    except OSError:
        return True
    return False


def _duplicates(entries: Sequence[Entry], rule: SplitRule) -> Iterable[Finding]:
    """Byte-identical pictures: within a split, across splits, and those of which one is forged and another is not."""
    within: list[Path] = []
    across: list[Path] = []
    splits = {entry.image: rule.of(entry) for entry in entries}
    truths: dict[Path, set[bool]] = {}  # a list may name one file twice
    for entry in entries:
        truths.setdefault(entry.image, set()).add(entry.mask is None)
    both = {path: None for path, truth in truths.items() if len(truth) > 1}
    for files in identical(list(splits)):
        unlike = len(set[bool]().union(*(truths[path] for path in files))) > 1
        if unlike:
            both |= dict.fromkeys(files)
        if len({splits[path] for path in files}) > 1:
            across += files
        elif not unlike:
            within += files
    for kind, paths in (("both-truths", [*both]), ("across-splits", across), ("duplicate", within)):
        if paths:
            yield Finding(kind, KINDS[kind][1], tuple(paths))


def _scenes(found: Iterable[Shared]) -> list[Finding]:
    """What pictures show of those of other splits or sets."""
    kinds: dict[str, dict[Path, str]] = {}
    for one in found:
        kinds.setdefault(one.kind, {})[one.picture] = one.text
    return [Finding(kind, KINDS[kind][1], *zip(*sorted(texts.items()), strict=True)) for kind, texts in kinds.items()]


def _counts(info: SetInfo | None, forged: int, authentic: int) -> Iterable[Finding]:
    """Found against the literature.  No untouched pictures at all is a choice and no defect."""
    if info is None or not (info.forged or info.authentic):
        return
    off = []
    for found, known, what in ((forged, info.forged, "forged"), (authentic, info.authentic, "untouched")):
        if known and found not in known and not (found == 0 and what == "untouched"):
            off.append(f"{found:,} {what}, literature {' or '.join(f'{count:,}' for count in known)}")
    if off:
        yield Finding("counts", f"{KINDS['counts'][1]}: {'; '.join(off)}")
    else:
        yield Finding("counts-agree", f"{KINDS['counts-agree'][1]}: {forged:,} forged, {authentic:,} untouched")


def first_look(name: str, entries: Sequence[Entry], looked_at: int = 16) -> list[str]:
    """What is wrong with the masks of a set on the whole, or with its size, from a few masks and no picture: seconds before hours.

    Args:
        name: of the set; the counts of published ones that are one benchmark are held against the literature.
        entries: all of the set.
        looked_at: forged pictures whose masks are opened, evenly over the set; what cannot be read tells nothing here.
    """
    forged = [entry for entry in entries if entry.mask is not None]
    info = data_set(name).INFO if name in DATASETS else None
    said = []
    if info is not None and info.splits.names() == ("test",):
        said += [one.text for one in _counts(info, len(forged), len(entries) - len(forged)) if one.severity != "note"]
    return said + look_at_masks(forged, looked_at)


def look_at_masks(entries: Sequence[Entry], looked_at: int = 16) -> list[str]:
    """What is wrong with all masks of a set: the other polarity, or that they mark nothing; arguments as of `first_look`."""
    forged = [entry for entry in entries if entry.mask is not None]
    shares, faint = [], False
    for entry in forged[:: -(-len(forged) // looked_at) or 1]:
        with suppress(InputError):
            levels = [read_levels(mask, entry.rule) for mask in masks_of(entry)]
            if len({one.shape for one in levels}) == 1:
                shares.append(float(np.logical_or.reduce([RULES[entry.rule](one) for one in levels]).mean()))
                faint |= any(bool(one.any()) for one in levels)
    if shares and np.median(shares) > 0.5:
        return [KINDS["inverted-polarity"][1]]
    if shares and max(shares) == 0:
        return [f"{KINDS['faint-mask' if faint else 'empty-mask'][1]}: all that were looked at"]
    return []
