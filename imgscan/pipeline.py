"""The scan: every stage in order, as one generator.  It yields results; it prints nothing, writes nothing and exits nowhere.

On the CPU every worker process takes whole pictures, each with one thread of arithmetic.  Two threads inside a convolution wait
for each other at every layer, and whatever else runs on the machine (clustering, PNG files) makes that wait longer; pictures side
by side never wait.  On a GPU the network is the one thing that cannot be shared: the pictures go through it in batches, decoded
ahead and clustered behind it by the same number of processes.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from imgscan.cluster import MANY, ClusterSettings, cluster, cluster_many
from imgscan.decode import decode, decode_all
from imgscan.errors import WorkerError
from imgscan.extract import detect, extract_each, seek
from imgscan.frame import unframed
from imgscan.fuse import fuse
from imgscan.judge import judge
from imgscan.localize import localize, placed, unjudged
from imgscan.prepare import InputPlan, prepare
from imgscan.records import Assessed, Clusters, Features, Picture, Skipped, Sought, Source, Timings
from imgscan.scanner import Scanner
from imgscan.segment import segment
from imgscan.shared import Made
from imgscan.workers import KILLED, busy, each, end_with_parent, start_method, was_killed

AHEAD = 4  # batches decoded and grouped by size before the network sees them
SAMPLE = 24  # pictures that the network is timed on alone, for -v
DEVICE_CELLS = 9_000  # from so many cells on, a GPU finds HDBSCAN's spanning tree while a core would take more than a second
WINDOW_PIXELS = 16_000_000  # ... but no more than this: features at stride 4 take 16 bytes a pixel


def scan(sources: Sequence[Source], scanner: Scanner) -> Iterator[Assessed | Skipped]:
    """Assess every source, in the order given, whatever the number of workers."""
    if scanner.device.type == "cpu":  # whole pictures in worker processes
        for result, timings in each(sources, partial(assess, scanner=scanner), busy(sources, scanner.jobs)):
            scanner.timings.include(timings)
            yield result
    else:
        yield from examine(_timed(decode_all(sources, scanner.jobs), scanner.timings), scanner)


def assess(source: Source, scanner: Scanner) -> tuple[Assessed | Skipped, Timings]:
    """One picture through all stages, on the CPU."""
    timings = Timings()
    with _clock(timings, "decode"):
        picture = decode(source)
    return picture if isinstance(picture, Skipped) else _held(picture, scanner, timings), timings


def assess_by_each(source: Source, scanners: Sequence[Scanner]) -> list[Assessed | Skipped]:
    """One picture, decoded once, by several scanners on the CPU; what they share is computed once."""
    picture = decode(source)
    return [picture if isinstance(picture, Skipped) else _held(picture, scanner, scanner.timings) for scanner in scanners]


def _held(picture: Picture, scanner: Scanner, timings: Timings) -> Assessed | Skipped:
    """A picture through the stages after decoding; skipped where memory does not hold it."""
    try:
        return _one(picture, scanner, timings)
    except (MemoryError, RuntimeError) as error:
        return _too_large(picture, error)


def _too_large(picture: Picture, error: Exception) -> Skipped:
    """A picture that memory does not hold; what is wrong for another reason is raised again."""
    if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):  # torch's word for the same
        raise error
    return Skipped(picture.source, f"{picture.width} x {picture.height} pixels do not fit into memory")


def examine(pictures: Iterable[Picture | Skipped], scanner: Scanner) -> Iterator[Assessed | Skipped]:
    """Pictures that are decoded already through the other stages, in the order given, in this process; `scan` decodes too."""
    if scanner.device.type == "cpu":
        for picture in pictures:
            yield picture if isinstance(picture, Skipped) else _one(picture, scanner, scanner.timings)
    else:
        yield from _batch_by_batch(pictures, scanner)


def _spares(scanner: Scanner, picture: Picture) -> bool:
    """Whether no network is asked."""
    return scanner.spares and not scanner.judges(picture)


def _spared(picture: Picture, scanner: Scanner) -> Assessed:
    """A picture that no network was asked about."""
    mask = unjudged(picture.height, picture.width)
    return Assessed(judge(picture, mask, None, scanner.points), mask, picture, None, None)


def _one(picture: Picture, scanner: Scanner, timings: Timings) -> Assessed:
    if _spares(scanner, picture):
        return _spared(picture, scanner)
    features = next(_forward_batch([picture], scanner, timings))
    with _clock(timings, "cluster"):
        headed = features.probability is not None
        clusters = segment(features, scanner.localizing.threshold) if headed else cluster(features, scanner.clustering)
    found = Sought()
    if _seeks(scanner, picture):
        with _clock(timings, "seek"):
            found = _sought(scanner, picture)
    return _conclude(picture, features, clusters, found, scanner, timings)


def _once(scanner: Scanner, picture: Picture, key: Hashable, make: Callable[[], Made]) -> Made:
    """What a part says, which scanners that share it are told once; on a GPU, where pictures come in batches, nobody shares."""
    return make() if scanner.shared is None else scanner.shared.once(picture, key, make)


def _seeks(scanner: Scanner, picture: Picture) -> bool:
    """Whether the finders are asked: not of what is not judged, where every letter is a copy and takes its time."""
    return bool(scanner.finders) and scanner.judges(picture)


def _seen(picture: Picture, scanner: Scanner) -> Picture:
    """What of a picture is looked at."""
    return unframed(picture) if scanner.within else picture


def _sought(scanner: Scanner, picture: Picture) -> Sought:
    """What each finder adds."""
    seen = _seen(picture, scanner)
    each_found = [_once(scanner, picture, ("seek", name, scanner.within), partial(seek, (name,), seen)) for name in scanner.finders]
    return Sought(tuple(twins for one in each_found for twins in one.twins), tuple(odds for one in each_found for odds in one.odds))


def _forward_batch(pictures: Sequence[Picture], scanner: Scanner, timings: Timings) -> Iterator[Features]:
    """The fused features of several pictures."""
    if not pictures:
        return
    before = timings.seconds.get("extract", 0.0)
    said: dict[int, list[Features]] = {}  # by network
    for plan in dict.fromkeys(scanner.plans):  # networks that are shown the same are asked together
        numbers = [number for number, own in enumerate(scanner.plans) if own == plan]
        asked = [_Asked(scanner.networks[number], plan, scanner.within, scanner.amp, scanner.batch) for number in numbers]
        answers = partial(_answers_of, pictures=pictures, scanner=scanner, timings=timings)
        known = answers(asked) if scanner.shared is None else scanner.shared.once_each(pictures[0], asked, answers)
        said |= dict(zip(numbers, known, strict=True))
    parts = [said[number] for number in range(len(scanner.networks))]
    for name in scanner.detectors:
        with _clock(timings, "extract"):
            parts.append([detect(name, _seen(picture, scanner)) for picture in pictures])
    timings.forward(pictures, timings.seconds.get("extract", 0.0) - before)
    for picture, *one in zip(pictures, *parts, strict=True):
        with _clock(timings, "fuse"):
            features = fuse(one, scanner.clustering.grid, scanner.fusing, scanner.heads)
        yield replace(features, inside=picture.inside if scanner.within else None)


class _Asked(NamedTuple):
    """A network, and all that decides what it says of a picture."""

    network: nn.Module
    plan: InputPlan
    within: bool
    amp: bool
    batch: int


def _answers_of(
    asked: Sequence[_Asked], *, pictures: Sequence[Picture], scanner: Scanner, timings: Timings
) -> list[list[Features]]:
    """What each network says of every picture; all have the same plan."""
    with _clock(timings, "prepare"):
        inputs = [prepare(_seen(picture, scanner), asked[0].plan) for picture in pictures]
    with _clock(timings, "extract"):
        return extract_each([one.network for one in asked], inputs, scanner.device, batch=scanner.batch, amp=scanner.amp)


def _conclude(
    picture: Picture,
    features: Features,
    clusters: Clusters,
    found: Sought,
    scanner: Scanner,
    timings: Timings,
) -> Assessed:
    """Localize and judge a picture whose clusters are there, and what its detectors add."""
    with _clock(timings, "localize"):
        seen, settings = _seen(picture, scanner), scanner.localizing
        mask = localize(features, clusters, seen.height, seen.width, settings, found, scanner.speaks, picture.drawn)
        if features.inside is not None:
            mask = placed(mask, features.inside, picture.height, picture.width)
        finding = judge(picture, mask, clusters, scanner.points, features.inside)
    return Assessed(finding, mask, picture, features, clusters)


@contextmanager
def _clock(timings: Timings, stage: str) -> Iterator[None]:
    """Count the seconds of a stage."""
    began = time.perf_counter()
    yield
    timings.add(stage, time.perf_counter() - began)


def _batch_by_batch(pictures: Iterable[Picture | Skipped], scanner: Scanner) -> Iterator[Assessed | Skipped]:
    """On a GPU: decoded ahead, forwarded in batches of like size, clustered behind."""
    waiting: deque[Skipped | Assessed | _Clustering] = deque()
    with _processes(scanner.jobs) as processes:
        try:
            for window in _windows(pictures, scanner.batch * AHEAD):
                last = len(waiting)
                waiting.extend(_started(window, scanner, processes))
                for _ in range(last):  # the window before has had a whole forward pass to finish
                    yield _finish(waiting.popleft(), scanner)
            while waiting:
                yield _finish(waiting.popleft(), scanner)
        except RuntimeError as error:
            if not was_killed(error):
                raise
            raise WorkerError(KILLED) from error
        finally:
            processes.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Clustering:
    """A picture whose cells are being clustered, and in which detectors seek."""

    picture: Picture
    features: Features
    clusters: Future[tuple[Clusters, float]]  # with the seconds it took
    found: Future[tuple[Sought, float]] | None  # with the seconds it took; None: nothing was sought


def _processes(jobs: int) -> Executor:
    """`jobs` processes to cluster in (in threads it would hold the interpreter's lock); none beside this one: a thread."""
    if jobs == 0:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(jobs, start_method(), initializer=_quiet_worker)


def _quiet_worker() -> None:
    """One thread of arithmetic a process, and no voice in how an interrupted scan ends."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _started(window: list[Picture | Skipped], scanner: Scanner, processes: Executor) -> list[Skipped | Assessed | _Clustering]:
    """A window, as `_start` has it; where memory does not hold it, picture by picture, without those that are too large alone."""
    try:
        return list(_start(window, scanner, processes))
    except (MemoryError, RuntimeError) as error:
        skipped = [_too_large(item, error) if isinstance(item, Picture) else item for item in window]
        if len(window) == 1:
            return [*skipped]
    return [started for item in window for started in _started([item], scanner, processes)]


def _start(window: list[Picture | Skipped], scanner: Scanner, processes: Executor) -> Iterator[Skipped | Assessed | _Clustering]:
    """Forward the pictures of a window, fuse, and have their cells clustered: by processes, or here, where the device is faster."""
    pictures = [item for item in window if isinstance(item, Picture) and not _spares(scanner, item)]
    sought = [processes.submit(_seek, scanner.finders, _seen(one, scanner)) if _seeks(scanner, one) else None for one in pictures]
    features = list(_forward_batch(pictures, scanner, scanner.timings))
    here = [one for one in features if one.probability is None and _on_device(one, scanner)]
    with _clock(scanner.timings, "cluster"):
        made = iter(_clustered(here, scanner))
    left = iter(zip(features, sought, strict=True))
    for item in window:
        if isinstance(item, Skipped):
            yield item
            continue
        if _spares(scanner, item):
            yield _spared(item, scanner)
            continue
        one, found = next(left)
        clusters: Future[tuple[Clusters, float]] = Future()
        if one.probability is not None:
            clusters.set_result((segment(one, scanner.localizing.threshold), 0.0))
        elif _on_device(one, scanner):
            clusters.set_result((next(made), 0.0))
        else:
            clusters = processes.submit(_cluster, one.vectors.numpy(), one.cell, scanner.clustering)
        yield _Clustering(item, one, clusters, found)


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
    except torch.OutOfMemoryError:
        pass  # left here, for the error holds what was on the device
    return cluster_many(features, scanner.clustering)


def _cluster(vectors: npt.NDArray[np.float32], cell: tuple[float, float], settings: ClusterSettings) -> tuple[Clusters, float]:
    """Cluster in a worker process (arrays, for torch would send tensors through /dev/shm)."""
    began = time.perf_counter()
    clusters = cluster(Features(torch.from_numpy(vectors), cell), settings)
    return clusters, time.perf_counter() - began


def _seek(names: tuple[str, ...], picture: Picture) -> tuple[Sought, float]:
    """Seek in a worker process."""
    began = time.perf_counter()
    return seek(names, picture), time.perf_counter() - began


def _finish(item: Skipped | Assessed | _Clustering, scanner: Scanner) -> Assessed | Skipped:
    """Wait for the clusters of a picture and conclude."""
    if not isinstance(item, _Clustering):
        return item
    with _clock(scanner.timings, "wait for clusters"):
        clusters, seconds = item.clusters.result()
    scanner.timings.add("cluster", seconds)
    found = Sought()
    if item.found is not None:
        with _clock(scanner.timings, "wait for detectors"):
            found, seconds = item.found.result()
        scanner.timings.add("seek", seconds)
    return _conclude(item.picture, item.features, clusters, found, scanner, scanner.timings)


def _windows(items: Iterable[Picture | Skipped], size: int) -> Iterator[list[Picture | Skipped]]:
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


def _timed(items: Iterator[Picture | Skipped], timings: Timings) -> Iterator[Picture | Skipped]:
    """Count the seconds spent waiting for the decoders."""
    while True:
        with _clock(timings, "wait for decoding"):
            item = next(items, None)
        if item is None:
            return
        yield item


def network_rate(scanner: Scanner) -> float | None:
    """Pictures per second of the networks with nothing else running, on as many cores or in batches as large as the scan's.

    SAMPLE of the pictures scanned, evenly spread, are forwarded twice more, the first round to warm up.  How much faster they went
    than during the scan tells how fast all would have gone: their sizes differ, and attention costs more than in proportion.
    None: there were no pictures.
    """
    forwarded = scanner.timings.forwarded
    sample = forwarded[:: -(-len(forwarded) // SAMPLE) or 1]
    sources = [source for source, _ in sample]
    alone = Timings()
    if scanner.device.type == "cpu":
        workers = busy(sources, scanner.jobs) if busy(forwarded, scanner.jobs) else 0
        rounds = list(each([*sources, *sources], partial(_forward, scanner=scanner), workers))
        for one in rounds[len(sample) :]:
            alone.include(one)
    else:
        workers = 0
        pictures = [picture for picture in map(decode, sources) if isinstance(picture, Picture)]
        for alone in (Timings(), Timings()):
            for window in _windows(pictures, scanner.batch * AHEAD):
                list(_forward_batch([one for one in window if isinstance(one, Picture)], scanner, alone))
    seconds = sum(seconds for _, seconds in alone.forwarded)
    if not seconds:
        return None
    during = sum(seconds for _, seconds in sample)
    total = sum(seconds for _, seconds in forwarded) * seconds / during
    return max(1, workers) * len(forwarded) / total


def _forward(source: Source, scanner: Scanner) -> Timings:
    """A picture through the networks only."""
    timings = Timings()
    picture = decode(source)
    if isinstance(picture, Picture):
        list(_forward_batch([picture], scanner, timings))
    return timings
