"""CFL-Net, the Contrastive Forgery Localization Network.

Niloy, Bhaumik, Woo, "CFL-Net: Image Forgery Localization Using Contrastive Learning", WACV 2023, arXiv 2210.02182.  Two residual
streams, one on the picture and one on its SRM noise residuals (Fridrich and Kodovsky, "Rich Models for Steganalysis", IEEE TIFS
2012; three kernels as in Zhou et al., CVPR 2018), are concatenated, pass an ASPP and end in a segmentation head and a projection
head; the contrastive loss is taken on the projection.

Where paper and released code differ, this is the released code, so that its weights load key for key:

* The ASPP rates are those of a map at stride 16, applied to one at stride 32.
* The projection is 256 x H/8 x W/8 (the paper says H x W); enlarging it is left to the loss, which averages it over patches.
* The SRM bank sums over the three channels, sees the normalised picture and truncates nothing.
* The head has no skip from early layers and no ReLU between its two convolutions.
* The released weights were trained on the order blue, green, red with the constants of red, green, blue: `channel_order` "bgr"
  turns our RGB input round for them.  Own trainings use "rgb".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imgscan.errors import ConfigError, unknown
from imgscan.models.aspp import ASPP
from imgscan.models.inputs import ImageNetScale, check_input
from imgscan.models.noise_view import CHANNELS, NoiseView
from imgscan.models.resnet import ResidualTrunk
from imgscan.models.segmentation import Segmentation, enlarge, sides

UPSAMPLING = 4  # of the ASPP's map, before the heads
_TURNED = {"rgb": False, "bgr": True}


@dataclass(frozen=True)
class CFLNetSize:
    """Everything that fixes the shape and the answer of a cfl-net; written into the weights card as [backbone]."""

    trunk: str  # of both streams; a name of resnet.TRUNKS
    output_stride: int  # input pixels a cell of the streams' last map: 8, 16 or 32
    planes: int  # channels of the ASPP and inside the heads
    rates: tuple[int, ...]  # dilations of the ASPP's three 3x3 branches, in those cells
    dim: int  # D, channels of the projection
    channel_order: str = "rgb"  # in which the weights were trained: "rgb" or "bgr"; the input is RGB either way
    noise_view: bool = False  # True: the second stream sees noise_view.CHANNELS channels, ours; False: three SRM residuals


Size = CFLNetSize
SIZES: dict[str, CFLNetSize] = {
    "official": CFLNetSize("resnet50", 32, 512, (6, 12, 18), 256),
    # As the released weights want it: a training that starts from them goes on in their order.
    "official-bgr": CFLNetSize("resnet50", 32, 512, (6, 12, 18), 256, channel_order="bgr"),
    # Output stride 16, so that after the x4 a cell is 4 x 4 pixels, the very patch of the contrastive loss: no vector of it is
    # an interpolation.  Rates halved: at 256 pixels the map has 16 cells a side, and rate 18 would see padding only.
    "small": CFLNetSize("resnet18-half", 16, 128, (3, 6, 9), 256),
    # Without ImageNet and with few steps: as "small", but the second stream is told of JPEG histories too (noise_view.py).
    "compact": CFLNetSize("resnet18-half", 16, 128, (3, 6, 9), 64, noise_view=True),
    "tiny": CFLNetSize("tiny", 16, 16, (1, 2, 3), 16),
    "tiny-compact": CFLNetSize("tiny", 16, 16, (1, 2, 3), 16, noise_view=True),
}


class CFLNet(nn.Module):
    """B x 3 x H x W RGB in 0..1, sides multiples of the output stride -> Segmentation without aux.

    `features` is the projection, B x D x H/s x W/s with s = `stride` = output stride / 4.  In train mode B >= 2 (see ASPP).

    Attributes:
        stride: input pixels a cell of `features`.
        multiple: input sides are multiples of it.
        dim: D.
    """

    def __init__(self, size: CFLNetSize) -> None:
        super().__init__()
        if size.channel_order not in _TURNED:
            raise ConfigError(unknown("channel order", size.channel_order, _TURNED))
        self.size = size
        self.dim = size.dim
        self.multiple = size.output_stride
        self.stride = size.output_stride // UPSAMPLING
        self.turned = _TURNED[size.channel_order]
        self.scale = ImageNetScale()
        self.encoder = ResidualTrunk(size.trunk, size.output_stride)
        self.view = NoiseView() if size.noise_view else None
        if not size.noise_view:
            self.conv_srm = nn.Conv2d(3, 3, 5, padding=2, bias=False)
            self.conv_srm.weight = nn.Parameter(NoiseView().srm.repeat(1, 3, 1, 1), requires_grad=False)
        self.encoder_srm = ResidualTrunk(size.trunk, size.output_stride, channels=CHANNELS if size.noise_view else 3)
        self.aspp = ASPP(2 * self.encoder.channels()[-1], size.planes, size.rates)
        self.decoder = nn.Sequential(
            nn.Conv2d(size.planes, size.planes, 3, padding=1, bias=False),
            nn.BatchNorm2d(size.planes),
            nn.Conv2d(size.planes, 2, 1),
        )
        self.projection = nn.Sequential(
            nn.Conv2d(size.planes, size.planes, 1), nn.BatchNorm2d(size.planes), nn.Conv2d(size.planes, size.dim, 1)
        )

    def forward(self, rgb: Tensor) -> Segmentation:
        check_input(rgb, self.multiple)
        scaled = self.scale(rgb.flip(1) if self.turned else rgb)
        colour = self.encoder.stages(scaled)[-1]
        noise = self.encoder_srm.stages(self.conv_srm(scaled) if self.view is None else self.view(rgb))[-1]
        encoded = self.aspp(torch.cat((colour, noise), 1))
        raised = enlarge(encoded, sides(encoded, UPSAMPLING))
        logits = enlarge(self.decoder(raised).float(), sides(rgb))
        return Segmentation(logits, (), self.projection(raised).float())


def build(size: CFLNetSize) -> nn.Module:
    """The network with freshly initialised weights: residual streams and ASPP Kaiming, the heads PyTorch's default; no download.

    The authors start the RGB stream from ImageNet; load such weights into `encoder` to do the same.
    """
    return CFLNet(size)
