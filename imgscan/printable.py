"""What reaches a terminal or a spreadsheet: names and texts out of files, made safe.  No more is imported than the interpreter has
anyway."""

from __future__ import annotations

import sys
from contextlib import suppress

# What spreadsheets take for a formula, the full-width signs too (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def printable(text: str) -> str:
    """A file name, or what a file says, as one safe line: control characters and bytes that are not UTF-8 are shown as escapes.

    So is what GitHub's runner takes for a command wherever it stands in a line, `##[`.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return shown.replace("##[", "#\\x23[")


def as_utf8(text: str) -> str:
    """Text that any encoder of UTF-8 takes, lines and all: what is not UTF-8 in a name is shown as an escape, as printable does."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_cell(text: str) -> str:
    """Text that a spreadsheet takes for text: what would be a formula gets an apostrophe in front, what had one already another,
    so that of_cell knows it again."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def of_cell(text: str) -> str:
    """What as_cell was given."""
    return text[1:] if text.startswith("'") and as_cell(text) != text else text


def name_bytes(name: str) -> bytes:
    """A file's name as bytes, the same on every system: those that are not UTF-8 as POSIX has them, else as Windows has them."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def say(text: str) -> None:
    """A line on stderr, whatever names are in it; where nobody reads that any more, nothing."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr)
