"""FaceForensics++ frames: faces replaced or re-enacted in videos by four methods.

Roessler et al., "FaceForensics++: Learning to Detect Manipulated Facial Images", ICCV 2019,
https://github.com/ondyari/FaceForensics.

Layout, as frames extracted beside the videos: `manipulated_sequences/<method>/<c23|c40|raw|c0>/images/<video>/<frame>` with
`manipulated_sequences/<method>/masks/images/<video>/<frame>`, and `original_sequences/youtube/<c23|...>/images/<video>/<frame>`.
The set itself holds videos, and who extracts frames chooses their names: where this layout does not fit, use images/ and masks/.
FOCAL tests on 1,000 frames without saying which, so 1,000 is only what a sample of that size has.  The published mask videos
are compressed; forged is what is brighter than 127.
"""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.datasets.info import SetInfo
from imgscan.datasets.splits import TestOnly
from imgscan.datasets.trees import Part, below, collect, home, pair, subfolders

INFO = SetInfo(
    name="ffpp",
    title="FaceForensics++: frames of videos with manipulated faces",
    licence="FaceForensics terms of use, research only (form)",
    where="https://github.com/ondyari/FaceForensics",
    forged=(1000,),
    authentic=(),
    layout="manipulated_sequences/METHOD/c23/images/VIDEO/ with METHOD/masks/images/VIDEO/, original_sequences/: frames",
    splits=TestOnly(),
    folders=("FaceForensics++", "FaceForensics", "FF++"),
)
_QUALITIES = ("c23", "c40", "raw", "c0")
_LAYOUT = (Part(("manipulated_sequences",)),)


def entries(root: Path) -> list[Entry]:
    """Every extracted frame, in the best known quality that is there; InputError when none is."""
    place = home(root, _LAYOUT)
    made: list[Entry] = []
    for method in subfolders(place / "manipulated_sequences") if place else []:
        frames = below(method, [f"{quality}/images" for quality in _QUALITIES])
        for video in subfolders(frames) if frames else []:
            part = Part((f"{frames.parent.name}/images/{video.name}",), (f"masks/images/{video.name}",)) if frames else _LAYOUT[0]
            made += pair(method, part, INFO.name, _video)
    for source in subfolders(place / "original_sequences") if place else []:
        frames = below(source, [f"{quality}/images" for quality in _QUALITIES])
        for video in subfolders(frames) if frames else []:
            made += pair(video.parent, Part((video.name,)), INFO.name, _video)
    return made or collect(
        INFO, root, (Part(("manipulated_sequences/<method>/c23/images",), ("manipulated_sequences/<method>/masks/images",)),)
    )


def _video(image: Path) -> str:
    """The video whose frames are alike: `000` for 000_003/0012.png."""
    return image.parent.name.split("_")[0].lower()
