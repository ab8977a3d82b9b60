"""CM COCO, part of tampCOCO: about 200,000 copy-move forgeries of MS COCO pictures, made by program, JPEG.

Kwon et al., CAT-Net v2, IJCV 2022, https://github.com/mjkwon2021/CAT-Net; see sp_coco.py for names and masks.

Layout: `cm_images/` and `cm_masks/` of the tampCOCO folder.  The list names 199,429, the files are 199,999.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.published.sp_coco import FOLDERS, LICENCE, SPLITS, WHERE, background, mask_stems
from imgscan.datasets.trees import Part, collect

INFO = SetInfo(
    name="cm-coco",
    title="tampCOCO, copy-move: objects of a COCO picture copied within it",
    licence=LICENCE,
    where=WHERE,
    forged=(199_429, 199_999, 200_000),
    authentic=(0,),
    layout="cm_images/, cm_masks/",
    splits=SPLITS,
    folders=FOLDERS,
    remark="made by program; for training only",
)
PARTS = (Part(("cm_images",), ("cm_masks",), mask_stems, "any"),)


def entries(root: Path) -> list[Entry]:
    """Every picture of cm_images/; InputError when the layout is not there."""
    return collect(INFO, root, PARTS, background)
