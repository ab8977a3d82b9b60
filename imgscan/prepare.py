"""Prepare: a `Picture` as one network wants it, and the way back.

The input size decides more than the network: shrinking destroys the traces a forensic network looks for.  So the compact
networks get native pixels; beyond a limit the picture is cut into overlapping tiles, or shrunk, or, where a card says so, both: a
tile inside a large forgery, or beside it, has nothing to compare with.  The official sizes get what they were trained on,
1024 x 1024 with the aspect ignored.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from imgscan.decode import SMALLEST_SIDE
from imgscan.jpeg import MOST_SIDE
from imgscan.opencv import resize_bilinear
from imgscan.records import Picture, Placement, Tensor
from imgscan.typed import within

CONTROL_SIZE = 0.5  # sides of the control, of the picture's, ...
CONTROL_SIDE = 256  # ... but its longest side as many pixels, where the picture has them


@dataclass(frozen=True)
class InputPlan:
    """[input] of a weights card; InputError for a size that no picture can have."""

    mode: Literal["native", "resize"]  # resize: always to side x side, as the released FOCAL does
    side: int  # native: longest side in pixels of a tile; resize: the size
    whole: int = 0  # native: longest side of a picture that is shown as a whole, where that is more than `side`
    beyond: Literal["tile", "shrink", "both"] = "tile"  # native: what happens to larger pictures
    multiple: int = 32  # sides of the input are multiples of this
    overlap: int = 128  # pixels shared by neighbouring tiles
    resampler: Literal["torch", "opencv"] = "torch"  # resize: opencv to the bit, as the released code, or within a grey level of it
    control: int = 0  # native: JPEG quality of the control, a copy without traces (`_control`); 0: none

    def __post_init__(self) -> None:
        within(self, 1, None, "side", "multiple")
        within(self, 0, None, "whole", "overlap")
        within(self, 0, 100, "control")

    @property
    def step(self) -> int:
        """Pixels, of which the sides of everything that the network sees are multiples."""
        return self.multiple if self.mode == "native" else _up(self.side, self.multiple)


def prepare(picture: Picture, plan: InputPlan) -> Tensor:
    """Cut, shrink and pad.

    Returns:
        T x 3 x h x w uint8 tiles that start at multiples of `plan.multiple`, so that 8x8 blocks stay where they are; where tiles
        and the shrunk picture both count, with the latter as their overview; with the control that the plan wants.
    """
    shown = _shown(picture, plan)
    return replace(shown, control=_control(picture, plan)) if plan.control and plan.mode == "native" else shown


def _shown(picture: Picture, plan: InputPlan) -> Tensor:
    """The picture itself, and its overview."""
    rgb = torch.from_numpy(picture.rgb).permute(2, 0, 1)
    height, width = picture.height, picture.width
    most = max(plan.side, plan.whole)
    if plan.mode == "resize":
        size = (plan.side, plan.side)
        exact = plan.resampler == "opencv"
        small = torch.from_numpy(resize_bilinear(picture.rgb, *size)).permute(2, 0, 1) if exact else _resized(rgb, size)
        return _cut(small, picture, plan, plan.side)
    if max(height, width) <= most:
        return _cut(rgb, picture, plan, most)
    ratio = most / max(height, width)
    scaled = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    if plan.beyond == "shrink":
        return _cut(_resized(rgb, scaled), picture, plan, most)
    tiles = _cut(rgb, picture, plan, plan.side)
    if plan.beyond == "tile":
        return tiles
    smooth = np.array(Image.fromarray(picture.rgb).resize(scaled[::-1], Image.Resampling.LANCZOS))
    return replace(tiles, overview=_cut(torch.from_numpy(smooth).permute(2, 0, 1), picture, plan, most))


def _control(picture: Picture, plan: InputPlan) -> Tensor:
    """The picture at half its size, or at the most that is shown at once, saved at a low JPEG quality.

    What is pictured stays, its traces do not: neither those of the camera nor those of a forgery.  Of a small picture too much of
    what is pictured would go: its longest side keeps CONTROL_SIDE.
    """
    most = max(plan.side, plan.whole)
    short, long = sorted((picture.height, picture.width))
    wanted = min(max(CONTROL_SIZE, CONTROL_SIDE / long), most / long)
    ratio = min(1, max(wanted, SMALLEST_SIDE / short), MOST_SIDE / long)
    size = (round(picture.width * ratio), round(picture.height * ratio))
    file = io.BytesIO()
    small = Image.fromarray(picture.rgb).resize(size, Image.Resampling.BICUBIC)
    small.save(file, "JPEG", quality=plan.control)
    return _cut(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1), picture, plan, most)


def _resized(rgb: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The released FOCAL resizes with cv2's bilinear, which does not antialias; nor does this."""
    if tuple(rgb.shape[1:]) == size:
        return rgb
    return F.interpolate(rgb[None].float(), size=size, mode="bilinear", align_corners=False)[0].round().to(torch.uint8)


def _cut(rgb: torch.Tensor, picture: Picture, plan: InputPlan, side: int) -> Tensor:
    """3 x H x W, the picture or the picture scaled, padded and in tiles of at most `side` pixels."""
    scaled = (rgb.shape[1], rgb.shape[2])
    canvas = (_up(scaled[0], plan.multiple), _up(scaled[1], plan.multiple))
    tile = (_tile(canvas[0], plan, side), _tile(canvas[1], plan, side))
    corners = tuple((y, x) for y in _starts(canvas[0], tile[0], plan) for x in _starts(canvas[1], tile[1], plan))
    tiles = torch.empty(len(corners), rgb.shape[0], *tile, dtype=torch.uint8)
    for into, (y, x) in zip(tiles, corners, strict=True):
        shown = rgb[:, y : y + tile[0], x : x + tile[1]]
        high, wide = shown.shape[1:]
        into[:, :high, :wide] = shown
        into[:, high:, :wide] = into[:, high - 1 : high, :wide]  # what is beyond the picture repeats its edge
        into[:, :, wide:] = into[:, :, wide - 1 : wide]
    return Tensor(tiles, Placement(picture.height, picture.width, scaled, canvas, tile, corners))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _tile(length: int, plan: InputPlan, most: int) -> int:
    """The length of a tile along one side: as few as fit, all about equally long, so that they overlap no more than asked for."""
    side = _up(most, plan.multiple)
    if length <= side:
        return length
    count = -(-(length - plan.overlap) // (side - plan.overlap))
    return min(side, _up(-(-(length + (count - 1) * plan.overlap) // count), plan.multiple))


def _starts(length: int, tile: int, plan: InputPlan) -> list[int]:
    """Where tiles start along one side: as few as cover it with the overlap, the last one flush with the end."""
    if length <= tile:
        return [0]
    step = max(plan.multiple, (tile - plan.overlap) // plan.multiple * plan.multiple)
    return [*range(0, length - tile, step), length - tile]
