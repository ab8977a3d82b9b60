"""2-means as the released FOCAL code does it in place of HDBSCAN.

That code calls torch_kmeans 0.2.0 with "CosineSimilarity", which assigns points by the plain dot product with the cluster means,
not normalised: the tighter cluster is favoured.  Published masks were made so, hence it is the rule here: 8 random starts of 2
points, at most 100 rounds, and the start with the smallest sum of squared distances wins.

2-means always marks something, also on an untouched picture (HighwayWu/FOCAL issue 10).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.settings import ClusterSettings

STARTS, ROUNDS, SEED, STILL = 8, 100, 123, 1e-4


def kmeans_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """Two clusters of unit vectors.

    Args:
        points: N x D float32.
        settings: of the common signature; 2-means needs none of them.

    Returns:
        N labels 0 and 1 (only 0 when all points are the same); persistence 1.0 each.
    """
    if len(points) < 2:
        return np.zeros(len(points), np.int32), (1.0,)
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.multinomial(torch.ones(STARTS, len(points)), 2, generator=generator)
    means = points[drawn]  # STARTS x 2 x D
    for _ in range(ROUNDS):
        nearest = assign(points, means)  # STARTS x N
        moved = _means(points, nearest, means)
        shift = (moved - means).norm(dim=-1).mean(-1)
        means = moved
        if bool((shift < STILL).all()):
            break
    nearest = assign(points, means)
    spread = torch.stack([(points - mean[one]).square().sum() for mean, one in zip(means, nearest, strict=True)])
    labels = nearest[int(spread.argmin())].numpy().astype(np.int32)
    present = np.unique(labels)
    return np.searchsorted(present, labels).astype(np.int32), (1.0,) * len(present)


def assign(points: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """The index of the mean with the largest dot product: STARTS x N."""
    return torch.einsum("nd,skd->snk", points, means).argmax(-1)


def _means(points: torch.Tensor, nearest: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """The mean of every cluster, STARTS x 2 x D; an empty one stays where it was."""
    chosen = torch.nn.functional.one_hot(nearest, 2).to(points.dtype)  # STARTS x N x 2
    sums = torch.einsum("snk,nd->skd", chosen, points)
    sizes = chosen.sum(1)[..., None]
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), old)
