"""Residual trunks for the segmentation networks, dilated the way the DeepLab family dilates them.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Chen et al., "Rethinking Atrous Convolution for Semantic
Image Segmentation" (DeepLabV3), arXiv 1706.05587, for output stride and multi-grid.  timm's layers, torchvision's keys.

Done differently from timm: at a lowered output stride every 3x3 convolution of a stage gets the stage's dilation.  timm and
torchvision leave the first block of each dilated stage at the rate of the stage before and know no multi-grid; weights trained
with the DeepLab code would load into them and answer something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from imgscan.errors import ConfigError, unknown

# name -> block, blocks per stage, width of each stage (times 4 on the outside of a bottleneck)
TRUNKS: dict[str, tuple[type[nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "resnet101": (Bottleneck, (3, 4, 23, 3), (64, 128, 256, 512)),
    "resnet50": (Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512)),
    "resnet18": (BasicBlock, (2, 2, 2, 2), (64, 128, 256, 512)),
    "resnet18-half": (BasicBlock, (2, 2, 2, 2), (32, 64, 128, 256)),  # half as wide: a quarter of the work
    "tiny": (BasicBlock, (1, 1, 1, 1), (8, 16, 16, 16)),
}
_DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}  # output stride -> rates of layer3 and layer4


class ResidualTrunk(ResNet):
    """A ResNet without its classifier; `stages` gives the maps.

    Initialisation: convolutions normal(0, sqrt(2 / (kernel area x out channels))), batch norms 1 and 0, also the last one of a
    block (timm would zero that, which leaves a fresh block without gradients inside).

    Args:
        name: one of TRUNKS.
        output_stride: 8, 16 or 32; what is taken from the strides of layer3 and layer4 is given to their dilations.
        multi_grid: factors on the dilation of layer4's blocks; as many as there are blocks.
        channels: of the input.

    Raises:
        ConfigError: an unknown name, an output stride or a multi-grid that does not fit.
    """

    def __init__(self, name: str, output_stride: int = 32, multi_grid: Sequence[int] = (), channels: int = 3) -> None:
        if name not in TRUNKS:
            raise ConfigError(unknown("trunk", name, TRUNKS))
        block, layers, widths = TRUNKS[name]
        if output_stride not in _DILATIONS:
            raise ConfigError(f"output stride of {name} is {output_stride}; wanted 8, 16 or 32")
        if multi_grid and len(multi_grid) != layers[-1]:
            raise ConfigError(f"multi-grid of {name} is {tuple(multi_grid)}; wanted {layers[-1]} factors, one a block of layer4")
        super().__init__(
            block,  # type: ignore[arg-type]  # timm means the class and writes the instance
            layers,
            in_chans=channels,
            num_classes=0,
            global_pool="",
            output_stride=output_stride,
            channels=widths,
            zero_init_last=False,
        )
        third, fourth = _DILATIONS[output_stride]
        _dilate(self.get_submodule("layer3"), [third] * layers[2])
        _dilate(self.get_submodule("layer4"), [fourth * factor for factor in (multi_grid or (1,) * layers[3])])

    def channels(self) -> tuple[int, ...]:
        """Channels of the five maps that `stages` gives."""
        return tuple(stage["num_chs"] for stage in self._described())

    def strides(self) -> tuple[int, ...]:
        """Input pixels a cell of those maps."""
        return tuple(stage["reduction"] for stage in self._described())

    def _described(self) -> list[dict[str, int]]:
        return cast("list[dict[str, int]]", self.feature_info)

    def stages(self, pictures: Tensor) -> list[Tensor]:
        """B x channels x H x W -> the maps after conv1-BN-ReLU (stride 2), layer1 (stride 4), layer2, layer3 and layer4."""
        maps = [self.act1(self.bn1(self.conv1(pictures)))]
        lowered = self.maxpool(maps[0])
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            lowered = self.get_submodule(layer)(lowered)
            maps.append(lowered)
        return maps


def _dilate(layer: nn.Module, rates: Sequence[int]) -> None:
    """Give the 3x3 convolutions of each block their rate, padded so that the map keeps its size."""
    for block, rate in zip(layer.children(), rates, strict=True):
        for part in block.modules():
            if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
                part.dilation = part.padding = (rate, rate)
