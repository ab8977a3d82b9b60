"""Arrivals: paths on standard input, of `--files-from -`, as they come.

A list that is there at once is scanned as one of a file is.  What writes paths one by one, as a watched folder or a queue does,
gets a round for whatever has come while the round before was scanned: no picture waits for others to come, and many are scanned
side by side all the same.
"""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from imgscan.errors import InputError
from imgscan.find import read_list

AT_ONCE = 2.0  # seconds in which a list is complete that is no stream; nobody waits longer for its end
TOGETHER = 0.1  # seconds without a further path after which a round begins
LONGEST = 1.0  # seconds that paths are gathered, however many come
_CHUNK = 1 << 16
_LISTEN = 1.0  # seconds after which a waiting main thread looks up: on Windows Ctrl-C does not wake it


class Arrivals:
    """Reads standard input in a thread of its own; paths are split as those of a file.

    Args:
        zero: whether NUL bytes end them, and not lines.
        read: up to so many bytes, as soon as there are any; b"" at the end.  By default from standard input.
    """

    def __init__(self, zero: bool, read: Callable[[int], bytes] | None = None) -> None:
        self.zero = zero
        self._read = read or _stdin_reader()
        self._came: queue.SimpleQueue[bytes | OSError] = queue.SimpleQueue()
        self._rest = b""  # of a path whose end has not come yet
        self.ended = False
        threading.Thread(target=self._listen, daemon=True).start()  # one that waits for ever keeps no process alive

    def _listen(self) -> None:
        try:
            while content := self._read(_CHUNK):
                self._came.put(content)
        except OSError as error:
            self._came.put(error)
        else:
            self._came.put(b"")

    def at_once(self, seconds: float = AT_ONCE) -> list[Path]:
        """What comes within so many seconds, sooner where that is all; `ended` says whether it is."""
        until = time.monotonic() + seconds
        found: list[Path] = []
        while not self.ended and (left := until - time.monotonic()) > 0:
            found += self._next(left)
        return found

    def rounds(self) -> Iterator[list[Path]]:
        """What has come since the last round, as soon as there is anything, to the end of standard input.

        Raises:
            InputError: it cannot be read, or is no list.
        """
        while not self.ended:
            found = self._next(_LISTEN)
            until = time.monotonic() + LONGEST
            while found and not self.ended and time.monotonic() < until:
                more = self._next(TOGETHER)
                if not more:
                    break
                found += more
            if found:
                yield found

    def _next(self, seconds: float) -> list[Path]:
        """The paths that are complete by what comes next, within so many seconds."""
        try:
            content = self._came.get(timeout=seconds)
        except queue.Empty:
            return []
        if isinstance(content, OSError):
            self.ended = True
            raise InputError(f"--files-from -: cannot be read: {content.strerror or content}") from content
        self.ended = not content
        whole = self._rest + content
        cut = len(whole) if self.ended else whole.rfind(b"\0" if self.zero else b"\n") + 1
        self._rest = whole[cut:]
        return read_list(whole[:cut], self.zero)


def _stdin_reader() -> Callable[[int], bytes]:
    """Past Python's own buffer, whose lock a thread that waits for ever would hold for ever."""
    try:
        return partial(os.read, sys.stdin.fileno())
    except io.UnsupportedOperation:  # of a test, which is no file
        return sys.stdin.buffer.read
