"""What the networks with a mask head answer (cfl_net.py, ncl.py, FOCAL extractors with a mask_head.py); a FOCAL extractor without a
head answers one tensor of unit vectors."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Segmentation(NamedTuple):
    """The answer of a segmentation network, in train and in eval mode alike.  softmax(logits)[:, 1] is the forged probability."""

    logits: Tensor  # B x 2 x H x W float32 at the input's size (mask_head.py: the features'); channel 0 pristine, 1 forged
    aux: tuple[Tensor, ...]  # B x 2 x h x w float32 logits of smaller supervised maps, coarse to fine; may be empty
    features: Tensor  # B x D x h' x w' float32, not normalised: the map that the contrastive loss is taken on


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """B x C x h x w -> B x C x size, bilinear with aligned corners, as the DeepLab family does between its maps."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def sides(maps: Tensor, times: float = 1) -> tuple[int, int]:
    """Height and width of B x C x h x w, multiplied: sides(x, 0.25) is a quarter of each."""
    return int(maps.shape[-2] * times), int(maps.shape[-1] * times)
