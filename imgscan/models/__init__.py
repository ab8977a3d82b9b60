"""The networks: one literal table name -> module, each with SIZES, Size and build(size).

A network of FOCAL (`focal-*`) answers unit vectors, B x D x h x w; one with a mask head (`cfl-net`, `ncl`) a Segmentation.  All
take B x 3 x H x W RGB in 0..1 and have `multiple`, of which the input's sides are multiples, and `stride`, pixels a feature cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from imgscan.errors import InputError, unknown


class _Modules(Mapping[str, Any]):
    """Name -> module of this package, imported when it is asked for: timm and torchvision take two seconds that not all need."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def __getitem__(self, name: str) -> Any:
        return import_module(f"imgscan.models.{self.names[name]}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


NETWORKS: Mapping[str, Any] = _Modules(
    {
        "focal-hrnet": "focal_hrnet",
        "focal-vit": "focal_vit",
        "focal-convnext": "focal_convnext",
        "focal-efficientnet": "focal_efficientnet",
        "focal-mit": "focal_mit",
        "cfl-net": "cfl_net",
        "ncl": "ncl",
    }
)


TRUNK_PARTS = ("trunk", "backbone", "encoder", "encoder_srm")
"""What the networks call the parts that extract features, which pretrained weights may start."""


def build_named(network: str, size: str) -> nn.Module:
    """A fresh network by its name and the name of one of its SIZES; InputError names what would be legal."""
    if network not in NETWORKS:
        raise InputError(unknown("network", network, NETWORKS))
    sizes = NETWORKS[network].SIZES
    if size not in sizes:
        raise InputError(unknown(f"size of {network}", size, sizes))
    model: nn.Module = NETWORKS[network].build(sizes[size])
    return model
