"""What happens to a training picture and its mask before they are resized.

The list of FOCAL's released training code (Wu, Chen, Zhou, arXiv 2308.09307; the paper does not mention it), which names members of
the library albumentations with its defaults of 2023.  Here it is own code: the library renamed its arguments since, and the list
is short.

Pictures are H x W x 3 uint8 RGB, labels H x W uint8.  Every step is (rgb, labels, rng) -> (rgb, labels).  Geometric steps move
both, labels by nearest neighbour; whatever lies outside the picture is reflected without repeating the edge (reflect-101).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from imgscan.datasets.degradations import DEGRADATIONS, Array, Step, sampled, to_bytes
from imgscan.datasets.forge import jpeg

OFTEN = 0.75  # probability of the list itself and of most of its entries
SELDOM = 0.25  # probability of the degradations


def shrink(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Scale by 0.5 to 1.0, bilinear without antialiasing (as OpenCV does it, where Pillow's resize would smooth)."""
    scale = rng.uniform(0.5, 1.0)
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    # In float, channel by channel: on bytes Pillow cuts the fraction off, half a grey level on average.
    planes = [sampled(plane, height, width, Image.Resampling.BILINEAR) for plane in np.moveaxis(rgb.astype(np.float32), 2, 0)]
    return to_bytes(np.stack(planes, axis=2)), sampled(labels, height, width, Image.Resampling.NEAREST)


def pad(rgb: Array, labels: Array, side: int) -> tuple[Array, Array]:
    """Reflect around the middle up to side x side; larger pictures stay as they are."""
    missing = [max(0, side - length) for length in labels.shape]
    around = [(lack // 2, lack - lack // 2) for lack in missing]
    return np.pad(rgb, [*around, (0, 0)], mode="reflect"), np.pad(labels, around, mode="reflect")


def mirror_horizontal(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Left becomes right."""
    return rgb[:, ::-1], labels[:, ::-1]


def mirror_vertical(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Top becomes bottom."""
    return rgb[::-1], labels[::-1]


def quarter_turns(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """0 to 3 quarter turns; the library counts the turn by nothing as one of four."""
    times = int(rng.integers(4))
    return np.rot90(rgb, times), np.rot90(labels, times)


def transpose(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows become columns."""
    return rgb.swapaxes(0, 1), labels.T


def compress(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """JPEG, quality 50 to 95, 4:2:0."""
    return jpeg(rgb, int(rng.integers(50, 96))), labels


TURNS: dict[str, Step] = {
    "mirror-horizontal": mirror_horizontal,
    "mirror-vertical": mirror_vertical,
    "quarter-turns": quarter_turns,
    "transpose": transpose,
}


def focal_augment(rgb: Array, labels: Array, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """FOCAL's list: with probability 0.75 its steps in turn (each entry with its own probability), else the picture as it is.

    shrink 0.75 | pad to side x side | one of TURNS 0.75 | JPEG 0.75 | one of the DEGRADATIONS 0.25: a group, then a member of it,
    each with equal chance.

    Args:
        rgb: H x W x 3 uint8.
        labels: H x W uint8.
        side: of the picture the network is trained on.
        rng: the same state gives the same answer.

    Returns:
        The two at a size of their own, at least side x side when the steps were taken; the caller resizes.

    Raises:
        ValueError: arrays of another shape or dtype.
    """
    _check(rgb, labels)
    if rng.random() >= OFTEN:
        return rgb, labels
    if rng.random() < OFTEN:
        rgb, labels = shrink(rgb, labels, rng)
    rgb, labels = pad(rgb, labels, side)
    if rng.random() < OFTEN:
        rgb, labels = _one_of(TURNS, rng)(rgb, labels, rng)
    rgb, labels = np.ascontiguousarray(rgb), np.ascontiguousarray(labels)
    if rng.random() < OFTEN:
        rgb, labels = compress(rgb, labels, rng)
    if rng.random() < SELDOM:
        group = list(DEGRADATIONS.values())[rng.integers(len(DEGRADATIONS))]
        rgb, labels = _one_of(group, rng)(rgb, labels, rng)
    return rgb, labels


def flip(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Left becomes right with probability 0.5: all that NCL does (Zhou et al., ICCV 2023).

    Args:
        rgb: H x W x 3 uint8.
        labels: H x W uint8.
        rng: the same state gives the same answer.

    Raises:
        ValueError: arrays of another shape or dtype.
    """
    _check(rgb, labels)
    if rng.random() < 0.5:
        rgb, labels = mirror_horizontal(rgb, labels, rng)
    return np.ascontiguousarray(rgb), np.ascontiguousarray(labels)


def flip_any(rgb: Array, labels: Array, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """`flip` with the signature of the table; `side` is not used."""
    return flip(rgb, labels, rng)


def leave(rgb: Array, labels: Array, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """No augmentation: CFL-Net's released code has none (Niloy et al., WACV 2023)."""
    _check(rgb, labels)
    return rgb, labels


AUGMENTATIONS: dict[str, Callable[[Array, Array, int, np.random.Generator], tuple[Array, Array]]] = {
    "none": leave,
    "flip": flip_any,
    "focal": focal_augment,
}


def _one_of(steps: dict[str, Step], rng: np.random.Generator) -> Step:
    return list(steps.values())[rng.integers(len(steps))]


def _check(rgb: Array, labels: Array) -> None:
    """Raise ValueError unless they are H x W x 3 and H x W uint8."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or labels.shape != rgb.shape[:2] or not labels.size:
        raise ValueError(f"rgb {rgb.shape}, labels {labels.shape}; wanted H x W x 3 and H x W")
    if rgb.dtype != np.uint8 or labels.dtype != np.uint8:
        raise ValueError(f"rgb of {rgb.dtype}, labels of {labels.dtype}; wanted uint8")
