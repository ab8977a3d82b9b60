"""Measure models, detectors and other tools' masks on pictures with known truth, and on untouched ones.

A contestant answers every picture; a protocol (protocols.py) says how answers are compared with truths; everything else is means
over pictures with their intervals, beside what answering "nothing" and "everything" would score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.datasets.entries import Entry, masks_of, read_forged, read_rgb, size_complaint
from imgscan.datasets.resolve import resolve
from imgscan.decode import decode_all
from imgscan.detectors import DETECTORS
from imgscan.errors import InputError
from imgscan.evaluation.attacks import attack
from imgscan.evaluation.image import FalseAlarms, ImageMetrics, false_alarms, image_metrics, leak_score
from imgscan.evaluation.pixel import BoolMap, Confusion, MaskMetrics, PixelMetrics, pixel_metrics, pooled
from imgscan.evaluation.protocols import Protocol, apply, reported
from imgscan.evaluation.statistics import BASELINES, bootstrap
from imgscan.find import find
from imgscan.records import Assessed, Picture, Skipped, Source
from imgscan.scan import scan
from imgscan.scanner import Scanner

Step = Callable[[Skipped | None], None]
BASELINE_COLUMNS = ("f1", "macro_f1", "permute_f1", "iou")  # what a baseline has; the others rank pixels


@dataclass(frozen=True)
class Answer:
    """What a contestant says of one picture."""

    score: npt.NDArray[np.float32]  # H x W, higher is more likely forged
    mask: BoolMap | None  # H x W; None: it ranks pixels only
    strength: float | None  # the picture's own score; None: it has none
    quality: int | None  # of the file, for the leak score
    container: str


@dataclass(frozen=True)
class Contestant:
    """Anything that can be measured."""

    name: str
    answers: Callable[[Sequence[Source]], Iterator[Answer | Skipped]]  # one per source, in order
    decides: bool = True  # False: scores have no threshold of their own, so there is no F1 and no IoU
    thresholds: Mapping[str, float] = field(default_factory=dict)  # operating points of its card
    weights: str = ""  # hash; "": it has none
    fixed: bool = False  # True: its answers are files, made for the pictures as they were; no attack can be tried on it


def of_scanner(name: str, scanner: Scanner, weights: str) -> Contestant:
    """A model, run as `imgscan scan` runs it."""

    def answers(sources: Sequence[Source]) -> Iterator[Answer | Skipped]:
        for one in scan(sources, scanner):
            if isinstance(one, Assessed):
                facts = one.finding.picture
                yield Answer(one.mask.probability, one.mask.forged, one.finding.score, facts.jpeg_quality, facts.format)
            else:
                yield one

    return Contestant(name, answers, thresholds={point.level: point.score for point in scanner.points}, weights=weights)


def of_detector(name: str, jobs: int) -> Contestant:
    """A weight-free detector of DETECTORS."""

    def answers(sources: Sequence[Source]) -> Iterator[Answer | Skipped]:
        for one in decode_all(sources, jobs):
            if isinstance(one, Picture):
                yield Answer(DETECTORS[name].score(one.rgb), None, None, one.jpeg_quality, one.format)
            else:
                yield one

    return Contestant(name, answers, decides=False)


def of_masks(folder: Path, jobs: int) -> Contestant:
    """Another tool's predictions: for a/b.jpg a file a/b.jpg.png, b.jpg.png, b.png or b.npz (its first array) in the folder.

    PNG levels 0..255 are probabilities 0..1, as are the floats of an npz; the protocol's threshold decides.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"--masks {folder}: is not a folder; wanted a folder of PNG or npz maps named after the pictures")

    def answers(sources: Sequence[Source]) -> Iterator[Answer | Skipped]:
        for one in decode_all(sources, jobs):
            yield _read_prediction(one, folder) if isinstance(one, Picture) else one

    return Contestant(f"masks:{folder}", answers, fixed=True)


def _read_prediction(picture: Picture, folder: Path) -> Answer | Skipped:
    """The map of one picture; a Skipped says what was looked for, or which size it has."""
    name = Path(picture.source.name)
    names = [f"{name}.png", f"{name.name}.png", f"{name.stem}.png", f"{name.stem}.npz"]
    path = next((folder / one for one in names if (folder / one).is_file()), None)
    if path is None:
        return Skipped(picture.source, f"no prediction in {folder}: looked for {', '.join(dict.fromkeys(names))}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                score = np.asarray(arrays[arrays.files[0]], np.float32)
        else:
            with Image.open(path) as file:
                score = np.asarray(file.convert("L"), np.float32) / np.float32(255)
    except Exception as error:  # decoders raise nearly anything on broken files
        return Skipped(picture.source, f"prediction {path} cannot be read: {error}")
    if score.shape != (picture.height, picture.width):
        return Skipped(picture.source, size_complaint(picture.source.path, (picture.height, picture.width), path, score.shape))
    return Answer(score, None, float(score.max()), picture.jpeg_quality, picture.format)


def read_set(text: str, roots: Sequence[Path] = ()) -> list[Entry]:
    """What --data names: a folder with images/ and masks/, a folder of untouched pictures, a data set's test split, or a list.

    Raises:
        InputError: nothing of that name, half a layout, or no pictures.
    """
    root = Path(text)
    if not root.is_dir():
        return resolve(text, roots, "all" if root.is_file() else "test")
    images, masks = root / "images", root / "masks"
    if images.is_dir() != masks.is_dir() and not (root / "Tp").is_dir():
        raise InputError(
            f"{root}: has {'images/' if images.is_dir() else 'masks/'} only; wanted both, or a folder of untouched pictures"
        )
    if images.is_dir() or (root / "Tp").is_dir():
        entries = resolve(text, roots, "all")
        missing = [entry for entry in entries if entry.mask is not None and not entry.mask.exists()]
        if missing:
            raise InputError(f"{missing[0].image}: no mask with this stem in {masks} ({len(missing)} such pictures)")
        return entries
    sources = find([root])
    if not sources:
        raise InputError(f"{root}: no pictures; wanted images/ and masks/, or a folder of untouched pictures")
    return [Entry(source.path, None) for source in sources]


def attacked(entries: Sequence[Entry], name: str, folder: Path) -> list[Entry]:
    """Entries after an attack, written to images/ and masks/ of a folder without loss; unreadable ones stay as they were."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    made = []
    for number, entry in enumerate(entries):
        try:
            rgb = read_rgb(entry.image)
            forged = _truth(entry, rgb.shape[:2]) if entry.mask is not None else np.zeros(rgb.shape[:2], bool)
        except InputError:
            made.append(entry)
            continue
        rgb, forged = attack(name, rgb, forged, seed=number)
        image, mask = folder / "images" / f"{number:06d}.png", folder / "masks" / f"{number:06d}.png"
        Image.fromarray(rgb).save(image, compress_level=1)
        Image.fromarray(forged.astype(np.uint8) * 255).save(mask, compress_level=1)
        made.append(Entry(image, mask if entry.mask is not None else None, source=entry.source))
    return made


def _truth(entry: Entry, size: tuple[int, ...]) -> BoolMap:
    """Forged pixels of an entry with masks; InputError when they are not of the picture's size, H x W."""
    truth = np.zeros(size, bool)
    for mask in masks_of(entry):
        forged = read_forged(mask, entry.rule)
        if forged.shape != size:
            raise InputError(size_complaint(entry.image, size, mask, forged.shape))
        truth |= forged
    return truth


@dataclass(frozen=True)
class PictureScores:
    """One contestant on one picture."""

    name: str
    forged: bool  # its truth has forged pixels
    metrics: PixelMetrics  # under the protocol
    columns: dict[str, float | None]  # the protocol's; None: it does not enter that mean
    area: float | None  # share marked as forged, at the picture's own size; None: the contestant does not decide
    strength: float | None
    quality: int | None
    container: str


def measure(
    contestant: Contestant,
    entries: Sequence[Entry],
    protocol: Protocol,
    step: Step = lambda _: None,
    names: Sequence[str] | None = None,
) -> list[PictureScores]:
    """Every picture that can be read.

    Args:
        contestant: what is measured.
        entries: pictures and truths.
        protocol: how they are compared.
        step: called after each picture, with what could not be read.
        names: what the rows call the pictures; None: their paths.
    """
    rows = []
    sources = [Source(entry.image, entry.image.name) for entry in entries]
    called = names or [str(entry.image) for entry in entries]
    for name, entry, source, answer in zip(called, entries, sources, contestant.answers(sources), strict=True):
        row: PictureScores | Skipped
        try:
            row = _compare(contestant, name, entry, answer, protocol) if isinstance(answer, Answer) else answer
        except InputError as error:
            row = Skipped(source, str(error))
        step(row if isinstance(row, Skipped) else None)
        if isinstance(row, PictureScores):
            rows.append(row)
    return rows


def _compare(contestant: Contestant, name: str, entry: Entry, answer: Answer, protocol: Protocol) -> PictureScores:
    truth = _truth(entry, answer.score.shape) if entry.mask is not None else np.zeros(answer.score.shape, bool)
    seen, score, mask, valid = apply(protocol, truth, answer.score, answer.mask)
    metrics = pixel_metrics(seen, score, mask if contestant.decides else None, valid)
    marked = answer.mask if answer.mask is not None else answer.score > protocol.threshold
    return PictureScores(
        name=name,
        forged=bool(truth.any()),
        metrics=metrics,
        columns=reported(protocol, metrics),
        area=float(marked.mean()) if contestant.decides else None,
        strength=answer.strength,
        quality=answer.quality,
        container=answer.container,
    )


@dataclass(frozen=True)
class Mean:
    """Of a column over the pictures that have it."""

    mean: float
    low: float | None  # 95 % bootstrap interval over pictures; None for fewer than two
    high: float | None
    pictures: int


@dataclass(frozen=True)
class SetScores:
    """One contestant on one set, under one protocol."""

    model: str
    data: str
    pictures: int  # measured
    forged: int  # of them
    skipped: int
    columns: dict[str, Mean | None]  # None: no picture has it
    pooled: MaskMetrics | None  # of the summed pixel counts of the forged pictures; None: nothing was marked by rule
    baselines: dict[str, dict[str, float]]  # what answering nothing, or everything, scores on the same truths
    untouched: FalseAlarms | None
    image: ImageMetrics | None  # where the set has forged and untouched pictures and the contestant scores pictures
    leak: float | None  # AUC of a rule that sees container and JPEG quality only


def summarise(contestant: Contestant, data: str, rows: Sequence[PictureScores], skipped: int, protocol: Protocol) -> SetScores:
    """Means with intervals, baselines, false alarms and, where they make sense, image-level numbers."""
    columns = {column: _mean([row.columns[column] for row in rows]) for column in protocol.columns}
    counted = [row for row in rows if row.metrics.forged]
    shares = [row.metrics.forged / row.metrics.pixels for row in counted]
    baselines = {
        name: {c: float(np.mean([getattr(rule(share), c) for share in shares])) for c in BASELINE_COLUMNS if c in columns}
        for name, rule in BASELINES.items()
        if shares
    }
    both = {row.forged for row in rows} == {True, False}
    graded = [row for row in rows if row.strength is not None] if both else []
    labels = [row.forged for row in rows]
    return SetScores(
        model=contestant.name,
        data=data,
        pictures=len(rows),
        forged=sum(labels),
        skipped=skipped,
        columns=columns,
        pooled=_pooled([row.metrics for row in counted]),
        baselines=baselines,
        untouched=false_alarms([row.area for row in rows if not row.forged and row.area is not None]),
        image=image_metrics([row.strength or 0.0 for row in graded], [row.forged for row in graded], contestant.thresholds)
        if graded
        else None,
        leak=leak_score([row.quality for row in rows], [row.container for row in rows], labels) if both else None,
    )


def _pooled(metrics: Sequence[PixelMetrics]) -> MaskMetrics | None:
    """Every pixel weighs the same, so large pictures dominate."""
    counts = [
        Confusion(one.tp, one.fp, one.fn, one.tn)
        for one in metrics
        if one.tp is not None and one.fp is not None and one.fn is not None and one.tn is not None
    ]
    return pooled(counts) if counts else None


def _mean(values: Sequence[float | None]) -> Mean | None:
    present = [value for value in values if value is not None]
    if not present:
        return None
    low, high = bootstrap(present) or (None, None)
    return Mean(sum(present) / len(present), low, high, len(present))


def untouched_scores(scanner: Scanner, sources: Sequence[Source], step: Callable[[], None]) -> tuple[list[float], list[Skipped]]:
    """The score of every untouched picture, for calibration, and what could not be read."""
    scores, skipped = [], []
    for result in scan(sources, scanner):
        step()
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            scores.append(result.finding.score)
    return scores, skipped
