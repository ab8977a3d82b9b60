"""Prepare: a `Picture` as one network wants it, and the way back.

The input size decides more than the network: shrinking destroys the traces a forensic network looks for.  So the compact
networks get native pixels; beyond a limit the picture is cut into overlapping tiles (or shrunk, where a card says so).  The
official sizes get what they were trained on, 1024 x 1024 with the aspect ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from imgscan.opencv import resize_bilinear
from imgscan.records import Picture, Placement, Tensor


@dataclass(frozen=True)
class InputPlan:
    """[input] of a weights card."""

    mode: Literal["native", "resize"]  # resize: always to side x side, as the released FOCAL does
    side: int  # native: longest side in pixels of what is shown to the network at once; resize: the size
    beyond: Literal["tile", "shrink"] = "tile"  # native: what happens to larger pictures
    multiple: int = 32  # sides of the input are multiples of this
    overlap: int = 128  # pixels shared by neighbouring tiles
    resampler: Literal["torch", "opencv"] = "torch"  # resize: opencv to the bit, as the released code, or within a grey level of it


def prepare(picture: Picture, plan: InputPlan) -> Tensor:
    """Cut, shrink and pad.

    Returns:
        T x 3 x h x w uint8 tiles that start at multiples of `plan.multiple`, so that 8x8 blocks stay where they are.
    """
    rgb = torch.from_numpy(picture.rgb).permute(2, 0, 1)
    height, width = picture.height, picture.width
    if plan.mode == "resize":
        scaled = (plan.side, plan.side)
    elif plan.beyond == "shrink" and max(height, width) > plan.side:
        ratio = plan.side / max(height, width)
        scaled = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    else:
        scaled = (height, width)
    if plan.mode == "resize" and plan.resampler == "opencv":
        rgb = torch.from_numpy(resize_bilinear(picture.rgb, *scaled)).permute(2, 0, 1)
    elif scaled != (height, width):
        # The released FOCAL resizes with cv2's bilinear, which does not antialias; nor does this.
        small = F.interpolate(rgb[None].float(), size=scaled, mode="bilinear", align_corners=False)[0]
        rgb = small.round().to(torch.uint8)
    canvas = (_up(scaled[0], plan.multiple), _up(scaled[1], plan.multiple))
    down, right = canvas[0] - scaled[0], canvas[1] - scaled[1]
    if down or right:
        rgb = F.pad(rgb[None].float(), (0, right, 0, down), mode="replicate")[0].to(torch.uint8)
    tile = (_tile(canvas[0], plan), _tile(canvas[1], plan))
    corners = tuple((y, x) for y in _starts(canvas[0], tile[0], plan) for x in _starts(canvas[1], tile[1], plan))
    tiles = torch.stack([rgb[:, y : y + tile[0], x : x + tile[1]] for y, x in corners])
    return Tensor(tiles.contiguous(), Placement(height, width, scaled, canvas, tile, corners))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _tile(length: int, plan: InputPlan) -> int:
    """The length of a tile along one side: as few as fit, all about equally long, so that they overlap no more than asked for."""
    side = _up(plan.side, plan.multiple)
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
