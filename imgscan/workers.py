"""Whole pictures in worker processes of one thread each, results in the order of the items."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.data import DataLoader, Dataset

from imgscan.errors import HANG_UP, WorkerError

warnings.filterwarnings("ignore", "This DataLoader will create")  # more processes than cores, as --jobs says

Item = TypeVar("Item")
Result = TypeVar("Result")

HELD_BYTES = 500_000_000  # of results that wait in memory for an earlier one; more wait in files


def busy(items: Sequence[Any], jobs: int) -> int:
    """Processes for these items: none when there are too few to keep them busy; one item after the other then gets all threads.

    Where a process is forked, which costs next to nothing, that is so where more than half of them would have no item: threads of
    one process wait for each other, and where something else wants the cores too, for that as well (three and four pictures on
    two cores with others at work took up to five times as long with two threads as in two processes).
    """
    if len(items) >= 2 * jobs:
        return jobs
    worth = len(items) > 1 and jobs <= 2 * len(items) and start_method().get_start_method() == "fork"
    return min(jobs, len(items)) if worth else 0


def each(items: Sequence[Item], work: Callable[[Item], Result], workers: int) -> Iterator[Result]:
    """What `work` makes of every item, in order.

    Args:
        items: pictures to read, mostly.
        work: what is to be done with each; it and its result must be possible to pickle.
        workers: processes, see `busy`; 0: here.

    Raises:
        WorkerError: a process was killed.
    """
    if workers == 0:
        yield from map(work, items)
        return
    # Whoever is free takes the next item (sizes differ, turns would leave workers idle); results that are early wait here.
    loader = DataLoader(
        _Works(items, work),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=start_method(),
        prefetch_factor=2,
        collate_fn=as_is,
        in_order=False,
        worker_init_fn=_one_thread,
    )
    turn = 0
    with TemporaryDirectory(prefix="imgscan-") as folder:
        early = _Early(Path(folder))
        for index, packed in alive(loader):
            early.put(index, packed)
            while early.has(turn):
                yield pickle.loads(early.pop(turn))
                turn += 1


class _Early:
    """Results that wait for the turn of an earlier item, which one large picture can put off for minutes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[int, bytes] = {}
        self._bytes = 0
        self._filed: set[int] = set()

    def has(self, index: int) -> bool:
        return index in self._held or index in self._filed

    def put(self, index: int, packed: bytes) -> None:
        if self._held and self._bytes + len(packed) > HELD_BYTES:
            (self.folder / str(index)).write_bytes(packed)
            self._filed.add(index)
            return
        self._held[index] = packed
        self._bytes += len(packed)

    def pop(self, index: int) -> bytes:
        if index in self._filed:
            self._filed.remove(index)
            file = self.folder / str(index)
            packed = file.read_bytes()
            file.unlink()
            return packed
        packed = self._held.pop(index)
        self._bytes -= len(packed)
        return packed


def start_method() -> BaseContext:
    """How worker processes are begun: forked on Linux, so that networks are there already; elsewhere Python's usual way.

    From Python 3.14 on that is another one on Linux too, over which the tensors of a network would have to be sent.
    """
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def let_children_compute() -> None:
    """Let what is forked from this process later, by whomever, have threads of arithmetic.

    A child has none of its parent's threads, but GNU's OpenMP, which torch brings, believes them to be there: the first layer waits
    for them for ever.  Before a fork they are dismissed (OpenMP 5.0 has a call for that); either side starts new ones when it needs
    them.
    """
    if not hasattr(os, "register_at_fork"):
        return
    for found in threadpool_info():
        if found["prefix"] == "libgomp":
            dismiss = getattr(ctypes.CDLL(found["filepath"]), "omp_pause_resource_all", None)  # older ones lack it
            if dismiss is not None:
                os.register_at_fork(before=partial(dismiss, _PAUSE_HARD))


_PAUSE_HARD = 2  # omp_pause_hard of omp.h
let_children_compute()

_HELD: dict[int, tuple[Any, Any]] = {}  # signal -> what holds it while processes are started, and its handler otherwise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What must not be cut in two, starting and ending processes above all: Ctrl-C, SIGTERM and SIGHUP come after it.

    Python drops what is raised while it forks, and with it the interruption; a lock of its own then stays locked, and threads wait
    for it for ever.  Processes that begin meanwhile hear of none until they are ready (`end_with_parent`): one that fell over
    its own beginning would be taken for killed.
    """
    held: list[int] = []
    here = os.getpid()

    def hold(number: int, frame: FrameType | None) -> None:
        if os.getpid() == here:
            held.append(number)
            if number != signal.SIGINT and hasattr(signal, "SIGCHLD"):  # workers of its group end, too: torch would raise for that
                signal.signal(signal.SIGCHLD, lambda *_: None)

    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other is interrupted
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *HANG_UP)}
        handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    _HELD.clear()
    for number, handler in handlers.items():
        _HELD[number] = hold, handler
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def as_is(item: Any) -> Any:
    """The item itself, for a loader that makes no batches; a named function because worker processes may have to pickle it."""
    return item


def end_with_parent() -> None:
    """In a worker process that is ready: hear Ctrl-C as its parent does, and end when that was killed.

    Left alone, a worker would wait for ever to hand over its last result, holding its memory, stdout and stderr.  A closed terminal
    tells all processes of a job; its parent ends it then.
    """
    for number in HANG_UP:
        signal.signal(number, signal.SIG_IGN)
    hold, handler = _HELD.get(signal.SIGINT, (None, None))
    if hold is not None and signal.getsignal(signal.SIGINT) is hold:  # for SIGTERM torch has a handler of its own
        signal.signal(signal.SIGINT, handler)
    parent = multiprocessing.parent_process()  # not always what os.getppid() names: that may be a server which forks
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _one_thread(_: int) -> None:
    """A loader's workers have one of torch's threads, but all of the linear algebra that numpy calls."""
    threadpool_limits(1)
    end_with_parent()


class _Works(Dataset[tuple[int, bytes]], Generic[Item, Result]):
    """What `work` makes of each item, with its number; pickled, for the loader would send tensors through /dev/shm."""

    def __init__(self, items: Sequence[Item], work: Callable[[Item], Result]) -> None:
        self.items, self.work = items, work

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        return index, pickle.dumps(self.work(self.items[index]), protocol=5)


def alive(loader: Iterable[Result]) -> Iterator[Result]:
    """What a loader's workers deliver; WorkerError when one of them died."""
    try:
        try:
            with uninterrupted():
                delivered = iter(loader)
        except OSError as error:  # no further process, or no further file: of what torch has begun its __del__ would complain
            with _unheard():
                traceback.clear_frames(error.__traceback__)
            raise
        try:
            yield from delivered
        finally:
            with uninterrupted():  # a loader ends its workers when it is deleted, and Python drops what is raised there
                del delivered
    except RuntimeError as error:
        if not was_killed(error):
            raise
        raise WorkerError(KILLED) from error


@contextmanager
def _unheard() -> Iterator[None]:
    """What a __del__ raises is told to nobody."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


KILLED = "a worker process was killed, most likely for lack of memory; fewer --jobs or a smaller --batch need less"


def was_killed(error: RuntimeError) -> bool:
    """Whether torch's loader or Python's pool say that one of their processes is gone."""
    words = "exited unexpectedly", "is killed by signal"
    return isinstance(error, BrokenExecutor) or any(text in str(error) for text in words)
