"""A small mask head on the features of a FOCAL extractor: what clustering cannot say, whether anything is forged at all.

FOCAL (arXiv 2308.09307) leaves the decision to clustering, picture by picture, which always finds clusters.  This head, which is
ours, was shown untouched pictures too.  It judges a cell by its feature and by how that differs from the rest of the picture: the
mean of all cells, the absolute deviation from it, and what the cells hold on average after the first layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8  # input pixels a cell of the middle layers; finer features are averaged for them
WIDTH = 64  # channels of the middle layers
DILATIONS = (1, 2, 4)


class _Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.first_norm = nn.BatchNorm2d(WIDTH)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(inside)))


class MaskHead(nn.Module):
    """B x D x h x w features, not normalised -> B x 2 x h x w logits; channel 0 (pristine) is zero, channel 1 forged.

    Args:
        dim: D.
        stride: input pixels a feature cell, at most STRIDE.
    """

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.pool = max(1, STRIDE // stride)
        self.enter = nn.Conv2d(2 * dim, WIDTH, 1, bias=False)
        self.enter_norm = nn.BatchNorm2d(WIDTH)
        self.context = nn.Linear(2 * WIDTH, WIDTH)
        self.blocks = nn.Sequential(*(_Block(dilation) for dilation in DILATIONS))
        self.coarse = nn.Conv2d(WIDTH, 1, 1)
        self.fine = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        deviation = (features - features.mean((2, 3), keepdim=True)).abs()
        x = F.relu(self.enter_norm(self.enter(torch.cat((features, deviation), 1))))
        whole = self.context(torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1))
        x = F.relu(x + whole[:, :, None, None])
        middle = self.blocks(F.avg_pool2d(x, self.pool, ceil_mode=True) if self.pool > 1 else x)
        coarse = F.interpolate(self.coarse(middle).float(), size=x.shape[-2:], mode="bilinear", align_corners=False)
        forged = coarse + self.fine(x).float()
        return torch.cat((torch.zeros_like(forged), forged), 1)
