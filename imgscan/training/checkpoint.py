"""Checkpoints: a safetensors file with every tensor of a run; recipe and counters in its header.  Nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from imgscan.errors import InputError, OutputError
from imgscan.networks import save_state
from imgscan.training.recipe import Recipe, with_settings
from imgscan.training.schedule import Plateau


@dataclass
class Run:
    """What a run is made of; a checkpoint is this, written down."""

    recipe: Recipe
    model: nn.Module
    average: nn.Module | None  # the EMA copy, or None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # of fp16; does nothing otherwise
    step: int = 0  # steps done
    seconds: float = 0.0  # spent on them
    last: float = 0.0  # latest validation score: that of the weights as they are
    plateau: Plateau = field(default_factory=Plateau)  # the best score and what it means for the rate
    material: dict[str, Any] = field(default_factory=dict)  # what it learns from: flags, a digest of the file names, processes

    @property
    def shipped(self) -> nn.Module:
        """The weights that are validated and written in the end."""
        return self.average or self.model


def save(run: Run, path: Path) -> None:
    """Write a run, atomically: the last good checkpoint stays until the new one is complete."""
    tensors: dict[str, Tensor] = {f"model/{k}": v for k, v in run.model.state_dict().items()}
    if run.average is not None:
        tensors |= {f"average/{k}": v for k, v in run.average.state_dict().items()}
    for number, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{k}": v for k, v in state.items() if v is not None}
    header = {
        "recipe": json.dumps(run.recipe.as_dict()),
        "step": str(run.step),
        "seconds": repr(run.seconds),
        "last": repr(run.last),
        "material": json.dumps(run.material),
        "plateau": json.dumps(asdict(run.plateau)),
        "scaler": json.dumps(run.scaler.state_dict()),
    }
    write_tensors(tensors, path, header, "the checkpoint")


def write_tensors(tensors: dict[str, Tensor], path: Path, header: dict[str, str], what: str) -> None:
    """A safetensors file under a temporary name, moved into place; OutputError says that `what` cannot be written."""
    new = path.with_name(path.name + ".new")
    try:
        # Copies one by one on the CPU: a run that just fits onto its GPU has no room there for itself a second time.
        copies = {k: v.detach().to("cpu", memory_format=torch.contiguous_format, copy=True) for k, v in tensors.items()}
        save_state(copies, new, header)
        new.replace(path)
    except (OSError, SafetensorError) as error:
        new.unlink(missing_ok=True)
        kept = "; the one before is still there" if path.exists() else ""
        raise OutputError(f"{what} {path}: cannot be written: {error}{kept}") from error


def read_header_of(path: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe a checkpoint carries, and what it learned from."""
    if not path.exists():
        raise InputError(f"--resume: there is no checkpoint {path}; leave --resume out to begin a run there")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            return with_settings(Recipe(), json.loads(header["recipe"]), str(path)), json.loads(header["material"])
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise InputError(f"checkpoint {path}: not a checkpoint of imgscan train ({error})") from error


def load(run: Run, path: Path) -> None:
    """Fill a freshly built run (of the same recipe) from a checkpoint; strict in every key and shape."""
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    with safe_open(path, "pt") as file:
        header = file.metadata()
        for name in file.keys():  # noqa: SIM118 - a safetensors handle, not a dict
            group, key = name.split("/", 1)
            groups[group][key] = file.get_tensor(name)
    run.model.load_state_dict(groups["model"])
    if run.average is not None:  # --set train.ema on a run that had none: the average starts here
        run.average.load_state_dict(groups["average"] or groups["model"])
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in groups["optimizer"].items():
        number, key = name.split("/", 1)
        state.setdefault(int(number), {})[key] = tensor
    run.optimizer.load_state_dict({"state": state, "param_groups": run.optimizer.state_dict()["param_groups"]})
    for weight, moments in run.optimizer.state.items():  # laid out as the weights again, or Adam on a GPU refuses them
        for key, value in moments.items():
            if value.shape == weight.shape:
                moments[key] = torch.empty_like(weight).copy_(value)
    run.step, run.seconds, run.last = int(header["step"]), float(header["seconds"]), float(header["last"])
    plateau = json.loads(header["plateau"])
    run.plateau = Plateau(**{"reference": plateau["best"], **plateau})  # older ones have the best for both
    scaler = json.loads(header["scaler"])
    if scaler and run.scaler.is_enabled():
        run.scaler.load_state_dict(scaler)
