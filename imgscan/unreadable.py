"""How many unreadable pictures a complete scan may have: --max-unreadable and --allow-unreadable.  No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from imgscan.errors import InputError

ALL = "all"  # as a record says it where --allow-unreadable was given


@dataclass(frozen=True)
class MostUnreadable:
    """A number of pictures, or a share of those of the scan."""

    said: str  # as a record says it: 3, 1% or all
    count: int = 0
    share: Fraction | None = None  # 0..1, in place of the number

    def allows(self, skipped: int, pictures: int) -> bool:
        """Whether so many may have been skipped of so many pictures, these included."""
        return skipped <= (self.count if self.share is None else self.share * pictures)


def parse_most_unreadable(text: str | None, allow: bool) -> MostUnreadable:
    """--max-unreadable: a whole number, or a share such as 1% or 0.5%; without it none, with --allow-unreadable all.

    Raises:
        InputError: something else, or both flags.
    """
    if text is None:
        return MostUnreadable(ALL, share=Fraction(1)) if allow else MostUnreadable("0")
    if allow:
        raise InputError(f"--max-unreadable {text}: --allow-unreadable lets all of them through; wanted one of the two")
    if re.fullmatch(r"[0-9]{1,18}", text):
        return MostUnreadable(str(int(text)), int(text))
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?%", text) and (share := Fraction(text[:-1]) / 100) <= 1:
        return MostUnreadable(text, share=share)
    raise InputError(f"--max-unreadable {text}: wanted a number of pictures, or a share of them from 0% to 100%, such as 1%")
