"""Whole pictures in worker processes of one thread each, results in the order of the items."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

from imgscan.decode import as_is
from imgscan.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")


def busy(items: Sequence[Any], jobs: int) -> int:
    """Processes for these items: none when there are too few to keep them busy; one item then gets all threads."""
    return jobs if len(items) >= 2 * jobs else 0


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
        prefetch_factor=2,
        collate_fn=as_is,
        in_order=False,
        worker_init_fn=_one_thread,
    )
    early: dict[int, bytes] = {}
    turn = 0
    for index, packed in _alive(loader):
        early[index] = packed
        while turn in early:
            yield pickle.loads(early.pop(turn))
            turn += 1


def _one_thread(_: int) -> None:
    """A loader's workers have one of torch's threads, but all of the linear algebra that numpy calls."""
    threadpool_limits(1)


class _Works(Dataset[tuple[int, bytes]], Generic[Item, Result]):
    """What `work` makes of each item, with its number; pickled, for the loader would send tensors through /dev/shm."""

    def __init__(self, items: Sequence[Item], work: Callable[[Item], Result]) -> None:
        self.items, self.work = items, work

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        return index, pickle.dumps(self.work(self.items[index]), protocol=5)


def _alive(loader: DataLoader[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """What the workers deliver; WorkerError when one of them died."""
    try:
        yield from loader
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise WorkerError(
            "a worker process was killed, most likely for lack of memory; fewer --jobs or a smaller --batch need less"
        ) from error
