"""FOCAL on the Mix Transformer, an extractor of the paper's ablation; needs the extra `imgscan[mit]`.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307, Table 2; the backbone is Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021, Table 6.  timm has none, so it comes from transformers, which is imported when a network is built and
not before; it is made from its configuration, never downloaded.

The paper does not say which MiT: `official` is MiT-B2, the nearest in size to HRNet-W32, on RGB in 0..1 with all four maps mixed
into the 256 channels at stride 4 that the paper gives for HRNet; compact is MiT-B0 on the noise view.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from imgscan.errors import InputError
from imgscan.models.noise_view import CHANNELS
from imgscan.models.pyramid import Pyramid


@dataclass(frozen=True)
class MiTSize:
    """Everything that fixes the shape of a focal-mit; written into the weights card as [backbone].  Four stages each."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    dim: int  # D, channels of the feature map
    noise_view: bool  # True: the trunk sees the noise view; False: RGB


Size = MiTSize
SIZES: dict[str, MiTSize] = {
    "official": MiTSize((64, 128, 320, 512), (3, 4, 6, 3), (1, 2, 5, 8), 256, False),
    "compact": MiTSize((32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8), 64, True),
    "tiny": MiTSize((8, 16, 16, 16), (1, 1, 1, 1), (1, 2, 2, 2), 16, True),
}


class MixTransformer(nn.Module):
    """B x C x H x W, sides multiples of 32 -> four maps at strides 4, 8, 16 and 32."""

    def __init__(self, size: MiTSize) -> None:
        super().__init__()
        transformers = _transformers()
        config = transformers.SegformerConfig(
            num_channels=CHANNELS if size.noise_view else 3,
            hidden_sizes=list(size.widths),
            depths=list(size.depths),
            num_attention_heads=list(size.heads),
            # Dropping paths blurs the contrast of single pixels for no gain in a short training; the other extractors have none.
            drop_path_rate=0.0,
        )
        self.encoder: nn.Module = transformers.SegformerModel(config)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = self.encoder(pictures, output_hidden_states=True, return_dict=True).hidden_states
        return maps


def _transformers() -> Any:
    """The module, or the line that says how to get it."""
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise  # it is there, but broken: hiding that would send the user in circles
        raise InputError("focal-mit needs the extra: pip install 'imgscan[mit]'") from error


def build(size: MiTSize) -> nn.Module:
    """The extractor with freshly initialised weights (no download).

    Raises:
        InputError: transformers is not installed.
    """
    return Pyramid(size, MixTransformer(size), size.widths, size.dim, size.noise_view)
