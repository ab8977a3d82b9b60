"""Match: which of many fingerprints are near each other, whichever way round their pictures are.

The search is exact: every pair whose first words differ in NEAR_FIRST bits at most, and all words in NEAR, is found, up to MOST
of the nearest for each picture.  It takes N^2 steps, of which the first, one word in place of four times four, is nearly all the
work.  Both limits were measured (man/alike.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from imgscan.alike.fingerprint import Words, transposed
from imgscan.cores import cores

NEAR = 72  # bits of 255: what is farther is another photograph, or was changed too much
NEAR_FIRST = 18  # of the 63 of the first word, which mirrored pictures share
MOST = 8  # partners that are followed up for each picture
ROWS = 64  # fingerprints that a thread takes at once ...
AT_ONCE = 1 << 18  # ... and pairs of them that are held against each other in all words


@dataclass(frozen=True)
class View:
    """How a picture has to be turned to look like another one."""

    mirrored: bool = False  # left for right, first
    turned: int = 0  # degrees clockwise: 0, 90, 180 or 270

    @property
    def inverse(self) -> View:
        """How the other picture has to be turned to look like this one."""
        return self if self.mirrored else View(turned=-self.turned % 360)


@dataclass(frozen=True)
class Match:
    """Two fingerprints that are near each other."""

    one: int  # number of the first
    other: int  # of the second, higher
    distance: int  # bits that differ, of 255
    view: View  # of the second, to look like the first


# By rows for columns, then upside down, then left for right; the last two as _distances has them.
_VIEWS = {
    (False, 0): View(),
    (False, 1): View(mirrored=True),
    (False, 2): View(mirrored=True, turned=180),
    (False, 3): View(turned=180),
    (True, 0): View(mirrored=True, turned=270),
    (True, 1): View(turned=90),
    (True, 2): View(turned=270),
    (True, 3): View(mirrored=True, turned=90),
}


def match(words: Words, first: int | None = None) -> list[Match]:
    """The pairs of fingerprints that are near each other, the nearest pair first.

    Args:
        words: N x 4, from words_of.
        first: pairs need one of the first so many; None: all.
    """
    count = len(words) if first is None else first
    faces = [
        _Face(swapped, face, np.ascontiguousarray(face[:, 0])) for swapped, face in ((False, words), (True, transposed(words)))
    ]
    blocks = [range(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]
    with ThreadPoolExecutor(cores()) as threads:  # numpy lets others go on meanwhile
        found = [pair for block in threads.map(partial(_of_rows, faces), blocks) for pair in block]
    return sorted(found, key=lambda pair: (pair.distance, pair.one, pair.other))


@dataclass(frozen=True)
class _Face:
    """The fingerprints as they are, or of the pictures with rows for columns."""

    swapped: bool
    words: Words
    firsts: npt.NDArray[np.uint64]  # N: the first word of each, side by side in memory


def _of_rows(faces: Sequence[_Face], rows: range) -> list[Match]:
    """The matches of some fingerprints with all that come later."""
    found = [pair for face in faces for pair in _of_face(faces[0].words, face, rows)]
    found.sort(key=lambda pair: (pair.distance, pair.other))
    best: dict[tuple[int, int], Match] = {}  # of several views of a picture the nearest
    for pair in found:
        best.setdefault((pair.one, pair.other), pair)
    left = Counter[int]()
    kept = []
    for pair in best.values():
        left[pair.one] += 1
        if left[pair.one] <= MOST:
            kept.append(pair)
    return kept


def _of_face(words: Words, face: _Face, rows: range) -> Iterator[Match]:
    """The same, seen one way."""
    later = [np.flatnonzero(np.bitwise_count(words[row, 0] ^ face.firsts[row + 1 :]) <= NEAR_FIRST) + row + 1 for row in rows]
    ones, others = np.repeat(np.array(rows), [len(one) for one in later]), np.concatenate(later)
    for start in range(0, len(ones), AT_ONCE):
        one, other = ones[start : start + AT_ONCE], others[start : start + AT_ONCE]
        distances = _distances(words[one], face.words[other])
        near = np.flatnonzero(distances.min(0) <= NEAR)
        views = distances[:, near].argmin(0)
        for number, view in zip(near.tolist(), views.tolist(), strict=True):
            yield Match(int(one[number]), int(other[number]), int(distances[view, number]), _VIEWS[face.swapped, view])


def _distances(ones: Words, others: Words) -> npt.NDArray[np.int64]:
    """4 x M: bits of M pairs that differ as they are, with left for right, upside down, and both."""
    same, across, down, both = np.bitwise_count(ones ^ others).astype(np.int64).T
    return np.stack(
        [
            same + across + down + both,
            same + (64 - across) + down + (64 - both),
            same + across + (64 - down) + (64 - both),
            same + (64 - across) + (64 - down) + both,
        ]
    )


def seen(pixels: npt.NDArray[np.float32], view: View) -> npt.NDArray[np.float32]:
    """A picture, H x W, turned as a view says."""
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if view.mirrored else pixels, -view.turned // 90))
