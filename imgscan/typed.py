"""Tables of a weights card or a recipe, each value of the type that is declared for it.  No torch here."""

from __future__ import annotations

import sys
from dataclasses import fields
from reprlib import repr as short
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from imgscan.errors import InputError, WeightsError, unknown

Section = TypeVar("Section")

_LARGEST = sys.float_info.max
_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    tuple: "a list",
}


def settings(name: str, kind: type[Section], table: dict[str, Any], origin: str) -> Section:
    """A table as a settings record.

    Args:
        name: of the table, as it stands in the error.
        kind: a dataclass, whose fields have types that `misfit` knows.
        table: as tomllib reads it.
        origin: named in the error, a file or a model.

    Raises:
        WeightsError: a key that the record does not have (with the near miss), or a value that it does not take.
    """
    hints = get_type_hints(kind)
    known = {one.name: hints[one.name] for one in fields(kind)}  # type: ignore[arg-type]
    for key, value in table.items():
        if key not in known:
            raise WeightsError(f"{origin}: {unknown(f'key in [{name}]', key, known)}")
        if problem := misfit(f"{key} in [{name}]", value, known[key]):
            raise WeightsError(f"{origin}: {problem}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
    except TypeError as error:
        raise WeightsError(f"{origin}: [{name}] is incomplete: {error}") from error
    except InputError as error:
        raise WeightsError(f"{origin}: [{name}]: {error}") from error


def misfit(what: str, value: Any, wanted: Any) -> str:
    """The line for a value that is not of its type; empty for one that is.

    Args:
        what: the value's name in the line: "side in [input]".
        value: as tomllib reads it.
        wanted: str, int, bool, float (takes whole numbers too), Any, a Literal of texts, one of them or None; list[...],
            tuple[..., ...] (or a list) and dict[str, ...] of such.
    """
    if get_origin(wanted) in (Union, UnionType):  # of a Literal and None it is the former
        wanted = next(one for one in get_args(wanted) if one is not type(None))  # TOML has no None
    if get_origin(wanted) is Literal:
        words = get_args(wanted)
        if isinstance(value, str):
            return "" if value in words else unknown(what, value, words)
        return f"{what} is {short(value)}; wanted one of {', '.join(words)}"
    kind, inner = get_origin(wanted) or wanted, get_args(wanted)
    if kind is Any:
        return ""
    if not _is(value, kind):
        return f"{what} is {short(value)}; wanted {_WORDS[kind]}"
    if kind is dict:
        return next(filter(None, (misfit(f"{key} of {what}", one, inner[1]) for key, one in value.items())), "")
    if kind in (list, tuple):
        return next(filter(None, (misfit(f"entry {n} of {what}", one, inner[0]) for n, one in enumerate(value, 1))), "")
    return ""


def within(record: Any, low: float, high: float | None, *names: str) -> None:
    """InputError for the first of a record's fields that is below `low` or, where there is a `high`, above it; None is neither."""
    for name in names:
        value = getattr(record, name)
        if value is not None and (value < low or (high is not None and value > high)):
            wanted = f"at least {low}" if high is None else f"from {low} to {high}"
            raise InputError(f"{name} is {value}; wanted {wanted}")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST  # a whole number of TOML may be larger
    if kind is tuple:
        return type(value) in (list, tuple)
    return type(value) is kind  # no subclass: true is no whole number
