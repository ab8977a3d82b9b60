"""What a network is trained for: one objective a paper, all with the same signature, and the module that DDP wraps."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from imgscan.datasets.synth import cell_labels
from imgscan.errors import ConfigError, unknown
from imgscan.losses import CONTRASTS
from imgscan.losses.cfl_net import patch_contrast, patch_contrast_released, patch_labels
from imgscan.losses.focal import focal_loss
from imgscan.losses.mask import mask_loss, picture_loss
from imgscan.losses.ncl import cell_classes, contour_vectors, ncl_loss
from imgscan.losses.pivot_consistent import contour_map, pc_loss
from imgscan.models import NETWORKS
from imgscan.models.segmentation import Segmentation
from imgscan.training.recipe import LossSection, Recipe

# (network, its answer, labels B x H x W integer, settings, CPU generator) -> scalar loss
Objective = Callable[[nn.Module, Any, Tensor, LossSection, torch.Generator], Tensor]


def _focal(network: nn.Module, answer: Tensor, labels: Tensor, loss: LossSection, generator: torch.Generator) -> Tensor:
    """FOCAL, Eq. 2 and 3; with a mask head the loss of the mask + weight x that."""
    if isinstance(answer, Segmentation):
        mask = mask_loss(answer.logits, labels, dice=loss.dice, picture=loss.picture)
        if not loss.weight:
            return mask
        return mask + loss.weight * _focal(network, answer.features, labels, loss, generator)
    return focal_loss(
        answer,
        cell_labels(labels, int(network.stride), loss.contour == "ignore"),  # type: ignore[arg-type]
        temperature=loss.temperature,
        max_keys=loss.max_keys,
        both_ways=loss.both_ways,
        floor=loss.floor if loss.floor > -1 else None,
        contrast=CONTRASTS[loss.contrast],
        whole_batch=loss.whole_batch,
        generator=generator,
    )


def _cfl_net(network: nn.Module, answer: Any, labels: Tensor, loss: LossSection, generator: torch.Generator) -> Tensor:
    """CFL-Net: weighted cross-entropy + weight x patch contrast (Eq. 2 and 3)."""
    mask = labels > 0
    weights = torch.tensor([1 - loss.forged, loss.forged], device=labels.device)
    total = F.cross_entropy(answer.logits.float(), mask.long(), weight=weights)
    if loss.weight:
        contrast = patch_contrast_released if loss.contrast == "released" else patch_contrast
        patches = to_patches(answer.features.float(), mask.shape[-1], loss.patch)
        total = total + loss.weight * contrast(patches, patch_labels(mask, loss.patch), temperature=loss.temperature)
    if loss.picture:
        total = total + loss.picture * picture_loss(answer.logits, labels)
    return total


def to_patches(features: Tensor, side: int, patch: int = 4) -> Tensor:
    """The projection map B x D x h x w bilinear (align_corners) to side x side, then averaged over patch x patch pixels.

    Both steps are linear and separable: two small matrix products give the same numbers without the map of side x side, which
    would take 268 MB at batch 4.
    """
    rows, columns = (_patch_weights(length, side, patch).to(features) for length in features.shape[-2:])
    return rows @ features @ columns.T


@lru_cache(maxsize=8)
def _patch_weights(length: int, side: int, patch: int) -> Tensor:
    """side/patch x length: what each cell adds to each patch along one axis."""
    large = F.interpolate(torch.eye(length)[None], size=side, mode="linear", align_corners=True)
    return F.avg_pool1d(large, patch)[0].T.contiguous()


def _ncl(network: nn.Module, answer: Any, labels: Tensor, loss: LossSection, generator: torch.Generator) -> Tensor:
    """NCL: weight x L_NCL (Eq. 7) + L_PC (Eq. 8) summed over the supervised maps."""
    mask = labels > 0
    stride = int(network.tap_stride)  # type: ignore[arg-type]
    contour = contour_map(mask, stride, loss.window)
    total = torch.stack([pc_loss(one.float(), mask, contour, mu=loss.mu) for one in (answer.logits, *answer.aux)]).sum()
    if loss.weight:
        features = answer.features.float()
        classes = cell_classes(mask, stride, loss.window)
        pivot: Any = network.pivot
        pivots = pivot(*contour_vectors(features, classes), len(features)) if pivot is not None else None
        contrast = ncl_loss(features, classes, pivots, temperature=loss.temperature, max_keys=loss.max_keys, generator=generator)
        total = total + loss.weight * contrast
    if loss.picture:
        total = total + loss.picture * picture_loss(answer.logits, labels)
    return total


# method -> objective
OBJECTIVES: dict[str, Objective] = {
    "focal": _focal,
    "cfl-net": _cfl_net,
    "ncl": _ncl,
}


def check(recipe: Recipe, network: nn.Module, device: torch.device) -> None:
    """Refuse settings that do not fit each other, before anything is read; ConfigError says what would."""
    multiple = int(network.multiple)  # type: ignore[arg-type]
    sides = {"data.side": (recipe.data.side,), "data.sides": recipe.data.turns if recipe.data.sides else ()}
    for name, side in ((name, side) for name, some in sides.items() for side in some):
        if side % multiple:
            raise ConfigError(f"{name} is {side}; {recipe.model.network} {recipe.model.size} wants a multiple of {multiple}")
        if recipe.method == "cfl-net" and side % recipe.loss.patch:
            raise ConfigError(f"{name} is {side}, loss.patch {recipe.loss.patch}; wanted a side that is a multiple of the patch")
    if recipe.method == "ncl" and recipe.loss.window:
        least = 2 * int(network.tap_stride) - 1  # type: ignore[arg-type]
        if recipe.loss.window < least:
            raise ConfigError(f"loss.window is {recipe.loss.window}; wanted 0 or at least {least}, which hold a cell of the tap")
    known = {"focal": list(CONTRASTS), "cfl-net": [LossSection.contrast, "released"]}.get(recipe.method, [LossSection.contrast])
    if recipe.loss.contrast not in known:
        raise ConfigError(f"loss.contrast: {unknown(f'contrast of {recipe.method}', recipe.loss.contrast, known)}")
    others = recipe.train.sync_bn and device.type == "cuda" and dist.is_initialized() and dist.get_world_size() > 1
    if recipe.method != "focal" and recipe.train.batch < 2 and not others:
        raise ConfigError("train.batch is 1; the image pooling's batch norm wants at least 2 pictures per process")


def part(network: nn.Module, name: str) -> nn.Module:
    """A part of a network by its name; ConfigError says what there is."""
    parts = dict(network.named_children())
    if name not in parts:
        raise ConfigError(f"model.frozen: {unknown('part of the network', name, parts)}")
    return parts[name]


def counts(recipe: Recipe, labels: Tensor, stride: int) -> int:
    """How many pictures of a batch have a loss: all, but without a mask head FOCAL has none where there is nothing to contrast.

    FOCAL without a head contrasts cells of `stride` pixels, and counts as `focal_loss` does: with cells of both kinds, and with
    `floor` those that are pristine throughout.
    """
    headed = getattr(NETWORKS[recipe.model.network].SIZES[recipe.model.size], "head", False)
    if headed or recipe.method != "focal":
        return len(labels)
    cells = cell_labels(labels, stride, recipe.loss.contour == "ignore").flatten(1)
    held = (cells >= 0).all(1) if recipe.loss.floor > -1 else torch.zeros(len(cells), dtype=torch.bool)
    return int((((cells == 0).sum(1) >= 2) & ((cells > 0).any(1) | held)).sum())


class Trainee(nn.Module):
    """A network with its objective: pictures in, loss out.  One module, so that everything lies inside DDP's forward."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.objective = OBJECTIVES[recipe.method]

    def forward(self, rgb: Tensor, labels: Tensor, seed: int) -> Tensor:
        """B x 3 x H x W uint8, B x H x W uint8 -> scalar float32; `seed` draws the pixels that the loss contrasts."""
        generator = torch.Generator().manual_seed(seed)
        if self.recipe.model.frozen:  # its batch norm too; whoever called train() on the whole did not know
            part(self.network, self.recipe.model.frozen).eval()
        with autocast(rgb.device, self.recipe.train.precision):
            answer = self.network((rgb.float() / 255).contiguous(memory_format=torch.channels_last))
        return self.objective(self.network, answer, labels, self.recipe.loss, generator)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The arithmetic of a forward pass: bf16, fp16, or float32 as it is."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "float32")
