"""Batches: pictures on a GPU, where the network is the one thing that cannot be shared.

They go through it in batches of like size, decoded ahead and clustered behind it by the same number of processes.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from imgscan import stages
from imgscan.cluster import MANY, ClusterSettings, cluster, cluster_many
from imgscan.devices import end_if_failed, out_of_memory
from imgscan.errors import WorkerError
from imgscan.extract import seek
from imgscan.records import Assessed, Clusters, Features, Picture, Skipped, Sought, Timings
from imgscan.scanner import Scanner
from imgscan.segment import segment
from imgscan.stages import clock, conclude, seeks, seen_by_finders, spared, spares, too_large, views
from imgscan.workers import KILLED, end_with_parent, start_method, uninterrupted, was_killed

AHEAD = 4  # batches decoded and grouped by size before the network sees them
WINDOW_PIXELS = 16_000_000  # ... but no more pixels than this: features at stride 4 take 16 bytes each
DEVICE_CELLS = 9_000  # from so many cells on, a GPU finds HDBSCAN's spanning tree while a core would take more than a second


def batch_by_batch(pictures: Iterable[Picture | Skipped], scanner: Scanner) -> Iterator[Assessed | Skipped]:
    """On a GPU: decoded ahead, forwarded in batches of like size, clustered and judged behind."""
    waiting: deque[Future[tuple[Assessed | Skipped, Timings]]] = deque()
    with _processes(scanner.jobs) as processes, ThreadPoolExecutor(max(1, scanner.jobs)) as threads:
        try:
            for window in windows(pictures, scanner.batch * AHEAD):
                last = len(waiting)
                waiting.extend(threads.submit(_finish, item, scanner) for item in _started(window, scanner, processes))
                for _ in range(last):  # the window before has had a whole forward pass to finish
                    yield _counted(waiting.popleft(), scanner)
            while waiting:
                yield _counted(waiting.popleft(), scanner)
        except RuntimeError as error:
            if not was_killed(error):
                raise
            raise WorkerError(KILLED) from error
        finally:
            processes.shutdown(cancel_futures=True)
            threads.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Clustering:
    """A picture whose cells are being clustered, and in which detectors seek."""

    picture: Picture
    features: Sequence[Features]  # of each view
    clusters: Sequence[Future[tuple[Clusters, float]]]  # of each, with the seconds it took
    found: Future[tuple[Sought, float]] | None  # with the seconds it took; None: nothing was sought


def _processes(jobs: int) -> Executor:
    """`jobs` processes to cluster in (in threads it would hold the interpreter's lock); none beside this one: a thread."""
    if jobs == 0:
        return ThreadPoolExecutor(1)
    context = start_method()
    processes = ProcessPoolExecutor(jobs, context, initializer=_quiet_worker)
    if context.get_start_method() == "fork":
        with uninterrupted():
            processes.submit(os.getpid)  # the first task forks all of them
    return processes


def _quiet_worker() -> None:
    """One thread of arithmetic a process, and no voice in how an interrupted scan ends."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _started(window: list[Picture | Skipped], scanner: Scanner, processes: Executor) -> list[Skipped | Assessed | _Clustering]:
    """A window, as `_start` has it; where memory does not hold it, picture by picture, without those that are too large alone."""
    try:
        return list(_start(window, scanner, processes))
    except (MemoryError, RuntimeError) as error:
        skipped = [too_large(item, error) if isinstance(item, Picture) else item for item in window]
        if len(window) == 1:
            return [*skipped]
    return [started for item in window for started in _started([item], scanner, processes)]


def _start(window: list[Picture | Skipped], scanner: Scanner, processes: Executor) -> Iterator[Skipped | Assessed | _Clustering]:
    """Forward the pictures of a window, fuse, and have their cells clustered: by processes, or here, where the device is faster."""
    pictures = [item for item in window if isinstance(item, Picture) and not spares(scanner, item)]
    sought = [
        processes.submit(_seek, scanner.finders, *seen_by_finders(one, scanner)) if seeks(scanner, one) else None
        for one in pictures
    ]
    shown = [views(one, scanner) for one in pictures]
    features = list(stages.forward_batch([view for some in shown for view in some], scanner, scanner.timings))
    here = [one for one in features if one.probability is None and _on_device(one, scanner)]
    with clock(scanner.timings, "cluster"):
        made = iter(_clustered(here, scanner))
    left, each = iter(zip(shown, sought, strict=True)), iter(features)
    for item in window:
        if isinstance(item, Skipped):
            yield item
            continue
        if spares(scanner, item):
            yield spared(item, scanner)
            continue
        some, found = next(left)
        own = list(islice(each, len(some)))
        yield _Clustering(item, own, [_begun(one, scanner, made, processes) for one in own], found)


def _begun(features: Features, scanner: Scanner, made: Iterator[Clusters], processes: Executor) -> Future[tuple[Clusters, float]]:
    """The clusters of a view: there already, made by the device (the next of `made`), or on their way."""
    clusters: Future[tuple[Clusters, float]] = Future()
    if features.probability is not None:
        clusters.set_result((segment(features, scanner.localizing.threshold), 0.0))
    elif _on_device(features, scanner):
        clusters.set_result((next(made), 0.0))
    else:
        return processes.submit(_cluster, features.vectors.numpy(), features.cell, scanner.clustering)
    return clusters


def _on_device(features: Features, scanner: Scanner) -> bool:
    """Whether the device clusters: several pictures at once, or so many cells that a core would take seconds."""
    cells = features.vectors.shape[1] * features.vectors.shape[2]
    large = scanner.device.type == "cuda" and cells >= DEVICE_CELLS  # HDBSCAN needs 64 bits, which MPS does not have
    return scanner.clustering.method in MANY or (scanner.clustering.method == "hdbscan" and large)


def _clustered(features: Sequence[Features], scanner: Scanner) -> list[Clusters]:
    """Clusters by the device, or on the CPU where its memory does not do."""
    if not features:
        return []
    try:
        return cluster_many(features, scanner.clustering, scanner.device)
    except RuntimeError as error:
        if not out_of_memory(error):
            end_if_failed(scanner.device, error)
            raise
        # Left here, for the error holds what was on the device.
    return cluster_many(features, scanner.clustering)


def _cluster(vectors: npt.NDArray[np.float32], cell: tuple[float, float], settings: ClusterSettings) -> tuple[Clusters, float]:
    """Cluster in a worker process (arrays, for torch would send tensors through /dev/shm)."""
    began = time.perf_counter()
    clusters = cluster(Features(torch.from_numpy(vectors), cell), settings)
    return clusters, time.perf_counter() - began


def _seek(names: tuple[str, ...], picture: Picture, panels: Sequence[Picture]) -> tuple[Sought, float]:
    """Seek in a worker process."""
    began = time.perf_counter()
    return seek(names, picture, panels), time.perf_counter() - began


def _finish(item: Skipped | Assessed | _Clustering, scanner: Scanner) -> tuple[Assessed | Skipped, Timings]:
    """Wait for the clusters of a picture and conclude, in a thread: the next window need not wait for it."""
    timings = Timings()
    if not isinstance(item, _Clustering):
        return item, timings
    try:
        clusters = []
        for future in item.clusters:
            made, seconds = future.result()
            clusters.append(made)
            timings.add("cluster", seconds)
        found = Sought()
        if item.found is not None:
            found, seconds = item.found.result()
            timings.add("seek", seconds)
        return conclude(item.picture, item.features, clusters, found, scanner, timings), timings
    except (MemoryError, RuntimeError) as error:
        return too_large(item.picture, error), timings


def _counted(done: Future[tuple[Assessed | Skipped, Timings]], scanner: Scanner) -> Assessed | Skipped:
    """The result of a thread, whose seconds are counted here."""
    with clock(scanner.timings, "wait for verdicts"):
        result, timings = done.result()
    scanner.timings.include(timings)
    return result


def windows(items: Iterable[Picture | Skipped], size: int) -> Iterator[list[Picture | Skipped]]:
    """Up to `size` items and about WINDOW_PIXELS pixels at a time, at least one item."""
    window: list[Picture | Skipped] = []
    pixels = 0
    for item in items:
        window.append(item)
        pixels += item.height * item.width if isinstance(item, Picture) else 0
        if len(window) >= size or pixels >= WINDOW_PIXELS:
            yield window
            window, pixels = [], 0
    if window:
        yield window
