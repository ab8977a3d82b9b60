"""Panels: the photographs of a collage or of a compound figure, side by side with gutters of one colour between them.

To networks that compare traces every panel is foreign to the others, for each has a history of its own.  So each is judged as a
picture of its own.  A gutter is a band, from one edge of what is cut to the other, that is even to the pixel but for what JPEG does
to it and for words, ends on both sides in one straight line, and has something else beyond each: bars of a window, doors and
horizons are none.  What lies between gutters is cut again (X-Y cut: Nagy and Seth, 1984), by gutters of the same colour.  Panels
that meet without a gutter are not told apart: the edge of a thing may be as straight.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from imgscan.drawn import DRAWN, drawn
from imgscan.frame import BLOCK, BLURRED, cut, inner
from imgscan.records import Box

_Pixels = npt.NDArray[np.uint8]

SMALLEST = 128  # pixels a side of what is cut off
EVEN, MOST = 8.0, 0.95  # grey levels from its median that so much of a line of a gutter keeps to, also after JPEG 75
SAME = 16  # levels of a channel between gutters of one picture
STEP, UNLIKE = 16, 0.4  # grey levels, and the share of a line: so much differs from a gutter by more where a panel begins, ...
NEAR, FAR, SOON = 2, 8, 0.8  # ... NEAR lines beyond it SOON of the share that differs FAR lines beyond: it ends at once, straight
ALIKE = 0.3  # correlation of both sides of a gutter, along it: a bar before something has the same on both, panels have not
WIDEST = 0.2  # of what is cut: a gutter, with the words in it
WORDS = 0.5  # of a line of words, that is not ground
PIECES = 64  # panels at most
FEW = 64  # pixels of a line, evenly spread, that tell most lines from gutters
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def panels(rgb: _Pixels, inside: Box | None = None) -> tuple[Box, ...]:
    """The panels of a picture, H x W x 3 uint8, of which only what lies within a box is looked at (None: all).

    Returns:
        Boxes from top to bottom and left to right; (): there are not two photographs.  Those beside gutters begin and end where a
        block of JPEG does, and what looks drawn is not among them.
    """
    box = inside or (0, 0, rgb.shape[1], rgb.shape[0])
    found = list(_pieces(rgb, box, None))
    if not 1 < len(found) <= PIECES:
        return ()
    shown = [one for one in found if drawn(cut(rgb, one)) < DRAWN]
    return tuple(sorted(shown, key=lambda one: (one[1], one[0]))) if len(shown) > 1 else ()


def _pieces(rgb: _Pixels, box: Box, colour: npt.NDArray[np.float32] | None) -> Iterator[Box]:
    """What gutters of a colour (None: any) leave of a box, cut as often as it can be."""
    left, top, right, bottom = box
    for across in (True, False):
        lines = cut(rgb, box) if across else cut(rgb, box).swapaxes(0, 1)
        spans, found = _cut(lines, colour)
        if len(spans) < 2:
            continue
        for start, stop in spans:
            one = (left + start, top, left + stop, bottom) if across else (left, top + start, right, top + stop)
            yield from _pieces(rgb, inner(rgb, _whole_blocks(one, box)), found)
        return
    yield box


def _whole_blocks(one: Box, box: Box) -> Box:
    """A piece without what its gutters were mixed with."""
    left, top = (-(-(a + BLURRED) // BLOCK) * BLOCK if a > b else a for a, b in zip(one[:2], box[:2], strict=True))
    right, bottom = ((a - BLURRED) // BLOCK * BLOCK if a < b else a for a, b in zip(one[2:], box[2:], strict=True))
    return left, top, right, bottom


def _cut(lines: _Pixels, colour: npt.NDArray[np.float32] | None) -> tuple[list[tuple[int, int]], npt.NDArray[np.float32] | None]:
    """Where the gutters of H x W x 3 pixels, which go down, leave something of its columns, and the colour of the gutters."""
    height, width = lines.shape[:2]
    if width < 2 * SMALLEST or height < SMALLEST:
        return [], colour
    spans, start = [], 0
    for first, last in _bands(lines):
        if first - start < SMALLEST or width - last < SMALLEST or last - first > WIDEST * width:
            continue
        own = np.median(lines[:, (first + last) // 2], axis=0).astype(np.float32)
        if colour is not None and np.abs(own - colour).max() > SAME:
            continue
        if not _is_gutter(lines, first, last):
            continue
        spans.append((start, first))
        start, colour = last, own
    return [*spans, (start, width)], colour


def _bands(lines: _Pixels) -> list[tuple[int, int]]:
    """Columns of H x W x 3 pixels that are even, as far as they are next to each other or have words between them."""
    few = lines[:: -(-len(lines) // FEW)] @ _LUMA
    maybe = np.flatnonzero((np.abs(few - np.median(few, axis=0)) <= EVEN).mean(0) >= MOST - 0.1)
    bands: list[tuple[int, int]] = []
    for number in maybe.tolist():
        if _unlike(lines[:, number], _ground(lines[:, number]), EVEN) > 1 - MOST:
            continue
        if bands and _holds_words(lines, bands[-1][1], number):
            bands[-1] = bands[-1][0], number + 1
        else:
            bands.append((number, number + 1))
    return bands


def _holds_words(lines: _Pixels, first: int, last: int) -> bool:
    """Whether columns from the first to before the last hold nothing but words on the ground of the even ones beside them."""
    if first == last:
        return True
    before, after = (_ground(lines[:, number]) for number in (first - 1, last))
    if last - first > WIDEST * lines.shape[1] or abs(before - after) > EVEN:
        return False
    return all(_unlike(lines[:, number], before, STEP) <= WORDS for number in range(first, last))


def _ground(line: _Pixels) -> float:
    """The grey level of a line, N x 3."""
    return float(np.median(line @ _LUMA))


def _unlike(line: _Pixels, ground: float, levels: float) -> float:
    """Share of a line, N x 3, that is more levels away from the ground."""
    return float((np.abs(line @ _LUMA - ground) > levels).mean())


def _is_gutter(lines: _Pixels, first: int, last: int) -> bool:
    """Whether a band of even columns ends straight on both sides, with something else beyond each."""
    ground, beyond = _ground(lines[:, first]), []
    for at, step in ((first - 1, -1), (last, 1)):
        near, far = (lines[:, at + step * (away - 1)] for away in (NEAR, FAR))
        unlike = _unlike(near, ground, STEP)
        if unlike < max(UNLIKE, SOON * _unlike(far, ground, STEP)):
            return False
        beyond.append(near @ _LUMA)
    # Not where other gutters and a frame cross it.
    shown = np.min([np.abs(one - ground) for one in beyond], axis=0) > STEP
    before, after = (np.where(shown[1:] & shown[:-1], np.diff(one), 0) for one in beyond)
    return float(before @ after) <= ALIKE * float(np.sqrt((before @ before) * (after @ after)))
