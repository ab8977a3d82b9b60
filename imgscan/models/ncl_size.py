"""The size of an ncl, on a ResNet (ncl.py, with the sizes there are) or on a ViT (ncl_vit.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NCLSize:
    """Everything that fixes the shape of an ncl; written into the weights card as [backbone]."""

    trunk: str  # a name of resnet.TRUNKS or of ncl_vit.ENCODERS
    multi_grid: tuple[int, ...]  # factors on the dilation 4 of layer4's blocks; () for a ViT
    planes: int  # channels of the ASPP and of the decoder
    rates: tuple[int, ...]  # dilations of the ASPP's three 3x3 branches, in cells of 8 pixels; () for a ViT
    skip: int  # channels that the decoder keeps of layer1's map; 0 for a ViT
    tap: int = 1  # the stage, 1..5, whose map is contrasted; of a ViT: 1 the patch embedding, 5 the last block
    pivot: bool = True
    aux: bool = True  # auxiliary classifiers
    noise_view: bool = False  # True: the ResNet sees noise_view.CHANNELS channels, ours; False: RGB
