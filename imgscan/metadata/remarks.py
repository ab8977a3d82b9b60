"""Remarks on a file: what its metadata says of editing, dates, sizes, its thumbnail and where it is from.

None of them proves anything: metadata can be written and removed at will, platforms remove most of it, and an editor's name stands
in many pictures that were only cropped.  Instagram writes a Photoshop resource (APP13) into everything, so that alone is no remark.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import exifread
import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.find import FORMATS
from imgscan.records import Remark

# Programs by what they write into Software, CreatorTool or the history; a camera's own firmware is none of them.
EDITORS = (
    "photoshop", "lightroom", "gimp", "affinity", "pixelmator", "snapseed", "facetune", "picsart", "paint.net", "luminar", "canva",
    "corel", "capture one", "darktable", "rawtherapee", "photopea", "imagemagick", "vsco", "meitu", "beautycam",
)  # fmt: skip
GENERATORS = ("stable diffusion", "midjourney", "dall-e", "firefly", "comfyui", "novelai", "invokeai", "google imagen", "flux")
GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia")  # IPTC digital source types
LEAST_ALIKE = 0.6  # correlation with the picture, under which a thumbnail is not taken for its own
BLACK = 16  # of 255: the bars, after JPEG
THUMBNAIL_SIDE = 32  # both are compared at this size, grey

# exifread reports every oddity of a file to a logger of its own; here an oddity is a remark or nothing.
logging.getLogger("exifread").setLevel(logging.CRITICAL)


def remarks(content: bytes, file: Image.Image, rgb: npt.NDArray[np.uint8]) -> tuple[Remark, ...]:
    """Everything worth telling of a file's metadata, the most telling first.  Never raises for what is wrong with the file.

    Args:
        content: the file.
        file: opened by Pillow.
        rgb: H x W x 3 uint8, its pixels as stored.
    """
    try:
        tags, xmp = read_exif(content), read_xmp(content)
        exif = {name: _text(value) for name, value in tags.items() if name != "JPEGThumbnail"}
        found = [
            *_generated(exif, xmp, file.info),
            *_thumbnail(tags.get("JPEGThumbnail"), rgb),
            *_software(exif, xmp),
            *_history(xmp),
            *_dates(exif),
            *_size(exif, rgb.shape[1], rgb.shape[0]),
            *_frames(file),
            *_provenance(content),
        ]
    except Exception as error:  # parsers raise nearly anything on broken metadata, which is no reason to refuse a good picture
        return (Remark("broken", f"the metadata cannot be read: {type(error).__name__}"),)
    return tuple(found)


def read_exif(content: bytes) -> Mapping[str, Any]:
    """Tags by exifread's names, "EXIF DateTimeOriginal"; empty where there are none."""
    tags: Mapping[str, Any] = exifread.process_file(io.BytesIO(content), details=False, extract_thumbnail=True)
    return tags


def _text(value: Any) -> str:
    return str(value).replace("\0", " ").strip()


def read_xmp(content: bytes) -> str:
    """The XMP packet, wherever the file has it; empty where it has none."""
    start = content.find(b"<x:xmpmeta")
    end = content.find(b"</x:xmpmeta>", start)
    return content[start:end].decode("utf-8", "replace") if 0 <= start < end else ""


def _xmp_value(xmp: str, name: str) -> str:
    """A simple property, as attribute or element."""
    found = re.search(rf'{name}="([^"]*)"|<{name}>([^<]*)<', xmp)
    return (found[1] or found[2] or "").strip() if found else ""


def _generated(exif: Mapping[str, str], xmp: str, info: Mapping[Any, Any]) -> Iterator[Remark]:
    """What declares itself as made by a generator."""
    kind = next((kind for kind in GENERATED if re.search(rf"\b{kind}\b", xmp)), None)
    if kind:
        yield Remark("generated", f"declares itself as made or altered by a generator (IPTC digital source type {kind})")
    if "parameters" in info and "Steps:" in str(info["parameters"]):
        yield Remark("generated", "has a generator's settings as PNG text (parameters)")
    named = f"{exif.get('Image Software', '')} {_xmp_value(xmp, 'xmp:CreatorTool')} {info.get('Software', '')}".lower()
    for name in GENERATORS:
        if re.search(rf"\b{re.escape(name)}\b", named):
            yield Remark("generated", f"names the generator {name!r} as its software")


def _software(exif: Mapping[str, str], xmp: str) -> Iterator[Remark]:
    named = {exif.get("Image Software", ""), _xmp_value(xmp, "xmp:CreatorTool")} - {""}
    for name in sorted(named):
        if any(editor in name.lower() for editor in EDITORS):
            yield Remark("software", f"was saved by {name[:100]}")


def _history(xmp: str) -> Iterator[Remark]:
    """Adobe's list of what was done (xmpMM:History)."""
    actions = re.findall(r'stEvt:action="([^"]*)"|<stEvt:action>([^<]*)<', xmp)
    saved = sum((a or b) == "saved" for a, b in actions)
    if saved:
        yield Remark("software", f"has an editing history with {saved} save{'s' if saved > 1 else ''} (xmpMM:History)")


def _dates(exif: Mapping[str, str]) -> Iterator[Remark]:
    taken, changed = exif.get("EXIF DateTimeOriginal", ""), exif.get("Image DateTime", "")
    if taken and changed and taken != changed:
        order = "before it was taken" if changed < taken else "after it was taken"  # YYYY:MM:DD HH:MM:SS sorts as text
        yield Remark("dates", f"was changed {order}: taken {taken}, changed {changed}")


def _size(exif: Mapping[str, str], width: int, height: int) -> Iterator[Remark]:
    """The camera's own idea of the size against the file's; turned by 90 degrees is the same."""
    said = exif.get("EXIF ExifImageWidth", ""), exif.get("EXIF ExifImageLength", "")
    if all(one.isdecimal() and int(one) for one in said):
        wide, high = int(said[0]), int(said[1])
        if {wide, high} != {width, height}:
            yield Remark("size", f"is {width} x {height} pixels, its camera wrote {wide} x {high}")


def _thumbnail(data: Any, rgb: npt.NDArray[np.uint8]) -> Iterator[Remark]:
    """Whether the embedded thumbnail is of this picture.  Cameras pad theirs with black bars, which are cut off first."""
    if not isinstance(data, bytes):
        return
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            small = np.asarray(file.convert("L"), np.float32)
    except Exception:  # a broken thumbnail says nothing of the picture
        return
    rows, columns = (np.flatnonzero(small.max(axis) > BLACK) for axis in (1, 0))
    if not len(rows):
        return
    one = _grey(small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    other = _grey(np.asarray(Image.fromarray(rgb).convert("L"), np.float32))
    if one.std() < 1 or other.std() < 1:
        return
    alike = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    if alike < LEAST_ALIKE:
        yield Remark("thumbnail", f"has a thumbnail of another picture or of an earlier state (correlation {alike:.2f})")


def _grey(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(Image.fromarray(picture).resize(side, Image.Resampling.BOX), np.float32)


def _frames(file: Image.Image) -> Iterator[Remark]:
    """Pages and frames that nobody looked at; the second picture of a camera's MPO is its preview or its other eye."""
    try:
        frames = getattr(file, "n_frames", 1)
    except Exception:  # Pillow follows the chain of pages, and may fall over a link that leads nowhere
        yield Remark("broken", "its further pages cannot be counted")
        return
    if frames > 1 and file.format != "MPO":
        yield Remark("frames", f"holds {frames} pictures (pages or frames), of which only the first was assessed")


def _provenance(content: bytes) -> Iterator[Remark]:
    if b"jumb" in content and b"c2pa" in content:
        yield Remark("provenance", "has a C2PA manifest (its signature was not verified; imgscan has no trust list)")
