"""COVERAGE: 100 copy-move forgeries and their 100 originals, each with similar but genuine objects, 235 to 752 pixels a side, TIFF.

Wen et al., "COVERAGE - A Novel Database for Copy-Move Forgery Detection", ICIP 2016, https://github.com/wenbihan/coverage.

Layout: `image/{N}.tif` untouched, `image/{N}t.tif` forged, `mask/{N}forged.tif` (`{N}copy.tif` and `{N}paste.tif` are its halves
and not used).  Nine pictures (41, 48, 55 to 59, 61, 95) ship masks of the wrong size; labels were corrected on 2017-09-27.  They
are entries all the same, since papers report on 100, and reading one with a wrong mask is an error that names it.  MVSS-Net's lists
have it as `tampered/{N}t.tif`, `mask/{N}forged.tif` and `Au/{N}.tif`.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, collect

WRONG_SIZE = (41, 48, 55, 56, 57, 58, 59, 61, 95)
INFO = SetInfo(
    name="coverage",
    title="COVERAGE: copy-move beside similar genuine objects, TIFF",
    licence="none stated; research use",
    where="https://github.com/wenbihan/coverage",
    forged=(100,),
    authentic=(100,),
    layout="image/, mask/",
    splits=TestOnly(),
    folders=("COVER",),
    beside_masks=("*copy.*", "*paste.*"),
    suspects={
        f"{folder}/{number}t": "was published with masks of the wrong size"
        for folder in ("image", "tampered")
        for number in WRONG_SIZE
    },
)


def _forged(stem: str) -> tuple[str, ...]:
    return (f"{stem.lower().removesuffix('t')}forged",)


PARTS = (
    Part(("image",), ("mask",), _forged, pick="*[0-9]t.*"),
    Part(("image",), pick="*[0-9].*"),
)
MVSS = (Part(("tampered",), ("mask",), _forged, pick="*[0-9]t.*"), Part(("Au",), pick="*[0-9].*", optional=True))


def entries(root: Path) -> list[Entry]:
    """The forgeries and their originals; InputError when the layout is not there."""
    return collect(INFO, root, PARTS, others=(MVSS,))
