"""Realistic Tampering Dataset (Korus): 220 careful forgeries and their originals, 1,920 x 1,080, TIFF, four cameras.

Korus, Huang, "Multi-scale Analysis Strategies in PRNU-based Tampering Localization", IEEE TIFS 12(4), 2017,
https://pkorus.pl/downloads/dataset-realistic-tampering.

Layout: `<camera>/tampered-realistic/*.TIF`, `<camera>/ground-truth/*.PNG`, `<camera>/pristine/*.TIF` for Canon_60D, Nikon_D90,
Nikon_D7000 and Sony_A57.  The masks have three levels; both that are not black are tampered.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, collect, home

CAMERAS = ("Canon_60D", "Nikon_D90", "Nikon_D7000", "Sony_A57")
INFO = SetInfo(
    name="korus",
    title="Korus, realistic tampering: splicing, copy-move, removal, TIFF",
    licence="research use, as its page states",
    where="https://pkorus.pl/downloads/dataset-realistic-tampering",
    forged=(220,),
    authentic=(220,),
    layout="Canon_60D/, Nikon_D90/, Nikon_D7000/, Sony_A57/, each with tampered-realistic/, ground-truth/, pristine/",
    splits=TestOnly(),
    folders=("realistic-tampering-dataset", "data-images", "Korus"),
)


def _camera(name: str, optional: bool) -> tuple[Part, ...]:
    return (
        Part((f"{name}/tampered-realistic",), (f"{name}/ground-truth",), rule="any", optional=optional),
        Part((f"{name}/pristine",), optional=True),
    )


def entries(root: Path) -> list[Entry]:
    """The pictures of every camera that is there; InputError when none is."""
    for first in CAMERAS:
        parts = tuple(part for name in (first, *CAMERAS) for part in _camera(name, name != first))
        if home(root, parts) is not None:
            return collect(INFO, root, tuple(part for name in CAMERAS for part in _camera(name, name != first)))
    return collect(INFO, root, _camera("<camera>", False))
