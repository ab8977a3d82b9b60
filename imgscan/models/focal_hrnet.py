"""FOCAL's HRNet extractor.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering" (FOCAL), arXiv
2308.09307; the backbone is Wang et al., "Deep High-Resolution Representation Learning", TPAMI 2020.  The trunk comes from timm,
whose keys and outputs equal those of the released FOCAL code.

Two shapes of one network:

* `official`: HRNet-W32, the highest-resolution branch of stage 4 after its ReLU, 32 channels at stride 4 (the paper says 256
  channels, the released weights fit only 32).  Input: RGB in 0..1, no mean and no standard deviation.  Fresh weights are PyTorch's
  own, as in the released code, and not timm's, whose convolutions begin at up to two and a half times the size.
* compact: a small HRNet that looks at the fixed noise view (noise_view.py) and mixes all four branches into one map, as the
  HRNetV2 head for segmentation does.  Why not the first branch alone: it ends in a ReLU, and 16 non-negative numbers leave little
  room for a contrast of directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from timm.models.hrnet import HighResolutionNetFeatures, cfg_cls
from torch import Tensor, nn

from imgscan.models.inputs import check_input
from imgscan.models.mask_head import MaskHead
from imgscan.models.mix import Mix
from imgscan.models.noise_view import USUAL, NoiseView
from imgscan.models.segmentation import Segmentation


@dataclass(frozen=True)
class HRNetSize:
    """Everything that fixes the shape of a focal-hrnet; written into the weights card as [backbone]."""

    trunk: str  # name of a timm HRNet configuration, or "tiny"
    dim: int  # D, channels of the feature map
    mixed: bool  # True: all branches through 1x1 convolutions into D channels; False: the first branch as it is
    noise_view: bool  # True: the trunk sees a noise view; False: RGB
    head: bool = False  # True: a mask head beside the features (mask_head.py); not in the paper
    parts: tuple[str, ...] = USUAL  # of the noise view, names of noise_view.PARTS


Size = HRNetSize
SIZES: dict[str, HRNetSize] = {
    "official": HRNetSize(trunk="hrnet_w32", dim=32, mixed=False, noise_view=False),
    "compact": HRNetSize(trunk="hrnet_w18_small", dim=64, mixed=True, noise_view=True),
    # For the table "The noise view" of train/README.md: its parts one by one.
    **{
        f"compact-{'-'.join(parts)}": HRNetSize("hrnet_w18_small", 64, mixed=True, noise_view=True, parts=parts)
        for parts in (
            ("rgb",),
            ("rgb", "srm"),
            ("rgb", "luma", "chroma"),
            ("rgb", "phase"),
            ("rgb", "constrained"),
            (*USUAL, "phase"),
            (*USUAL, "constrained"),
        )
    },
    "headed": HRNetSize(trunk="hrnet_w18_small", dim=64, mixed=True, noise_view=True, head=True),
    "headed-traces": HRNetSize(  # no colours: train/README.md, "A network without colours"
        "hrnet_w18_small", dim=64, mixed=True, noise_view=True, head=True, parts=("srm", "luma", "chroma", "phase", "constrained")
    ),
    # Deeper trunks, for a GPU: train/README.md, "On a GPU".
    "headed-large": HRNetSize(
        "hrnet_w18_small_v2", dim=64, mixed=True, noise_view=True, head=True, parts=(*USUAL, "phase", "constrained")
    ),
    "headed-large-traces": HRNetSize(
        "hrnet_w18_small_v2", dim=64, mixed=True, noise_view=True, head=True, parts=(*USUAL[1:], "phase", "constrained")
    ),
    "tiny": HRNetSize(trunk="tiny", dim=16, mixed=True, noise_view=True),
    "tiny-headed": HRNetSize(trunk="tiny", dim=16, mixed=True, noise_view=True, head=True),
}

STRIDE = 4  # input pixels per feature cell
MULTIPLE = 32  # input sides must be multiples of this: the lowest branch has stride 32


def _stage(block: str, channels: tuple[int, ...]) -> dict[str, object]:
    return {
        "num_modules": 1,
        "num_branches": len(channels),
        "block_type": block,
        "num_blocks": (1,) * len(channels),
        "num_channels": channels,
        "fuse_method": "SUM",
    }


# For tests: every part of the real network, a hundredth of its weights.
_TINY_TRUNK = {
    "stem_width": 8,
    "stage1": _stage("BOTTLENECK", (4,)),
    "stage2": _stage("BASIC", (4, 8)),
    "stage3": _stage("BASIC", (4, 8, 8)),
    "stage4": _stage("BASIC", (4, 8, 8, 8)),
}


class FocalHRNet(nn.Module):
    """B x 3 x H x W RGB in 0..1 (H and W multiples of 32) -> B x D x H/4 x W/4, unit vectors along D.

    With a head: a Segmentation with logits B x 2 x H/4 x W/4 and these features.
    """

    stride = STRIDE
    multiple = MULTIPLE

    def __init__(self, size: HRNetSize) -> None:
        super().__init__()
        self.size = size
        self.view = NoiseView(size.parts) if size.noise_view else nn.Identity()
        config = _TINY_TRUNK if size.trunk == "tiny" else cfg_cls[size.trunk]
        self.trunk = HighResolutionNetFeatures(  # type: ignore[no-untyped-call]
            config,
            in_chans=self.view.channels if isinstance(self.view, NoiseView) else 3,
            feature_location="",
            out_indices=(1, 2, 3, 4) if size.mixed else (1,),
        )
        if not size.mixed:
            # timm's last module also fuses to the lower branches, which nothing reads here and the released weights do not have.
            last: Any = self.trunk.stage4[-1]
            last.fuse_layers = nn.ModuleList([last.fuse_layers[0]])
            for part in self.trunk.modules():
                if isinstance(part, nn.Conv2d):
                    part.reset_parameters()
        stage4 = config["stage4"]
        assert isinstance(stage4, dict)
        branches = stage4["num_channels"]
        self.mix = Mix(branches, size.dim) if size.mixed else None
        self.head = MaskHead(size.dim, self.stride) if size.head else None

    def forward(self, rgb: Tensor) -> Tensor | Segmentation:
        check_input(rgb, self.multiple)
        branches = self.trunk(self.view(rgb))
        mixed = branches[0] if self.mix is None else self.mix(branches)
        features = F.normalize(mixed.float(), dim=1, eps=1e-6)
        return features if self.head is None else Segmentation(self.head(mixed), (), features)


def build(size: HRNetSize) -> nn.Module:
    """The extractor with freshly initialised weights, no download; by timm's rules but for `official`."""
    return FocalHRNet(size)
