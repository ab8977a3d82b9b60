"""Writing TOML; the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any


def to_toml(table: dict[str, Any], path: str = "") -> str:
    """A nested dict of strings, numbers, booleans, lists of them and lists of tables as TOML."""
    plain = any(not isinstance(value, dict) and not _are_tables(value) for value in table.values())
    text = f"\n[{path}]\n" if path and (plain or not table) else ""
    return text + _body(table, path)


def _body(table: dict[str, Any], path: str) -> str:
    """What stands under the header of a table."""
    text = "".join(f"{_key(k)} = {_value(v)}\n" for k, v in table.items() if not isinstance(v, dict) and not _are_tables(v))
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            text += to_toml(value, name)
        elif _are_tables(value):
            text += "".join(f"\n[[{name}]]\n{_body(one, name)}" for one in value)
    return text


def _are_tables(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(one, dict) for one in value)


def _key(name: str) -> str:
    """A key as TOML wants it: bare where it may be, else quoted."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    """JSON, which TOML reads, but for characters that JSON writes as two halves (TOML refuses those) and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
