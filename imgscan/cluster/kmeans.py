"""K-means as the released FOCAL code does it in place of HDBSCAN, on several pictures at once.

That code calls torch_kmeans 0.2.0 with "CosineSimilarity", which assigns points by the plain dot product with the cluster means,
not normalised: the tighter cluster is favoured.  Published masks were made so, hence it is the rule here: 8 random starts, at most
100 rounds, and the start with the smallest sum of squared distances wins.

K-means always marks something, also on an untouched picture (HighwayWu/FOCAL issue 10).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.settings import ClusterSettings

STARTS, ROUNDS, SEED, STILL = 8, 100, 123, 1e-4

Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # points P x N x D, means P x S x K x D -> nearest P x S x N


def kmeans_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """`settings.clusters` clusters of unit vectors.

    Args:
        points: N x D float32.
        settings: of the common signature.

    Returns:
        N labels 0, 1, ... (only 0 when all points are the same); persistence 1.0 each.
    """
    return kmeans_many(points[None], settings)[0]


def kmeans_many(points: torch.Tensor, settings: ClusterSettings) -> list[tuple[npt.NDArray[np.int32], tuple[float, ...]]]:
    """The same for P pictures of equal size, each on its own: P x N x D float32, on any device -> what kmeans_labels answers."""
    if points.shape[1] < settings.clusters:
        return [(np.zeros(points.shape[1], np.int32), (1.0,)) for _ in points]
    found = lloyd(points, settings.clusters, by_dot_product).cpu().numpy()
    return [numbered(labels) for labels in found]


def numbered(labels: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """Labels without gaps, 0, 1, ..., and a persistence of 1.0 for each."""
    present, places = np.unique(labels, return_inverse=True)
    return places.astype(np.int32), (1.0,) * len(present)


def by_dot_product(points: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """The mean with the largest dot product."""
    return torch.einsum("pnd,pskd->psnk", points, means).argmax(-1)


def by_distance(points: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """The mean at the smallest Euclidean distance: largest x . m - |m|^2 / 2."""
    return (torch.einsum("pnd,pskd->psnk", points, means) - means.square().sum(-1)[:, :, None] / 2).argmax(-1)


def lloyd(points: torch.Tensor, clusters: int, rule: Rule) -> torch.Tensor:
    """Lloyd's rounds from STARTS random starts; the best start of each picture: P x N x D -> P x N int64.

    Args:
        points: of P pictures; N >= clusters.
        clusters: K.
        rule: which mean is the nearest.
    """
    pictures, count, _ = points.shape
    generator = torch.Generator().manual_seed(SEED)  # the same draws for every picture, whatever it is batched with
    drawn = torch.multinomial(torch.ones(STARTS, count), clusters, generator=generator).to(points.device)
    means = points[:, drawn]  # P x STARTS x K x D
    going = torch.ones(pictures, 1, 1, 1, dtype=torch.bool, device=points.device)
    for _ in range(ROUNDS):
        moved = _means(points, rule(points, means), means)
        shift = (moved - means).norm(dim=-1).mean(-1)
        means = torch.where(going, moved, means)
        going &= (shift >= STILL).any(1)[:, None, None, None]  # each ends where it would alone, whatever it is batched with
        if not bool(going.any()):
            break
    nearest = rule(points, means)
    best = _spread(points, means, nearest).argmin(1)
    return nearest[torch.arange(pictures, device=points.device), best]


def _means(points: torch.Tensor, nearest: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """The mean of every cluster, P x S x K x D; an empty one stays where it was."""
    chosen = torch.nn.functional.one_hot(nearest, old.shape[2]).to(points.dtype)  # P x S x N x K
    sums = torch.einsum("psnk,pnd->pskd", chosen, points)
    sizes = chosen.sum(2)[..., None]
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), old)


def _spread(points: torch.Tensor, means: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """Sum of squared distances to the means, P x S."""
    own = [
        torch.stack([(picture - start[labels]).square().sum() for start, labels in zip(starts, chosen, strict=True)])
        for picture, starts, chosen in zip(points, means, nearest, strict=True)
    ]
    return torch.stack(own)
