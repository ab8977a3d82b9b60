"""DEFACTO: splicing, copy-move and inpainting on MS COCO pictures, made by program; 149,000 pictures in all.

Mahfoudi et al., "DEFACTO: Image and Face Manipulation Dataset", EUSIPCO 2019, https://defactodataset.github.io.

Papers use two subsets that MVSS-Net drew: 84k to train on and 12k to test on (6,000 forged, 6,000 untouched).  They exist as text
lists only (`image mask label` a line): where the root holds lists whose names have `84k` and `12k`, those are read and are the
split (train and a tenth of it val; test), `DEFACTO84k-val.txt`, the one of the 84k that is public, val alone.  Without lists the
original layout is read whole, with the split by hash: `splicing_<k>_img/img/`, `splicing_<k>_annotations/probe_mask/`,
`copymove_img/img/`, `copymove_annotations/probe_mask/`, `inpainting_img/img/`, `inpainting_annotations/probe_mask/`, each also in a
folder of its own (`defacto-splicing/`), as on Kaggle; images/ and masks/ are taken too.  `probe_mask/` says where the forgery is;
`donor_mask/` says where its source was, `inpaint_mask/` what the inpainting was told, and neither is read.  White is forged; its
JPEG masks are not exact at their edges, and some have another size than their picture.

Up to ten forgeries a kind are of one COCO picture, `0_000000000260.tif` to `9_000000000260.tif`: its number is what is hashed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.manifests import read_manifest
from imgscan.datasets.published.sp_coco import background
from imgscan.datasets.splits import BySource, HashSplit, Only, TestOnly
from imgscan.datasets.trees import Part, collect, pair, subfolders

_KEY = "number of the COCO picture that was forged, else lower-case stem"
INFO = SetInfo(
    name="defacto",
    title="DEFACTO (MVSS-Net's 84k and 12k lists): splicing, copy-move, inpainting on COCO",
    licence="research use; built on MS COCO (CC BY 4.0 annotations, pictures under their Flickr licences)",
    where="https://defactodataset.github.io; lists: https://github.com/dong03/MVSS-Net",
    forged=(),
    authentic=(),
    layout="splicing_1_img/img/, splicing_1_annotations/probe_mask/ (to 7), copymove_img/, inpainting_img/ so too; or lists",
    splits=BySource(
        {
            "defacto-84k": HashSplit(0.1, 0.0, _KEY),
            "defacto-84k-val": Only("val"),
            "defacto-12k": TestOnly(),
            "defacto": HashSplit(0.1, 0.1, _KEY),
        }
    ),
    folders=("DEFACTO",),
    remark="always name the subset; 12k is 6,000 forged and 6,000 untouched pictures",
)


def _source(part: str, file: Path) -> str:
    return f"defacto-{part}-val" if part == "84k" and "val" in re.split(r"[^a-z]+", file.stem.lower()) else f"defacto-{part}"


SUBSETS = ("84k", "12k")
_KINDS = ("splicing", "copymove", "inpainting")


def entries(root: Path) -> list[Entry]:
    """What the lists name, or everything; InputError when there is neither."""
    lists = {part: sorted(root.glob(f"*{part}*.txt")) for part in SUBSETS} if root.is_dir() else {}
    listed = [e for part, files in lists.items() for file in files for e in read_manifest(file, [root], source=_source(part, file))]
    if listed:
        return [replace(entry, group=background(entry.image)) for entry in listed]
    made: list[Entry] = []
    for place in (root, *subfolders(root)):
        for folder in subfolders(place):
            if folder.name.lower().startswith(_KINDS) and folder.name.lower().endswith("_img"):
                notes = f"{folder.name[:-4]}_annotations/probe_mask"
                made += pair(place, Part((f"{folder.name}/img", folder.name), (notes,)), INFO.name, background)
    return made or collect(INFO, root, (Part(("splicing_1_img/img",), ("splicing_1_annotations/probe_mask",)),), background)
