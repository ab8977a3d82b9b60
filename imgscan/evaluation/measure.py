"""Measure a model on folders of pictures: pixel metrics where there are masks, false alarms where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.decode import decode_all
from imgscan.errors import InputError
from imgscan.evaluation.metrics import PixelScores, pixel_scores
from imgscan.find import find
from imgscan.models.ela import error_level
from imgscan.records import Assessed, Picture, Skipped, Source
from imgscan.scan import scan
from imgscan.scanner import Scanner

ELA = "ela"


@dataclass(frozen=True)
class Pair:
    """A picture and its truth."""

    source: Source
    mask: Path | None  # None: untouched


@dataclass(frozen=True)
class FolderScores:
    """One model on one folder."""

    model: str
    folder: str
    pictures: int  # measured
    skipped: int  # unreadable
    auc: float | None  # means over forged pictures; None where the folder is untouched or the model has no masks
    f1: float | None
    macro_f1: float | None
    iou: float | None
    marked: float | None  # share of pictures with any pixel marked as forged
    area: float | None  # mean share of pixels marked


def read_pairs(root: Path) -> list[Pair]:
    """A folder with images/ and masks/ paired by stem, or a folder of untouched pictures.

    Raises:
        InputError: a picture without its mask, or no pictures.
    """
    images, masks = root / "images", root / "masks"
    if images.is_dir() != masks.is_dir():
        raise InputError(
            f"{root}: has {'images/' if images.is_dir() else 'masks/'} only; wanted both, or a folder of untouched pictures"
        )
    sources = find([images if images.is_dir() else root])
    if not sources:
        raise InputError(f"{root}: no pictures; wanted images/ and masks/, or a folder of untouched pictures")
    if not images.is_dir():
        return [Pair(source, None) for source in sources]
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(masks.iterdir()):
        by_stem.setdefault(path.stem, []).append(path)
    pairs = []
    for source in sources:
        found = by_stem.get(source.path.stem, [])
        if len(found) != 1:
            raise InputError(f"{source.path}: {len(found)} masks with this stem in {masks}; wanted exactly one")
        pairs.append(Pair(source, found[0]))
    return pairs


def read_mask(path: Path, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Forged pixels of a mask file: over 127 of its grey picture; another size than the picture's is resized by nearest."""
    with Image.open(path) as file:
        grey = file.convert("L")
        if grey.size != (width, height):
            grey = grey.resize((width, height), Image.Resampling.NEAREST)
        return np.asarray(grey) > 127


def measure(
    name: str, scanner: Scanner | None, root: Path, jobs: int, step: Callable[[Skipped | None], None] = lambda _: None
) -> FolderScores:
    """One model on one folder; `scanner` None means ELA, which ranks pixels and marks none.

    A pair whose mask is empty counts as untouched: it has no F1 and no IoU.

    Args:
        name: of the model, for the table.
        scanner: from build_scanner.
        root: see read_pairs.
        jobs: decoding processes.
        step: called after every picture, with what could not be read.
    """
    pairs = read_pairs(root)
    forged: list[PixelScores] = []
    areas: list[float] = []
    skipped = 0
    for pair, answer in zip(pairs, _answers(pairs, scanner, jobs), strict=True):
        step(answer if isinstance(answer, Skipped) else None)
        if isinstance(answer, Skipped):
            skipped += 1
            continue
        score, mask = answer
        if mask is not None:
            areas.append(float(mask.mean()))
        if pair.mask is not None:
            truth = read_mask(pair.mask, *score.shape)
            if truth.any():
                forged.append(pixel_scores(truth, score, mask))

    return FolderScores(
        model=name,
        folder=str(root),
        pictures=len(pairs) - skipped,
        skipped=skipped,
        auc=_mean([one.auc for one in forged]),
        f1=_mean([one.f1 for one in forged]),
        macro_f1=_mean([one.macro_f1 for one in forged]),
        iou=_mean([one.iou for one in forged]),
        marked=_mean([float(area > 0) for area in areas]),
        area=_mean(areas),
    )


Answer = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]  # scores, mask


def _answers(pairs: Sequence[Pair], scanner: Scanner | None, jobs: int) -> Iterator[Answer | Skipped]:
    sources = [pair.source for pair in pairs]
    if scanner is None:
        for item in decode_all(sources, jobs):
            yield (error_level(item.rgb), None) if isinstance(item, Picture) else item
        return
    for result in scan(sources, scanner):
        yield (result.mask.probability, result.mask.forged) if isinstance(result, Assessed) else result


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are defined; None when none is."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


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
