"""Columbia Uncompressed Image Splicing Detection Evaluation: 183 untouched and 180 spliced pictures, TIFF.

Hsu, Chang, "Detecting Image Splicing Using Geometry Invariants and Camera Characteristics Consistency", ICME 2006,
https://www.ee.columbia.edu/ln/dvmm/downloads/authsplcuncmp/.

Pictures are 757 x 568 to 1,152 x 768 pixels.  Layout: `4cam_auth/`, `4cam_splc/`, `4cam_splc/edgemask/<stem>_edgemask.jpg`
(`<stem>_edgemask_3.jpg` is a variant with a third colour and not used); plain masks called as the pictures, in `mask/`, are taken
too.  The masks are colour JPEG: green is spliced and red is not, each 255 near the edge and 200 elsewhere.  JPEG leaves noise in
the green channel, hence the threshold at 127 where others take every level above 0.  The grey of (0, 200, 0) is 117, so that the
same threshold on the grey picture would leave of a splice the band along its edge.  FOCAL tests on 160 of the 180.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, collect

INFO = SetInfo(
    name="columbia",
    title="Columbia uncompressed: crude splices of two photographs, TIFF",
    licence="Columbia DVMM's terms, research only",
    where="https://www.ee.columbia.edu/ln/dvmm/downloads/authsplcuncmp/dlform.html",
    forged=(180, 160),
    authentic=(183,),
    layout="4cam_splc/ with edgemask/, 4cam_auth/",
    splits=TestOnly(),
    folders=("Columbia Uncompressed", "Columbia Uncompressed Image Splicing Detection", "authsplcuncmp"),
    beside_masks=("*_edgemask_3.*",),
)


def _edgemask(stem: str) -> tuple[str, ...]:
    return (f"{stem}_edgemask", stem)


PARTS = (
    Part(("4cam_splc",), ("4cam_splc/edgemask", "edgemask", "mask", "masks"), _edgemask, "green"),
    Part(("4cam_auth",), optional=True),
)


def entries(root: Path) -> list[Entry]:
    """Every splice and what of 4cam_auth/ is there; InputError when the layout is not."""
    return collect(INFO, root, PARTS)
