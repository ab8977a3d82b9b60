"""Worker processes: what interrupts a scan while they end."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import pytest

from imgscan.workers import alive


class Ending:
    """A loader that is told to end while it ends its workers, as torch's does: when its iterator is deleted."""

    def __iter__(self) -> Iterator[int]:
        return EndingIterator()


class EndingIterator(Iterator[int]):
    """Of one item."""

    def __init__(self) -> None:
        self.left = [7]

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_while_workers_end_is_not_lost() -> None:
    """Python ignores what is raised in a __del__: the scan went on, and heard no further SIGTERM."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate), signal.getsignal(signal.SIGCHLD)
    got = []
    try:
        with pytest.raises(SystemExit):
            got.extend(alive(Ending()))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGCHLD, before[1])


class Halved:
    """A loader of which no second process could be started."""

    def __iter__(self) -> Iterator[int]:
        return HalvedIterator()


class HalvedIterator(Iterator[int]):
    """Torch's, which lacks what its __del__ asks for."""

    def __init__(self) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def __next__(self) -> int:
        raise StopIteration

    def __del__(self) -> None:
        raise AttributeError("_workers_status")


def test_a_loader_that_cannot_begin_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python showed that of torch's __del__ before the line that says what is wrong."""
    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    with pytest.raises(BlockingIOError):
        next(alive(Halved()))
    assert shown == []
    assert sys.unraisablehook == shown.append
