"""The ways in which the papers measure, one record each: at what resolution, threshold, average, with what rule for empty masks.

The same answer scores differently under each, so a column belongs to one protocol and a table never mixes two.  A protocol brings
truth and answer to its resolution (`apply`); the metrics are those of pixel.py; `reported` picks the ones the protocol's tables
print and settles pictures without a forged pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from imgscan.datasets.degradations import sampled
from imgscan.errors import ConfigError, unknown
from imgscan.evaluation.pixel import BoolMap, PixelMetrics

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Protocol:
    """How one paper, or its released code, measures localization.  PROTOCOLS says where each rule comes from."""

    name: str
    columns: tuple[str, ...]  # of PixelMetrics, what its tables print
    resize: int | None = None  # side to which truth and answer are resized, aspect ignored (what networks see, cards say)
    grid: int | None = None  # side of the square on which truth and answer are compared, where that is not `resize`
    truth: Literal["nearest", "bilinear"] = "nearest"  # how the truth is resized; bilinear: at least half after it
    threshold: float = 0.5  # a score above it is forged, where the answer comes without a mask
    by_probability: bool = False  # so are probabilities, though a mask came with them: the paper knows no threshold of a card
    empty: Literal["skip", "count", "zero"] = "skip"  # a truth without forged pixels: left out, as pixel.py says, or worth 0
    ignore_border: tuple[int, int] | None = None  # pixels a side of the erosion and dilation between which nothing counts
    permute: bool = False  # whether an answer may be inverted after seeing the truth: other baselines, see statistics.py

    @property
    def side(self) -> int | None:
        """Pixels a side on which truth and answer are compared; None: the picture's own size."""
        return self.grid or self.resize


PROTOCOLS: dict[str, Protocol] = {
    # Ours: what a user of the mask sees.  Untouched pictures are measured on their own (image.false_alarms).
    "native": Protocol(
        name="native",
        columns=("auc", "average_precision", "f1", "best_f1", "macro_f1", "iou", "mcc"),
    ),
    # FOCAL (arXiv 2308.09307) and its released code (HighwayWu/FOCAL, 2bebdc9): pictures at 1024 x 1024, the truth (> 127) resized
    # to 1024 / gt_ratio with OpenCV's bilinear and cut at 127 again, the answer brought to that grid; macro F1 over the labels that
    # occur, 1 where both are empty; IoU of the forged class, 1 where the union is empty (its + 1e-6 in the denominator is left
    # out); mean over pictures.  gt_ratio is 16 for the ViT and the fusion, and 4 for HRNet alone.
    **{
        name: Protocol(
            name=name,
            columns=("macro_f1", "iou"),
            resize=1024,
            grid=grid,
            truth="bilinear",
            empty="count",
        )
        for name, grid in (("focal", 64), ("focal-256", 256))
    },
    # CFL-Net (WACV 2023), released code (niloy193/CFLNet, 4b02e66): 256 x 256 in the paper (224 in the configuration), truth by
    # OpenCV's nearest, per picture max(AUC, AUC of 1 - p), mean over pictures; an empty truth has no AUC and is skipped.
    "cfl-net": Protocol(
        name="cfl-net",
        columns=("flipped_auc", "auc"),
        resize=256,
        permute=True,
        by_probability=True,
    ),
    # NCL (ICCV 2023), notebook (Knightzjz/NCL-IML, e930593): 512 x 512 and argmax of two logits, which is p > 0.5.  F1 of the
    # forged class and AUC per forged picture is our reading, after SPAN and MVSS-Net: the paper names no average.
    "ncl": Protocol(
        name="ncl",
        columns=("f1", "auc"),
        resize=512,
        by_probability=True,
    ),
    # TruFor (CVPR 2023), test_docker/metrics.py (grip-unina/TruFor, 35b982a): native size, forged pictures only, truth eroded with
    # 15 x 15 or outside its dilation with 11 x 11 counts, the band between does not; max(F1, F1 of the inverse), at 0.5 and at the
    # picture's best threshold; mean over pictures.  A forgery that the erosion removes leaves nothing to find and is skipped.
    "trufor": Protocol(
        name="trufor",
        columns=("permute_f1", "best_permute_f1"),
        ignore_border=(15, 11),
        permute=True,
        by_probability=True,
    ),
    # IMDLBenCo (NeurIPS 2024), evaluation/F1.py (scu-zjz/IMDLBenCo, 0817a19): binary F1 of p > 0.5, padding left out, mean over
    # pictures; its 1e-8 in the denominators makes every picture without forged pixels worth 0, also a rightly empty answer.
    "imdlbenco": Protocol(
        name="imdlbenco",
        columns=("f1", "iou", "auc"),
        empty="zero",
        by_probability=True,
    ),
}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; ConfigError lists the known ones."""
    if name not in PROTOCOLS:
        raise ConfigError(f"--protocol: {unknown('protocol', name, PROTOCOLS)}")
    return PROTOCOLS[name]


def apply(
    protocol: Protocol, truth: BoolMap, score: Scores | None, mask: BoolMap | None
) -> tuple[BoolMap, Scores | None, BoolMap, BoolMap | None]:
    """Truth and answer as the protocol compares them.

    The answer's own mask goes before its scores, which need not be probabilities (those of clustering are distances); without a
    mask it is `score > threshold`, after resizing.

    Args:
        protocol: of PROTOCOLS.
        truth: H x W bool, at the picture's own size.
        score: H x W float32, 0..1, of the same size; None: there are none.
        mask: H x W bool, of the same size; None: there is none.

    Returns:
        truth, score, mask of side x side (H x W where the protocol is native), and where they count (None: everywhere).

    Raises:
        ValueError: neither score nor mask, or sizes differ.
    """
    if score is None and mask is None:
        raise ValueError("neither score nor mask; wanted at least one")
    for name, one in (("score", score), ("mask", mask)):
        if one is not None and one.shape != truth.shape:
            raise ValueError(f"{name} is {one.shape}, truth is {truth.shape}; wanted the same size")
    side = protocol.side
    if side is not None:
        truth = _half(truth, side) if protocol.truth == "bilinear" else nearest(truth, side)
        mask = None if mask is None else _half(mask, side)
        score = None if score is None else bilinear(score, side)
    if mask is None:
        assert score is not None
        mask = score > protocol.threshold
    return truth, score, mask, None if protocol.ignore_border is None else clear_of_border(truth, *protocol.ignore_border)


def clear_of_border(truth: BoolMap, erode: int, dilate: int) -> BoolMap:
    """H x W bool: pixels surely inside or surely outside the forged parts.

    Args:
        truth: H x W bool.
        erode: a forged pixel counts when all of the erode x erode pixels around it are forged.
        dilate: a pristine pixel counts when none of the dilate x dilate pixels around it is.
    """
    inside = ndimage.minimum_filter(truth, erode)  # beyond the picture's edge it is mirrored, as in TruFor's code
    outside = ~ndimage.maximum_filter(truth, dilate)
    clear: BoolMap = inside | outside
    return clear


def reported(protocol: Protocol, metrics: PixelMetrics) -> dict[str, float | None]:
    """The protocol's columns for one picture; None: it does not enter that column's mean.

    Args:
        protocol: of PROTOCOLS.
        metrics: of what `apply` returned.
    """
    return {column: settled(protocol, metrics.forged, getattr(metrics, column)) for column in protocol.columns}


def settled(protocol: Protocol, forged: int, value: float | None) -> float | None:
    """What a picture with so many forged pixels adds to a mean for the value that was measured on it; None: it does not enter."""
    if forged or protocol.empty == "count":
        return value
    return None if protocol.empty == "skip" or value is None else 0.0  # an AUC of one class stays undefined


def nearest(map_: BoolMap, side: int) -> BoolMap:
    """H x W bool -> side x side: row i is row floor(i H / side), as OpenCV's INTER_NEAREST has it; columns alike."""
    rows, columns = (np.arange(side) * length // side for length in map_.shape)
    resized: BoolMap = map_[rows[:, None], columns]
    return resized


def bilinear(map_: Scores, side: int) -> Scores:
    """H x W float -> side x side, read at the mapped pixel centres without antialiasing, as OpenCV's INTER_LINEAR does."""
    return sampled(map_.astype(np.float32, copy=False), side, side, Image.Resampling.BILINEAR)


def _half(map_: BoolMap, side: int) -> BoolMap:
    """Bilinear, then at least half: on bytes, which OpenCV rounds, that is the released code's > 127."""
    return bilinear(map_.astype(np.float32), side) >= 0.5
