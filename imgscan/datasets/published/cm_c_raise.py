"""CM-C RAISE, part of tampCOCO: the copy-move forgeries of cm_raise.py saved as JPEG once more.

Kwon et al., CAT-Net v2, IJCV 2022, https://github.com/mjkwon2021/CAT-Net; see sp_coco.py for names and masks.

Layout: `bcmc_images/` with the masks in `bcm_masks/` of the tampCOCO folder: the mask is that of the picture before it was saved
again, whose name lacks the `_aligned_Q77` (CAT-Net's validation list).  That "CM-C RAISE" of the papers is `bcmc` of the files is
a conclusion.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.published.sp_coco import FOLDERS, LICENCE, SPLITS, WHERE, background, mask_stems
from imgscan.datasets.trees import Part, collect

INFO = SetInfo(
    name="cm-c-raise",
    title="tampCOCO, bcmc (the papers' CM-C RAISE): copy-move, saved twice",
    licence=LICENCE,
    where=WHERE,
    forged=(200_000,),
    authentic=(0,),
    layout="bcmc_images/, bcm_masks/",
    splits=SPLITS,
    folders=FOLDERS,
    beside_masks=("*",),  # the folder of masks is cm-raise's
    remark="made by program; for training only",
)
PARTS = (Part(("bcmc_images", "cm_c_raise_images"), ("bcm_masks", "bcmc_masks", "cm_c_raise_masks"), mask_stems, "any"),)


def entries(root: Path) -> list[Entry]:
    """Every picture of bcmc_images/; InputError when the layout is not there."""
    return collect(INFO, root, PARTS, background)
