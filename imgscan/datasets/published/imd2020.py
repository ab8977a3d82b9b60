"""IMD2020, the real-life part: 2,010 forgeries found on the web and their 414 originals, masks made by hand.

Novozamsky, Mahdian, Saic, "IMD2020: A Large-Scale Annotated Dataset Tailored for Detecting Manipulated Images", WACVW 2020,
https://staff.utia.cas.cz/novozada/db/.

Layout: a folder per original, `<topic>/<x>_orig.jpg`, `<topic>/<y>_0.jpg` with `<topic>/<y>_0_mask.png`, in some folders
`<number>_fake.jpg` with `<number>_fake_mask.png`; white is forged.  Forgeries of one original lie in one folder, which is what the
split hashes.  The mask of z14/00030_fake does not fit and is left out, as in CAT-Net's lists (1,868 + 141).
"""

from __future__ import annotations

import os
from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import HashSplit
from imgscan.datasets.trees import Part, collect, is_named, pictures, subfolders

INFO = SetInfo(
    name="imd2020",
    title="IMD2020 real-life: forgeries from the web",
    licence="research only, as its page states",
    where="https://staff.utia.cas.cz/novozada/db/",
    forged=(2009, 2010),
    authentic=(414, 404),
    layout="a folder for each original, with x_orig.jpg, y_0.jpg, y_0_mask.png",
    splits=HashSplit(0.1, 0.1, "name of the folder, which is that of the original"),
    folders=("IMD2020", "IMD20", "IMD_2020", "IMD"),
    whole=True,
    left_out={"z14/00030_fake": "its mask belongs to another picture"},
)
_SUFFIX, _ENDS = "_mask", ("_fake", "_0")


def entries(root: Path) -> list[Entry]:
    """Every forgery and original of the topic folders; InputError when there are none."""
    for place in (root, *subfolders(root)):
        made = [entry for topic in subfolders(place) for entry in _topic(topic)]
        if any(entry.mask is not None and entry.mask.exists() and entry.image.stem.lower().endswith(_ENDS) for entry in made):
            return [entry for entry in made if not is_named(entry.image, INFO.left_out)]
    return collect(INFO, root, (Part(("<topic>",), ("<topic>",)),))


def _topic(folder: Path) -> list[Entry]:
    """A picture is a mask by the end of its name, an original likewise, and a forgery else."""
    made = []
    for path in pictures(folder):
        stem = path.stem.lower()
        own = path.with_name(f"{path.stem}{_SUFFIX}.png")
        if stem.endswith(_SUFFIX) or not (stem.endswith(("_orig", *_ENDS)) or os.path.lexists(own)):
            continue
        mask = None if stem.endswith("_orig") else own
        made.append(Entry(path, mask, "white", INFO.name, group=folder.name.lower()))
    return made
