"""What a clustering costs on this machine, measured, and the largest grid that a time budget affords."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

from imgscan.cluster import CLUSTERINGS
from imgscan.cluster.hierarchical import MOST_GRID
from imgscan.cluster.settings import ClusterSettings

SIZES = (512, 2048)  # points of the two trials
FINEST = 256  # cells a side: the feature resolution of HRNet on 1024 pixels
STEP = 8

Clock = Callable[[], float]


def affordable_grid(
    settings: ClusterSettings, dim: int, device: torch.device, seconds: float, clock: Clock = time.perf_counter
) -> int:
    """Cells a side that are clustered within `seconds`, for a square picture: a multiple of STEP, from 2 STEP to FINEST.

    Two trials on made-up features give t = a + b N^2 for N points (all methods but BIRCH grow with the square; BIRCH more slowly,
    so that its answer is on the safe side).

    Args:
        settings: which method.
        dim: of the features.
        device: where they are clustered.
        seconds: per picture, > 0.
        clock: seconds; another one in tests.
    """
    times = [_trial(settings, count, dim, device, clock) for count in SIZES]
    slope = max(0.0, (times[1] - times[0]) / (SIZES[1] ** 2 - SIZES[0] ** 2))
    base = max(0.0, times[0] - slope * SIZES[0] ** 2)
    grid = MOST_GRID // STEP * STEP if settings.method == "hierarchical" else FINEST
    while grid > 2 * STEP and base + slope * grid**4 > seconds:
        grid -= STEP
    return grid


def _trial(settings: ClusterSettings, count: int, dim: int, device: torch.device, clock: Clock) -> float:
    """Seconds for `count` points around two directions, the better of two runs: the first one warms up."""
    points = made_up(count, dim).to(device)
    taken = []
    for _ in range(2):
        began = clock()
        CLUSTERINGS[settings.method](points, replace(settings, clusters=2))
        taken.append(clock() - began)
    return min(taken)


def made_up(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    """Unit vectors as a picture with a fifth forged might have them: two directions and noise; count x dim float32."""
    generator = torch.Generator().manual_seed(seed)
    forged = (torch.rand(count, generator=generator) < 0.2).long()
    directions = F.normalize(torch.randn(2, dim, generator=generator), dim=1)
    noise = torch.randn(count, dim, generator=generator) * 0.6 / dim**0.5
    return F.normalize(directions[forged] + noise, dim=1)
