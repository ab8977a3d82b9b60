"""FOCAL on ConvNeXt, an extractor of the paper's ablation.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307, Table 2, where it is the weakest of five; the backbone is Liu et al., "A ConvNet for the 2020s", CVPR 2022, from timm.

The paper says neither which ConvNeXt nor which of its maps.  `official` is ConvNeXt-B on RGB in 0..1 with all four maps mixed into
the 256 channels at stride 4 that the paper gives for HRNet; compact sees the noise view, as the other compact extractors.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from imgscan.models.pyramid import Pyramid, timm_pyramid


@dataclass(frozen=True)
class ConvNeXtSize:
    """Everything that fixes the shape of a focal-convnext; written into the weights card as [backbone]."""

    trunk: str  # name of a timm ConvNeXt
    dim: int  # D, channels of the feature map
    noise_view: bool  # True: the trunk sees the noise view; False: RGB


Size = ConvNeXtSize
SIZES: dict[str, ConvNeXtSize] = {
    "official": ConvNeXtSize("convnext_base", 256, False),
    "compact": ConvNeXtSize("convnext_atto", 64, True),
    "tiny": ConvNeXtSize("test_convnext", 16, True),
}
LEVELS = (0, 1, 2, 3)  # strides 4, 8, 16, 32


def build(size: ConvNeXtSize) -> nn.Module:
    """The extractor with freshly initialised weights (timm's initialisation, no download)."""
    trunk, channels = timm_pyramid(size.trunk, "convnext", LEVELS, size.noise_view)
    return Pyramid(size, trunk, channels, size.dim, size.noise_view)
