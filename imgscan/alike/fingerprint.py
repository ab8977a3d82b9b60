"""Fingerprint: what a picture shows, in 256 bits that stay nearly the same when it is saved again, resized or toned.

After the perceptual hash of Zauner (Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, 3.2.1): means of
32 x 32 cells of the luma, of these a DCT-II, and of its 16 x 16 lowest coefficients the signs.  Different here: 16 in place of 8
a side; the sign in place of a comparison with the median, so that a picture that was mirrored or turned has the same bits but for
some that are known to be the others; and a fingerprint is refused where too few coefficients stand out for it to say anything.

    C = D M D^T,   D[u, x] = sqrt(2 / 32) cos(pi (2 x + 1) u / 64),   bit (u, v) = C[u, v] > 0

A mirrored picture has the opposite sign where v is odd, one that stands on its head where u is odd, and one whose rows have become
columns has C^T.  So bits are sorted into four words by whether u and v are odd: of the first a mirrored picture has the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.pixels import upright

CELLS = 32  # a side
KEPT = 16  # frequencies a side
FIRM, LEAST = 2.0, 96  # grey levels (times 32) that a coefficient needs to stand out, and how many of the 255 have to
SAMPLES = 8  # rows that a cell's mean is taken over, at least, where it has so many

Words = npt.NDArray[np.uint64]
"""N x 4: fingerprints, bits by parity of u and v: both even (the mean's is 0), v odd, u odd, both odd."""

_WAVES = math.sqrt(2 / CELLS) * np.cos(math.pi / (2 * CELLS) * np.outer(np.arange(KEPT), 2 * np.arange(CELLS) + 1))


def fingerprint(rgb: npt.NDArray[np.uint8], orientation: int = 1) -> str | None:
    """64 hexadecimal digits of a picture as it is looked at; None where they would say nothing: one colour, or hardly a gradient.

    Args:
        rgb: H x W x 3, in the order of the file.
        orientation: EXIF, 1..8.
    """
    every = max(1, rgb.shape[0] // (CELLS * SAMPLES))  # whole rows: pixels apart would cost more than they spare
    grey = Image.fromarray(np.ascontiguousarray(rgb[::every])).convert("L")
    means = upright(np.asarray(grey.resize((CELLS, CELLS), Image.Resampling.BOX), np.float64), orientation)
    found = _WAVES @ means @ _WAVES.T
    found[0, 0] = 0
    if (np.abs(found) > FIRM).sum() < LEAST:
        return None
    positive = found > 0
    bits = [positive[u::2, v::2] for u in (0, 1) for v in (0, 1)]
    return np.packbits(np.stack(bits)).tobytes().hex()


def words_of(fingerprints: Sequence[str]) -> Words:
    """Fingerprints as numbers, N x 4."""
    packed = np.frombuffer(bytes.fromhex("".join(fingerprints)), ">u8")
    return packed.reshape(-1, 4).astype(np.uint64)


def transposed(words: Words) -> Words:
    """The fingerprints of the same pictures with rows for columns."""
    bits = np.unpackbits(words.astype(">u8").view(np.uint8).reshape(-1, 4, 8), axis=2).reshape(-1, 4, 8, 8)
    packed = np.packbits(bits[:, [0, 2, 1, 3]].swapaxes(2, 3).reshape(-1, 4, 64), axis=2)
    return np.ascontiguousarray(packed).view(">u8")[..., 0].astype(np.uint64)
