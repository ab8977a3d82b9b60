"""Measure contestants on pictures with known truth, and on untouched ones: every picture is decoded once, whoever answers.

A task is one picture and what has to be asked about it: under which attacks, and whom.  On the CPU whole tasks go to worker
processes, which hand back numbers, not maps; on a GPU the tasks are decoded and attacked ahead and answered in batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from imgscan.datasets.entries import Entry, masks_of, read_truth
from imgscan.decode import decode, layout
from imgscan.digests import sha256_or_none
from imgscan.errors import InputError, WorkerError
from imgscan.evaluation.attacks import attack
from imgscan.evaluation.contestants import Answer, Contestant
from imgscan.evaluation.pixel import BoolMap, Counts, PixelMetrics, histogram, pixel_metrics
from imgscan.evaluation.protocols import Protocol, apply, reported
from imgscan.frame import cut
from imgscan.records import Features, Picture, Skipped, Source
from imgscan.workers import busy, each

UNATTACKED = "none"
EXHIBIT_SIDE = 320  # longest side, pixels, of what a contact sheet shows of a picture
TASKS_AT_ONCE, PIXELS_AT_ONCE = 64, 32_000_000  # answered in batches together, on a GPU


@dataclass(frozen=True)
class Question:
    """One answer that is wanted of a picture."""

    attack: str  # of ATTACKS, or UNATTACKED
    contestant: int  # its number in the list that `measure` was given


@dataclass(frozen=True)
class Task:
    """One picture and what has to be asked about it."""

    entry: Entry
    number: int  # in its set; it seeds the attacks
    questions: tuple[Question, ...]
    name: str = ""  # of the picture below its set's folder, where predictions are looked up; "": the file's own
    exhibit: bool = False  # whether a contact sheet will show it


@dataclass(frozen=True)
class Exhibit:
    """What a contact sheet shows of one answer, at most EXHIBIT_SIDE pixels a side."""

    rgb: npt.NDArray[np.uint8]  # h x w x 3
    truth: BoolMap  # h x w
    score: npt.NDArray[np.float32]  # h x w, 0..1
    mask: BoolMap  # h x w


@dataclass(frozen=True)
class PictureScores:
    """One contestant on one picture."""

    name: str
    sha256: str  # of the picture's file
    forged: bool  # its truth has forged pixels
    metrics: PixelMetrics  # under the protocol
    columns: dict[str, float | None]  # the protocol's; None: it does not enter that mean
    area: float  # share marked as forged, at the picture's own size
    strength: float | None
    quality: int | None  # of the file, for the leak score
    container: str
    histogram: Counts  # of the scores, see pixel.histogram


@dataclass(frozen=True)
class Measured:
    """An answered question."""

    question: Question
    scores: PictureScores | Skipped
    exhibit: Exhibit | None = None
    means: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None  # D each: mean feature, pristine and forged


@dataclass(frozen=True)
class _Shown:
    """A picture as it is shown to the contestants, with its truth."""

    picture: Picture
    truth: BoolMap


def measure(
    tasks: Sequence[Task],
    contestants: Sequence[Contestant],
    protocol: Protocol,
    *,
    jobs: int,
    device: torch.device,
    figures: bool = False,
) -> Iterator[list[Measured]]:
    """The answers to every task, in the order of the tasks; what cannot be answered is Skipped and ends nothing.

    Args:
        tasks: pictures and questions.
        contestants: whom the questions are for.
        protocol: how answers and truths are compared.
        jobs: worker processes.
        device: of the contestants' networks.
        figures: also keep exhibits and mean features.

    Raises:
        WorkerError: a worker process was killed.
    """
    if device.type == "cpu":
        work = partial(_answer_one, contestants=contestants, protocol=protocol, figures=figures)
        yield from each(tasks, work, busy(tasks, jobs))
        return
    window: list[tuple[Task, dict[str, _Shown | Skipped]]] = []
    pixels = 0
    for task, shown in zip(tasks, each(tasks, _show, busy(tasks, jobs)), strict=True):
        window.append((task, shown))
        pixels += sum(one.truth.size for one in shown.values() if isinstance(one, _Shown))
        if len(window) >= TASKS_AT_ONCE or pixels >= PIXELS_AT_ONCE:
            yield from _answer(window, contestants, protocol, figures)
            window, pixels = [], 0
    yield from _answer(window, contestants, protocol, figures)


def _answer_one(task: Task, contestants: Sequence[Contestant], protocol: Protocol, figures: bool) -> list[Measured]:
    """All contestants under one attack before the next is made: what they share is held for one picture, and so are its pixels."""
    found: dict[Question, Measured] = {}
    for name, shown in _each_shown(task):
        part = replace(task, questions=tuple(one for one in task.questions if one.attack == name))
        found |= {one.question: one for one in _answer([(part, {name: shown})], contestants, protocol, figures)[0]}
    return [found[question] for question in task.questions]


def _show(task: Task) -> dict[str, _Shown | Skipped]:
    """The picture under every attack that a question is about."""
    return dict(_each_shown(task))


def _each_shown(task: Task) -> Iterator[tuple[str, _Shown | Skipped]]:
    """The same, one attack after the other."""
    entry, names = task.entry, dict.fromkeys(question.attack for question in task.questions)
    source = Source(entry.image, task.name or entry.image.name)
    picture = decode(source)
    if isinstance(picture, Skipped):
        yield from ((name, picture) for name in names)
        return
    try:
        truth = read_truth(entry, picture.rgb.shape[:2])
    except InputError as error:
        unread = Skipped(source, str(error))
        yield from ((name, unread) for name in names)
        return
    for name in names:
        if name == UNATTACKED:
            yield name, _Shown(picture, truth)
            continue
        try:
            rgb, moved = attack(name, picture.rgb, truth, seed=task.number)
        except ValueError as error:
            yield name, Skipped(source, f"{name}: {error}")
        else:  # nothing is left of the file it was
            pixels = np.ascontiguousarray(rgb)
            seen = replace(picture, rgb=pixels, **layout(pixels)._asdict())
            yield name, _Shown(replace(seen, format="attacked", jpeg_quality=None, jpeg=None), moved)


def _answer(
    window: Sequence[tuple[Task, dict[str, _Shown | Skipped]]],
    contestants: Sequence[Contestant],
    protocol: Protocol,
    figures: bool,
) -> list[list[Measured]]:
    """All questions of some tasks, contestant by contestant."""
    found: list[dict[Question, Measured]] = [{} for _ in window]
    for number, contestant in enumerate(contestants):
        places: list[tuple[int, Question, _Shown]] = []
        for at, (task, shown) in enumerate(window):
            for question in task.questions:
                if question.contestant == number:
                    one = shown[question.attack]
                    if isinstance(one, Skipped):
                        found[at][question] = Measured(question, one)
                    else:
                        places.append((at, question, one))
        answers = _answers(contestant, [one.picture for _, _, one in places])
        for (at, question, one), answer in zip(places, answers, strict=True):
            found[at][question] = _compared(window[at][0], question, one, answer, protocol, figures)
    return [[answered[question] for question in task.questions] for (task, _), answered in zip(window, found, strict=True)]


def _answers(contestant: Contestant, pictures: Sequence[Picture]) -> list[Answer | Skipped]:
    """A contestant's answers; one that fails on a picture fails on that picture only."""
    try:
        return list(contestant.answers(pictures))
    except WorkerError:
        raise
    except Exception as error:  # whatever a model raises, the other pictures and models go on
        if len(pictures) == 1:
            return [Skipped(pictures[0].source, f"{contestant.name} failed: {type(error).__name__}: {error}")]
        half = len(pictures) // 2
        return [*_answers(contestant, pictures[:half]), *_answers(contestant, pictures[half:])]


def _compared(
    task: Task, question: Question, shown: _Shown, answer: Answer | Skipped, protocol: Protocol, figures: bool
) -> Measured:
    """An answer against the truth."""
    if isinstance(answer, Skipped):
        return Measured(question, answer)
    own = None if protocol.by_probability and answer.probable else answer.mask
    seen, score, mask, valid = apply(protocol, shown.truth, answer.score, own)
    assert score is not None
    try:
        metrics = pixel_metrics(seen, score, mask, valid)
        counts = histogram(seen, score, valid)
    except ValueError as error:  # a score that is not a number or not within 0..1, or a border that leaves no pixel
        return Measured(question, Skipped(shown.picture.source, str(error)))
    marked = answer.score > protocol.threshold if own is None else own
    scores = PictureScores(
        name=str(task.entry.image),
        sha256=shown.picture.sha256,
        forged=bool(shown.truth.any()),
        metrics=metrics,
        columns=reported(protocol, metrics),
        area=float(marked.mean()),
        strength=answer.strength,
        quality=shown.picture.jpeg_quality,
        container=shown.picture.format,
        histogram=counts,
    )
    if not figures or question.attack != UNATTACKED:
        return Measured(question, scores)
    exhibit = _exhibit(shown, answer.score, marked) if task.exhibit else None
    return Measured(question, scores, exhibit, None if answer.features is None else region_means(answer.features, shown.truth))


def region_means(features: Features, truth: BoolMap) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    """Mean feature, D float32 each, of the pristine and of the forged cells (more than half forged); None: one kind only."""
    rows, columns = features.vectors.shape[1:]
    share = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(cut(truth, features.inside))[None].float(), (rows, columns))[0]
    forged = share > 0.5
    if not bool(forged.any()) or bool(forged.all()):
        return None
    pristine, inside = (features.vectors[:, part].mean(1).numpy() for part in (~forged, forged))
    return pristine, inside


def _exhibit(shown: _Shown, score: npt.NDArray[np.float32], mask: BoolMap) -> Exhibit:
    height, width = shown.truth.shape
    scale = min(1.0, EXHIBIT_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in (shown.picture.rgb, score)]
    maps = [
        np.asarray(Image.fromarray(one.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) for one in (shown.truth, mask)
    ]
    return Exhibit(rgb=small[0], truth=maps[0] > 127, score=small[1].astype(np.float32), mask=maps[1] > 127)


def entry_sha256(entry: Entry) -> str:
    """Hash of a picture, its masks and the rule that reads them; unreadable files are "" in it."""
    parts = [sha256_or_none(path) or "" for path in (entry.image, *masks_of(entry))]
    return hashlib.sha256("\n".join([entry.rule, *parts]).encode()).hexdigest()


def set_sha256(hashes: Sequence[str]) -> str:
    """Hash of a set from those of its entries, whatever their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()
