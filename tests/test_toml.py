"""What is written is what the standard library reads."""

import tomllib

import pytest

from imgscan.packaged import packaged
from imgscan.toml import to_toml


@pytest.mark.parametrize(
    "table",
    [
        {"a": 1, "b": [1, 2.5], "c": {"d": True, "e": {"f": "g"}}, "h": 2.0},
        {"points": [{"x": 1}, {"x": 2, "inner": {"y": [3]}}], "after": {"z": "last"}},
        {"outer": {"points": [{"x": 1}], "more": {"deep": [{"a": 1}, {"a": 2}]}}},
        {"odd key": 'quotes " and \\ and \x7f and \U0001f600', "": {"empty": []}},
        {"empty": {}, "full": {"inside": {}}},
        {"only": {"tables": {"inside": {"value": 1}}}},
    ],
)
def test_it_comes_back(table: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(table)) == table


def test_every_card_that_ships_comes_back() -> None:
    folder = packaged("weights")
    assert folder is not None
    for path in folder.glob("*.toml"):
        table = tomllib.loads(path.read_text("utf-8"))
        assert tomllib.loads(to_toml(table)) == table
