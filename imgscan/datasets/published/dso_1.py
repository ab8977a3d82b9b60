"""DSO-1: 100 pictures into which a person was pasted and 100 untouched ones, mostly 2,048 x 1,536, PNG.

Carvalho et al., "Exposing Digital Image Forgeries by Illumination Color Classification", IEEE TIFS 8(7), 2013,
https://recodbr.wordpress.com/code-n-data/#dso1_dsi1.

Layout (`tifs-database/`): `DSO-1/splicing-*.png`, `DSO-1/normal-*.png`, `DSO-1-Fake-Images-Masks/splicing-*.png`.  In the masks
**black is forged**.  Download scripts rename the two folders to `images/` and `masks/` and leave the masks as they are.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, collect

INFO = SetInfo(
    name="dso-1",
    title="DSO-1: people pasted into photographs, PNG",
    licence="none stated; research use",
    where="https://recodbr.wordpress.com/code-n-data/#dso1_dsi1",
    forged=(100,),
    authentic=(100,),
    layout="DSO-1/, DSO-1-Fake-Images-Masks/",
    splits=TestOnly(),
    folders=("tifs-database", "DSO1"),
    remark="black is forged in the masks",
)
PARTS = (
    Part(("DSO-1", "images"), ("DSO-1-Fake-Images-Masks", "masks"), rule="black", pick="splicing*"),
    Part(("DSO-1", "images"), pick="normal*"),
)


def entries(root: Path) -> list[Entry]:
    """The splices and the untouched pictures; InputError when the layout is not there."""
    return collect(INFO, root, PARTS)
