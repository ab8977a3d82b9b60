"""NIST Nimble Challenge 2016 (NC2016): 564 forged pictures with masks and their untouched originals, mostly 5,616 x 3,744.

Guan et al., "MFC Datasets: Large-Scale Benchmark Datasets for Media Forensic Challenge Evaluation", WACVW 2019,
https://mfc.nist.gov.

Layout (`NC2016_Test0613`): `probe/`, `world/` (untouched originals, 874 files) and
`reference/manipulation/NC2016-manipulation-ref.csv`, columns separated by `|`: ProbeFileName, ProbeMaskFileName, IsTarget (Y:
forged), BaseFileName (the untouched original).  A mask has another number than its picture, so nothing else pairs them.  In the
masks **black is forged**.  The columns are those of the file among the tests of NIST's scorer (usnistgov/MediScore), where the
untouched probes have no mask and no original.  Several rows of one picture are several parts of its forgery, as in the references
for splices and removals.  A plain Tp/ + Gt/ tree is taken too (there white is forged, as its makers convert it).

Forgeries come in series of near-duplicates from one original, and random splits leak them (hence the deduplicated lists of
DSLJDI/NIST16-data-set-deduplication).  Papers fine-tune on 404 and test on 160 (PSCC-Net, SPAN); the rule here keeps that share
but keeps series together: by the hash of the original's name, 160/564 test, a tenth of the rest val.  Zero-shot tests use all 564.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from imgscan.datasets.entries import Entry, masks_of
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import HashSplit
from imgscan.datasets.trees import Part, below, collect, home, pictures, subfolders
from imgscan.errors import InputError

INFO = SetInfo(
    name="nist16",
    title="NIST Nimble 2016: splicing, copy-move, removal, high resolution",
    licence="NIST's data use agreement, research only",
    where="https://mfc.nist.gov (registration)",
    forged=(564,),
    authentic=(560, 874, 1434),  # probes, world/, both
    layout="probe/, world/, reference/ with manipulation/NC2016-manipulation-ref.csv",
    splits=HashSplit(round(0.1 * 404 / 564, 4), round(160 / 564, 4), "name of the untouched original"),
    folders=("NC2016_Test0613", "NC2016", "NIST2016"),
    whole=True,
    remark="black is forged in the original masks; series of near-duplicates are kept in one split",
)
_REFERENCE = "NC2016-manipulation-ref.csv"
_LAYOUT = (Part(("probe",), ("reference/manipulation/mask",)),)
_COLUMNS = ("ProbeFileName", "ProbeMaskFileName", "IsTarget", "BaseFileName")


def entries(root: Path) -> list[Entry]:
    """Every probe of the reference file and the originals in world/; InputError when neither layout is there."""
    for place in (root, *subfolders(root)):
        folder = below(place, ("reference/manipulation",))
        if folder is not None and (folder / _REFERENCE).is_file():
            return _referenced(place, folder / _REFERENCE)
    unpaired = home(root, _LAYOUT)
    if unpaired is not None:
        raise InputError(
            f"nist16: {unpaired} has probe/ and masks, but no reference/manipulation/{_REFERENCE}, and nothing else pairs them"
        )
    return collect(INFO, root, _LAYOUT)


def _referenced(root: Path, reference: Path) -> list[Entry]:
    with reference.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="|"))
    absent = [name for name in _COLUMNS if not rows or name not in rows[0]]
    if absent:
        raise InputError(f"nist16: {reference} has no column {', '.join(absent)}; wanted lines of {'|'.join(_COLUMNS)}|...")
    made: dict[Path, Entry] = {}
    for number, row in enumerate(rows, 1):
        if any(row[name] is None for name in _COLUMNS):
            raise InputError(f"nist16: {reference}: row {number} has fewer fields than the header; the file was cut short")
        image, base = root / row["ProbeFileName"], row["BaseFileName"] or row["ProbeFileName"]
        forged = row["IsTarget"].strip().upper() == "Y"
        if forged and not row["ProbeMaskFileName"].strip():  # the folder itself would be its mask
            raise InputError(f"nist16: {reference}: row {number} is forged (IsTarget Y) and names no ProbeMaskFileName")
        mask = root / row["ProbeMaskFileName"].strip() if forged else None
        known = made.setdefault(image, Entry(image, mask, "black", INFO.name, group=Path(base).stem.lower()))
        if mask is not None and mask not in masks_of(known):
            parts = (*known.parts, mask) if known.mask else ()
            made[image] = replace(known, mask=known.mask or mask, parts=parts)
    world = below(root, ("world",))
    for path in pictures(world) if world else []:
        made.setdefault(path, Entry(path, None, "black", INFO.name, group=path.stem.lower()))
    return list(made.values())
