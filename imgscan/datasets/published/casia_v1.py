"""CASIA Tampered Image Detection Evaluation Database 1.0: 800 untouched and 921 forged pictures of 384 x 256 pixels, JPEG.

Dong, Wang, Tan, "CASIA Image Tampering Detection Evaluation Database", ChinaSIP 2013,
https://doi.org/10.1109/ChinaSIP.2013.6625374; masks by N. T. Pham, https://github.com/namtpham/casia1groundtruth.  The set was
distributed without masks.

Layout: `Tp/CM/`, `Tp/Sp/`, `Au/`, `CASIA 1.0 groundtruth/CM/<stem>_gt.png`, `CASIA 1.0 groundtruth/Sp/<stem>_gt.png`, all in one
folder, or the pictures in `CASIA 1.0 dataset/` beside the masks; `Modified Tp/Tp/` stands for `Tp/` (`Original Tp/` has other names
than the masks).  MVSS-Net's lists have the masks in `mask/CM/` and `mask/Sp/`, others have all in one
folder.  Forged is what is not black.  One splice has no mask, so that 920 (459 copy-move, 461 splices) can be used.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, beside, collect
from imgscan.errors import InputError

_FOLDERS = ("CASIA1", "CASIA1.0", "CASIA 1.0", "CASIA 1.0 dataset", "CASIAv1")
INFO = SetInfo(
    name="casia-v1",
    title="CASIA 1.0: splicing and copy-move, 384 x 256 JPEG",
    licence="research only, as the authors state; no further licence",
    where="https://github.com/namtpham/casia1groundtruth",
    forged=(920,),
    authentic=(800,),
    layout="Tp/CM/, Tp/Sp/, CASIA 1.0 groundtruth/CM/, CASIA 1.0 groundtruth/Sp/, Au/",
    splits=TestOnly(),
    folders=_FOLDERS,
    left_out={"Sp_D_NRN_A_cha0011_sec0011_0542": "has no mask in any distribution"},
    remark="Au/ overlaps CASIA 2.0's Au/: after training on casia-v2, false alarms must be counted on other untouched pictures",
)
_MASKS = ("CASIA 1.0 groundtruth", "CASIA1 groundtruth", "groundtruth", "mask", "masks")


def _gt(stem: str) -> tuple[str, ...]:
    return (f"{stem}_gt", stem)


def _images(name: str) -> tuple[str, ...]:
    return (name, *(f"{folder}/{name}" for folder in _FOLDERS))


def _tampered(kind: str) -> Part:
    images = (*_images(f"Tp/{kind}"), *_images(f"Modified Tp/Tp/{kind}"), *_images(f"Modified Tp/{kind}"))
    return Part(images, beside("casia1groundtruth", (*(f"{folder}/{kind}" for folder in _MASKS), *_MASKS)), _gt, "any")


PARTS = (_tampered("CM"), _tampered("Sp"), Part(_images("Au"), optional=True))


def entries(root: Path) -> list[Entry]:
    """The 920 usable forgeries and what of Au/ is there; InputError when the layout is not, or holds CASIA 2.0."""
    return of_version(collect(INFO, root, PARTS), INFO, root, "Sp_", "Tp_")


def of_version(entries: list[Entry], info: SetInfo, root: Path, own: str, others: str) -> list[Entry]:
    """The entries, unless most of the forgeries are called as the other version's: in plain folders both look the same.

    Args:
        entries, info, root: of the version that was asked for.
        own: what names of its forgeries begin with.
        others: what those of the other version begin with.
    """
    names = [entry.image.name.lower() for entry in entries if entry.mask is not None]
    if sum(name.startswith(others.lower()) for name in names) * 2 > len(names):
        raise InputError(f"{info.name}: {root} holds the other CASIA, whose forgeries are called {others}...; wanted {own}...")
    return entries
