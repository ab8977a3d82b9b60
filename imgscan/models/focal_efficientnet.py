"""FOCAL on EfficientNet, an extractor of the paper's ablation.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307, Table 2 ("EffNet"); the backbone is Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019, from timm.

The paper says neither which EfficientNet nor which of its maps.  `official` is B4, usual in forensics since Bonettini et al.,
"Video Face Manipulation Detection Through Ensemble of CNNs", ICPR 2020, on RGB in 0..1, with the maps at strides 4 to 32 mixed
into the 256 channels at stride 4 that the paper gives for HRNet; compact is B0 on the noise view.
"""

from __future__ import annotations

from torch import nn

from imgscan.models.pyramid import TimmSize, timm_pyramid

Size = TimmSize
SIZES: dict[str, TimmSize] = {
    "official": TimmSize("efficientnet_b4", 256, False),
    "compact": TimmSize("efficientnet_b0", 64, True),
    "tiny": TimmSize("test_efficientnet", 16, True),
}
LEVELS = (1, 2, 3, 4)  # strides 4, 8, 16, 32; level 0 has stride 2


def build(size: TimmSize) -> nn.Module:
    """The extractor with freshly initialised weights (timm's initialisation, no download)."""
    return timm_pyramid(size, "efficientnet", LEVELS)
