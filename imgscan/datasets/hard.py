"""Hard negatives: photographs whose untouched windows a model takes for forged, shown to it more often when it is trained on.

What stands out raises alarms again and again: the same few photographs, at every scale and quality.  Found with the model that is
to become better, listed in a file, and named by a recipe (`data.hard`), they make up half of the untouched training pictures (Sung
and Poggio, "Example-based learning for view-based human face detection", TPAMI 1998: bootstrapping; Felzenszwalb et al., "Object
detection with discriminatively trained part-based models", TPAMI 2010: data mining of hard negatives).
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import numpy as np
from PIL import Image

from imgscan.datasets.entries import read_rgb
from imgscan.datasets.families import Families
from imgscan.datasets.synth import draw_untouched
from imgscan.errors import InputError, OutputError
from imgscan.printable import of_cell
from imgscan.store import write_rows

_COLUMNS = ["photo", "score"]


class Judged:
    """What `imgscan data hard` has judged: the windows' scores, a JSON line per photograph, appended as soon as they are known.

    A photograph is known again by its file's name, size and time of change.

    Args:
        path: of the file; a last line that was cut off by a kill is dropped.
        key: of all else that decides the scores, see `digest_of`; lines of another stay and count for nothing.

    Raises:
        OutputError: the file cannot be read or written.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self._scores: dict[tuple[str, int, int], list[float]] = {}
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                with path.open("r+b") as file:
                    file.truncate(len(whole))
        except OSError as error:
            raise OutputError(f"{path}: cannot be used: {error.strerror or error}") from error
        for line in whole.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # not one of ours
                row = json.loads(line)
                if row["key"] == key:
                    name, size, changed = row["photo"]
                    self._scores[name, size, changed] = [float(score) for score in row["scores"]]

    def mean(self, photo: Path) -> float | None:
        """The mean score of a photograph's windows, 0..1; None: it is not known."""
        scores = self._scores.get(_facts(photo))
        return sum(scores) / len(scores) if scores else None

    def add(self, photo: Path, scores: Sequence[float]) -> None:
        """Remember the scores of all windows of a photograph."""
        facts = _facts(photo)
        self._scores[facts] = list(scores)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": self.key, "photo": facts, "scores": list(scores)}) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _facts(photo: Path) -> tuple[str, int, int]:
    """A file's name, size in bytes and time of change in nanoseconds; of one that is gone the name alone."""
    with suppress(OSError):
        about = photo.stat()
        return photo.name, about.st_size, about.st_mtime_ns
    return photo.name, -1, -1


def write_windows(photo: Path, count: int, side: int, families: Families, seed: int, folder: Path, stem: str) -> None:
    """Write untouched windows of a photograph as training shows them, STEM.0.png and so on; InputError where it is broken.

    Its windows depend on its file's name and the seed, not on the other photographs.
    """
    rgb = read_rgb(photo)
    name = int(hashlib.sha256(photo.name.encode(errors="replace")).hexdigest()[:15], 16)
    for number in range(count):
        rng = np.random.default_rng((seed, name, number))
        Image.fromarray(draw_untouched(lambda: rgb, side, rng, families)).save(folder / f"{stem}.{number}.png", compress_level=1)


def hardest(scored: Sequence[tuple[Path, float]], share: float) -> list[tuple[Path, float]]:
    """That share of the photographs, rounded up, with the highest scores, the highest first."""
    return sorted(scored, key=lambda one: (-one[1], str(one[0])))[: math.ceil(share * len(scored))]


def write_hard(path: Path, scored: Sequence[tuple[Path, float]]) -> None:
    """Write photographs with their scores; OutputError when that cannot be done."""
    write_rows(path, _COLUMNS, ((photo, f"{score:.4f}") for photo, score in scored))


def read_hard(path: Path, photos: Sequence[Path]) -> list[Path]:
    """The photographs to train on that a list names, by the names of the files, for folders move between machines.

    Of several of one name (cameras count from 1 in every folder) those are meant that have most of the folders around them in
    common with the one that is listed.

    Raises:
        InputError: no such list, another file, or none of its photographs is trained on.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
            table = csv.reader(file)
            if next(table, None) != _COLUMNS:
                raise InputError(f"data.hard: {path} is no list of hard photographs; wanted one that imgscan data hard wrote")
            listed = [Path(of_cell(row[0])) for row in table if row]
    except (OSError, csv.Error) as error:
        raise InputError(f"data.hard: {path}: {getattr(error, 'strerror', None) or error}") from error
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for photo in photos:
        by_name[photo.name].append(photo)
    meant = set()
    for one in listed:
        alike = [_alike(one, photo) for photo in by_name[one.name]]
        meant |= {photo for photo, shared in zip(by_name[one.name], alike, strict=True) if shared == max(alike)}
    if not meant:
        raise InputError(f"data.hard: none of the {len(listed)} photographs in {path} is among the {len(photos)} to train on")
    return [photo for photo in photos if photo in meant]


def _alike(one: Path, other: Path) -> int:
    """How many parts at their ends two paths have in common."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
