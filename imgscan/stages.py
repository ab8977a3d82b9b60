"""Stages: what a picture, or several, pass after decoding, whoever leads them through: extract, fuse, seek, localize and judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import nn

from imgscan.extract import detect, extract_each, seek
from imgscan.frame import unframed
from imgscan.fuse import fuse
from imgscan.judge import judge
from imgscan.localize import Area, localize_areas, placed, unjudged
from imgscan.prepare import InputPlan, prepare
from imgscan.records import Assessed, Box, Clusters, Features, Picture, Skipped, Sought, Tensor, Timings
from imgscan.scanner import Scanner
from imgscan.shared import Made


def too_large(picture: Picture, error: Exception) -> Skipped:
    """A picture that memory does not hold; what is wrong for another reason is raised again."""
    if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):  # torch's word for the same
        raise error
    return Skipped(picture.source, f"{picture.width} x {picture.height} pixels do not fit into memory")


def spares(scanner: Scanner, picture: Picture) -> bool:
    """Whether no network is asked."""
    return scanner.spares and not scanner.judges(picture)


def spared(picture: Picture, scanner: Scanner) -> Assessed:
    """A picture that no network was asked about."""
    mask = unjudged(picture.height, picture.width)
    return Assessed(judge(picture, mask, None, scanner.points), mask, picture, None, None)


def _once(scanner: Scanner, picture: Picture, key: Hashable, make: Callable[[], Made]) -> Made:
    """What a part says, which scanners that share it are told once; on a GPU, where pictures come in batches, nobody shares."""
    return make() if scanner.shared is None else scanner.shared.once(picture, key, make)


def seeks(scanner: Scanner, picture: Picture) -> bool:
    """Whether the finders are asked: not of what is not judged, where every letter is a copy and takes its time."""
    return bool(scanner.finders) and scanner.judges(picture)


def looked_at(picture: Picture, scanner: Scanner) -> Picture:
    """What of a picture is looked at."""
    return unframed(picture) if scanner.within else picture


def panels_of(picture: Picture, scanner: Scanner) -> tuple[Box, ...]:
    """The panels that are judged each on its own; (): the picture is judged as one."""
    return picture.panels if scanner.divides else ()


def views(picture: Picture, scanner: Scanner) -> list[Picture]:
    """What is judged on its own: the picture, or each of its panels, as the picture of which that alone is looked at."""
    return [replace(picture, inside=box, panels=()) for box in panels_of(picture, scanner)] or [picture]


def seen_by_finders(picture: Picture, scanner: Scanner) -> tuple[Picture, list[Picture]]:
    """What finders are shown: the picture, and cut out of it the panels, where it has some."""
    cut_out = [unframed(view) for view in views(picture, scanner)] if panels_of(picture, scanner) else []
    return looked_at(picture, scanner), cut_out


def sought(scanner: Scanner, picture: Picture) -> Sought:
    """What each finder adds."""
    seen, panels = seen_by_finders(picture, scanner)
    how = scanner.within, scanner.divides
    found = [_once(scanner, picture, ("seek", name, *how), partial(seek, (name,), seen, panels)) for name in scanner.finders]
    by_panel = zip(*(one.by_panel for one in found if one.by_panel), strict=True)
    return Sought(
        tuple(twins for one in found for twins in one.twins),
        tuple(odds for one in found for odds in one.odds),
        tuple(tuple(odds for own in each for odds in own) for each in by_panel),
    )


def forward_batch(pictures: Sequence[Picture], scanner: Scanner, timings: Timings) -> Iterator[Features]:
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
        with clock(timings, "extract"):
            parts.append([detect(name, looked_at(picture, scanner)) for picture in pictures])
    timings.forward(pictures, timings.seconds.get("extract", 0.0) - before)
    for picture, *one in zip(pictures, *parts, strict=True):
        with clock(timings, "fuse"):
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
    with clock(timings, "prepare"):
        inputs = list(_each(partial(_prepared, scanner=scanner, plan=asked[0].plan), pictures, scanner))
    with clock(timings, "extract"):
        return extract_each([one.network for one in asked], inputs, scanner.device, batch=scanner.batch, amp=scanner.amp)


def _prepared(picture: Picture, *, scanner: Scanner, plan: InputPlan) -> Tensor:
    return prepare(looked_at(picture, scanner), plan)


def _each(work: Callable[[Picture], Tensor], pictures: Sequence[Picture], scanner: Scanner) -> Iterator[Tensor]:
    """In threads beside a GPU, which waits meanwhile; on the CPU other processes have the cores."""
    if scanner.device.type == "cpu" or len(pictures) == 1:
        yield from map(work, pictures)
        return
    with ThreadPoolExecutor(max(1, scanner.jobs)) as threads:
        yield from threads.map(work, pictures)


def conclude(
    picture: Picture,
    features: Sequence[Features],
    clusters: Sequence[Clusters],
    found: Sought,
    scanner: Scanner,
    timings: Timings,
) -> Assessed:
    """Localize and judge a picture of which the features and clusters of all views are there, and what its detectors add."""
    with clock(timings, "localize"):
        seen, panels = looked_at(picture, scanner), panels_of(picture, scanner)
        inside = picture.inside if scanner.within else None
        left, top = inside[:2] if inside else (0, 0)
        boxes: list[Box | None] = [(one[0] - left, one[1] - top, one[2] - left, one[3] - top) for one in panels]
        odds = (found.by_panel or ((),) * len(panels)) if panels else (found.odds,)
        areas = [Area(*one) for one in zip(features, clusters, odds, boxes or [None], strict=True)]
        mask = localize_areas(areas, seen.height, seen.width, scanner.localizing, found.twins, scanner.speaks, picture.drawn)
        if inside is not None:
            mask = placed(mask, inside, picture.height, picture.width)
        finest = max(clusters, key=lambda one: one.labels.size)
        finding = judge(picture, mask, finest, scanner.points, inside, panels)
    return Assessed(finding, mask, picture, *((None, None) if panels else (features[0], clusters[0])))


@contextmanager
def clock(timings: Timings, stage: str) -> Iterator[None]:
    """Count the seconds of a stage."""
    began = time.perf_counter()
    yield
    timings.add(stage, time.perf_counter() - began)
