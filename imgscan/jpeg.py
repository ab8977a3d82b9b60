"""The quantisation tables of the JPEG standard, what the IJG library makes of them, and what a file itself says."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_SIDE = 65_500  # pixels a side that libjpeg saves
# Tables K.1 and K.2 of ITU-T T.81 (luminance and chrominance), row by row.
_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
_RGB = tuple(b"RGB")  # the names of the components of a file that stores RGB


def quantization_table(quality: int, chroma: bool = False) -> npt.NDArray[np.float32]:
    """The standard JPEG table scaled to `quality` as the IJG library does it.

    Args:
        quality: 1 to 100.
        chroma: table K.2 instead of K.1.

    Returns:
        8 x 8 float32, values 1 to 255.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; JPEG qualities are 1 to 100")
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = np.array(_CHROMA_TABLE if chroma else _LUMA_TABLE, np.float32)
    return np.clip(np.floor((table * scale + 50) / 100), 1, 255).astype(np.float32)


@dataclass(frozen=True)
class Luma:
    """The luma of a JPEG file as it was decoded, before anything was made of it: its colours are rounded and clipped once more."""

    values: npt.NDArray[np.uint8]  # H x W; 0 x 0: the file stores none
    table: npt.NDArray[np.float64]  # 64, its quantisation table row by row


_NO_LUMA = Luma(np.zeros((0, 0), np.uint8), np.ones(64))


def read_luma(content: bytes) -> Luma:
    """The luma of a JPEG file; 0 x 0 pixels where it stores none (but RGB or CMYK), or is no JPEG.

    Args:
        content: of a file that can be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF and large pictures
        try:
            with Image.open(io.BytesIO(content)) as file:
                layers = getattr(file, "layer", None) or ()
                names = tuple(layer[0] for layer in layers)
                as_rgb = names == _RGB or (len(names) == 3 and file.info.get("adobe_transform") == 0)
                if not layers or as_rgb or file.mode not in ("L", "RGB"):
                    return _NO_LUMA
                table = getattr(file, "quantization", {})[layers[0][3]]
                file.draft("L", None)
                return Luma(np.array(file), np.array(table, float)) if file.mode == "L" else _NO_LUMA
        except Exception:  # Pillow raises nearly anything; a picture without luma is no reason to end a scan
            return _NO_LUMA
