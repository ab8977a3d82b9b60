"""CM RAISE, part of tampCOCO: about 200,000 copy-move forgeries, made by program, JPEG.

Kwon et al., CAT-Net v2, IJCV 2022, https://github.com/mjkwon2021/CAT-Net; see sp_coco.py for names and masks.

Layout: `bcm_images/` and `bcm_masks/` of the tampCOCO folder.  That "CM RAISE" of the papers is `bcm` of the files follows from the
counts (FOCAL: 199,443) and not from the names, which are those of COCO pictures: uncertain.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.published.sp_coco import FOLDERS, LICENCE, SPLITS, WHERE, background, mask_stems
from imgscan.datasets.trees import Part, collect

INFO = SetInfo(
    name="cm-raise",
    title="tampCOCO, bcm (the papers' CM RAISE): copy-move",
    licence=LICENCE,
    where=WHERE,
    forged=(199_443, 200_000),
    authentic=(0,),
    layout="bcm_images/, bcm_masks/",
    splits=SPLITS,
    folders=FOLDERS,
    remark="made by program; for training only",
)
PARTS = (Part(("bcm_images", "cm_raise_images"), ("bcm_masks", "cm_raise_masks"), mask_stems, "any"),)


def entries(root: Path) -> list[Entry]:
    """Every picture of bcm_images/; InputError when the layout is not there."""
    return collect(INFO, root, PARTS, background)
