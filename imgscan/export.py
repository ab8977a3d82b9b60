"""Networks for other programs: safetensors with their card, ONNX, TorchScript.  What was written is run and compared before it
stays.

Input `rgb`, B x 3 x H x W float32 from 0 to 1, H and W multiples of what the file's metadata say; output `features`, B x D x h x w
(unit vectors along D from FOCAL's extractors), and from a network with a mask head `probability`, B x 1 and the grid of its head.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imgscan.errors import InputError, OutputError, unknown
from imgscan.licences import COMMERCIAL
from imgscan.models.segmentation import Segmentation
from imgscan.networks import load_network
from imgscan.prepare import InputPlan
from imgscan.store import replacing
from imgscan.toml import to_toml
from imgscan.weights import Card

AGREEMENT = 1e-4  # largest difference from torch, in any number of any output
SMALL = 128  # pixels, about the side of what is traced and compared where any size fits

Arrays = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    file: Path
    said: str  # about it, for people


class Plain(nn.Module):
    """A network whose answer is a tuple of tensors, by the names in `outputs`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        answer = self.network(rgb)
        if isinstance(answer, Segmentation):
            return answer.features, answer.logits.softmax(1)[:, 1:]
        return (answer,)


def export(card: Card, kind: str, out: Path) -> Exported:
    """Write the network of a card.

    Args:
        card: of the weights.
        kind: a name of KINDS.
        out: a folder, made where it is missing; the file is called NAME.TAG with the ending of the kind.

    Raises:
        InputError: an unknown kind, or an extra that is not installed.
        WeightsError: see load_network.
        OutputError: it cannot be written, or what was written does not answer as torch does; nothing is left.
    """
    if kind not in KINDS:
        raise InputError(f"--format: {unknown('format', kind, KINDS)}")
    return KINDS[kind](card, out)


def _safetensors(card: Card, out: Path) -> Exported:
    """The file as it is, and its card, which `--model NAME@PATH` and `models import` take."""
    load_network(card)  # whole, unaltered, and of that network
    file = out / f"{card.name}.{card.tag}.safetensors"
    with replacing(file) as new:
        shutil.copyfile(card.file, new)
    with replacing(file.with_suffix(".toml")) as new:
        new.write_text(to_toml(card.data | {"file": file.name, "default": False}), "utf-8", errors="replace")
    return Exported(file, f"a copy with its card; use it as {card.name}@{file.with_suffix('.toml')}")


def _onnx(card: Card, out: Path) -> Exported:
    """ONNX, opset 18 or later; any batch, and any size where the network takes any."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError("--format onnx needs the extra: pip install 'imgscan[onnx]'") from error
    network = _quiet(card)
    side, fixed = _sides(card, network)
    given = torch.rand(1 if fixed else 2, 3, side, side if fixed else side + _multiple(network))
    dynamic = None if fixed else (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            network,
            (given,),
            dynamo=True,
            verbose=False,
            input_names=["rgb"],
            output_names=_outputs(card),
            dynamic_shapes=dynamic,
        )
    assert program is not None
    program.model.metadata_props.update(_metadata(card, network))
    file = out / f"{card.name}.{card.tag}.onnx"
    with replacing(file) as new:
        program.save(str(new), external_data=False)

        def run(rgb: Tensor) -> Arrays:
            session = onnxruntime.InferenceSession(str(new), providers=["CPUExecutionProvider"])
            answers: Arrays = session.run(None, {"rgb": rgb.numpy()})
            return answers

        worst = _compare(network, run, file, side, fixed)
    return Exported(file, _said(worst, "onnxruntime", side, fixed))


def _torchscript(card: Card, out: Path) -> Exported:
    """A trace, of the card's input size: sizes are part of it."""
    network = _quiet(card)
    side, _ = _sides(card, network, traced=True)
    file = out / f"{card.name}.{card.tag}.torchscript.pt"
    with warnings.catch_warnings(), torch.no_grad(), replacing(file) as new:
        warnings.simplefilter("ignore")  # torch.jit about its age
        traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, torch.rand(1, 3, side, side), check_trace=False
        )
        facts = {"imgscan.json": json.dumps(_metadata(card, network))}
        torch.jit.save(traced, str(new), _extra_files=facts)

        def run(rgb: Tensor) -> Arrays:
            return [one.numpy() for one in torch.jit.load(str(new))(rgb)]  # type: ignore[no-untyped-call]

        worst = _compare(network, run, file, side, True)
    return Exported(file, _said(worst, "torch.jit", side, True))


KINDS: dict[str, Callable[[Card, Path], Exported]] = {"safetensors": _safetensors, "onnx": _onnx, "torchscript": _torchscript}


def _quiet(card: Card) -> Plain:
    """The network with its attention spelt out: the exporters do not know the fused one on three axes."""
    network = load_network(card)
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            setattr(module, "fused_attn", False)  # noqa: B010 - timm's, which mypy takes for a tensor
    return Plain(network).eval()


def _multiple(network: Plain) -> int:
    multiple: Any = network.network.multiple
    return int(multiple)


def _sides(card: Card, network: Plain, *, traced: bool = False) -> tuple[int, bool]:
    """The side of the example, and whether it is the only one that fits.

    A network that attends to a grid of tokens fits one size only: how coarse the grid is depends on it, and a graph cannot.
    """
    multiple = _multiple(network)
    size = getattr(network.network, "size", None)
    positions = int(getattr(size, "positions", 0))
    if positions:
        return positions, True
    sampled = bool(getattr(size, "most_keys", 0))
    side = card.section("input", InputPlan).side if (traced or sampled) and card.data.get("input") else SMALL
    return -(-side // multiple) * multiple, sampled


def _outputs(card: Card) -> list[str]:
    return ["features", "probability"] if card.has_head else ["features"]


def _metadata(card: Card, network: Plain) -> dict[str, str]:
    """What a file must say of itself where no card is beside it."""
    return {
        "imgscan.model": card.full_name,
        "imgscan.weights_sha256": card.sha256,
        "imgscan.licence": card.licence,
        "imgscan.commercial": COMMERCIAL[card.commercial],
        "imgscan.input": "rgb, B x 3 x H x W float32, 0 to 1",
        "imgscan.multiple": str(_multiple(network)),
        "imgscan.outputs": ", ".join(_outputs(card)),
    }


def _compare(network: Plain, run: Callable[[Tensor], Arrays], file: Path, side: int, fixed: bool) -> float:
    """The largest difference from torch over a picture, or two of other sizes and batches; OutputError beyond AGREEMENT."""
    more = 2 * _multiple(network)
    shapes: list[tuple[int, ...]] = [(1, 3, side, side)] if fixed else [(1, 3, side + more, side), (3, 3, side, side)]
    worst = 0.0
    generator = torch.Generator().manual_seed(0)
    for shape in shapes:
        rgb = torch.rand(shape, generator=generator)
        with torch.inference_mode():
            wanted: tuple[Any, ...] = network(rgb)
        for theirs, ours in zip(run(rgb), wanted, strict=True):
            worst = max(worst, float(np.abs(theirs - ours.numpy()).max()))
    if not worst <= AGREEMENT:  # also refuses NaN
        raise OutputError(f"{file}: answers {worst:.1e} off torch, more than {AGREEMENT:g}; not kept")
    return worst


def _said(worst: float, runtime: str, side: int, fixed: bool) -> str:
    size = f"{side} x {side} pixels only" if fixed else "any size"
    return f"{size}; under {runtime} at most {worst:.1e} off torch"
