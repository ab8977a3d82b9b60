"""The networks: one literal table name -> module, each with SIZES and build(size)."""

from __future__ import annotations

from typing import Any

from torch import nn

from imgscan.errors import InputError, unknown
from imgscan.models import focal_hrnet, focal_vit

NETWORKS: dict[str, Any] = {
    "focal-hrnet": focal_hrnet,
    "focal-vit": focal_vit,
}


def build_named(network: str, size: str) -> nn.Module:
    """A fresh network by its name and the name of one of its SIZES; InputError names what would be legal."""
    if network not in NETWORKS:
        raise InputError(unknown("network", network, NETWORKS))
    sizes = NETWORKS[network].SIZES
    if size not in sizes:
        raise InputError(unknown(f"size of {network}", size, sizes))
    model: nn.Module = NETWORKS[network].build(sizes[size])
    return model
