"""Pictures that are one file, byte for byte: within a set, and in training and test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from imgscan.datasets.entries import Entry
from imgscan.digests import sha256_or_none


def identical(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of byte-identical files.  Only files of equal size are read; one that is missing or unreadable is nobody's double."""
    by_size: dict[int, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if (size := _size(path)) is not None:
            by_size.setdefault(size, []).append(path)
    groups = []
    for same in by_size.values():
        by_hash: dict[str, list[Path]] = {}
        for path in same if len(same) > 1 else []:
            if (digest := sha256_or_none(path)) is not None:
                by_hash.setdefault(digest, []).append(path)
        groups += [group for group in by_hash.values() if len(group) > 1]
    return groups


def leaked(train: Sequence[Entry], test: Sequence[Entry]) -> list[tuple[Path, Path]]:
    """Pictures of the train split that are byte-identical to one of the test split; a file that is in both is its own double.

    Returns:
        (train picture, test picture), in the order of train; each train picture once.
    """
    train_files, test_files = ({entry.image: None for entry in entries} for entries in (train, test))
    sizes = {_size(path) for path in test_files} - {None}
    close = {path: size for path in train_files if (size := _size(path)) in sizes}
    sizes = set(close.values())
    hashes: dict[str | None, Path] = {}
    for path in test_files:
        if _size(path) in sizes:
            hashes.setdefault(sha256_or_none(path), path)
    hashes.pop(None, None)
    pairs = ((path, hashes.get(sha256_or_none(path))) for path in close)
    return [(path, double) for path, double in pairs if double is not None]


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none to be seen."""
    with suppress(OSError):
        return path.stat().st_size if path.is_file() else None
    return None
