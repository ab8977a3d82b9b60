"""What was measured already: one JSON line per contestant, attack and picture, appended as soon as it is known.

A row is found again by its key: picture, masks, weights and settings, attack, protocol and version.  So a run that was killed goes
on where it stopped, and a further model costs only that model.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from imgscan import __version__
from imgscan.digests import digest_of
from imgscan.errors import OutputError
from imgscan.evaluation.contestants import Contestant
from imgscan.evaluation.measure import UNATTACKED, PictureScores
from imgscan.evaluation.pixel import BINS, PixelMetrics
from imgscan.evaluation.protocols import Protocol

SCHEMA = 3  # of a row; rows of another are measured again


def key_of(entry: str, number: int, attack: str, contestant: Contestant, protocol: Protocol) -> str | None:
    """The key of a row, 64 hexadecimal digits; None: it cannot be reused, for nobody knows what decides the answer.

    Args:
        entry: measure.entry_sha256 of the picture.
        number: of the picture in its set, which seeds an attack; without one it does not matter.
        attack: of ATTACKS, or none.
        contestant, protocol: as they will be used.
    """
    if not contestant.identity:
        return None
    seed = number if attack != UNATTACKED else 0
    parts = [SCHEMA, __version__, entry, seed, attack, contestant.identity, asdict(protocol)]
    return digest_of(parts)


class Ledger:
    """measured.jsonl of an output folder; use as a context manager.

    Args:
        path: of the file; a last line that was cut off by a kill is dropped.
        force: read nothing; what is measured again goes before the old rows from then on.

    Raises:
        OutputError: the file cannot be read or written.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self.rows: dict[str, PictureScores] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
            whole = b"".join(line + b"\n" for line in lines[:-1])
            for line in [] if force else lines[:-1]:
                self._read(line)
            self._file: TextIO = path.open("a", encoding="utf-8", errors="surrogateescape")
            if lines[-1]:
                self._file.truncate(len(whole))
        except OSError as error:
            raise OutputError(f"{path}: cannot be used: {error.strerror or error}") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            if row["schema"] == SCHEMA:
                self.rows[row["key"]] = from_row(row["scores"])
        except (ValueError, KeyError, TypeError, zlib.error):
            return  # not one of ours, or of an older version: measured again

    def add(self, key: str, facts: dict[str, Any], scores: PictureScores) -> None:
        """Append a row; `facts` is what a reader wants to know beside the scores (model, weights, set, attack, ...)."""
        row = {"schema": SCHEMA, "version": __version__, "key": key, **facts, "scores": to_row(scores)}
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def to_row(scores: PictureScores) -> dict[str, Any]:
    """As JSON has it; the histogram is zlib-packed little-endian uint32 in base64."""
    row = {name: value for name, value in asdict(scores).items() if name != "histogram"}
    packed = zlib.compress(scores.histogram.astype("<u4").tobytes(), 6)
    return row | {"histogram": base64.b64encode(packed).decode()}


def from_row(row: dict[str, Any]) -> PictureScores:
    """The inverse of to_row.

    Raises:
        KeyError, TypeError, ValueError, zlib.error: not such a row.
    """
    counts = np.frombuffer(zlib.decompress(base64.b64decode(row["histogram"])), "<u4").astype(np.int64).reshape(2, BINS)
    return PictureScores(**{**row, "metrics": PixelMetrics(**row["metrics"]), "histogram": counts})
