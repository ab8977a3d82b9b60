"""Answers: what a model says of the small pictures that ship, and how far that is from what was recorded; the drift check.

weights/answers/ holds the pictures, and in answers.json what the models that ship say of them, of two more that are made of them,
and of some once more with --cluster hdbscan.  Where weights, thresholds, settings, code, packages or arithmetic are others than
they were, answers are.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imgscan.answers_pictures import CLUSTERED
from imgscan.errors import WorkerError
from imgscan.pipeline import examine
from imgscan.records import Assessed, Box, Picture
from imgscan.scanner import Scanner, build_scanner
from imgscan.shared import Shared
from imgscan.weights import Model

CLUSTERING = "hdbscan"  # the one that cards have thresholds for, beside those of mask heads
CELL = 32  # pixels a side of the cells of a map
SURE = 1e-3  # what is nearer to 0 or 1 counts as that far from it: there rounding is large in odds
DIGITS = 1.01e-4  # scores have four digits


@dataclass(frozen=True)
class Answer:
    """What a model says of one picture."""

    level: str
    score: float  # 0..1
    strongest: float  # 0..1: of the strongest region, be it too weak to be marked
    withheld: bool  # it is not judged
    size: tuple[int, int]  # height, width, pixels
    mask: str  # what is marked, eight pixels a byte; compressed, in base64
    map: str  # mean probability of every CELL x CELL pixels, in 65535ths as two bytes, the lower first; likewise
    inside: Box | None = None  # what was looked at, within a frame; None: all


@dataclass(frozen=True)
class Answers:
    """What a model says of every picture, and what decides it."""

    weights: dict[str, str]  # name -> SHA-256
    thresholds: dict[str, float]  # level, or "level with --cluster NAME" -> score
    settings: dict[str, Any]  # "localize.peak" -> value
    pictures: dict[str, Answer]  # by its name, or "name --cluster METHOD"


@dataclass(frozen=True)
class Tolerance:
    """How far an answer may be from the recorded one."""

    odds: float  # nats between the log odds of two scores
    map: float  # between two mean probabilities of a cell
    iou: float  # of two masks, at least


# Measured against float32 on AVX-512, on most of these pictures and eight like them.  In float32 on AVX2 no number differs by 1e-4.
# In bf16, with AMX or with AVX-512 alone, the strength of a weak region differs by 0.117 nats at most, a score by 0.054, the
# probability of a cell of 16 pixels by 0.008, and the IoU of masks is 0.995 or more; of what is tiled, framed or clustered 0.023
# nats, 0.006 of a cell of 32 pixels, and 0.989 (clusters; with AMX).  Of 80 tensors of focal-vit, focal-hrnet and
# ncl, each times 1.1 by itself, float32's bounds notice 70; many of these change less than bf16 rounds, hence both.
EXACT = Tolerance(odds=0.02, map=0.001, iou=0.99)
ROUNDED = Tolerance(odds=0.25, map=0.02, iou=0.97)
TOLERANCES = {"float32": EXACT, "bf16": ROUNDED}  # by precision; what is recorded is float32


@dataclass(frozen=True)
class Distance:
    """How far answers are from the recorded ones."""

    score: float  # the largest difference of two scores
    iou: float  # the least of two masks
    drifted: tuple[str, ...]  # a sentence per picture that is farther off than may be


def pixels_sha256(picture: Picture) -> str:
    """Of what a picture was decoded to."""
    return hashlib.sha256(picture.rgb.tobytes()).hexdigest()


def ask(model: Model, shown: Sequence[Picture], device: torch.device, *, exactly: bool = False) -> dict[str, Answers]:
    """What a model says of pictures, by precision: in float32, and in bf16 where a scan on this device computes in it.

    Args:
        model: from find_model.
        shown: from `pictures`.
        device: of its networks.
        exactly: only in float32.

    Raises:
        WeightsError, InputError: see build_scanner.
        WorkerError: a network answers what is no number.
    """
    build = partial(build_scanner, model, device=device, jobs=0, spares=True, shared=Shared())
    scanners = {"float32": build(amp=False)}
    if not exactly and model.cards and (usual := build()).amp:
        scanners["bf16"] = usual
    clustered: dict[str, Scanner] = {}
    if any(point.cluster == CLUSTERING for point in model.measured):
        other = model.with_clustering(CLUSTERING, None)
        again = partial(build_scanner, other, device=device, jobs=0, spares=True, shared=scanners["float32"].shared)
        clustered = {precision: again(amp=scanner.amp) for precision, scanner in scanners.items()}
    said: dict[str, dict[str, Answer]] = {precision: {} for precision in scanners}
    for picture in shown:  # one after the other: what finders say of it is shared
        name = picture.source.name
        for precision, scanner in scanners.items():
            said[precision][name] = _answer(picture, scanner)
            if clustered and name in CLUSTERED:
                said[precision][f"{name} --cluster {CLUSTERING}"] = _answer(picture, clustered[precision])
    return {
        precision: _answers(model, scanner, clustered.get(precision), said[precision]) for precision, scanner in scanners.items()
    }


def _answers(model: Model, scanner: Scanner, clustered: Scanner | None, said: dict[str, Answer]) -> Answers:
    settings = _settings(model, scanner)
    if clustered is not None:
        others = {name: value for name, value in _settings(model, clustered).items() if value != settings[name]}
        settings |= {f"{name} with --cluster {CLUSTERING}": value for name, value in others.items()}
    return Answers(
        weights={card.full_name: card.sha256 for card in model.cards},
        thresholds={
            point.level + (f" with --cluster {point.cluster}" if point.cluster else ""): point.score for point in model.measured
        },
        settings=settings,
        pictures=said,
    )


def _settings(model: Model, scanner: Scanner) -> dict[str, Any]:
    """Everything that decides an answer but weights and thresholds, by its name."""
    parts = {"clustering": asdict(scanner.clustering), "localize": asdict(scanner.localizing), "fuse": asdict(scanner.fusing)}
    parts |= {f"{card.full_name} input": asdict(plan) for card, plan in zip(model.cards, scanner.plans, strict=True)}
    for threshold in ("strength", "beside"):
        del parts["localize"][threshold]
    return {
        f"{part}.{key}": list(value) if isinstance(value, tuple) else value  # as JSON has it
        for part, table in parts.items()
        for key, value in table.items()
    }


def _answer(picture: Picture, scanner: Scanner) -> Answer:
    (item,) = examine([picture], scanner)
    if not isinstance(item, Assessed):
        raise WorkerError(f"{item.source.name}: {item.reason}")
    height, width = item.mask.forged.shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    padded = np.pad(item.mask.probability, ((0, rows * CELL - height), (0, columns * CELL - width)), mode="edge")
    cells = padded.reshape(rows, CELL, columns, CELL).mean((1, 3))
    return Answer(
        level=item.finding.level,
        score=item.finding.score,
        strongest=round(item.mask.strongest, 6),
        withheld=item.finding.withheld is not None,
        size=(height, width),
        mask=_packed(np.packbits(item.mask.forged)),
        map=_packed(np.rint(65535 * cells).astype("<u2")),
        inside=item.finding.inside,
    )


def _packed(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def _bytes(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def check(answer: Answer) -> None:
    """ValueError where its mask or its map is none, or of another size."""
    height, width = answer.size
    try:
        found = len(_bytes(answer.mask)), len(_bytes(answer.map))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if found != (-(-height * width // 8), 2 * (-(-height // CELL)) * -(-width // CELL)):
        raise ValueError(f"a mask and a map of {found[0]} and {found[1]} bytes for {width} x {height} pixels")


def _mask(answer: Answer) -> npt.NDArray[np.uint8]:
    """0 or 1 per pixel, in one row."""
    return np.unpackbits(np.frombuffer(_bytes(answer.mask), np.uint8))


def _cells(answer: Answer) -> npt.NDArray[np.float64]:
    """Mean probabilities, 0..1, in one row."""
    return np.frombuffer(_bytes(answer.map), "<u2") / 65535


def decided_otherwise(recorded: Answers, now: Answers) -> list[str]:
    """A clause per weights, threshold and setting that is another than recorded; what was not recorded is not compared."""
    return [
        *_others("weights", recorded.weights, now.weights),
        *_others("threshold", recorded.thresholds, now.thresholds),
        *_others("setting", recorded.settings, now.settings),
    ]


def _others(what: str, recorded: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, value in recorded.items():
        if name not in now:
            yield f"{what} {name}: gone, recorded {_short(value)}"
        elif now[name] != value:
            yield f"{what} {name}: {_short(now[name])}, recorded {_short(value)}"


def _short(value: Any) -> str:
    """A hash by its beginning; anything else as it is."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else str(value)


def distance(recorded: Answers, now: Answers, most: Tolerance) -> Distance:
    """How far answers are from the recorded ones; of what was not recorded none is."""
    pairs = {name: (one, now.pictures[name]) for name, one in recorded.pictures.items() if name in now.pictures}
    drifted = {name: list(_drifts(*pair, most)) for name, pair in pairs.items()}
    drifted |= {name: ["not asked, for there are no thresholds"] for name in recorded.pictures if name not in pairs}
    return Distance(
        score=max(abs(was.score - one.score) for was, one in pairs.values()),
        iou=min(_iou(*pair) for pair in pairs.values()),
        drifted=tuple(f"{name}: {'; '.join(clauses)}" for name, clauses in drifted.items() if clauses),
    )


def _drifts(was: Answer, now: Answer, most: Tolerance) -> Iterator[str]:
    """A clause for everything that is farther off than may be."""
    if (was.withheld, was.size, was.inside) != (now.withheld, now.size, now.inside):
        yield f"{_seen(now)}, recorded {_seen(was)}"
        return
    if now.level != was.level:
        yield f"level {now.level}, recorded {was.level}"
    if not _near(was.score, now.score, most.odds):
        yield f"score {now.score:.4f}, recorded {was.score:.4f} ({_range(was.score, most.odds)} would do)"
    elif not _near(was.strongest, now.strongest, most.odds):
        yield f"strongest region {now.strongest:.4f}, recorded {was.strongest:.4f} ({_range(was.strongest, most.odds)} would do)"
    if (iou := _iou(was, now)) < most.iou:
        yield f"IoU of the mask with the recorded one {iou:.3f} ({most.iou} would do)"
    if (off := float(np.abs(_cells(was) - _cells(now)).max())) > most.map:
        yield f"probability of a part off by {off:.4f} ({most.map} would do)"


def _seen(answer: Answer) -> str:
    part = "" if answer.inside is None else f"{' '.join(map(str, answer.inside))} of "  # left top right bottom
    return f"{part}{answer.size[1]} x {answer.size[0]} pixels, " + (
        "not judged, for it looks drawn" if answer.withheld else "judged"
    )


def _near(was: float, now: float, odds: float) -> bool:
    return abs(was - now) <= DIGITS or abs(_log_odds(was) - _log_odds(now)) <= odds


def _range(score: float, odds: float) -> str:
    """The scores within so many nats of one."""
    ends = (1 / (1 + math.exp(-(_log_odds(score) + step))) for step in (-odds, odds))
    return " to ".join(f"{end:.4f}" for end in ends)


def _log_odds(score: float) -> float:
    sure = min(max(score, SURE), 1 - SURE)
    return math.log(sure / (1 - sure))


def _iou(was: Answer, now: Answer) -> float:
    """Intersection over union of two masks; 1 where both are blank."""
    if was.size != now.size:
        return 0.0
    some, others = _mask(was), _mask(now)
    union = int((some | others).sum())
    return int((some & others).sum()) / union if union else 1.0
