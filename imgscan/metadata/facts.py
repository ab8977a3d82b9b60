"""Facts of one file for people: what it is, where it says it is from, how it was compressed, what it carries."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imgscan.decode import BROKEN, decode
from imgscan.errors import InputError
from imgscan.find import FORMATS, unfit
from imgscan.metadata.packets import read_exif, read_xmp
from imgscan.records import Picture, Remark, Skipped, Source

# Rows of the table: what it is called -> exifread's name of the tag.
TAGS = {
    "camera": ("Image Make", "Image Model"),
    "lens": ("EXIF LensModel",),
    "taken": ("EXIF DateTimeOriginal", "EXIF OffsetTimeOriginal"),
    "changed": ("Image DateTime",),
    "software": ("Image Software",),
    "exposure": ("EXIF ExposureTime", "EXIF FNumber", "EXIF ISOSpeedRatings"),
    "copyright": ("Image Copyright",),
}


@dataclass(frozen=True)
class Facts:
    """What a file says of itself."""

    rows: dict[str, str]  # name -> value, in the order in which they are shown
    remarks: tuple[Remark, ...]
    broken: bool = False  # whether its pixels cannot be decoded; what it says is shown all the same


def inspect(path: Path) -> Facts:
    """Read one file.

    Raises:
        InputError: it cannot be read, or is no picture.
    """
    try:
        if why := unfit(path):
            raise InputError(f"{path}: {why}")
        content = path.read_bytes()  # once: a pipe gives it only once
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    picture = decode(Source(path, path.name, content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF; ours says it
        if isinstance(picture, Skipped):
            # Its pixels are broken, or none that a network can judge; the file may say something all the same.
            return Facts(_undecoded(picture, content), (), broken=picture.reason.startswith(BROKEN))
        with Image.open(io.BytesIO(content), formats=FORMATS) as file:
            if file.format == "PNG":
                file.load()  # its metadata may come behind its pixels
            return Facts(_file(picture) | _compression(file, picture) | _metadata(content, file), picture.remarks)


def _undecoded(skipped: Skipped, content: bytes) -> dict[str, str]:
    """What can be said of a file whose pixels are not decoded; InputError where not even its head is a picture's."""
    path = skipped.source.path
    try:
        with _of_any_size(), Image.open(io.BytesIO(content), formats=FORMATS) as file:
            form = f"{file.format}, {file.width} x {file.height}, {len(content):,} bytes"
            said = _metadata(content, file)
    except Exception as error:  # Pillow raises nearly anything on broken files
        raise InputError(f"{path}: {skipped.reason}") from error
    digest = hashlib.sha256(content).hexdigest()
    return {"file": str(path), "SHA-256": digest, "format": form, "pixels": f"not scanned: {skipped.reason}"} | said


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Pillow refuses to open what has too many pixels; of a head alone none is decoded."""
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _metadata(content: bytes, file: Image.Image) -> dict[str, str]:
    rows: dict[str, str] = {}
    try:
        tags = read_exif(content, file)
    except Exception:  # exifread raises nearly anything; the remarks say that the metadata cannot be read
        tags = {}
    for name, keys in TAGS.items():
        said = " ".join(str(tags[key]).strip() for key in keys if str(tags.get(key, "")).strip())
        if name == "software":
            said = said or str(file.info.get("Software", "")).strip()  # PNG's text
        if said:
            rows[name] = said
    if any(key.startswith("GPS GPSLatitude") for key in tags):
        rows["position"] = "has GPS coordinates"
    return rows | _carries(content, file, tags.get("JPEGThumbnail"))


def _file(picture: Picture) -> dict[str, str]:
    turned = f", EXIF orientation {picture.orientation}" if picture.orientation != 1 else ""
    return {
        "file": str(picture.source.path),
        "SHA-256": picture.sha256,
        "format": f"{picture.format}, {picture.width} x {picture.height}{turned}, {picture.bytes:,} bytes",
    }


def _compression(file: Image.Image, picture: Picture) -> dict[str, str]:
    """Of a JPEG: quality, sampling, scans; and whether its luma table is one of libjpeg's, which most editors and platforms use."""
    if picture.jpeg_quality is None:
        return {}
    tables: dict[int, list[int]] = getattr(file, "quantization", {})
    progressive = ", progressive" if file.info.get("progressive") else ""
    layers: list[tuple[int, int, int, int]] = getattr(file, "layer", [])
    digest = hashlib.sha256(b"".join(np.sort(table).astype(np.uint16).tobytes() for table in tables.values())).hexdigest()[:12]
    sampling = f", sampling {' '.join(f'{across}x{down}' for _, across, down, _ in layers)}" if layers else ""
    return {"JPEG": f"quality about {picture.jpeg_quality}{sampling}{progressive}; {len(tables)} tables, fingerprint {digest}"}


def _carries(content: bytes, file: Image.Image, thumbnail: object) -> dict[str, str]:
    """What else lies in the file."""
    found = {}
    if isinstance(thumbnail, bytes):
        try:
            with Image.open(io.BytesIO(thumbnail), formats=FORMATS) as small:
                found["thumbnail"] = f"{small.width} x {small.height}, {len(thumbnail):,} bytes"
        except Exception:  # a broken thumbnail is a fact, too
            found["thumbnail"] = f"{len(thumbnail):,} bytes that are no picture"
    xmp = read_xmp(content, file)
    if xmp:
        found["XMP"] = f"{len(xmp):,} characters"
    if b"Photoshop 3.0\0" in content:
        found["APP13"] = "a Photoshop resource block (Instagram writes one into every picture)"
    return found
