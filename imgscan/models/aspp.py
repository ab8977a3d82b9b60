"""ASPP, atrous spatial pyramid pooling: one map seen at several scales at once.

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation" (DeepLabV3), arXiv 1706.05587.  CFL-Net and NCL share
it; the names of its parts are those in the released weights of CFL-Net.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imgscan.errors import ConfigError
from imgscan.models.segmentation import enlarge, sides


class ASPP(nn.Module):
    """B x C x h x w -> B x planes x h x w: a 1x1 branch, three dilated 3x3 branches, the picture's mean; concatenated and reduced.

    Every convolution has no bias, a batch norm and a ReLU after it, and is drawn from Kaiming's normal.

    Args:
        channels: C.
        planes: channels of each branch and of the result.
        rates: dilations of the three 3x3 branches, in cells of the map.

    Raises:
        ConfigError: not three rates.
        ValueError: a batch of one in train mode, unless its batch norms are synchronised.
    """

    def __init__(self, channels: int, planes: int, rates: Sequence[int]) -> None:
        super().__init__()
        if len(rates) != 3:
            raise ConfigError(f"ASPP rates are {tuple(rates)}; wanted three, for the 3x3 branches")
        self.aspp1 = _branch(channels, planes, 1, 1)
        self.aspp2 = _branch(channels, planes, 3, rates[0])
        self.aspp3 = _branch(channels, planes, 3, rates[1])
        self.aspp4 = _branch(channels, planes, 3, rates[2])
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, planes, 1, bias=False), nn.BatchNorm2d(planes), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(5 * planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.dropout = nn.Dropout(0.5)
        kaiming(self)

    def forward(self, maps: Tensor) -> Tensor:
        shared = isinstance(self.global_avg_pool[2], nn.SyncBatchNorm)  # then the other devices bring further values
        if self.training and maps.shape[0] < 2 and not shared:
            raise ValueError(
                f"a batch of {maps.shape[0]} in train mode: the image-pooling branch has one value a picture and channel, "
                "and its batch norm needs two; train with batches of 2 or more (drop a last one of one), or call eval()"
            )
        pooled = enlarge(self.global_avg_pool(maps), sides(maps))
        seen = [self.aspp1(maps), self.aspp2(maps), self.aspp3(maps), self.aspp4(maps), pooled]
        reduced: Tensor = self.dropout(self.bn1(self.conv1(torch.cat(seen, 1))).relu())
        return reduced


def kaiming(module: nn.Module) -> None:
    """Draw every convolution of a module from Kaiming's normal, as the DeepLab code does with its heads."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)


def _branch(channels: int, planes: int, kernel: int, rate: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, planes, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
    return nn.Sequential(OrderedDict(atrous_conv=convolution, bn=nn.BatchNorm2d(planes), relu=nn.ReLU()))
