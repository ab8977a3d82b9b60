"""SP COCO, part of tampCOCO: about 200,000 splices of MS COCO objects into MS COCO pictures, made by program, JPEG.

Kwon et al., "Learning JPEG Compression Artifacts for Image Manipulation Detection and Localization" (CAT-Net v2), IJCV 2022,
https://github.com/mjkwon2021/CAT-Net.

Layout: `sp_images/` and `sp_masks/` of the tampCOCO folder; in the mask's name every `.jpg` of the picture's is a `.png`
(`60_000000506429.jpg_000000384260.jpg_RS0.77.jpg`, `60_000000506429.png_000000384260.png_RS0.77.png`).  Forged is what is not
black.  The published list and the files differ by a few (scu-zjz/Mesorch issue 7).  Pictures on one COCO picture (the first number)
stay in one split.
"""

from __future__ import annotations

import re
from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import HashSplit
from imgscan.datasets.trees import Part, collect

LICENCE = "CC BY 4.0 since August 2026 (CAT-Net's page)"
WHERE = "https://github.com/mjkwon2021/CAT-Net (tampCOCO)"
SPLITS = HashSplit(0.01, 0.0, "number of the COCO picture that was pasted into")
FOLDERS = ("tampCOCO",)
INFO = SetInfo(
    name="sp-coco",
    title="tampCOCO, splicing: COCO objects pasted into COCO pictures",
    licence=LICENCE,
    where=WHERE,
    forged=(199_999, 200_000),
    authentic=(0,),
    layout="sp_images/, sp_masks/",
    splits=SPLITS,
    folders=FOLDERS,
    remark="made by program; for training only",
)
_RESAVED = re.compile(r"_(?:aligned|crop_r\d+c\d+|resize_\d+(?:\.\d+)?)_Q\d+")


def mask_stems(stem: str) -> tuple[str, ...]:
    """Stems a mask may have; those of cm-c-raise are the masks of the pictures before they were saved once more."""
    renamed = stem.replace(".jpg", ".png")
    return (renamed, _RESAVED.sub("", stem).replace(".jpg", ".png"), stem)


def background(image: Path) -> str:
    """`000000506429` for 60_000000506429.jpg_000000384260.jpg_RS0.77.jpg; "" for other names."""
    found = re.match(r"\d+_(\d{12})", image.name)
    return found[1] if found else ""


PARTS = (Part(("sp_images",), ("sp_masks",), mask_stems, "any"),)


def entries(root: Path) -> list[Entry]:
    """Every picture of sp_images/; InputError when the layout is not there."""
    return collect(INFO, root, PARTS, background)
