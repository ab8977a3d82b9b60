"""Resume: what an earlier scan into the same folder found is not computed again.

A result belongs to the SHA-256 of the picture and to the key of everything that decides it: weights, settings, version.  It is
taken when the files written for it are still there, known by their own SHA-256; a picture that moved takes its files along.

results.jsonl has the results of a scan that came to its end.  While one runs, every result is also appended to journal.jsonl, once
its files are on disk, and that file is never written anew before the scan is complete: however often a scan is killed, the next
goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from imgscan.decode import decode
from imgscan.digests import sha256_or_none
from imgscan.errors import InputError, OutputError
from imgscan.features_file import FeaturesFile, keeps
from imgscan.find import unfit
from imgscan.locks import lock, unlock
from imgscan.records import Line, Picture, Source
from imgscan.report.record import read_record
from imgscan.store import SUFFIXES, output_name, output_path, replacing, why_not_made

FILE = "journal.jsonl"
DECIDED = ("flagged", "reported", "known", "review")  # what every scan decides itself, or is told


class Journal:
    """The results of earlier scans into a folder, and of this one as they come; use as a context manager.

    Args:
        out: the output folder; made when it is not there.
        key: of this scan; results under another key are not taken.
        force: take no earlier result.

    Until its end no other scan writes into the folder.

    Raises:
        OutputError: the journal cannot be written, or another scan writes into the folder.
    """

    def __init__(self, out: Path, key: str, *, force: bool = False) -> None:
        self.out, self.key = out, key
        self._path = out / FILE
        self._lock: int | None = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._lock = lock(out, "scan")
            if force:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            unlock(self._lock)
            raise OutputError(f"--out {out}: cannot be written: {why_not_made(error)}") from error
        before = dict(self._read_journal())
        self._journalled = set(before)
        self._earlier = {} if force else {**dict(self._read_results()), **before}
        self._file: IO[str] | None = None

    def find(self, sources: Sequence[Source], features: FeaturesFile | None, threads: int) -> dict[int, Line]:
        """The results that are there already: number of the source -> result line.  Only then are pictures read for their hash."""
        if not self._earlier:
            return {}
        with ThreadPoolExecutor(max(1, threads)) as pool:
            digests = pool.map(_digest, sources)
            found = [self._restore(source, digest, features) for source, digest in zip(sources, digests, strict=True)]
        taken = {number: line for number, line in enumerate(found) if line is not None}
        for line in taken.values():  # results.jsonl is replaced when this scan is interrupted; the journal is not
            self.append(line)
        return taken

    def append(self, line: Line) -> None:
        """Remember a result whose files are on disk; skipped files are tried again."""
        if line["status"] == "skipped" or line["sha256"] in self._journalled:
            return
        self._journalled.add(line["sha256"])
        entry = {"key": self.key, **{name: value for name, value in line.items() if name not in DECIDED}}
        try:
            if self._file is None:
                cut = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
                self._file = self._path.open("a", encoding="utf-8")
                self._file.write("\n" if cut else "")  # a line that a kill cut off stays a line of its own
            self._file.write(json.dumps(entry, ensure_ascii=True, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The end of the scan; of a complete one results.jsonl has everything."""
        if self._file is not None:
            with suppress(OSError):  # what could not be written, which was said then, is tried once more
                self._file.close()
        if kind is None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        unlock(self._lock)
        self._lock = None

    def _restore(self, source: Source, digest: str | None, features: FeaturesFile | None) -> Line | None:
        """The earlier result of a picture, under its name of today; None: it has to be computed."""
        line = self._earlier.get(digest or "")
        if line is None or (features is not None and keeps(line) and not features.has(line)):
            return None
        names = {folder: output_name(folder, source.name) for folder in SUFFIXES}
        for folder, kind in (("masks", "mask"), ("overlays", "overlay")):
            path = output_path(self.out, folder, source.name)
            wanted = line.get(f"{kind}_sha256")
            if sha256_or_none(path) == wanted:
                continue
            there = self.out / line[kind]
            try:
                content = there.read_bytes()
            except OSError:
                return None
            if hashlib.sha256(content).hexdigest() != wanted:
                return None
            with replacing(path) as new:
                new.write_bytes(content)
        if "fingerprint" not in line:  # of a version that had none; decoding is little beside judging
            made = decode(source)
            line = {**line, "fingerprint": made.fingerprint if isinstance(made, Picture) else None}
        return {**line, "name": source.name, "path": str(source.path), "mask": names["masks"], "overlay": names["overlays"]}

    def _read_journal(self) -> Iterator[tuple[str, Line]]:
        try:
            rows = self._path.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return
        for row in rows:
            with suppress(ValueError, KeyError, TypeError, AttributeError):  # lines that kills cut off
                line = json.loads(row)
                if line.pop("key") == self.key and "overlay_sha256" in line:
                    yield line["sha256"], line

    def _read_results(self) -> Iterator[tuple[str, Line]]:
        try:
            record = read_record(self.out / "results.jsonl")
        except InputError:
            return
        if record.run.get("key") == self.key:
            for line in record.results:
                if "overlay_sha256" in line:
                    yield line["sha256"], {name: value for name, value in line.items() if name not in DECIDED}


def _digest(source: Source) -> str | None:
    if source.content is not None:
        return hashlib.sha256(source.content).hexdigest()
    with suppress(OSError):
        # A pipe can be read once, and decoding has to read it; a disk's image would take an hour, and is skipped then.
        if os.path.isfile(source.path) and not unfit(source.path):  # noqa: PTH113 - Path.is_file may raise
            return sha256_or_none(source.path)
    return None
