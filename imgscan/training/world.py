"""The processes of a run: one, or those that torchrun started.  There is no launcher of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from imgscan.errors import InputError


@dataclass(frozen=True)
class World:
    """Where this process stands among the others."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files and talks."""
        return self.rank == 0

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Each number summed over all processes."""
        if self.size == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device if self.device.type == "cuda" else "cpu")
        dist.all_reduce(tensor)
        return tuple(tensor.tolist())

    def gather(self, texts: Sequence[str]) -> list[str]:
        """The texts of all processes."""
        if self.size == 1:
            return list(texts)
        found: list[list[str]] = [[] for _ in range(self.size)]
        dist.all_gather_object(found, list(texts))
        return [text for one in found for text in one]

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the first one's buffers: batch norm counts what each process saw; only the first one's are kept."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)


@contextmanager
def join(device: torch.device) -> Iterator[World]:
    """The world this process belongs to: alone, or one of torchrun's (RANK, WORLD_SIZE and LOCAL_RANK are set).

    Under torchrun every process takes the GPU of its local rank, or all share the CPU (gloo).

    Raises:
        InputError: fewer GPUs than processes on this machine; WORLD_SIZE or LOCAL_RANK is no number.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        yield World(0, 1, device)
        return
    local = _number("LOCAL_RANK", 0)
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise InputError(f"process {local} has no GPU: torchrun --nproc-per-node {torch.cuda.device_count()} at most here")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield World(dist.get_rank(), size, device)
    # Not after an error: NCCL waits here for what the other processes still do, and they for this one; torchrun ends them when it
    # is gone, which exits.py sees to.
    dist.destroy_process_group()


def _number(variable: str, default: int) -> int:
    """A variable of torchrun; one that is empty is not set."""
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal():
        raise InputError(f"{variable} is {text!r}; wanted a number, as torchrun sets it, or no such variable")
    return int(text)
