"""NCL: forgery localization from scratch, by non-mutually exclusive contrast.

Zhou et al., "Pre-training-free Image Manipulation Localization through Non-Mutually Exclusive Contrastive Learning", ICCV 2023,
arXiv 2309.14900.  DeepLabV3+ (Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation",
ECCV 2018) on a ResNet-101, a contrastive loss on an early map of the encoder, a pivot network for the cells on the
contour (pivot.py), and classifiers on the way up.  The training code was never released; where the paper is silent:

* Separable convolutions, in DeepLabV3+'s title, are not used: as in the implementation NCL was derived from, with its keys
  (`backbone.*`, `aspp.*`, `decoder.*`) and its 59,339,426 parameters.
* "Block 1", after which the pivot acts, is conv1-BN-ReLU: 64 channels at stride 2, the first of the five stages of the ResNet
  paper; Table 6 counts up to a block 5, which layer1..layer4 alone do not have.
* "Upsampled twice by a factor of 4" is x2 to layer1's map, then x4: the only reading that leads from 64 to 512.
* Auxiliary classifiers: one 1x1 convolution each on the ASPP's map (stride 8) and on the same map upsampled (stride 4).

Nothing starts from other weights: that is the paper's point.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imgscan.errors import ConfigError, unknown
from imgscan.models.aspp import ASPP, kaiming
from imgscan.models.inputs import ImageNetScale, check_input
from imgscan.models.ncl_size import NCLSize
from imgscan.models.ncl_vit import ENCODERS, NCLViT
from imgscan.models.noise_view import CHANNELS, NoiseView
from imgscan.models.pivot import Pivot
from imgscan.models.resnet import TRUNKS, ResidualTrunk
from imgscan.models.segmentation import Segmentation, enlarge, sides

OUTPUT_STRIDE = 8

Size = NCLSize
SIZES: dict[str, NCLSize] = {
    "paper": NCLSize("resnet101", (1, 2, 4), 256, (12, 24, 36), 48),
    "paper-stage2": NCLSize("resnet101", (1, 2, 4), 256, (12, 24, 36), 48, tap=2),
    "paper-stage5": NCLSize("resnet101", (1, 2, 4), 256, (12, 24, 36), 48, tap=5),
    "paper-base": NCLSize("resnet101", (1, 2, 4), 256, (12, 24, 36), 48, pivot=False, aux=False),
    "vit": NCLSize("vit-small", (), 256, (), 0),
    "vit-stage5": NCLSize("vit-small", (), 256, (), 0, tap=5),  # "appending NCL to the output of the ViT", under Table 4
    "small": NCLSize("resnet18-half", (1, 2), 64, (12, 24, 36), 48),
    # With few steps: as "small", but told of JPEG histories and residuals (noise_view.py).  Rates for windows of 256 pixels.
    "compact": NCLSize("resnet18-half", (1, 2), 64, (3, 6, 12), 48, noise_view=True),
    "tiny": NCLSize("tiny", (1,), 16, (1, 2, 3), 8),
    "tiny-compact": NCLSize("tiny", (1,), 16, (1, 2, 3), 8, noise_view=True),
    "tiny-vit": NCLSize("vit-tiny", (), 16, (), 0),
}


class Decoder(nn.Module):
    """The head of DeepLabV3+: B x planes x h x w at layer1's resolution, and layer1's map -> B x 2 x h x w logits."""

    def __init__(self, early: int, skip: int, planes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(early, skip, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(skip)
        self.last_conv = nn.Sequential(
            nn.Conv2d(planes + skip, planes, 3, padding=1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(planes, planes, 3, padding=1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(planes, 2, 1),
        )
        kaiming(self)

    def forward(self, raised: Tensor, early: Tensor) -> Tensor:
        kept = self.bn1(self.conv1(early)).relu()
        logits: Tensor = self.last_conv(torch.cat((raised, kept), 1))
        return logits


class NCL(nn.Module):
    """B x 3 x H x W RGB in 0..1, sides multiples of 8 -> Segmentation.

    `features` is the tapped map as it is, B x D x H/s x W/s with s = `tap_stride`; `aux` has the logits at H/8 and H/4, or nothing.
    In train mode B >= 2 (see ASPP).  The pivot is called by the loss, with contour cells of `features`.

    Attributes:
        tap_stride, stride: input pixels a cell of `features`.
        dim: D.
        multiple: input sides are multiples of it.
        pivot: a Pivot, or None when switched off.
    """

    multiple = OUTPUT_STRIDE

    def __init__(self, size: NCLSize) -> None:
        super().__init__()
        if not 1 <= size.tap <= 5:
            raise ConfigError(f"tap of {size.trunk} is {size.tap}; wanted a stage of the ResNet, 1..5")
        self.size = size
        self.scale = ImageNetScale()
        self.view = NoiseView() if size.noise_view else None
        self.backbone = ResidualTrunk(size.trunk, OUTPUT_STRIDE, size.multi_grid, CHANNELS if size.noise_view else 3)
        channels = self.backbone.channels()
        self.dim = channels[size.tap - 1]
        self.stride = self.tap_stride = self.backbone.strides()[size.tap - 1]
        self.aspp = ASPP(channels[-1], size.planes, size.rates)
        self.decoder = Decoder(channels[1], size.skip, size.planes)
        self.aux = nn.ModuleList(nn.Conv2d(size.planes, 2, 1) for _ in range(2 * size.aux))
        kaiming(self.aux)
        self.pivot = Pivot(self.dim) if size.pivot else None

    def forward(self, rgb: Tensor) -> Segmentation:
        check_input(rgb, self.multiple)
        maps = self.backbone.stages(self.scale(rgb) if self.view is None else self.view(rgb))
        encoded = self.aspp(maps[-1])
        raised = enlarge(encoded, sides(maps[1]))
        logits = enlarge(self.decoder(raised, maps[1]).float(), sides(rgb))
        aux = tuple(classify(one).float() for classify, one in zip(self.aux, (encoded, raised), strict=False))
        return Segmentation(logits, aux, maps[self.size.tap - 1].float())


def build(size: NCLSize) -> nn.Module:
    """The network with freshly initialised weights, no download; the trunk's name decides whether it is a ResNet or a ViT."""
    if size.trunk in ENCODERS:
        return NCLViT(size)
    if size.trunk not in TRUNKS:
        raise ConfigError(unknown("trunk", size.trunk, [*TRUNKS, *ENCODERS]))
    return NCL(size)
