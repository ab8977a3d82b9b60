"""Remarks on a file: what its metadata says of editing, dates, sizes, its thumbnail and where it is from.

None of them proves anything: metadata can be written and removed at will, platforms remove most of it, and an editor's name stands
in many pictures that were only cropped.  Instagram writes a Photoshop resource (APP13) into everything, so that alone is no remark.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.errors import InputError
from imgscan.find import FORMATS
from imgscan.metadata.packets import read_exif, read_xmp
from imgscan.records import Remark

# Programs by what they write into Software, CreatorTool or the history; a camera's own firmware is none of them.
EDITORS = (
    "photoshop", "lightroom", "gimp", "affinity", "pixelmator", "snapseed", "facetune", "picsart", "paint.net", "luminar", "canva",
    "corel", "capture one", "darktable", "rawtherapee", "photopea", "imagemagick", "vsco", "meitu", "beautycam",
)  # fmt: skip
GENERATORS = ("stable diffusion", "midjourney", "dall-e", "firefly", "comfyui", "novelai", "invokeai", "google imagen", "flux")
GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia")  # IPTC digital source types
LEAST_ALIKE = 0.6  # correlation with the picture, under which a thumbnail is not taken for its own
DAY = len("YYYY:MM:DD")  # a date that has no more is without a time
BLACK = 16  # of 255: the bars, after JPEG
THUMBNAIL_SIDE = 32  # both are compared at this size, grey

# In a C2PA manifest (CBOR) the first byte of what comes next, which may be a letter's, is right behind a text.
_IN_MANIFEST = re.compile(rb"digitalsourcetype/(" + "|".join(GENERATED).encode() + rb")")
_MOMENT = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:\.\d+)? *(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


def remarks(content: bytes, file: Image.Image, rgb: npt.NDArray[np.uint8]) -> tuple[Remark, ...]:
    """Everything worth telling of a file's metadata, the most telling first.  Never raises for what is wrong with the file.

    Args:
        content: the file.
        file: opened by Pillow.
        rgb: H x W x 3 uint8, its pixels as stored.
    """
    tags: Mapping[str, Any] = {}
    unread: list[Remark] = []
    try:
        tags = read_exif(content, file)
    except Exception as error:  # exifread raises nearly anything on broken EXIF, which hides nothing of the rest
        unread.append(_unread(error))
    try:
        xmp = read_xmp(content, file)
        exif = {name: _text(value) for name, value in tags.items() if name != "JPEGThumbnail"}
        found = [
            *_generated(exif, xmp, file.info, content),
            *_thumbnail(tags.get("JPEGThumbnail"), rgb),
            *_software(exif, xmp, file.info),
            *_history(xmp),
            *_dates(exif),
            *_size(exif, rgb.shape[1], rgb.shape[0]),
            *_frames(file),
            *_provenance(content),
        ]
    except Exception as error:  # parsers raise nearly anything on broken metadata, which is no reason to refuse a good picture
        return (_unread(error),)
    return (*found, *unread)


def _unread(error: Exception) -> Remark:
    return Remark("broken", f"the metadata cannot be read: {error if isinstance(error, InputError) else type(error).__name__}")


def _text(value: Any) -> str:
    return str(value).replace("\0", " ").strip()


def _values(xmp: str, name: str) -> list[str]:
    """All values of a simple property, as attribute or element."""
    found = re.finditer(rf"""{name}\s*=\s*(?:"([^"]*)"|'([^']*)')|<{name}>([^<]*)<""", xmp)
    return [html.unescape(one[1] or one[2] or one[3] or "").strip() for one in found]


def _creator(xmp: str) -> str:
    return next(iter(_values(xmp, "xmp:CreatorTool")), "")


def _generated(exif: Mapping[str, str], xmp: str, info: Mapping[Any, Any], content: bytes) -> Iterator[Remark]:
    """What declares itself as made by a generator."""
    kind = next((kind for kind in GENERATED if re.search(rf"\b{kind}\b", xmp)), None)
    manifest = _IN_MANIFEST.search(content) if _has_manifest(content) else None
    if kind:
        yield Remark("generated", f"declares itself as made or altered by a generator (IPTC digital source type {kind})")
    elif manifest:
        said = f"IPTC digital source type {manifest[1].decode()} in its C2PA manifest"
        yield Remark("generated", f"declares itself, or a part of itself, as made or altered by a generator ({said})")
    if "parameters" in info and "Steps:" in str(info["parameters"]):
        yield Remark("generated", "has a generator's settings as PNG text (parameters)")
    named = f"{exif.get('Image Software', '')} {_creator(xmp)} {info.get('Software', '')}".lower()
    for name in GENERATORS:
        if re.search(rf"\b{re.escape(name)}\b", named):
            yield Remark("generated", f"names the generator {name!r} as its software")


def _software(exif: Mapping[str, str], xmp: str, info: Mapping[Any, Any]) -> Iterator[Remark]:
    named = {exif.get("Image Software", ""), _creator(xmp), _text(info.get("Software", ""))} - {""}
    for name in sorted(named):
        if any(editor in name.lower() for editor in EDITORS):
            yield Remark("software", f"was saved by {name[:100]}")


def _history(xmp: str) -> Iterator[Remark]:
    """Adobe's list of what was done (xmpMM:History)."""
    saved = _values(xmp, "stEvt:action").count("saved")
    if saved:
        yield Remark("software", f"has an editing history with {saved} save{'s' if saved > 1 else ''} (xmpMM:History)")


def _dates(exif: Mapping[str, str]) -> Iterator[Remark]:
    taken, changed = exif.get("EXIF DateTimeOriginal", ""), exif.get("Image DateTime", "")
    one = _moment(taken, exif.get("EXIF OffsetTimeOriginal", ""))
    other = _moment(changed, exif.get("EXIF OffsetTime", ""))
    if one is None or other is None:
        return
    if len(taken) <= DAY or len(changed) <= DAY:
        one, other = (moment.replace(hour=0, minute=0, second=0, tzinfo=None) for moment in (one, other))
    elif one.tzinfo is None or other.tzinfo is None:
        one, other = (moment.replace(tzinfo=None) for moment in (one, other))
    if one != other:
        order = "before it was taken" if other < one else "after it was taken"
        yield Remark("dates", f"was changed {order}: taken {taken}, changed {changed}")


def _moment(text: str, offset: str) -> datetime | None:
    """A date of EXIF or ISO 8601, with or without a time, whose zone it may say itself or `offset` does.

    None where it is none, as of a clock that was never set.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, time, zone = found.groups()
    try:
        return datetime.fromisoformat(f"{year}-{month}-{day}" + (f"T{time}{zone or offset.strip(' :')}" if time else ""))
    except ValueError:
        return None


def _size(exif: Mapping[str, str], width: int, height: int) -> Iterator[Remark]:
    """The camera's own idea of the size against the file's; turned by 90 degrees is the same."""
    said = exif.get("EXIF ExifImageWidth", ""), exif.get("EXIF ExifImageLength", "")
    if all(one.isdecimal() and int(one) for one in said):
        wide, high = int(said[0]), int(said[1])
        if {wide, high} != {width, height}:
            yield Remark("size", f"is {width} x {height} pixels, its camera wrote {wide} x {high}")


def _thumbnail(data: Any, rgb: npt.NDArray[np.uint8]) -> Iterator[Remark]:
    """Whether the embedded thumbnail is of this picture.

    Cameras pad theirs with black bars, and pictures may be black at their edges themselves, so what counts is the likeness that is
    highest: as they are, with the black cut off the thumbnail, or off both.
    """
    if not isinstance(data, bytes):
        return
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            small = np.asarray(file.convert("L"), np.float32)
    except Exception:  # a broken thumbnail says nothing of the picture
        return
    picture = np.asarray(Image.fromarray(rgb).convert("L"), np.float32)
    within = _without_black(small)
    pairs = ((small, picture), (within, picture), (within, _without_black(picture)))
    alike = [_likeness(_grey(one), _grey(other)) for one, other in pairs if one.size and other.size]
    best = max((one for one in alike if one is not None), default=1.0)
    if best < LEAST_ALIKE:
        yield Remark("thumbnail", f"has a thumbnail of another picture or of an earlier state (correlation {best:.2f})")


def _without_black(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A picture, H x W, without its black rows and columns at the edges; empty where all is black."""
    rows, columns = (np.flatnonzero(grey.max(axis) > BLACK) for axis in (1, 0))
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else grey[:0]


def _likeness(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float | None:
    """Correlation of two pictures of one size, -1..1; None where one is all of one grey."""
    return None if min(one.std(), other.std()) < 1 else float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


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
    if _has_manifest(content):
        yield Remark("provenance", "has a C2PA manifest (its signature was not verified; imgscan has no trust list)")


def _has_manifest(content: bytes) -> bool:
    return b"jumb" in content and b"c2pa" in content
