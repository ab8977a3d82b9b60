"""Progress bars: Rich on stderr when it is a terminal, nothing otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar(Protocol):
    """What a stage may say of its progress."""

    def advance(self, note: str = "", by: int = 1) -> None:
        """`by` units further; `note` is shown behind the bar."""

    def expect(self, more: int) -> None:
        """So many units more than was said."""


class _Silent:
    def advance(self, note: str = "", by: int = 1) -> None:
        pass

    def expect(self, more: int) -> None:
        pass


class _Rich:
    def __init__(self, progress: Progress, total: int, title: str) -> None:
        self._progress = progress
        self._task, self._total = progress.add_task(title, total=total, note=""), total

    def advance(self, note: str = "", by: int = 1) -> None:
        self._progress.update(self._task, advance=by, note=note)

    def expect(self, more: int) -> None:
        self._total += more
        self._progress.update(self._task, total=self._total)


@contextmanager
def bar(title: str, total: int, shown: bool = True) -> Iterator[Bar]:
    """A bar of `total` units, where `shown` and there is a terminal; content never depends on it."""
    console = Console(stderr=True, soft_wrap=True)  # a path that is told beside the bar stays whole
    if not (shown and sys.stderr.isatty() and console.is_terminal):  # FORCE_COLOR makes a terminal of a log file
        yield _Silent()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # Rich would draw what goes to stdout on its own console, which is stderr: fine on a terminal, wrong when stdout is a file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        yield _Rich(progress, total, title)
