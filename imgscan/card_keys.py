"""What may stand in the file of a weights card or of a combination's card, and of what type it is.

A key that nobody reads is an error: `comercial = false` would forbid nothing, `[localise]` decide nothing.  Free are only the
tables that tell of the past: [training], [recipe], [[results]] and [source].  What stands in [input], [clustering], [localize],
[fuse] and [backbone] is held against their records where these are made (typed.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from imgscan.errors import WeightsError, unknown
from imgscan.typed import misfit

COMPATS = ("official",)  # whose released code can be followed: names of [compat]
INITIAL = "init"  # `use` of a card whose weights only start trainings
Table = dict[str, Any]

REQUIRED: dict[str, Any] = {
    **dict.fromkeys(("name", "tag", "network", "file", "sha256", "licence"), str),
    "backbone": Table,
}
_DECIDES = dict.fromkeys(("clustering", "localize", "fuse"), Table)
_MEASURED = dict.fromkeys(("operating_points", "results"), list[Table])
OPTIONAL: dict[str, Any] = {
    "size": str,
    "use": Literal["scan", "init"],
    **dict.fromkeys(("commercial", "default", "bf16"), bool),
    "accepted": Any,  # when, as `imgscan models import` writes it
    "bytes": int,
    **dict.fromkeys(("input", "training", "source"), Table),
    **_DECIDES,
    **_MEASURED,
    "features": dict[str, int],
    "recipe": dict[str, Table],
    "compat": dict[str, dict[str, Table]],
}
# Of a combination's card; all else it has from its networks.
COMBINATION: dict[str, Any] = {
    **dict.fromkeys(("name", "tag"), str),
    **dict.fromkeys(("fuses", "finders"), list[str]),
    "weights": dict[str, str],
    **_DECIDES,
    **_MEASURED,
}
_FEATURES = ("dim", "stride")
_RELEASED = ("input", *_DECIDES)  # what [compat.NAME] puts in place of imgscan's own
# Of the whole card; below the header of a free table, where they get by being written at the end of the file, nobody reads them.
_ABOVE = ("commercial", "accepted", "default", "bf16")


def check_card(data: Table, path: Path) -> None:
    """WeightsError for the first thing of a card that is missing, of another type, or unknown (with the near miss)."""
    strange = [key for key in data if key not in REQUIRED and key not in OPTIONAL]
    if missing := [key for key in REQUIRED if key not in data]:
        near = get_close_matches(missing[0], strange, n=1)
        raise _problem(path, f"lacks {', '.join(missing)}" + (f"; is {near[0]} meant to be {missing[0]}?" if near else ""))
    check_types(data, REQUIRED | OPTIONAL, path)
    _check_keys("key or table", data, (*REQUIRED, *OPTIONAL), path)
    _check_keys("key in [features]", data.get("features", {}), _FEATURES, path)
    _check_keys("table in [compat]", data.get("compat", {}), COMPATS, path)
    for name, tables in data.get("compat", {}).items():
        _check_keys(f"table in [compat.{name}]", tables, _RELEASED, path)
    free = {"training": data.get("training", {})}
    free |= {f"recipe.{name}": table for name, table in data.get("recipe", {}).items()}
    for name, table in (*free.items(), *(("results", table) for table in data.get("results", ()))):
        if misplaced := next((key for key in _ABOVE if key in table), None):
            raise _problem(path, f"{misplaced} stands in [{name}], where nobody reads it; wanted it above the first table")


def check_combination(data: Table, path: Path) -> None:
    """WeightsError for the first key of a combination's card that is unknown (with the near miss)."""
    _check_keys("key or table", data, COMBINATION, path)


def check_types(data: Table, known: dict[str, Any], path: Path) -> None:
    """WeightsError for the first value that is of another type than declared."""
    for key, wanted in known.items():
        if key in data and (problem := misfit(key, data[key], wanted)):
            raise _problem(path, problem)


def _check_keys(what: str, table: Table, known: Iterable[str], path: Path) -> None:
    for key in table:
        if key not in known:
            raise _problem(path, unknown(what, key, known))


def _problem(path: Path, text: str) -> WeightsError:
    return WeightsError(f"weights card {path}: {text}")
