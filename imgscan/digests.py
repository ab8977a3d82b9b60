"""SHA-256: of facts that decide a result, equal where the facts are, on every machine, and of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


def digest_of(facts: Mapping[str, Any] | Sequence[Any]) -> str:
    """64 hexadecimal digits; the order of keys does not matter, that of lists does."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_or_none(path: Path) -> str | None:
    """The same; None: it cannot be read."""
    with suppress(OSError, ValueError):  # a name with a NUL byte
        return file_sha256(path)
    return None


def content_of(path: Path, sha256: str | None) -> bytes | None:
    """What a file holds; None: it cannot be read, or is not the one of this hash (None: of any)."""
    try:
        if not path.is_file():  # a pipe would wait for a writer for ever
            return None
        content = path.read_bytes()
    except (OSError, ValueError):  # a name with a NUL byte
        return None
    return content if sha256 in (None, hashlib.sha256(content).hexdigest()) else None
