"""What a set of weights is made of: stages, shapes, parameters, multiply-adds at the card's input size, seconds on this machine.

Shapes and multiply-adds come from a run with torch's fake tensors, which computes no numbers; only the timing runs the network.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from imgscan.models import TRUNK_PARTS
from imgscan.networks import build_network, load_network
from imgscan.prepare import InputPlan
from imgscan.weights import Card

BAR = 24  # characters of the longest bar
QUICK = 2.0  # seconds; a network faster than this is timed a second time, warm


@dataclass(frozen=True)
class Stage:
    """A part of a network."""

    name: str  # trunk.stage2
    kind: str  # its class; "24 x Block" for a row of the same
    shape: str  # of what it answers, without the batch: 32 x 256 x 256; several joined by a comma
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Anatomy:
    """A whole network."""

    name: str  # focal-hrnet@open
    side: int  # of the square input, pixels
    stages: tuple[Stage, ...]  # in the order they run
    parameters: int
    multiply_adds: int
    seconds: float | None  # one input on this machine, float32 on the CPU; None: not timed
    threads: int


def examine(card: Card, *, timing: bool = True) -> Anatomy:
    """Look into the network of a card.

    Args:
        card: of the weights.
        timing: also run it once (twice when it is quick) on the CPU with the weights.

    Raises:
        WeightsError: see build_network and load_network.
    """
    with torch.device("meta"):
        network = build_network(card).eval()
    network.to_empty(device="cpu")  # addresses without memory behind them: on "meta" itself there is no autocast
    side = card.section("input", InputPlan).side if card.data.get("input") else 224
    shapes: dict[str, str] = {}  # of all that is called, in the order in which it ends
    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            handle = module.register_forward_hook(_noting(shapes, name))
            hooks.callback(handle.remove)
        counter = FlopCounterMode(display=False)
        # Of the CPU's fused attention the counter knows nothing.
        with sdpa_kernel(SDPBackend.MATH), FakeTensorMode(allow_non_fake_inputs=True), counter:
            network(torch.empty(1, 3, side, side))
    counts = {key: sum(ops.values()) // 2 for key, ops in counter.get_flop_counts().items()}
    root = type(network).__name__
    parts = dict(_stages(network, shapes))
    own = {name: " x ".join(map(str, part.shape[1:])) for name, part in parts.items() if isinstance(part, nn.Parameter)}
    order = [*own, *(name for name in shapes if name in parts), *(name for name in parts if name not in own and name not in shapes)]
    stages = tuple(
        Stage(name, _kind(parts[name]), (own | shapes).get(name, "-"), _parameters(parts[name]), counts.get(f"{root}.{name}", 0))
        for name in order
        if name in shapes or _parameters(parts[name])
    )
    seconds = _seconds(card, side) if timing else None
    return Anatomy(card.full_name, side, stages, _parameters(network), counts.get("Global", 0), seconds, torch.get_num_threads())


def _stages(module: nn.Module, called: Container[str], within: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """The children, and in place of a trunk, or of a row whose members are called one by one, its children and own parameters;
    what does nothing is left out.

    Args:
        module: the network, or what of it is taken apart.
        called: full names of the modules that ran.
        within: the name of the module, with a dot behind it.
    """
    for name, child in module.named_children():
        full = within + name
        apart = isinstance(child, nn.ModuleList) or name in TRUNK_PARTS or full not in called
        if apart and any(f"{full}.{one}" in called for one, _ in child.named_modules() if one):
            yield from ((f"{full}.{one}", part) for one, part in child.named_parameters(recurse=False))
            yield from _stages(child, called, f"{full}.")
        elif not isinstance(child, nn.Identity):
            yield full, child


def _noting(shapes: dict[str, str], name: str) -> Any:
    def note(module: nn.Module, inputs: Any, answer: Any) -> None:
        several = answer if isinstance(answer, Iterable) else ()
        tensors = [answer] if isinstance(answer, Tensor) else [one for one in several if isinstance(one, Tensor)]
        shapes[name] = ", ".join(" x ".join(map(str, one.shape[1:])) for one in tensors)

    return note


def _kind(part: nn.Module | nn.Parameter) -> str:
    """Its class, or how many of which it is a row of."""
    if isinstance(part, nn.Parameter):
        return "Parameter"
    kinds = [type(child).__name__ for child in part.children()]
    if isinstance(part, nn.Sequential) and kinds and len(set(kinds)) == 1:
        return f"{len(kinds)} x {kinds[0]}"
    return type(part).__name__


def _parameters(part: nn.Module | nn.Parameter) -> int:
    return part.numel() if isinstance(part, nn.Parameter) else sum(one.numel() for one in part.parameters())


@torch.inference_mode()
def _seconds(card: Card, side: int) -> float:
    """The best of one or two runs on the CPU in float32."""
    network = load_network(card).to(memory_format=torch.channels_last)
    picture = torch.rand(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(2):
        began = time.perf_counter()
        network(picture)
        best = min(best, time.perf_counter() - began)
        if best > QUICK:
            break
    return best


def draw(anatomy: Anatomy) -> str:
    """A table of the stages with a bar for the share of the multiply-adds each takes."""
    rows = [("stage", "is", "answers", "parameters", "multiply-adds", "")]
    most = max((stage.multiply_adds for stage in anatomy.stages), default=1) or 1
    for stage in anatomy.stages:
        bar = "#" * round(BAR * stage.multiply_adds / most)
        rows.append((stage.name, stage.kind, stage.shape, f"{stage.parameters:,}", _giga(stage.multiply_adds), bar))
    rows.append(
        ("all", "", f"from 3 x {anatomy.side} x {anatomy.side}", f"{anatomy.parameters:,}", _giga(anatomy.multiply_adds), "")
    )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [f"{anatomy.name}: input 3 x {anatomy.side} x {anatomy.side}, RGB from 0 to 1"]
    for row in rows:
        left = [row[column].ljust(widths[column]) for column in range(3)]
        right = [row[column].rjust(widths[column]) for column in range(3, 5)]
        lines.append("  ".join([*left, *right, row[5]]).rstrip())
    if anatomy.seconds is not None:
        lines.append(f"{anatomy.seconds:.2f} s an input on this machine (CPU, float32, {anatomy.threads} threads)")
    return "\n".join(lines)


def _giga(count: int) -> str:
    return f"{count / 1e9:.3f} G"
