"""Frame: what of a picture lies within a border of one colour: a frame, bars above and below it, the white around a print, or the
window of a program that shows a photograph, with a line of text and some icons.

To networks that compare traces a border is foreign to the photograph, or the photograph to the border.  So they are shown what is
within.  A border begins with a plain line at the picture's edge, goes on as long as most of a line has its colour, and ends in a
straight line: the sky over a roof and the white behind a thing that is for sale do not, and stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from imgscan.records import Box, JpegFile, Picture

_Array = TypeVar("_Array", bound=npt.NDArray[Any])
_Pixels = npt.NDArray[np.uint8]

ALIKE = 2  # levels of a channel; lines of pixels that differ from the first pixel by no more are plain
STEP, MOST = 16, 0.5  # levels, and the share of a line: where so much of it differs from the border by more, it is within
RINGING = 24  # lines beside it that saving may have made uneven: chroma has blocks of 16, and scaling takes more
UNEVEN, SLOPE = 0.1, 4  # the share may not have been so large so many lines before: what slants or is rough is no border's end
BUSY, TALL = 0.15, 0.1  # share of a line, in more lines than this share of one: a picture beside a picture, no words or icon
BLOCK = 8  # pixels: what is left begins where a block of JPEG does, and ends there after saving as such
BLURRED = 2  # pixels of what is within that scaling or saving mixed with the border
SMALLEST = 64  # pixels a side that are left
LAYERS = 3  # borders within borders
SAMPLED = 1_000  # pixels of a longer line, evenly spread, that are looked at
AT_ONCE = 16_384  # pixels: of a strip as long as a tape each line by itself takes far longer, and more do not fit into a cache


def plain_lines(lines: _Pixels) -> int:
    """How many of the first lines, L x N x 3, have the colour of the very first pixel."""
    colour = lines[0, 0].astype(np.int16)
    for first, some in _blocks(lines, 0):
        differs = (np.abs(some - colour) > ALIKE).any((1, 2))
        if differs.any():
            return first + int(differs.argmax())
    return len(lines)


def _blocks(lines: _Pixels, first: int) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """The lines from one on, in blocks of more and more up to AT_ONCE, for most borders end soon: the number of each block's first
    line, and the block."""
    count, most = 1, max(1, AT_ONCE // lines.shape[1])
    while first < len(lines):
        yield first, lines[first : first + count].astype(np.int16)
        first, count = first + count, min(2 * count, most)


def within_frame(rgb: _Pixels) -> Box | None:
    """What lies within the border of a picture, H x W x 3 uint8; None: it has none, or it is nearly all border.

    Left and top are multiples of 8, so that JPEG blocks stay where they are.
    """
    height, width = rgb.shape[:2]
    whole = (0, 0, width, height)
    box = inner(rgb, whole)
    return None if box == whole else box


def inner(rgb: _Pixels, box: Box) -> Box:
    """What lies within the border of a box of a picture, H x W x 3 uint8; the box itself where it has none."""
    for _ in range(LAYERS):
        within = _one_layer(rgb, box)
        if within == box or min(within[2] - within[0], within[3] - within[1]) < SMALLEST:
            break
        box = within
    return box


def unframed(picture: Picture) -> Picture:
    """What lies within the border of a picture, as a picture of its own."""
    if picture.inside is None:
        return picture
    jpeg = None if picture.jpeg is None else JpegFile(picture.jpeg.content, picture.inside)
    return replace(picture, rgb=cut(picture.rgb, picture.inside), inside=None, panels=(), jpeg=jpeg)


def cut(pixels: _Array, inside: Box | None) -> _Array:
    """The part of H x W x ... pixels that lies within a box; None: all."""
    if inside is None:
        return pixels
    left, top, right, bottom = inside
    return pixels[top:bottom, left:right]  # type: ignore[return-value]


def _one_layer(rgb: _Pixels, box: Box) -> Box:
    """A box less the border within it."""
    left, top, right, bottom = box
    shown = rgb[top:bottom, left:right]
    columns = _content(_sampled(shown).swapaxes(0, 1))
    content = shown[:, columns].swapaxes(0, 1)
    rows = _content(_sampled(content).swapaxes(0, 1))
    left, right = _cut(_sampled(shown[rows]).swapaxes(0, 1), columns, left, TALL * len(shown[rows]))
    top, bottom = _cut(_sampled(content).swapaxes(0, 1), rows, top, TALL * len(content))
    return left, top, right, bottom


def _sampled(lines: _Pixels) -> _Pixels:
    """At most SAMPLED lines, evenly spread."""
    return lines[:: -(-len(lines) // SAMPLED)]


def _content(lines: _Pixels) -> slice:
    """All lines but the plain ones on either side; all where all are plain."""
    first, last = plain_lines(lines), len(lines) - plain_lines(lines[::-1])
    return slice(first, last) if first < last else slice(0, len(lines))


def _cut(lines: _Pixels, content: slice, at: int, tall: float) -> tuple[int, int]:
    """Where a picture whose first line is number `at` begins and ends without the border on either side of its content."""
    start, stop = at, at + len(lines)
    plain = len(lines) - content.stop
    before, behind = _border(lines, content.start, tall), _border(lines[::-1], plain, tall)
    if before:
        start = -(-(start + before + BLURRED) // BLOCK) * BLOCK
    if behind:
        stop -= behind + BLURRED
    if behind > plain:  # saving mixed what is within with it, block by block
        stop = stop // BLOCK * BLOCK
    return start, stop


def _border(lines: _Pixels, plain: int, tall: float) -> int:
    """How many lines are border, of which so many at least are plain; 0: it ends in no straight line, or holds something large."""
    if not plain:
        return 0
    before = 2 * RINGING  # lines of which the shares are kept; those of what is plain are 0
    unlike, faint = np.zeros(before), np.zeros(before)  # shares of pixels far from the border's colour, and of those not of it
    busy = near = 0  # lines in a row with much of another colour, and with little of the border's
    for first, some in _blocks(lines, plain):
        apart = np.abs(some - lines[0, 0]).max(-1)
        unlike = np.concatenate([unlike[-before:], (apart > STEP).mean(1)])
        faint = np.concatenate([faint[-before:], (apart > ALIKE).mean(1)])
        ends = unlike[before:] >= MOST
        much = _in_a_row((unlike[before:] >= BUSY) & (faint[before:] <= MOST), busy)
        little = _in_a_row(faint[before:] > MOST, near)
        found = ends | (much > tall) | (little >= RINGING)
        if found.any():
            at = int(found.argmax())
            number, last = first + at, before + at
            if ends[at]:
                return number if unlike[last - SLOPE] < UNEVEN else 0
            if much[at] > tall:
                return 0
            # Something as light or as dark as the border, as a sky beside white.
            return _faint_end(lines, number + 1 - RINGING) if faint[last + 1 - before] < UNEVEN else 0
        busy, near = int(much[-1]), int(little[-1])
    return 0


def _in_a_row(flags: npt.NDArray[np.bool_], before: int) -> npt.NDArray[np.int64]:
    """How many flags up to each are set in a row, of which so many are before the first."""
    numbers = np.arange(len(flags))
    return numbers - np.maximum.accumulate(np.where(flags, -1 - before, numbers))


def _faint_end(lines: _Pixels, first: int) -> int:
    """Where a border ends beside something of nearly its colour, of which the first line is ringing or not."""
    beside = np.abs(lines[first : first + RINGING].astype(np.int16) - lines[0, 0]).max(-1)
    apart = np.median(beside, axis=1)
    return first + int((apart >= apart[-BLOCK:].mean() / 2).argmax())
