"""The scan: every stage in order, as one generator.  It yields results; it prints nothing, writes nothing and exits nowhere.

On the CPU every worker process takes whole pictures, each with one thread of arithmetic.  Two threads inside a convolution wait
for each other at every layer, and whatever else runs on the machine (clustering, PNG files) makes that wait longer; pictures side
by side never wait.  On a GPU they go in batches (batches.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from imgscan import stages
from imgscan.batches import AHEAD, batch_by_batch, windows
from imgscan.cluster import cluster
from imgscan.decode import decode, decode_all
from imgscan.records import Assessed, Picture, Skipped, Sought, Source, Timings
from imgscan.scanner import Scanner
from imgscan.segment import segment
from imgscan.stages import clock, conclude, seeks, sought, spared, spares, too_large, views
from imgscan.workers import busy, each

SAMPLE = 24  # pictures that the network is timed on alone, for -v


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
    with clock(timings, "decode"):
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
        return too_large(picture, error)


def examine(pictures: Iterable[Picture | Skipped], scanner: Scanner) -> Iterator[Assessed | Skipped]:
    """Pictures that are decoded already through the other stages, in the order given, in this process; `scan` decodes too."""
    if scanner.device.type == "cpu":
        for picture in pictures:
            yield picture if isinstance(picture, Skipped) else _one(picture, scanner, scanner.timings)
    else:
        yield from batch_by_batch(pictures, scanner)


def _one(picture: Picture, scanner: Scanner, timings: Timings) -> Assessed:
    if spares(scanner, picture):
        return spared(picture, scanner)
    features = list(stages.forward_batch(views(picture, scanner), scanner, timings))
    with clock(timings, "cluster"):
        clusters = [
            cluster(one, scanner.clustering) if one.probability is None else segment(one, scanner.localizing.threshold)
            for one in features
        ]
    found = Sought()
    if seeks(scanner, picture):
        with clock(timings, "seek"):
            found = sought(scanner, picture)
    return conclude(picture, features, clusters, found, scanner, timings)


def _timed(items: Iterator[Picture | Skipped], timings: Timings) -> Iterator[Picture | Skipped]:
    """Count the seconds spent waiting for the decoders."""
    while True:
        with clock(timings, "wait for decoding"):
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
            for window in windows(pictures, scanner.batch * AHEAD):
                shown = [view for one in window if isinstance(one, Picture) for view in views(one, scanner)]
                list(stages.forward_batch(shown, scanner, alone))
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
        list(stages.forward_batch(views(picture, scanner), scanner, timings))
    return timings
