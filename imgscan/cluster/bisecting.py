"""Bisecting k-means (Steinbach, Karypis, Kumar, KDD Workshop on Text Mining 2000), of FOCAL's Table 4.

All points are one cluster; then the cluster with the largest sum of squared distances to its mean is split in two by Lloyd's
k-means in Euclidean distance, until there are as many as wanted.  With two, one split.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.kmeans import by_distance, lloyd, numbered
from imgscan.cluster.settings import ClusterSettings


def bisecting_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """`settings.clusters` clusters.

    Args:
        points: N x D float32, on any device.
        settings: of the common signature.

    Returns:
        N labels 0, 1, ... (fewer clusters when the points do not differ); persistence 1.0 each.
    """
    return bisecting_many(points[None], settings)[0]


def bisecting_many(points: torch.Tensor, settings: ClusterSettings) -> list[tuple[npt.NDArray[np.int32], tuple[float, ...]]]:
    """The same for P pictures of equal size, each on its own: P x N x D; the first split of all of them at once."""
    count = points.shape[1]
    if count < 2 or settings.clusters < 2:
        return [(np.zeros(count, np.int32), (1.0,)) for _ in points]
    first = lloyd(points, 2, by_distance)
    return [numbered(_split(one, labels, settings.clusters).cpu().numpy()) for one, labels in zip(points, first, strict=True)]


def _split(points: torch.Tensor, labels: torch.Tensor, clusters: int) -> torch.Tensor:
    """Further splits, of one picture."""
    labels = labels.clone()
    for new in range(2, clusters):
        inertia = [_inertia(points[labels == one]) for one in range(new)]
        worst = int(np.argmax(inertia))
        inside = (labels == worst).nonzero()[:, 0]
        if len(inside) < 2:
            break
        halves = lloyd(points[inside][None], 2, by_distance)[0]
        labels[inside[halves == 1]] = new
    return labels


def _inertia(points: torch.Tensor) -> float:
    return float((points - points.mean(0)).square().sum()) if len(points) else 0.0
