"""What a step of a recipe costs on this machine: seconds and peak memory, on made-up pictures."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from itertools import cycle
from math import gcd
from statistics import median

import torch

from imgscan.devices import finish
from imgscan.training.loop import start
from imgscan.training.objective import Trainee
from imgscan.training.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """Of one step, batch included, loading not."""

    seconds: float  # median; over sides that take turns the mean
    gigabytes: float  # peak: allocated on the GPU, or resident on the CPU beyond what was there before the network was built
    parameters: int


def profile(recipe: Recipe, device: torch.device, steps: int) -> Cost:
    """Time `steps` training steps of every side of `data.sides` after one of each to warm up.

    The pictures are noise with a rectangle of other noise as the forged part: the losses then have all their terms.
    """
    before = 0
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # what has not begun yet has no statistics to reset
        torch.cuda.reset_peak_memory_stats(device)
    else:
        before = _resident()
    run = start(recipe, device)
    trainee = Trainee(run.model, run.recipe).train()
    made = {side: _made_up(side, recipe.train.batch, device) for side in recipe.data.turns}
    sides = cycle(recipe.data.turns)
    alike = len(recipe.data.turns) // gcd(len(recipe.data.turns), recipe.train.accumulate)  # from so many steps on sides come again
    seconds = []
    for step in range((steps + 1) * alike):
        began = time.perf_counter()
        for turn in range(recipe.train.accumulate):
            loss = trainee(*made[next(sides)], step * recipe.train.accumulate + turn)
            torch.autograd.backward(run.scaler.scale(loss / recipe.train.accumulate))
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.optimizer.zero_grad()
        finish()
        seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident() - before
    rounds = [sum(seconds[first : first + alike]) / alike for first in range(alike, len(seconds), alike)]
    return Cost(median(rounds), peak / 1e9, sum(one.numel() for one in run.model.parameters()))


def _made_up(side: int, batch: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a rectangle that is labelled as forged: rgb and labels of a batch."""
    rgb = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device)
    labels = torch.zeros(batch, side, side, dtype=torch.uint8, device=device)
    labels[:, side // 4 : side // 2 + 3, side // 4 : side // 2 + 3] = 1
    return rgb, labels


def _resident() -> int:
    """Bytes: the most this process ever had in memory; 0 where that cannot be asked (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
