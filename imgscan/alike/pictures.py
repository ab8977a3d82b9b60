"""The pictures that are held against each other: what records say of them, and what their files show."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.digests import content_of
from imgscan.errors import InputError
from imgscan.find import FORMATS
from imgscan.frame import cut
from imgscan.pixels import as_stored, orientation_of, to_rgb
from imgscan.records import Box
from imgscan.report.record import read_record, record_in


@dataclass(frozen=True)
class Known:
    """What a record says of a picture, as far as it matters here."""

    name: str
    path: str
    sha256: str
    fingerprint: str | None
    width: int
    height: int
    orientation: int = 1
    inside: Box | None = None
    record: str | None = None  # of an earlier scan that it comes from; None: this one's

    def in_pixels(self, box: Sequence[float]) -> Box:
        """Left, top, right and bottom as shares of the sides of what is within its frame, in pixels of the file."""
        left, top, right, bottom = self.inside or (0, 0, self.width, self.height)
        across, down = right - left, bottom - top
        a, b, c, d = box
        return left + round(a * across), top + round(b * down), left + round(c * across), top + round(d * down)

    def as_line(self) -> dict[str, Any]:
        """What the summary of a record says of it: of one of another scan more, for this record has no line of it."""
        line: dict[str, Any] = {"name": self.name, "path": self.path, "sha256": self.sha256}
        if self.record is not None:
            line |= {"record": self.record, "width": self.width, "height": self.height, "orientation": self.orientation}
        return line


def known_of(line: Mapping[str, Any], record: str | None = None) -> Known | None:
    """What a result line says of a picture; None of one that was skipped."""
    if "sha256" not in line:
        return None
    facts = {name: line[name] for name in ("name", "path", "sha256", "width", "height", "orientation")}
    inside = tuple(line["inside"]) if line.get("inside") else None
    return Known(**facts, fingerprint=line.get("fingerprint"), inside=inside, record=record)


def earlier_in(records: Sequence[Path]) -> list[Known]:
    """The pictures of earlier scans, whose records or folders are given; InputError where one is none, or has no fingerprints."""
    found = []
    for path in records:
        try:
            record = read_record(record_in(path))
        except InputError as error:
            raise InputError(f"--earlier: {error}") from error
        if any("sha256" in line and "fingerprint" not in line for line in record.results):
            raise InputError(f"--earlier {path}: is of a version without fingerprints; scan again into it, which adds them")
        found += [one for one in (known_of(line, str(path)) for line in record.results) if one is not None]
    return found


def read(picture: Known) -> bytes | None:
    """What the file at a picture's path holds; None: there is none, or one of other content."""
    return content_of(Path(picture.path), picture.sha256)


def shown(picture: Known, content: bytes | None, side: int) -> npt.NDArray[np.uint8] | None:
    """What a picture shows without its frame, H x W x 3, in the order of the file; None where it cannot be read.

    Args:
        picture: what its record says.
        content: of its file.
        side: a JPEG may be decoded smaller, the whole of it no smaller than so many pixels a side.
    """
    if content is None:
        return None
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=FORMATS) as file:
            file.draft("RGB", (side, side))
            orientation = orientation_of(file)
            rgb = as_stored(to_rgb(file), file.format, orientation)
    except Exception:  # decoders raise nearly anything on broken files
        return None
    shrunk = rgb.shape[1] / picture.width  # by a draft of a JPEG
    inside = picture.inside and tuple(round(end * shrunk) for end in picture.inside)
    return cut(rgb, inside or None)
