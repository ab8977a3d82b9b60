"""FOCAL on ConvNeXt, an extractor of the paper's ablation.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307, Table 2, where it is the weakest of five; the backbone is Liu et al., "A ConvNet for the 2020s", CVPR 2022, from timm.

The paper says neither which ConvNeXt nor which of its maps.  `official` is ConvNeXt-B on RGB in 0..1 with all four maps mixed into
the 256 channels at stride 4 that the paper gives for HRNet; compact sees the noise view, as the other compact extractors.
"""

from __future__ import annotations

from torch import nn

from imgscan.models.pyramid import TimmSize, timm_pyramid

Size = TimmSize
SIZES: dict[str, TimmSize] = {
    "official": TimmSize("convnext_base", 256, False),
    "compact": TimmSize("convnext_atto", 64, True),
    "tiny": TimmSize("test_convnext", 16, True),
}
LEVELS = (0, 1, 2, 3)  # strides 4, 8, 16, 32


def build(size: TimmSize) -> nn.Module:
    """The extractor with freshly initialised weights (timm's initialisation, no download)."""
    return timm_pyramid(size, "convnext", LEVELS)
