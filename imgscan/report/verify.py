"""Verify: whether what a record speaks of is still what it speaks of.

Whoever hands on a report has to be able to show that the pictures are those that were scanned and the masks those that the scan
drew.  The record has the SHA-256 of all of them.  Nobody signs the record itself: whoever could alter it could alter its hashes, so
its own SHA-256 is to be kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgscan.digests import file_sha256
from imgscan.find import FROM_STDIN
from imgscan.report.record import Record

State = Literal["same", "altered", "gone"]


@dataclass(frozen=True)
class Checked:
    """One file, or the record itself, against the record."""

    kind: Literal["picture", "mask", "overlay", "record"]
    path: str  # "" of the record
    state: State
    why: str = ""  # of what is gone, or of a record that contradicts itself


def verify(record: Record) -> Iterator[Checked]:
    """Every file that the record has a hash of, in its order, then the record.

    Pictures are looked up as they were named, from the working directory; masks and overlays beside the record.  Pictures that were
    skipped have no hash and are left out.
    """
    for line in record.results:
        if "sha256" not in line:
            continue
        if line["path"] != FROM_STDIN:
            yield _checked("picture", Path(line["path"]), line["sha256"])
        for kind in ("mask", "overlay"):
            digest = line.get(f"{kind}_sha256")
            if digest is not None and record.folder is not None:
                yield _checked(kind, record.folder / line[kind], digest)
    yield from _of_itself(record)


def _checked(kind: Literal["picture", "mask", "overlay"], path: Path, digest: str) -> Checked:
    try:
        return Checked(kind, str(path), "same" if file_sha256(path) == digest else "altered")
    except (OSError, ValueError) as error:  # a name that no file can have raises ValueError
        return Checked(kind, str(path), "gone", getattr(error, "strerror", None) or str(error))


def _of_itself(record: Record) -> Iterator[Checked]:
    """Whether the lines add up to the summary, as they no longer do where somebody took one out or in."""
    if record.summary is None:
        return
    counts = {
        "pictures": len(record.results),
        "flagged": record.flagged,
        "withheld": len(record.withheld),
        "skipped": len(record.skipped),
    }
    wrong = [
        f"{found} {name}, {said} by its summary" for name, found in counts.items() if (said := record.summary.get(name)) != found
    ]
    if wrong:
        yield Checked("record", "", "altered", "; ".join(wrong))
