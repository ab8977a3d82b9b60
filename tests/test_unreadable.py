"""How many unreadable pictures are let through."""

from __future__ import annotations

import pytest

from imgscan.errors import InputError
from imgscan.unreadable import parse_most_unreadable


@pytest.mark.parametrize(
    ("text", "skipped", "pictures", "allowed"),
    [
        (None, 0, 0, True),
        (None, 1, 1000, False),
        ("0", 0, 5, True),
        ("0", 1, 5, False),
        ("3", 3, 3, True),
        ("3", 4, 1000, False),
        ("1%", 1, 100, True),
        ("1%", 1, 99, False),  # 1.01 % are more than 1 %
        ("1%", 2, 199, False),
        ("1%", 2, 200, True),
        ("0.1%", 7, 7000, True),  # not as floats: 7000 * 0.1 / 100 is 7.000000000000001 or 6.99...
        ("29%", 29, 100, True),  # 0.29 * 100 is 28.999999999999996
        ("0%", 1, 100, False),
        ("100%", 5, 5, True),
        ("10000000", 10_000_000, 10_000_000, True),
    ],
)
def test_a_number_or_a_share_of_all_pictures(text: str | None, skipped: int, pictures: int, allowed: bool) -> None:
    assert parse_most_unreadable(text, allow=False).allows(skipped, pictures) is allowed


@pytest.mark.parametrize(("text", "said"), [(None, "0"), ("003", "3"), ("0.50%", "0.50%")])
def test_the_record_says_what_was_allowed(text: str | None, said: str) -> None:
    assert parse_most_unreadable(text, allow=False).said == said


def test_allow_unreadable_has_no_limit() -> None:
    most = parse_most_unreadable(None, allow=True)
    assert most.said == "all"
    assert most.allows(7, 7)
    with pytest.raises(InputError, match="--max-unreadable 3: --allow-unreadable lets all of them through; wanted one of the two"):
        parse_most_unreadable("3", allow=True)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0.01", "1 %", "101%", "%", "1e2", "nan%", "all", "٣", "1%%"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(InputError, match=r"--max-unreadable .*: wanted a number of pictures, or a share of them from 0% to 100%"):
        parse_most_unreadable(text, allow=False)
