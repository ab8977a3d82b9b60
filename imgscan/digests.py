"""Names for what decides a result: the SHA-256 of facts, equal where the facts are, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def digest_of(facts: Mapping[str, Any] | Sequence[Any]) -> str:
    """64 hexadecimal digits; the order of keys does not matter, that of lists does."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
