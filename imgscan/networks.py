"""From a card to its network: tensors on disk, and the module that they fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imgscan.digests import file_sha256
from imgscan.errors import WeightsError, unknown
from imgscan.models import NETWORKS
from imgscan.prepare import InputPlan
from imgscan.weights import Card


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, as float32 where they are floats."""
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"weights {path}: cannot be read: {error}") from error
    return {k: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for k, v in state.items()}


def save_state(state: dict[str, Tensor], path: Path, header: dict[str, str] | None = None) -> None:
    """A .safetensors file that whoever may read the files of this folder may read; safetensors leaves it to its owner alone.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    path.touch()
    usual = path.stat().st_mode
    save_file(state, path, metadata=header)
    path.chmod(usual)


def size_of(card: Card) -> Any:
    """[backbone] as the record of its network's sizes, with what the card leaves to the defaults; WeightsError: no such network,
    or a size that it does not have."""
    if card.network not in NETWORKS:
        raise WeightsError(f"weights card {card.path}: {unknown('network', card.network, NETWORKS)}")
    return card.check("backbone", NETWORKS[card.network].Size, card.backbone)


def build_network(card: Card) -> nn.Module:
    """The network that a card describes, freshly initialised; WeightsError when there is no such network."""
    size = size_of(card)
    try:
        network: nn.Module = NETWORKS[card.network].build(size)
    except Exception as error:  # of sizes that do not go together torch and timm raise nearly anything
        said = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"weights card {card.path}: [backbone] does not describe a {card.network}: {said}") from error
    return network


def load_network(card: Card) -> nn.Module:
    """The network of a card with its weights, in eval mode on the CPU.

    Raises:
        WeightsError: the file is missing, is not the one the card describes, or does not fit key for key and shape for shape; or
            the card's [input] has sides that do not fit the network.
    """
    if not card.file.is_file():
        raise WeightsError(f"weights of {card.full_name}: {card.file} is missing; the card {card.path} names it")
    digest = file_sha256(card.file)
    if digest != card.sha256:
        raise WeightsError(
            f"weights {card.file}: sha256 is {digest[:12]}..., the card says {card.sha256[:12]}...; the file was altered"
        )
    network = build_network(card)
    _check_step(card, network)
    state = load_state(card.file)
    wanted = network.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    shapes = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    if missing or extra or shapes:
        problem = f"{len(missing)} keys missing, {len(extra)} unknown, {len(shapes)} of another shape"
        first = (missing + extra + shapes)[0]
        raise WeightsError(f"weights {card.file}: not those of the network on the card ({problem}; first {first})")
    network.load_state_dict(state)
    return network.eval()


def _check_step(card: Card, network: Any) -> None:
    if not card.data.get("input"):
        return
    plan = card.section("input", InputPlan)
    if plan.step % network.multiple:
        name = "multiple" if plan.mode == "native" else "side"
        raise WeightsError(
            f"weights card {card.path}: {name} in [input] gives sides of {plan.step} pixels; "
            f"wanted multiples of {network.multiple}, as its {card.network} takes"
        )
