"""FOCAL on EfficientNet, an extractor of the paper's ablation.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307, Table 2 ("EffNet"); the backbone is Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019, from timm.

The paper says neither which EfficientNet nor which of its maps.  `official` is B4, usual in forensics since Bonettini et al.,
"Video Face Manipulation Detection Through Ensemble of CNNs", ICPR 2020, on RGB in 0..1, with the maps at strides 4 to 32 mixed
into the 256 channels at stride 4 that the paper gives for HRNet; compact is B0 on the noise view.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from imgscan.models.pyramid import Pyramid, timm_pyramid


@dataclass(frozen=True)
class EfficientNetSize:
    """Everything that fixes the shape of a focal-efficientnet; written into the weights card as [backbone]."""

    trunk: str  # name of a timm EfficientNet
    dim: int  # D, channels of the feature map
    noise_view: bool  # True: the trunk sees the noise view; False: RGB


Size = EfficientNetSize
SIZES: dict[str, EfficientNetSize] = {
    "official": EfficientNetSize("efficientnet_b4", 256, False),
    "compact": EfficientNetSize("efficientnet_b0", 64, True),
    "tiny": EfficientNetSize("test_efficientnet", 16, True),
}
LEVELS = (1, 2, 3, 4)  # strides 4, 8, 16, 32; level 0 has stride 2


def build(size: EfficientNetSize) -> nn.Module:
    """The extractor with freshly initialised weights (timm's initialisation, no download)."""
    trunk, channels = timm_pyramid(size.trunk, "efficientnet", LEVELS, size.noise_view)
    return Pyramid(size, trunk, channels, size.dim, size.noise_view)
