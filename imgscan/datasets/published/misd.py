"""Multiple Image Splicing Dataset (MISD): 618 untouched pictures and 300 with several splices each, 384 x 256.

Kadam, Ahirrao, Kotecha, "Multiple Image Splicing Dataset (MISD): A Dataset for Multiple Splicing", Data 6(10):102, 2021,
https://zenodo.org/records/5525829.

Layout, by its README: `Au/`, `Sp/`, `Ground Truth Masks/<stem of the splice>/masks/*`, a mask per spliced object; a pixel is
forged when any of them says so.  The names of the masks are not published, so every picture in that folder counts.  FOCAL tests on
227 pictures ("MultiSP") and says nothing of which; later counts differ too (300, 462).
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, below, collect, pictures, subfolders

INFO = SetInfo(
    name="misd",
    title="MISD: several splices a picture, 384 x 256",
    licence="CC BY 4.0, as its record on Zenodo states",
    where="https://zenodo.org/records/5525829",
    forged=(300, 227),
    authentic=(618,),
    layout="Sp/, Ground Truth Masks/NAME/masks/, Au/",
    splits=TestOnly(),
    folders=("Multiple Image Splicing Dataset", "MISD_Dataset"),
)
_MASKS = ("Ground Truth Masks", "Groundtruth", "GT")


def entries(root: Path) -> list[Entry]:
    """Every splice with all its masks, and what of Au/ is there; InputError when the layout is not."""
    for place in (root, *subfolders(root)):
        spliced, masks = below(place, ("Sp",)), below(place, _MASKS)
        if spliced is not None and masks is not None:
            folders = {folder.name.lower(): folder for folder in subfolders(masks)}
            made = [_spliced(path, folders.get(path.stem.lower(), masks / path.stem)) for path in pictures(spliced)]
            authentic = below(place, ("Au",))
            return made + [Entry(path, None, "white", INFO.name) for path in (pictures(authentic) if authentic else [])]
    return collect(INFO, root, (Part(("Sp",), _MASKS),))


def _spliced(image: Path, folder: Path) -> Entry:
    inner = below(folder, ("masks",))
    found = pictures(inner) if inner else []
    first = found[0] if found else folder / "masks" / f"{image.stem}.png"
    return Entry(image, first, "white", INFO.name, parts=tuple(found[1:]))
