"""What every network demands of its input, and the ImageNet scale that some put it on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Mean and standard deviation of ImageNet's red, green and blue in 0..1, as torchvision states them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_input(rgb: Tensor, multiple: int) -> None:
    """Raise ValueError unless `rgb` is B x 3 x H x W with sides that are multiples of `multiple`."""
    if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.shape[2] % multiple or rgb.shape[3] % multiple or not rgb.numel():
        raise ValueError(f"input is {tuple(rgb.shape)}; wanted B x 3 x H x W with H and W multiples of {multiple}")


class ImageNetScale(nn.Module):
    """(x - mean) / std per channel: B x 3 x H x W float in 0..1 -> the same shape, float32; nothing in the state dict.

    The constants go by position, first channel first, whatever colour it holds: see cfl_net.py on the order of the channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures.float() - self.mean) / self.std
