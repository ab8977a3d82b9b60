"""The scan: every stage in order, as one generator.  It yields results; it prints nothing, writes nothing and exits nowhere."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from imgscan.cluster import CLUSTERINGS, ClusterSettings, cluster
from imgscan.decode import decode_all
from imgscan.errors import InputError, unknown
from imgscan.extract import extract
from imgscan.fuse import fuse
from imgscan.judge import judge
from imgscan.localize import LocalizeSettings, localize
from imgscan.prepare import InputPlan, prepare
from imgscan.records import Assessed, Clusters, Features, Picture, Skipped, Source, Timings
from imgscan.weights import Card, Model, OperatingPoint, load_network

AHEAD = 4  # batches decoded and grouped by size before the network sees them
SAMPLE = 16  # pictures that the network is timed on alone, for -v
WINDOW_PIXELS = 16_000_000  # ... but no more than this: features at stride 4 take 16 bytes a pixel


@dataclass(frozen=True)
class Scanner:
    """A model ready to run: networks on their device, and every setting that decides a result."""

    networks: tuple[nn.Module, ...]
    plans: tuple[InputPlan, ...]  # one per network
    clustering: ClusterSettings
    localizing: LocalizeSettings
    points: tuple[OperatingPoint, ...]
    device: torch.device
    batch: int = 4  # most tiles in one forward pass
    jobs: int = 2  # worker processes that decode
    amp: bool = True  # bf16 autocast
    timings: Timings = field(default_factory=Timings)


def scan(sources: Sequence[Source], scanner: Scanner) -> Iterator[Assessed | Skipped]:
    """Assess every source, in the order given, whatever the number of workers.

    Clustering runs in processes of its own while the network is at the next pictures: in threads it would hold the interpreter's
    lock, and every one of the network's layers would wait for it.
    """
    waiting: deque[Skipped | _Clustering] = deque()
    pictures = _timed(decode_all(sources, scanner.jobs), scanner.timings)
    with _processes(scanner.jobs) as processes:
        try:
            for window in _windows(pictures, scanner.batch * AHEAD):
                last = len(waiting)
                waiting.extend(_start(window, scanner, processes))
                for _ in range(last):  # the window before has had a whole forward pass to finish
                    yield _finish(waiting.popleft(), scanner)
            while waiting:
                yield _finish(waiting.popleft(), scanner)
        finally:
            processes.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Clustering:
    """A picture whose cells are being clustered."""

    picture: Picture
    features: Features
    clusters: Future[tuple[Clusters, float]]  # with the seconds it took


def _processes(jobs: int) -> Executor:
    """`jobs` processes to cluster in; none beside this one: a thread, which only delays what it is given."""
    if jobs == 0:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(jobs, initializer=_quiet_worker)


def _quiet_worker() -> None:
    """One thread of arithmetic a process, and no voice in how an interrupted scan ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _start(window: list[Picture | Skipped], scanner: Scanner, processes: Executor) -> Iterator[Skipped | _Clustering]:
    """Forward the pictures of a window, fuse, and hand each to a process to cluster."""
    pictures = [item for item in window if isinstance(item, Picture)]
    parts: list[list[Features]] = []
    for network, plan in zip(scanner.networks, scanner.plans, strict=True):
        began = time.perf_counter()
        inputs = [prepare(picture, plan) for picture in pictures]
        scanner.timings.add("prepare", time.perf_counter() - began)
        began = time.perf_counter()
        parts.append(extract(network, inputs, scanner.device, batch=scanner.batch, amp=scanner.amp))
        scanner.timings.add("extract", time.perf_counter() - began)
    scanner.timings.pictures += len(pictures)
    scanner.timings.pixels += sum(picture.height * picture.width for picture in pictures)
    if len(scanner.timings.sample) < SAMPLE:
        scanner.timings.sample.extend(pictures[: SAMPLE - len(scanner.timings.sample)])
    features = iter([fuse(one, scanner.clustering.grid) for one in zip(*parts, strict=True)])
    for item in window:
        if isinstance(item, Skipped):
            yield item
        else:
            one = next(features)
            clusters = processes.submit(_cluster, one.vectors.numpy(), one.cell, scanner.clustering)
            yield _Clustering(item, one, clusters)


def _cluster(vectors: npt.NDArray[np.float32], cell: tuple[float, float], settings: ClusterSettings) -> tuple[Clusters, float]:
    """Cluster in a worker process (arrays, for torch would send tensors through /dev/shm)."""
    began = time.perf_counter()
    clusters = cluster(Features(torch.from_numpy(vectors), cell), settings)
    return clusters, time.perf_counter() - began


def _finish(item: Skipped | _Clustering, scanner: Scanner) -> Assessed | Skipped:
    """Localize and judge a picture whose clusters are there."""
    if isinstance(item, Skipped):
        return item
    began = time.perf_counter()
    clusters, seconds = item.clusters.result()
    scanner.timings.add("cluster", seconds)
    scanner.timings.add("wait for clusters", time.perf_counter() - began)
    began = time.perf_counter()
    mask = localize(item.features, clusters, item.picture.height, item.picture.width, scanner.localizing)
    finding = judge(item.picture, mask, clusters, scanner.points)
    scanner.timings.add("localize", time.perf_counter() - began)
    return Assessed(finding, mask, item.picture, item.features, clusters)


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
        began = time.perf_counter()
        item = next(items, None)
        timings.add("wait for decoding", time.perf_counter() - began)
        if item is None:
            return
        yield item


def network_rate(scanner: Scanner) -> float | None:
    """Pictures per second of the networks with nothing else running: the scan's own first pictures, forwarded once more.

    The sample's seconds per pixel, at the mean size of the pictures scanned; None when there were none.
    """
    sample, timings = scanner.timings.sample, scanner.timings
    if not sample:
        return None
    inputs = [[prepare(picture, plan) for picture in sample] for plan in scanner.plans]
    for _ in range(2):  # the first round warms up
        began = time.perf_counter()
        for network, one in zip(scanner.networks, inputs, strict=True):
            extract(network, one, scanner.device, batch=scanner.batch, amp=scanner.amp)
        seconds = time.perf_counter() - began
    per_pixel = seconds / sum(picture.height * picture.width for picture in sample)
    return timings.pictures / (per_pixel * timings.pixels)


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the device has bf16 arithmetic; elsewhere autocast would only cost."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def choose_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:N or mps -> a device that is there; InputError says what is."""
    there = ["cpu"]
    there += [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name == "auto":
        return torch.device("cuda:0" if "cuda:0" in there else there[-1])
    if name == "cuda":
        name = "cuda:0"
    if name not in there:
        raise InputError(f"--device {name}: not on this machine; there is: auto, {', '.join(there)}")
    return torch.device(name)


def _plan(card: Card, side: int | None, beyond: str | None) -> InputPlan:
    """[input] of a card, with the longest side and the treatment of larger pictures changed; only native networks can."""
    table = dict(card.data.get("input", {}))
    if side is not None or beyond is not None:
        if table.get("mode") != "native":
            raise InputError(
                f"{card.full_name} always sees {table.get('side')} x {table.get('side')} pixels; no other size fits it"
            )
        if beyond not in (None, "tile", "shrink"):
            raise InputError(f"--beyond {beyond}: wanted tile or shrink")
        table |= {k: v for k, v in (("side", side), ("beyond", beyond)) if v is not None}
    return card.check("input", InputPlan, table)


def build_scanner(
    model: Model,
    *,
    device: torch.device,
    batch: int,
    jobs: int,
    amp: bool | None = None,
    everything: bool = False,
    side: int | None = None,
    beyond: str | None = None,
) -> Scanner:
    """Load the weights of a model and put its cards' settings together; None leaves a setting to the card.

    What is weaker than the lowest measured operating point is not marked, unless `everything` is asked for (calibration has to see
    it) or nothing was measured for this model.

    Raises:
        WeightsError, InputError: see load_network and Card.section.
    """
    first = model.cards[0]
    clustering = first.check("clustering", ClusterSettings, model.settings.get("clustering", {}))
    if clustering.method not in CLUSTERINGS:
        raise InputError(f"--cluster: {unknown('clustering', clustering.method, CLUSTERINGS)}")
    localizing = first.check("localize", LocalizeSettings, model.settings.get("localize", {}))
    if model.points and not everything:
        localizing = replace(localizing, strength=min(point.score for point in model.points))
    networks = []
    for card in model.cards:
        network = load_network(card).to(device)
        networks.append(network.to(memory_format=torch.channels_last))
    return Scanner(
        networks=tuple(networks),
        plans=tuple(_plan(card, side, beyond) for card in model.cards),
        clustering=clustering,
        localizing=localizing,
        points=model.points,
        device=device,
        batch=batch,
        jobs=jobs,
        amp=bf16_is_fast(device) and all(card.data.get("bf16", False) for card in model.cards) if amp is None else amp,
    )
