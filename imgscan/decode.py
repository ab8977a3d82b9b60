"""Decode: `Source` in, `Picture` or `Skipped` out, in worker processes that run ahead of the network."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, MpoImagePlugin, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin
from torch.utils.data import DataLoader, Dataset

from imgscan.alike.fingerprint import fingerprint
from imgscan.drawn import DRAWN, drawn
from imgscan.find import FORMATS, unfit
from imgscan.frame import cut, within_frame
from imgscan.jpeg import quantization_table
from imgscan.metadata.remarks import remarks
from imgscan.panels import panels
from imgscan.pixels import as_stored, lost_its_lower_byte, orientation_of, to_rgb
from imgscan.records import Box, JpegFile, Picture, Skipped, Source
from imgscan.workers import alive, as_is, end_with_parent, start_method

MAX_PIXELS = 178_000_000  # larger files are refused: Pillow takes them for decompression bombs
SMALLEST_SIDE = 64  # pixels; a smaller picture has too few 8x8 blocks to compare
BROKEN = "broken picture"  # how the reason begins where the file is at fault
RAW_SUFFIXES = frozenset({".dng", ".nef", ".nrw", ".cr2", ".arw", ".sr2", ".orf", ".pef", ".rw2", ".3fr", ".iiq"})
_DNG_VERSION = 0xC612  # a TIFF tag

# Pillow imports its decoders with the first picture.  A worker that is forked while another thread does so finds the lock of that
# import held, for ever: here they are imported with this module.
Image.preinit()
_DECODERS = (MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)  # those that preinit leaves out


def estimate_quality(tables: dict[int, list[int]] | None) -> int | None:
    """The IJG quality, 1..100, whose standard luma table is nearest to the file's; None without tables."""
    if not tables:
        return None
    luma = np.sort(tables[min(tables)])  # sorted, for Pillow gives some files in zigzag order and some not
    return 1 + int(np.abs(_standard_tables() - luma).sum(1).argmin())


@cache
def _standard_tables() -> npt.NDArray[np.float32]:
    """100 x 64: the sorted luma tables of qualities 1 to 100."""
    return np.stack([np.sort(quantization_table(q).flatten()) for q in range(1, 101)])


def decode(source: Source) -> Picture | Skipped:
    """Read, hash and decode one file.  Never raises for what is wrong with the file: that is a Skipped."""
    try:
        if source.content is None and (why := unfit(source.path)):
            return Skipped(source, why)
        content = source.path.read_bytes() if source.content is None else source.content
    except OSError as error:
        return Skipped(source, f"cannot be read: {error.strerror or error}")
    except MemoryError:
        return Skipped(source, "does not fit into memory")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF; what matters raises
            with Image.open(io.BytesIO(content), formats=FORMATS) as file:
                if file.width * file.height > MAX_PIXELS:
                    return Skipped(source, f"{file.width} x {file.height} pixels; at most {MAX_PIXELS:,} are decoded")
                if min(file.size) < SMALLEST_SIDE:
                    return Skipped(source, f"{file.width} x {file.height} pixels; wanted at least {SMALLEST_SIDE} a side")
                if _is_raw(source, file):
                    return Skipped(source, "camera raw, of which only a small preview could be seen; export it as TIFF or JPEG")
                orientation = orientation_of(file)
                tables = getattr(file, "quantization", None)
                rgb = as_stored(to_rgb(file), file.format, orientation)
                if lost_its_lower_byte(file, rgb):
                    return Skipped(source, "colours of 12 bits in 16, of which only the upper 8 are read; wanted 8 bits a colour")
                name = file.format or "unknown"
                said = remarks(content, file, rgb)
    except UnidentifiedImageError:
        return Skipped(source, "not a picture that can be decoded (JPEG, PNG, TIFF, WebP, BMP)")
    except MemoryError:
        return Skipped(source, f"does not fit into memory ({len(content):,} bytes, decoded more)")
    except Image.DecompressionBombError:  # Pillow's own limit is a little higher than ours
        return Skipped(source, f"more than {MAX_PIXELS:,} pixels; at most so many are decoded")
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        return Skipped(source, f"{BROKEN}: {error}")
    digest = hashlib.sha256(content).hexdigest()
    quality, jpeg = (estimate_quality(tables), JpegFile(content)) if tables else (None, None)
    try:
        looks, inside, shown = layout(rgb)
        shows = None if looks >= DRAWN else fingerprint(cut(rgb, inside), orientation)  # pages of text would all be alike
    except MemoryError:
        return Skipped(source, f"{rgb.shape[1]} x {rgb.shape[0]} pixels do not fit into memory")
    return Picture(source, rgb, digest, len(content), name, orientation, quality, said, looks, inside, jpeg, shows, shown)


class Layout(NamedTuple):
    """What of a picture is looked at; as the fields of a Picture."""

    drawn: float
    inside: Box | None
    panels: tuple[Box, ...]


def layout(rgb: npt.NDArray[np.uint8]) -> Layout:
    """What of a picture, H x W x 3, is looked at: what lies within its frame, and each panel of that, if it is a collage."""
    inside = within_frame(rgb)
    looks = drawn(cut(rgb, inside))
    return Layout(looks, inside, () if looks >= DRAWN else panels(rgb, inside))


def _is_raw(source: Source, file: Image.Image) -> bool:
    """Whether a TIFF is a camera's raw file, whose first picture is a thumbnail."""
    return file.format == "TIFF" and (source.path.suffix.lower() in RAW_SUFFIXES or _DNG_VERSION in getattr(file, "tag_v2", ()))


class _Sources(Dataset["Picture | Skipped"]):
    """Sources by number, for the loader."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Picture | Skipped:
        return decode(self.sources[index])


def decode_all(sources: Sequence[Source], jobs: int) -> Iterator[Picture | Skipped]:
    """Decode in the order given, up to four pictures ahead per worker.

    Args:
        sources: from find.
        jobs: worker processes; 0 decodes in this process.
    """
    return alive(
        DataLoader(
            _Sources(sources),
            batch_size=None,
            num_workers=jobs,
            multiprocessing_context=start_method() if jobs else None,
            prefetch_factor=4 if jobs else None,
            collate_fn=as_is,  # no batching: a picture goes through the loader as it is
            worker_init_fn=_beside_its_parent,
        )
    )


def _beside_its_parent(_: int) -> None:
    end_with_parent()
