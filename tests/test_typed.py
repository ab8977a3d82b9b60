"""Tables as records: what a value is told that its field does not take."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from imgscan.errors import InputError, WeightsError
from imgscan.typed import misfit, settings


@dataclass(frozen=True)
class Shelf:
    wood: Literal["oak", "pine"]
    boards: int = 3
    height: float = 1.5
    painted: bool = False
    screws: tuple[int, ...] = ()
    owner: str | None = None

    def __post_init__(self) -> None:
        if self.boards < 1:
            raise InputError(f"boards is {self.boards}; wanted at least 1")


def read(**table: Any) -> Shelf:
    return settings("shelf", Shelf, table, "home.toml")


def test_what_fits_is_taken_as_it_stands() -> None:
    shelf = read(wood="oak", height=2, screws=[1, 2], owner="me")
    assert shelf == Shelf("oak", 3, 2, False, (1, 2), "me")
    assert read(wood="oak", screws=(1, 2)).screws == (1, 2)
    assert type(shelf.height) is int  # a record of a run shows what the card says


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"wood": "pin"}, "unknown wood in [shelf] 'pin'; did you mean pine? known: oak, pine"),
        ({"wood": 3}, "wood in [shelf] is 3; wanted one of oak, pine"),
        ({"boards": "3"}, "boards in [shelf] is '3'; wanted a whole number"),
        ({"boards": True}, "boards in [shelf] is True; wanted a whole number"),
        ({"boards": 2.0}, "boards in [shelf] is 2.0; wanted a whole number"),
        ({"boards": 0}, "[shelf]: boards is 0; wanted at least 1"),
        ({"height": False}, "height in [shelf] is False; wanted a finite number"),
        ({"height": float("nan")}, "height in [shelf] is nan; wanted a finite number"),
        ({"height": 10**400}, "height in [shelf] is 100000000000000000...0000000000000000000; wanted a finite number"),
        ({"painted": 0}, "painted in [shelf] is 0; wanted true or false"),
        ({"screws": 4}, "screws in [shelf] is 4; wanted a list"),
        ({"screws": [4, "5"]}, "entry 2 of screws in [shelf] is '5'; wanted a whole number"),
        ({"owner": 7}, "owner in [shelf] is 7; wanted a text"),
        ({"bords": 3}, "unknown key in [shelf] 'bords'; did you mean boards?"),
        ({}, "[shelf] is incomplete: "),
    ],
)
def test_what_does_not_fit_names_the_key_and_what_is_wanted(table: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        read(**({"wood": "oak"} | table if table else {}))
    assert str(caught.value).startswith(f"home.toml: {message}")


def test_tables_in_tables() -> None:
    wanted = dict[str, dict[str, dict[str, Any]]]
    assert misfit("compat", {"official": {"input": {"anything": object()}}}, wanted) == ""
    assert misfit("compat", {"official": {"input": 3}}, wanted) == "input of official of compat is 3; wanted a table"
    assert misfit("points", [{}, 3], list[dict[str, Any]]) == "entry 2 of points is 3; wanted a table"
