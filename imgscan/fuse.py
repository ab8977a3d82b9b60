"""Fuse: the features of one or several networks on one grid, concatenated (FOCAL, Eq. 4; no retraining), and their mask heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

from imgscan.localize import enlarge
from imgscan.records import Features, Map

_SURE = 1e-6  # probabilities nearer to 0 or 1 count as that far from it
CONTENT = -2.0  # nats: from these log odds on, what a mask head says of the control counts against what it says of the picture, ...
MOST_CONTENT = 2.5  # nats: ... and at most so much: a hard seam is seen in the control too


@dataclass(frozen=True)
class FuseSettings:
    """[fuse] of a weights card."""

    rule: Literal["average", "first"] = "average"  # first: as the released FOCAL code


AVERAGE = FuseSettings()


def fuse(parts: Sequence[Features], grid: int, settings: FuseSettings = AVERAGE, heads: bool = False) -> Features:
    """By the rule of the settings: `by_average` on the coarsest grid, or `by_first` as the released FOCAL code."""
    return by_first(parts) if settings.rule == "first" else by_average(parts, grid, heads)


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
    return replace(first, vectors=torch.cat(joined)) if not others else Features(torch.cat(joined), first.cell)


def by_average(parts: Sequence[Features], grid: int, heads: bool = False) -> Features:
    """Concatenate on the coarsest grid among the networks, with at most `grid` cells along the longer side.

    Every part is a set of unit vectors again after it was brought to the grid (by averaging the cells that fall together), so
    each network has the same say; the result is scaled to unit vectors too, which leaves all cosines as they were.

    Args:
        parts: features of one picture, from each network.
        grid: most cells a side, >= 8.
        heads: the mask heads decide; all parts have one.  False: they are left out, and the features are clustered.

    Returns:
        (sum of D) x h x w, and where all parts have a control, of that too, on the same grid; with `heads` in place of that their
        common probability, and verdict where one of them has its own.

    Raises:
        ValueError: no parts, a grid under 8, or a part without the head that has to decide.
    """
    if not parts or grid < 8:
        raise ValueError(f"{len(parts)} parts on a grid of {grid}; wanted at least one part and a grid of at least 8")
    rows = min(p.vectors.shape[1] for p in parts)
    columns = min(p.vectors.shape[2] for p in parts)
    shrink = min(1.0, grid / max(rows, columns))
    rows, columns = max(1, round(rows * shrink)), max(1, round(columns * shrink))
    height = max(p.cell[0] * p.vectors.shape[1] for p in parts)
    width = max(p.cell[1] * p.vectors.shape[2] for p in parts)
    features = Features(_concatenated([p.vectors for p in parts], rows, columns), (height / rows, width / columns))
    if not heads:
        controls = [p.control for p in parts if p.control is not None]
        return replace(features, control=_concatenated(controls, rows, columns)) if len(controls) == len(parts) else features
    verdict = agreed([p.verdict or p.probability for p in parts]) if any(p.verdict for p in parts) else None
    return replace(features, probability=agreed([p.probability for p in parts]), verdict=verdict)


def _concatenated(parts: Sequence[torch.Tensor], rows: int, columns: int) -> torch.Tensor:
    """Unit vectors, each D x h x w, on one grid: (sum of D) x rows x columns unit vectors, in which each part has the same say."""
    joined = []
    for vectors in parts:
        on_grid = vectors if vectors.shape[1:] == (rows, columns) else F.adaptive_avg_pool2d(vectors, (rows, columns))
        joined.append(F.normalize(on_grid, dim=0, eps=1e-6))
    fused: torch.Tensor = torch.cat(joined) / len(joined) ** 0.5
    return fused


def agreed(maps: Sequence[Map | None]) -> Map:
    """The common word of several mask heads: the mean of their logits, on the finest of their grids."""
    there = [one for one in maps if one is not None]
    if not there or len(there) < len(maps):
        raise ValueError(f"{len(maps) - len(there)} of {len(maps)} parts have no mask head that could decide")
    if len(there) == 1:
        return there[0]
    finest = max(there, key=lambda one: one.values.numel())
    logits = torch.stack([_on_grid(one, finest) for one in there])
    return Map(torch.sigmoid(logits.mean(0)), finest.cell)


def with_overview(tiles: Map, overview: Map) -> Map:
    """What a mask head says of the tiles of a picture and what it says of the whole, shrunk, as one map on the grid of the tiles.

    The root of the odds is the mean of the two roots: who sees something outweighs who sees nothing, for a tile may lie within the
    forgery, and a small forgery is lost when the picture is shrunk.  The silence of one costs the other no more than 2 ln 2 nats.
    No paper has this; man/open-weights.md has what it is worth.

    Args:
        tiles: h x w, 0..1.
        overview: of the same picture, with cells of its own.

    Returns:
        h x w, 0..1, with the cells of `tiles`.
    """
    halves = torch.stack([torch.logit(tiles.values, _SURE), _on_grid(overview, tiles)]) / 2
    return replace(tiles, values=torch.sigmoid(2 * (torch.logsumexp(halves, 0) - math.log(2))))


def against_control(picture: Map, control: Map) -> Map:
    """What a mask head says of a picture, less what it says of a copy in which no trace is left.

    The head has learned what is pasted most, and suspects a face or a red flower for what it is; so it does in the copy.  What
    its log odds there exceed CONTENT by is taken off, up to MOST_CONTENT.  No paper has this; man/open-weights.md has what it is
    worth.

    Args:
        picture: h x w, 0..1.
        control: of the same picture, with cells of its own.

    Returns:
        h x w, 0..1, with the cells of `picture`.
    """
    content = (_on_grid(control, picture) - CONTENT).clamp(0, MOST_CONTENT)
    return replace(picture, values=torch.sigmoid(torch.logit(picture.values, _SURE) - content))


def _on_grid(one: Map, other: Map) -> torch.Tensor:
    """The log odds of one map on the grid of another one of the same picture."""
    rows, columns = other.values.shape
    cell = one.cell[0] / other.cell[0], one.cell[1] / other.cell[1]
    return torch.from_numpy(enlarge(torch.logit(one.values, _SURE), cell, rows, columns))
