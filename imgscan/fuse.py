"""Fuse: the features of one or several networks on one grid, concatenated (FOCAL, Eq. 4; no retraining)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from imgscan.records import Features


@dataclass(frozen=True)
class FuseSettings:
    """[fuse] of a weights card."""

    rule: Literal["average", "first"] = "average"  # first: as the released FOCAL code


AVERAGE = FuseSettings()


def fuse(parts: Sequence[Features], grid: int, settings: FuseSettings = AVERAGE) -> Features:
    """By the rule of the settings: `by_average` on the coarsest grid, or `by_first` as the released FOCAL code."""
    return by_first(parts) if settings.rule == "first" else by_average(parts, grid)


def by_first(parts: Sequence[Features]) -> Features:
    """As the released FOCAL code: the first network sets the grid, whatever its size; the others are taken to it by nearest
    neighbour, scaled to unit vectors and appended.

    Args:
        parts: features of one picture, from each network.

    Returns:
        (sum of D) x h x w, vectors of norm sqrt(number of parts): the code's k-means sees them so, and stops by absolute shifts.
    """
    first, *others = parts
    joined = [first.vectors]
    for part in others:
        near = F.interpolate(part.vectors[None], size=first.vectors.shape[1:], mode="nearest")[0]
        joined.append(F.normalize(near, dim=0))
    return Features(torch.cat(joined), first.cell, first.probability if not others else None)


def by_average(parts: Sequence[Features], grid: int) -> Features:
    """Concatenate on the coarsest grid among the networks, with at most `grid` cells along the longer side.

    Every part is a set of unit vectors again after it was brought to the grid (by averaging the cells that fall together), so
    each network has the same say; the result is scaled to unit vectors too, which leaves all cosines as they were.

    Args:
        parts: features of one picture, from each network.
        grid: most cells a side, >= 8.

    Returns:
        (sum of D) x h x w.

    Raises:
        ValueError: no parts, or a grid under 8.
    """
    if not parts or grid < 8:
        raise ValueError(f"{len(parts)} parts on a grid of {grid}; wanted at least one part and a grid of at least 8")
    rows = min(p.vectors.shape[1] for p in parts)
    columns = min(p.vectors.shape[2] for p in parts)
    shrink = min(1.0, grid / max(rows, columns))
    rows, columns = max(1, round(rows * shrink)), max(1, round(columns * shrink))
    joined = []
    for part in parts:
        vectors = part.vectors
        if vectors.shape[1:] != (rows, columns):
            vectors = F.adaptive_avg_pool2d(vectors, (rows, columns))
        joined.append(F.normalize(vectors, dim=0, eps=1e-6))
    height = max(p.cell[0] * p.vectors.shape[1] for p in parts)
    width = max(p.cell[1] * p.vectors.shape[2] for p in parts)
    fused = torch.cat(joined) / len(joined) ** 0.5
    # A mask head speaks for its own network only; beside others, all are judged by their features.
    return Features(fused, (height / rows, width / columns), parts[0].probability if len(parts) == 1 else None)
