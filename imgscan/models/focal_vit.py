"""FOCAL's ViT extractor: the windowed image encoder of Segment Anything.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307; the backbone is Kirillov et al., "Segment Anything", ICCV 2023, after Li et al., "Exploring Plain Vision Transformer
Backbones for Object Detection", ECCV 2022.  The encoder comes from timm, with parity to the released FOCAL code.

* `official`: SAM ViT-L with its neck, 256 channels at stride 16, input exactly 1024 x 1024 RGB in 0..1, no normalisation (the
  paper says 128 x 128 x 512; the released code answers 64 x 64 x 256).
* compact: the same encoder with patches of 8 x 8, so that a token is a JPEG block, seeing the fixed noise view, and without
  position tables: a trace does not depend on where in the picture it is, and the network then takes any size.  Its global blocks
  attend to a grid of tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer_sam import Attention, VisionTransformerSAM
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
    most_keys: int = 0  # global blocks attend to a grid of at most so many tokens; 0: to all


Size = ViTSize
SIZES: dict[str, ViTSize] = {
    "official": ViTSize(16, 1024, 24, 16, 14, (5, 11, 17, 23), 256, 1024, False),
    "compact": ViTSize(8, 192, 4, 3, 8, (1, 3), 64, 0, True, most_keys=576),
    "headed": ViTSize(8, 192, 4, 3, 8, (1, 3), 64, 0, True, head=True, most_keys=576),
    "tiny": ViTSize(8, 16, 2, 2, 4, (1,), 16, 0, True),
    "tiny-headed": ViTSize(8, 16, 2, 2, 4, (1,), 16, 0, True, head=True),
}


class GridAttention(nn.Module):
    """Global attention to the tokens of a grid, every n-th down and across, instead of to all.

    Every token still asks, but the mean that it gets is over an even sample of the others, so that the cost grows with the number
    of tokens and not with its square: a picture of 768 x 768 pixels has 9,216 tokens of 8 x 8.  Not in the papers;
    man/open-weights.md has what it saves and costs.  Where sizes are unknown (torch.export with dynamic ones) all are attended to.

    Input: B x h x w x C tokens.  Output: the same shape.

    Args:
        whole: the attention whose weights it has, under the same names.
        most: keys, >= 1; the grid is the finest that has no more.
    """

    def __init__(self, whole: Attention, most: int) -> None:
        super().__init__()
        self.qkv, self.proj = whole.qkv, whole.proj
        self.heads, self.most = whole.num_heads, most

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns, width = x.shape
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            # Then a shape holds tensors; a trace is of one size anyway.
            batch, rows, columns, width = (int(length) for length in x.shape)
        step, known = 1, isinstance(rows, int) and isinstance(columns, int)
        while known and math.ceil(rows / step) * math.ceil(columns / step) > self.most:
            step += 1
        top, left = (min(step // 2, length - 1) for length in (rows, columns))  # no side is preferred
        sampled = x[:, top::step, left::step]
        weight, bias = self.qkv.weight, self.qkv.bias
        queries = self._by_head(F.linear(x, weight[:width], bias[:width]))
        keys, values = F.linear(sampled, weight[width:], bias[width:]).chunk(2, -1)
        seen = F.scaled_dot_product_attention(queries, self._by_head(keys), self._by_head(values))
        mixed: Tensor = self.proj(seen.transpose(1, 2).reshape(batch, rows, columns, width))
        return mixed

    def _by_head(self, tokens: Tensor) -> Tensor:
        """B x h x w x C -> B x heads x (h w) x C / heads."""
        batch, rows, columns, _ = tokens.shape
        return tokens.reshape(batch, rows * columns, self.heads, -1).transpose(1, 2)


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
        if size.most_keys:
            for number in size.global_blocks:
                block: Any = self.trunk.blocks[number]
                block.attn = GridAttention(block.attn, size.most_keys)
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
    """The extractor with fresh weights, no download: PyTorch's own, and zeros in the position tables, as in the released code."""
    return FocalViT(size)
