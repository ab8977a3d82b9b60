"""A FOCAL extractor on any backbone that leaves maps at strides 4, 8, 16 and 32; the ablation's extractors are made of it.

Wu, Chen, Zhou, arXiv 2308.09307, section 4.4.1: "the extractor backbone in FOCAL can be flexibly replaced".  The maps are mixed
exactly as those of focal_hrnet.py, so that a comparison of backbones compares backbones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from imgscan.errors import ConfigError, unknown
from imgscan.models.inputs import check_input
from imgscan.models.mix import Mix
from imgscan.models.noise_view import CHANNELS, NoiseView


class Pyramid(nn.Module):
    """B x 3 x H x W RGB in 0..1 (H and W multiples of 32) -> B x D x H/4 x W/4, unit vectors along D.

    Args:
        size: the size it is built from, kept as it is.
        trunk: B x C x H x W -> four maps at strides 4, 8, 16 and 32, with C = 3 or noise_view.CHANNELS.
        channels: of those maps.
        dim: D.
        noise_view: whether the trunk sees the noise view instead of RGB.
    """

    stride = 4
    multiple = 32

    def __init__(self, size: Any, trunk: nn.Module, channels: Sequence[int], dim: int, noise_view: bool) -> None:
        super().__init__()
        self.size = size
        self.view = NoiseView() if noise_view else nn.Identity()
        self.trunk = trunk
        self.mix = Mix(channels, dim)

    def forward(self, rgb: Tensor) -> Tensor:
        check_input(rgb, self.multiple)
        mixed = self.mix(self.trunk(self.view(rgb)))
        return F.normalize(mixed.float(), dim=1, eps=1e-6)


@dataclass(frozen=True)
class TimmSize:
    """Everything that fixes the shape of an extractor on a backbone of timm; written into the weights card as [backbone]."""

    trunk: str  # name of a timm model
    dim: int  # D, channels of the feature map
    noise_view: bool  # True: the trunk sees the noise view; False: RGB


def timm_pyramid(size: TimmSize, family: str, levels: tuple[int, ...]) -> Pyramid:
    """The extractor with freshly initialised weights (timm's initialisation, no download).

    Args:
        size: what to build.
        family: timm's module that has to hold its trunk: convnext, efficientnet, ...
        levels: which maps of the trunk, by timm's count.

    Raises:
        ConfigError: no such model in that family.
    """
    if size.trunk not in (known := timm.list_models(module=family)):
        raise ConfigError(unknown(f"{family} trunk", size.trunk, known))
    trunk: Any = timm.create_model(
        size.trunk, pretrained=False, features_only=True, out_indices=levels, in_chans=CHANNELS if size.noise_view else 3
    )
    return Pyramid(size, trunk, tuple(trunk.feature_info.channels()), size.dim, size.noise_view)
