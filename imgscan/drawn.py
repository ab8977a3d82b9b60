"""Drawn: how far a picture looks drawn or typeset by a program (a screenshot, a page of text, a chart) and not photographed.

Nothing in such a picture has noise, so to networks that compare traces every icon is foreign.  Two things tell it as a program
stores it:

    D   A program paints with few colours: what it draws stands on one of them, everywhere.  Of the cells of 16 x 16 pixels that are
        not plain, and FEW more, those that stand out and to a quarter have one of the picture's four commonest colours.  Plain
        cells do not count: skies and white backdrops have a single colour, also in photographs.
    U   Beside what it draws the ground is even to the pixel.  Of the edges along rows and columns, and SCANT more, those with two
        pixels within a grey level and a half on one side or the other, which are neither black nor white: where a photograph is
        clipped, it is even too.

The exact colours are gone once it is scaled or saved as JPEG.  What is left then is looked for in whole cells:

    R   What stands out in a cell stands on one ground, of the cell's lighter or darker half that has more pixels.  Of the pixels
        of the cells that stand out, those within NEAR of their contrast from it.
    T   Where nothing is, nothing is in many places, in few colours.  Of the plain cells those that are flat and of one of the four
        commonest colours of flat cells; of white and of dark ones a tenth, for so are backdrops and nights.  A is T with these
        counted in full.

    drawn = max(sqrt(D U) min(1, 1/2 + A), GAIN R^2 sqrt(T)), and 1 where it has FEWEST colours or less, and not only near ones, as
    a page scanned in black and white

GAIN makes one bound of two.  Where next to nothing is flat (A) the first measure counts half: words written on a photograph are on
few colours and even, too.

A frame of one colour around the picture, bars above and below it or white paper do not count.  Of a part of a picture that is there
twice evenness() tells it too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from imgscan.frame import plain_lines
from imgscan.records import Part

FEWEST = 16  # colours; no photograph has so few
DRAWN = 0.2  # see train/README.md
"""drawn() from which on a picture is taken for drawn."""
BLURRED = 8  # pixels beside a frame that saving mixed with it: a block
CELL = 16  # pixels a side
STANDS_OUT, PLAIN = 64, 16  # levels between the lightest and the darkest pixel of a cell
COLOURS, ALIKE = 4, 2  # commonest ones, and levels that saving takes them apart
SHARE = 0.25  # of a cell
MOST_CELLS = 2_000  # of a large picture, evenly spread
MOST_PIXELS = 65_536  # of these, that the commonest colours are counted in
NEAR = 0.04  # of the contrast of a cell
GAIN = 1.2
FLAT = 2  # grey levels between the lightest and the darkest pixel of a cell
DARK = 20  # grey level: darker cells of photographs may well be flat
CLIPPED = 0.1  # what a dark cell counts, and a white one
MOST_LINES = 400  # rows and columns that edges are looked for in, evenly spread
STEP = 48  # grey levels over two pixels, of an edge
GROUND = 1.5  # grey levels between pixels of an even ground
BLACK, WHITE = 8, 247  # up to and from where on a photograph is clipped
FEW, SCANT = 32, 300  # cells and edges, so that few do not tell
SOME = 8  # cells, of those that stand out or are plain
BESIDE = 3  # pixels around a part that tell of it
SAME, WEAK = 0.5, 4.0  # grey levels between neighbouring pixels: none, and what noise makes of none
RARE = 0.05  # share of all neighbours, so that few weak steps do not tell

LEVEL = 1000  # a grey level, in what luma is counted in: whole numbers, which every processor adds up to the same
_LUMA = np.array([299, 587, 114], np.float32)
_Grey = npt.NDArray[np.float32]  # luma, 0..255 LEVEL


def drawn(rgb: npt.NDArray[np.uint8]) -> float:
    """How far a picture, H x W x 3 uint8, looks drawn: about 0 of a photograph, 0.2 to 0.7 of screenshots, up to 1."""
    if _few_colours(rgb):
        return 1.0
    rgb = _framed(rgb)
    cells = _cells(rgb)
    contrast = np.ptp(cells @ _LUMA, axis=1)
    common = _common(cells, contrast)
    exact = math.sqrt(common * _even(rgb)) if common else 0.0
    flat, counted = _in_few_colours(cells, contrast)
    return max(exact * min(1.0, 0.5 + flat), GAIN * _on_ground(cells, contrast) ** 2 * math.sqrt(counted))


def _few_colours(rgb: npt.NDArray[np.uint8]) -> bool:
    """Whether a picture has FEWEST colours or less, and not only near ones, as a photograph taken in the dark has."""
    some = rgb[::8, ::8]
    if Image.fromarray(some).getcolors(FEWEST) is None or Image.fromarray(rgb).getcolors(FEWEST) is None:
        return False
    return int(rgb.max()) - int(rgb.min()) > STANDS_OUT


def _framed(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The part of a picture within a frame of one colour a side; all of it where there is no other."""
    for _ in range(2):  # columns, then rows
        rgb = rgb.swapaxes(0, 1)
        top, bottom = plain_lines(rgb), plain_lines(rgb[::-1])
        kept = rgb[top + BLURRED if top else 0 : max(0, len(rgb) - (bottom + BLURRED if bottom else 0))]
        rgb = kept if len(kept) >= CELL else rgb
    return rgb


def _common(cells: npt.NDArray[np.int16], contrast: _Grey) -> float:
    """D, 0..1."""
    outstanding = cells[contrast > STANDS_OUT * LEVEL]
    if not len(outstanding):
        return 0.0
    common = np.zeros(outstanding.shape[:2], bool)
    for colour in _commonest(cells.reshape(-1, 3)):
        common |= (np.abs(outstanding - colour) <= ALIKE).all(-1)
    return float((common.mean(1) >= SHARE).sum() / ((contrast > PLAIN * LEVEL).sum() + FEW))


def _cells(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """N x 256 x 3: at most about MOST_CELLS whole cells, those of every so many rows and columns of them."""
    rows, columns = rgb.shape[0] // CELL, rgb.shape[1] // CELL
    cells = rgb[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2)
    every = math.ceil(math.sqrt(max(1.0, rows * columns / MOST_CELLS)))
    return cells[::every, ::every].reshape(-1, CELL * CELL, 3).astype(np.int16)


def _commonest(pixels: npt.NDArray[np.int16]) -> list[npt.NDArray[np.int16]]:
    """The commonest colours of N x 3 pixels, each unlike those before it."""
    some = pixels[:: math.ceil(len(pixels) / MOST_PIXELS)].astype(np.int32)
    numbers, counts = np.unique(some @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    colours = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], 1).astype(np.int16)
    found: list[npt.NDArray[np.int16]] = []
    while len(found) < COLOURS and counts.any():
        found.append(colours[counts.argmax()])
        counts[(np.abs(colours - found[-1]) <= ALIKE).all(1)] = 0
    return found


def _on_ground(cells: npt.NDArray[np.int16], contrast: _Grey) -> float:
    """R, 0..1."""
    luma = np.sort(cells[contrast > STANDS_OUT * LEVEL] @ _LUMA, axis=1)
    if not len(luma):
        return 0.0
    darkest, lightest = luma[:, :1], luma[:, -1:]
    dark = (luma <= (darkest + lightest) / 2).sum(1, keepdims=True)
    pixels = luma.shape[1]
    middle = np.where(2 * dark >= pixels, dark // 2, (dark + pixels) // 2)  # of the half with more pixels
    near = np.abs(luma - np.take_along_axis(luma, middle, 1)) < NEAR * (lightest - darkest)
    return float(near.mean(1).sum() / (len(luma) + SOME))


def _in_few_colours(cells: npt.NDArray[np.int16], contrast: _Grey) -> tuple[float, float]:
    """A and T, 0..1."""
    flat = cells[contrast <= FLAT * LEVEL].mean(1).round().astype(np.int16)
    if not len(flat):
        return 0.0, 0.0
    common = np.zeros(len(flat), bool)
    for colour in _commonest(flat):
        common |= (np.abs(flat - colour) <= ALIKE).all(-1)
    clipped = (flat.min(1) > WHITE) | (flat.max(1) < DARK)
    plain = (contrast <= PLAIN * LEVEL).sum() + SOME
    return float(common.sum() / plain), float((np.where(clipped, CLIPPED, 1.0) * common).sum() / plain)


def _even(rgb: npt.NDArray[np.uint8]) -> float:
    """U, 0..1."""
    every = [math.ceil(side / MOST_LINES) for side in rgb.shape[:2]]
    beside = [_edges(rgb[:: every[0]] @ _LUMA), _edges(np.ascontiguousarray(rgb[:, :: every[1]].swapaxes(0, 1)) @ _LUMA)]
    return sum(even for even, _ in beside) / (sum(edges for _, edges in beside) + SCANT)


def _edges(luma: _Grey) -> tuple[int, int]:
    """How many edges lie along the rows of a plane, H x W, that have an even ground on a side; and how many edges do."""
    near, far = luma[:, 3:-5], luma[:, 5:-3]  # one pixel between them may be neither
    step = np.abs(far - near)
    edge = (step > STEP * LEVEL) & (step >= np.abs(luma[:, 4:-4] - luma[:, 2:-6])) & (step >= np.abs(luma[:, 6:-2] - luma[:, 4:-4]))
    ground = _is_ground(near, luma[:, 2:-6], luma[:, 1:-7]) | _is_ground(far, luma[:, 6:-2], luma[:, 7:-1])
    return int((edge & ground).sum()), int(edge.sum())


def _is_ground(beside: _Grey, *farther: _Grey) -> npt.NDArray[np.bool_]:
    """Where the pixels beside an edge, and those farther from it, are even and not clipped."""
    even = (beside > BLACK * LEVEL) & (beside < WHITE * LEVEL)
    for pixel in farther:
        even &= np.abs(pixel - beside) <= GROUND * LEVEL
    return even


def evenness(rgb: npt.NDArray[np.uint8], part: Part) -> float:
    """Of the weak steps between neighbouring pixels in and beside a part of a picture, the share that are none, 0..1.

    Noise makes them weak, and a program leaves none: 0.1 to 0.4 in copied parts of photographs, 0.4 to 1 about letters and icons.

    Args:
        rgb: H x W x 3 uint8.
        part: of it.
    """
    margin = [(min(BESIDE, side.start), min(BESIDE, length - side.stop)) for side, length in zip(part.box, rgb.shape, strict=False)]
    wide = tuple(slice(side.start - before, side.stop + after) for side, (before, after) in zip(part.box, margin, strict=True))
    luma = rgb[wide] @ _LUMA
    seen = ndimage.binary_dilation(np.pad(part.inside, margin), iterations=BESIDE)
    steps = np.concatenate([np.abs(np.diff(luma, axis=axis))[_both(seen, axis)] for axis in (0, 1)])
    if not len(steps):
        return 0.0
    return float((steps < SAME * LEVEL).mean() / ((steps < WEAK * LEVEL).mean() + RARE))


def _both(seen: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Which neighbours along an axis are both seen."""
    here, there = (np.take(seen, range(first, seen.shape[axis] - 1 + first), axis) for first in (0, 1))
    return np.asarray(here & there)
