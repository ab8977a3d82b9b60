"""CASIA Tampered Image Detection Evaluation Database 2.0: 7,491 untouched and 5,123 forged pictures, 240 to 900 pixels a side.

Dong, Wang, Tan, "CASIA Image Tampering Detection Evaluation Database", ChinaSIP 2013,
https://doi.org/10.1109/ChinaSIP.2013.6625374; masks by N. T. Pham, https://github.com/namtpham/casia2groundtruth.

Layout: `Tp/`, `Au/`, `CASIA 2 Groundtruth/<stem>_gt.png`, all in one folder, or as the archives unpack: `CASIA2.0_revised/Tp/`,
`CASIA2.0_revised/Au/` and beside them `CASIA2.0_Groundtruth/`; one mask ends in `_gt3.png`.  `Tp_D_*` has two sources (splicing),
`Tp_S_*` one (copy-move); https://github.com/namtpham/casia2groundtruth says which names its authors got wrong.  17 masks have the
wrong size or are rotated: `imgscan data check casia-v2 ROOT` names them,
https://github.com/SunnyHaze/CASIA2.0-Corrected-Groundtruth has them corrected. 5,123 forgeries are distributed; 5,105 (FOCAL's
paper, CAT-Net's lists) and 5,063 (MVSS-Net's index) are those with a usable mask.

The sets' own split does not exist and everyone's differs; here 90 % train, 10 % val by the hash of the picture that the forgery
was pasted into (the second name in the file name), with its untouched original, so that one background is never in both.
"""

from __future__ import annotations

import re
from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.published.casia_v1 import of_version
from imgscan.datasets.splits import HashSplit
from imgscan.datasets.trees import Part, beside, collect

_FOLDERS = ("CASIA2", "CASIA2.0", "CASIA 2.0", "CASIA2.0_revised", "CASIAv2")
INFO = SetInfo(
    name="casia-v2",
    title="CASIA 2.0: splicing and copy-move, JPEG and TIFF",
    licence="research only, as the authors state; no further licence",
    where="https://github.com/namtpham/casia2groundtruth (corrected masks: SunnyHaze/CASIA2.0-Corrected-Groundtruth)",
    forged=(5123, 5105, 5063),
    authentic=(7491,),
    layout="Tp/, CASIA 2 Groundtruth/ or Gt/, Au/",
    splits=HashSplit(0.1, 0.0, "target picture in the file name, as nat00041"),
    folders=_FOLDERS,
    remark="17 distributed masks have the wrong size or are rotated; use the corrected ones",
)


def _gt(stem: str) -> tuple[str, ...]:
    return (f"{stem}_gt", stem, f"{stem}_gt3")


_MASKS = ("CASIA 2 Groundtruth", "CASIA2 Groundtruth", "CASIA2.0_Groundtruth", "groundtruth", "mask", "masks")
PARTS = (
    Part(("Tp", *(f"{folder}/Tp" for folder in _FOLDERS)), beside("casia2groundtruth", _MASKS), _gt, "any"),
    Part(("Au", *(f"{folder}/Au" for folder in _FOLDERS)), optional=True),
)
_FORGED = re.compile(r"Tp_[DS]_.*_[a-z]{3}\d+_([a-z]{3}\d+)_\d+$", re.IGNORECASE)
_AUTHENTIC = re.compile(r"Au_([a-z]{3})_(\d+)$", re.IGNORECASE)


def target(image: Path) -> str:
    """`nat00041` for Tp_S_NNN_S_N_nat00041_nat00041_00665.tif and for Au_nat_00041.jpg; "" for other names."""
    forged, authentic = _FORGED.search(image.stem), _AUTHENTIC.search(image.stem)
    if forged:
        return forged[1].lower()
    return (authentic[1] + authentic[2]).lower() if authentic else ""


def entries(root: Path) -> list[Entry]:
    """Every forgery of Tp/ and what of Au/ is there; InputError when the layout is not, or holds CASIA 1.0."""
    return of_version(collect(INFO, root, PARTS, target), INFO, root, "Tp_", "Sp_")
