"""Check: whether a line of a record is what schema.py says, in the part of JSON Schema that is used there.

A record may have been edited, cut, or written by another program, and the reports rely on what the schema promises.  What other
words of JSON Schema say (description, format) is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TYPES: dict[type, tuple[str, ...]] = {  # of what json.loads answers
    dict: ("object",),
    list: ("array",),
    str: ("string",),
    int: ("integer", "number"),
    float: ("number",),  # and an integer, if it is a whole number
    bool: ("boolean",),
    type(None): ("null",),
}
_LONGEST = 40  # characters of a value in a complaint


def complaint(value: object, schema: Mapping[str, Any], at: str = "it") -> str:
    """What of a value is not of a schema, as one line; "": nothing.

    Args:
        value: what json.loads answers.
        schema: of schema.py.
        at: what the value is called in the line.
    """
    if not _fits(value, schema):
        shown = repr(value)
        return f"{at} is {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'}; wanted {_wanted(schema)}"
    if isinstance(value, dict):
        return _of_object(value, schema, "" if at == "it" else f"{at}.")
    if isinstance(value, list) and "items" in schema:
        return next((said for number, one in enumerate(value) if (said := complaint(one, schema["items"], f"{at}[{number}]"))), "")
    return ""


def _of_object(value: Mapping[str, object], schema: Mapping[str, Any], prefix: str) -> str:
    lacking = [name for name in schema.get("required", ()) if name not in value]
    if lacking:
        return f"lacks {', '.join(prefix + name for name in lacking)}"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, one in value.items():
        own = known.get(name, others)
        plain = not isinstance(one, dict | list) and _fits(one, own)  # nearly all: a record may have a hundred thousand lines
        if not plain and (said := complaint(one, own, prefix + name)):
            return said
    return ""


def _fits(value: object, schema: Mapping[str, Any]) -> bool:
    """All that a schema says of a value itself, and not of what it holds."""
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        return False
    if "type" not in schema:
        return True
    kinds = _TYPES[int if isinstance(value, float) and value.is_integer() else type(value)]
    named = schema["type"]
    if named not in kinds if isinstance(named, str) else not any(name in kinds for name in named):
        return False
    if isinstance(value, str):
        return "pattern" not in schema or re.search(schema["pattern"], value) is not None
    if isinstance(value, list):
        return bool(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)))
    if "number" in kinds:
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _wanted(schema: Mapping[str, Any]) -> str:
    """In words."""
    if "const" in schema or "enum" in schema:
        return " or ".join(map(str, schema.get("enum", [schema.get("const")])))
    words = schema["type"] if isinstance(schema["type"], str) else " or ".join(schema["type"])
    words += f" of at least {schema['minItems']}" if "minItems" in schema else ""
    if "minimum" in schema:
        words += f" from {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else f" from {schema['minimum']}"
    return words + (f" like {schema['pattern']}" if "pattern" in schema else "")
