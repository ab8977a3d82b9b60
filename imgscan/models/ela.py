"""ELA, error level analysis: the weight-free floor every network has to beat.

The picture is saved once more as JPEG 90; where its parts had different histories they change by different amounts (Krawetz, "A
Picture's Worth", 2007).  Score of a pixel: the absolute change, averaged over the three channels and over its 8x8 block.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

QUALITY = 90
BLOCK = 8


def error_level(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """H x W x 3 uint8 -> H x W float32, 0..1 (the mean change in grey levels over 255); a ranking, not a probability."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=QUALITY)
    again = np.asarray(Image.open(buffer), np.float32)
    change = np.abs(again - rgb).mean(2) / 255
    height, width = change.shape
    padded = np.pad(change, ((0, -height % BLOCK), (0, -width % BLOCK)), mode="edge")
    rows, columns = padded.shape[0] // BLOCK, padded.shape[1] // BLOCK
    blocks = padded.reshape(rows, BLOCK, columns, BLOCK).mean((1, 3))
    smooth = np.repeat(np.repeat(blocks, BLOCK, 0), BLOCK, 1)[:height, :width]
    return np.ascontiguousarray(smooth, np.float32)
