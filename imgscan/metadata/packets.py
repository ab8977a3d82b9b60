"""EXIF and XMP out of a file, whatever its format."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import exifread
from PIL import Image

from imgscan.errors import InputError

# exifread reads every value of every entry that a file claims to have by a call of its own, and the same bytes as often as asked.
MOST_READS = 200_000  # a camera's picture takes some hundred, a page of a TIFF 50 to 2,000
MOST_BYTES = 1 << 24
_BIG_TIFF = (b"II+\0", b"MM\0+")  # whose longer addresses exifread would take for short ones

# exifread reports every oddity of a file to a logger of its own; here an oddity is a remark or nothing.
logging.getLogger("exifread").setLevel(logging.CRITICAL)


class _Bounded(io.BytesIO):
    """A file of which not more than MOST_READS times and MOST_BYTES are read; then InputError."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = self._bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self._reads += 1
        self._bytes += len(part)
        if self._reads > MOST_READS or self._bytes > MOST_BYTES:
            raise InputError("its EXIF has more entries and values than are looked at")
        return part


def read_exif(content: bytes, file: Image.Image) -> Mapping[str, Any]:
    """Tags by exifread's names, "EXIF DateTimeOriginal", and the thumbnail as "JPEGThumbnail"; empty of BigTIFF and what has none.

    Args:
        content: the file.
        file: opened by Pillow; a PNG may have EXIF behind its pixels, which is found only when they are loaded.

    Raises:
        InputError: it has more than is looked at, or no TIFF's beginning.
        Exception: nearly anything else, where it is broken.
    """
    block = _exif_block(content, file)
    if not block or block.startswith(_BIG_TIFF):
        return {}
    if block[:2] not in (b"II", b"MM"):
        raise InputError("its EXIF does not begin as a TIFF does")
    # The thumbnail is cut out here: of one without compression exifread would put a TIFF together, copying it for every entry.
    tags: dict[str, Any] = exifread.process_file(_Bounded(block), details=False, extract_thumbnail=False)
    start, length = (_number(tags, f"Thumbnail JPEGInterchangeFormat{part}") for part in ("", "Length"))
    return tags | {"JPEGThumbnail": block[start : start + length]} if start and length else tags


def _exif_block(content: bytes, file: Image.Image) -> bytes:
    """EXIF as the TIFF that it is, without a header; exifread's own search misses it in some PNG and WebP."""
    if file.format == "TIFF":
        return content
    block = file.info.get("exif") or _raw_profile(file, "exif")
    return block.removeprefix(b"Exif\0\0") if isinstance(block, bytes) else b""


def _number(tags: Mapping[str, Any], name: str) -> int:
    values = getattr(tags.get(name), "values", None) or [0]
    return values[0] if isinstance(values[0], int) else 0


def _raw_profile(file: Image.Image, name: str) -> bytes:
    """What ImageMagick puts into a PNG as text (an empty line, the name, the length, hexadecimal digits); else empty."""
    lines = str(file.info.get(f"Raw profile type {name}", "")).split("\n")
    try:
        return bytes.fromhex("".join(lines[3:]))
    except ValueError:
        return b""


def read_xmp(content: bytes, file: Image.Image) -> str:
    """The XMP packet where its format has it (JPEG's APP1, PNG's text, WebP's chunk, TIFF's tag 700), else the first one in plain
    UTF-8 anywhere in the file; empty where it has none.  What JPEG continues in further segments (extended XMP) is left out.

    Args:
        content: the file.
        file: opened by Pillow, as for read_exif.
    """
    return next((packet for packet in _packets(content, file) if packet), "")


def _packets(content: bytes, file: Image.Image) -> Iterator[str]:
    for found in (file.info.get("xmp"), file.info.get("XML:com.adobe.xmp"), _raw_profile(file, "xmp")):
        if isinstance(found, bytes):
            yield _decoded(found)
        elif isinstance(found, str):
            yield found.strip()
    start = content.find(b"<rdf:RDF")
    end = content.find(b"</rdf:RDF>", start)
    yield _decoded(content[start:end]) if 0 <= start < end else ""


def _decoded(packet: bytes) -> str:
    """A packet is UTF-8 or UTF-16, which its first sign tells, with or without a byte order mark."""
    start = packet.find(b"<")
    wide = packet[start + 1 : start + 2] == b"\0"
    encoding = ("utf-16-le", "utf-16-be")[start % 2] if wide else "utf-8"
    return packet.decode(encoding, "replace").strip("\ufeff\0 \t\r\n")
