"""FOCAL's ViT extractor: the windowed image encoder of Segment Anything.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307; the backbone is Kirillov et al., "Segment Anything", ICCV 2023, after Li et al., "Exploring Plain Vision Transformer
Backbones for Object Detection", ECCV 2022.  The encoder comes from timm, with parity to the released FOCAL code.

* `official`: SAM ViT-L with its neck, 256 channels at stride 16, input exactly 1024 x 1024 RGB in 0..1, no normalisation (the
  paper says 128 x 128 x 512; the released code answers 64 x 64 x 256).
* compact: the same encoder with patches of 8 x 8, so that a token is a JPEG block, seeing the fixed noise view, and without
  position tables: a trace does not depend on where in the picture it is, and the network then takes any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn

from imgscan.models.mask_head import MaskHead
from imgscan.models.noise_view import CHANNELS, NoiseView
from imgscan.models.segmentation import Segmentation


@dataclass(frozen=True)
class ViTSize:
    """Everything that fixes the shape of a focal-vit; written into the weights card as [backbone]."""

    patch: int  # pixels a side of a token, which is also the stride
    width: int  # channels inside the transformer
    depth: int  # blocks
    heads: int
    window: int  # tokens a side of an attention window
    global_blocks: tuple[int, ...]  # 0-based blocks that attend over the whole picture
    dim: int  # D, channels of the neck and of the feature map
    positions: int  # side in pixels that fixes the position tables; 0: no tables, any size
    noise_view: bool  # True: patches of the noise view; False: of RGB
    head: bool = False  # True: a mask head beside the features (mask_head.py); not in the paper


Size = ViTSize
SIZES: dict[str, ViTSize] = {
    "official": ViTSize(16, 1024, 24, 16, 14, (5, 11, 17, 23), 256, 1024, False),
    "compact": ViTSize(8, 192, 4, 3, 8, (1, 3), 64, 0, True),
    "headed": ViTSize(8, 192, 4, 3, 8, (1, 3), 64, 0, True, head=True),
    "tiny": ViTSize(8, 16, 2, 2, 4, (1,), 16, 0, True),
    "tiny-headed": ViTSize(8, 16, 2, 2, 4, (1,), 16, 0, True, head=True),
}


class FocalViT(nn.Module):
    """B x 3 x H x W RGB in 0..1 -> B x D x H/patch x W/patch, unit vectors along D.

    H and W are multiples of the patch; with position tables they are exactly `positions`.  With a head: a Segmentation with logits
    B x 2 x H/patch x W/patch and these features.
    """

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.size = size
        self.stride = size.patch
        self.multiple = size.positions or size.patch
        self.view = NoiseView() if size.noise_view else nn.Identity()
        self.trunk = VisionTransformerSAM(
            img_size=size.positions or 256,
            patch_size=size.patch,
            in_chans=CHANNELS if size.noise_view else 3,
            num_classes=0,
            global_pool="",
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            window_size=size.window,
            global_attn_indexes=size.global_blocks,
            use_abs_pos=bool(size.positions),
            use_rel_pos=bool(size.positions),
            neck_chans=size.dim,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type]  # timm calls it with the width
        )

        self.head = MaskHead(size.dim, size.patch) if size.head else None

    def forward(self, rgb: Tensor) -> Tensor | Segmentation:
        sides = rgb.shape[-2:]
        fits = set(sides) == {self.size.positions} if self.size.positions else not any(s % self.multiple for s in sides)
        if rgb.ndim != 4 or rgb.shape[1] != 3 or not fits or not rgb.numel():
            wanted = f"= {self.size.positions}" if self.size.positions else f"multiples of {self.multiple}"
            raise ValueError(f"input is {tuple(rgb.shape)}; wanted B x 3 x H x W with H and W {wanted}")
        mixed: Tensor = self.trunk.forward_features(self.view(rgb))  # type: ignore[no-untyped-call]
        features = F.normalize(mixed.float(), dim=1, eps=1e-6)
        return features if self.head is None else Segmentation(self.head(mixed), (), features)


def build(size: ViTSize) -> nn.Module:
    """The extractor with freshly initialised weights (timm's initialisation, no download)."""
    return FocalViT(size)
