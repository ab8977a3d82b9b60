"""Mix: the maps of several resolutions that a backbone leaves, as one map at the finest of them.

The head of HRNetV2 (Wang et al., "Deep High-Resolution Representation Learning", TPAMI 2020) in its lightest form: a 1x1
convolution for each map into the same D channels, bilinear upsampling, sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Mix(nn.ModuleList):
    """Maps B x C_i x h_i x w_i, finest first -> B x D x h_0 x w_0.  The keys in the state dict are `0.weight`, `0.bias`, ...

    Args:
        channels: C_i of each map.
        dim: D.
    """

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__(nn.Conv2d(c, dim, 1) for c in channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        # A 1x1 convolution commutes with upsampling: doing it first keeps the maps small.
        small = [convolution(one) for convolution, one in zip(self, maps, strict=True)]
        mixed: Tensor = small[0]
        for one in small[1:]:
            mixed = mixed + F.interpolate(one, size=mixed.shape[-2:], mode="bilinear", align_corners=False)
        return mixed
