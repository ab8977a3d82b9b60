"""From a released state dictionary to one of our networks: every key is used, or left out for a written reason, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from imgscan.errors import WeightsError
from imgscan.printable import printable
from imgscan.releases.read import StateFile
from imgscan.releases.table import RELEASES, Release

WRAPPING = ("module.", "net.", "model.", "_orig_mod.")  # DataParallel, FOCAL's class, trainers, torch.compile; in any order
COUNTER = "num_batches_tracked"  # of batch norm; files from before 2018 do not have it, and nothing of ours reads it
FLOATS = (torch.float32, torch.float16, torch.bfloat16)  # those that float32 holds exactly


@dataclass(frozen=True)
class Converted:
    """A state dictionary that fits."""

    tensors: dict[str, Tensor]  # keys of our network; contiguous, no two in the same memory
    left_out: dict[str, int]  # beginning of the keys that are known to be unused -> how many
    counters: int  # batch norm counters that the file lacks: zeros


def bare(key: str) -> str:
    """A key without what trainers put in front of it: module.net.conv1.weight -> conv1.weight."""
    while key.startswith(WRAPPING):
        key = key.split(".", 1)[1]
    return key


@dataclass(frozen=True)
class Match:
    """Which tensor goes where."""

    origin: dict[str, str]  # key of our network -> key of the file
    left_out: dict[str, int]  # beginning of the keys that are known to be unused -> how many
    counters: tuple[str, ...]  # keys of ours that the file may lack


def match(state: StateFile, release: Release, wanted: Mapping[str, Tensor]) -> Match:
    """Account for every key, theirs and ours.

    Args:
        state: as read; the tensors themselves are only looked at to say what the file looks like.
        release: what it is said to be.
        wanted: the network's (or its part's) own state dictionary with the release's `part` in front; may be on the meta device.

    Raises:
        WeightsError: keys missing, unknown or twice; says what the file looks like.
    """
    origin: dict[str, str] = {}
    left_out: dict[str, int] = {}
    unknown: list[str] = []
    for key in state.tensors:
        plain = bare(key)
        beginning = next((one for one in release.unused if plain.startswith(one)), None)
        if beginning is not None:
            left_out[beginning] = left_out.get(beginning, 0) + 1
            continue
        inner = plain.removeprefix(release.inside)
        for theirs, ours in release.spelling:
            inner = inner.replace(theirs, ours)
        name = release.part + inner
        if name in origin:
            raise WeightsError(f"weights {state.path}: {origin[name]} and {key} are both {name}; wanted each once")
        if name in wanted:
            origin[name] = key
        else:
            unknown.append(key)
    lacking = [key for key in wanted if key not in origin]
    missing = [key for key in lacking if not key.endswith(COUNTER)]
    if missing or unknown:
        raise WeightsError(_misfit(state, release, missing, unknown, len(wanted)))
    return Match(origin, left_out, tuple(lacking))


def convert(state: StateFile, release: Release, wanted: Mapping[str, Tensor]) -> Converted:
    """Fit a state dictionary to a network, strictly; the arguments are those of `match`.

    Raises:
        WeightsError: as `match`, and for another shape or dtype, NaN or infinity.
    """
    found = match(state, release, wanted)
    for name, key in found.origin.items():
        _check(state.path, key, state.tensors[key], wanted[name], state, release)
    fitted = {name: state.tensors[key].detach() for name, key in found.origin.items()}
    fitted |= {key: torch.zeros(wanted[key].shape, dtype=torch.int64) for key in found.counters}
    return Converted(_own({key: fitted[key] for key in wanted}), found.left_out, len(found.counters))


def _misfit(state: StateFile, release: Release, missing: list[str], unknown: list[str], count: int) -> str:
    """What the file looks like and what was expected; of the release itself, which keys are wrong."""
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {count} keys missing, first {missing[0].removeprefix(release.part)}")
    if unknown:
        problems.append(f"{len(unknown)} unknown, first {printable(unknown[0])}")
    return f"weights {state.path}: {expectation(state, release)}: {'; '.join(problems)}{_advice(state, release)}"


def expectation(state: StateFile, release: Release) -> str:
    """'looks like X; wanted Y'; where it looks like Y, that it is not quite that."""
    looks, meant = looks_like(state.tensors), recognise(state.tensors)
    if meant is not None and RELEASES[meant].title == release.title:
        return f"looks like {release.title}, but differs"
    return f"looks like {looks}; wanted {release.title}"


def _advice(state: StateFile, release: Release) -> str:
    """The command for what it is."""
    meant = recognise(state.tensors)
    if meant is None or RELEASES[meant].title == release.title:
        return ""
    return f"; try: imgscan models import {meant} {state.path}"


def _check(path: object, key: str, tensor: Tensor, like: Tensor, state: StateFile, release: Release) -> None:
    if tensor.shape != like.shape:
        what = f"{key} is {_size(tensor)}, wanted {_size(like)}"
        raise WeightsError(f"weights {path}: {expectation(state, release)}: {what}{_advice(state, release)}")
    if like.is_floating_point() and tensor.dtype not in FLOATS:
        raise WeightsError(f"weights {path}: {key} holds {_kind(tensor)}; wanted float32, float16 or bfloat16")
    if not like.is_floating_point() and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise WeightsError(f"weights {path}: {key} holds {_kind(tensor)}; wanted whole numbers")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise WeightsError(f"weights {path}: {key} is {tensor.layout} on {tensor.device}; wanted plain dense tensors")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise WeightsError(f"weights {path}: {key} holds NaN or infinity; the file is damaged, or its training had failed")


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each contiguous and alone in its memory, as safetensors wants them; copied only where they are not."""
    owners = Counter(one.untyped_storage().data_ptr() for one in tensors.values())

    def alone(one: Tensor) -> bool:
        storage = one.untyped_storage()
        return one.is_contiguous() and storage.nbytes() == one.numel() * one.element_size() and owners[storage.data_ptr()] == 1

    return {key: one if alone(one) else one.clone(memory_format=torch.contiguous_format) for key, one in tensors.items()}


_RESNETS: dict[tuple[int, ...], str] = {
    (3, 4, 6, 3): "ResNet-50",
    (3, 4, 23, 3): "ResNet-101",
    (3, 8, 36, 3): "ResNet-152",
    (2, 2, 2, 2): "ResNet-18",
}
_SAM = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_HRNET = "stage4.0.branches.0.0.conv1.weight"  # as wide as the finest branch, from which the network has its name


def looks_like(tensors: Mapping[str, Tensor]) -> str:
    """What the keys and shapes of a state dictionary tell, for people."""
    keys = {bare(key): tensor for key, tensor in tensors.items()}
    sam = {key.removeprefix("image_encoder."): tensor for key, tensor in keys.items()}
    if "neck.0.weight" in sam and "patch_embed.proj.weight" in sam:
        width = _width(sam, "patch_embed.proj.weight")
        return f"the image encoder of Segment Anything's {_SAM.get(width, f'ViT of width {width}')}"
    if any(key.startswith("encoder_srm.") for key in keys):
        return "CFL-Net"
    if any(key.startswith("stage4.0.branches.0.") for key in keys):
        return f"HRNet-W{width}" if (width := _width(keys, _HRNET)) else "an HRNet"
    if "backbone.conv1.weight" in keys and any(key.startswith("decoder.last_conv.") for key in keys):
        return "DeepLabV3+, the base of NCL"
    depth = _depth(keys)
    if depth is not None:
        # 18 and 34, and 34 and 50, differ in their blocks only
        bottleneck = "layer1.0.conv3.weight" in keys
        name = "ResNet-34" if depth == (3, 4, 6, 3) and not bottleneck else _RESNETS.get(depth, f"a ResNet of {sum(depth)} blocks")
        return f"{name}{' of ImageNet' if 'fc.weight' in keys else ''}"
    if any(key.startswith("trunk.") for key in keys):
        return "a network of imgscan's own; import its card, weights.toml"
    if "cls_token" in keys:
        return "a plain ViT"
    first = next(iter(tensors))
    return f"nothing known ({len(tensors)} tensors, first {printable(first)})"


def recognise(tensors: Mapping[str, Tensor]) -> str | None:
    """The name in RELEASES whose keys these are, by a few that tell; None: none of them.

    FOCAL's ViT keeps Segment Anything's names; its own files have `net.` (or nothing) in front, never `image_encoder.` at the top.
    """
    keys = {bare(key): tensor for key, tensor in tensors.items()}
    if any(key.startswith("encoder_srm.") for key in keys):
        return "cfl-net"
    if _width(keys, _HRNET) == 32 and "stage4.2.fuse_layers.0.3.0.weight" in keys:
        return "focal-hrnet"
    sam = {key.removeprefix("image_encoder."): tensor for key, tensor in keys.items()}
    if "neck.0.weight" in sam and _width(sam, "patch_embed.proj.weight") == 1024:
        return "sam-vit-l" if is_sams(tensors) else "focal-vit"
    depth = _depth(keys)
    if depth is not None and "layer1.0.conv3.weight" in keys:
        return {"ResNet-50": "resnet50", "ResNet-101": "resnet101"}.get(_RESNETS.get(depth, ""))
    return None


def is_sams(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a ViT's keys are as in Segment Anything's own checkpoint."""
    return any(key.startswith("image_encoder.") for key in tensors)


def _width(keys: Mapping[str, Tensor], name: str) -> int:
    """Channels that a convolution gives; 0: it is not there, or a single number."""
    return keys[name].shape[0] if name in keys and keys[name].ndim else 0


def _depth(keys: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """Blocks in each layer of a ResNet, or None."""
    if "layer4.0.conv1.weight" not in keys or "conv1.weight" not in keys:
        return None
    found = []
    for layer in range(1, 5):
        numbers = {key.split(".")[1] for key in keys if key.startswith(f"layer{layer}.")}
        found.append(len(numbers))
    return tuple(found)
