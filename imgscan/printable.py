"""What reaches a terminal: names and texts out of files as safe lines.  No more is imported than the interpreter has anyway."""

from __future__ import annotations

import sys
from contextlib import suppress


def printable(text: str) -> str:
    """A file name, or what a file says, as one safe line: control characters and bytes that are not UTF-8 are shown as escapes.

    So is what GitHub's runner takes for a command wherever it stands in a line, `##[`.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return shown.replace("##[", "#\\x23[")


def say(text: str) -> None:
    """A line on stderr, whatever names are in it; where nobody reads that any more, nothing."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr)
