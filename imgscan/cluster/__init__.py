"""Cluster: which cells of a picture belong together.  One literal table name -> function, all with the same signature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.birch import birch_labels
from imgscan.cluster.bisecting import bisecting_labels, bisecting_many
from imgscan.cluster.hdbscan import hdbscan_labels
from imgscan.cluster.hierarchical import hierarchical_labels
from imgscan.cluster.kmeans import kmeans_labels, kmeans_many
from imgscan.cluster.settings import ClusterSettings
from imgscan.errors import InputError, unknown
from imgscan.records import Clusters, Features

# name -> (N x D float32 unit vectors, settings) -> (N labels, -1 = noise; one persistence per cluster)
CLUSTERINGS = {
    "hdbscan": hdbscan_labels,
    "kmeans": kmeans_labels,
    "bisecting": bisecting_labels,
    "birch": birch_labels,
    "hierarchical": hierarchical_labels,
}
# Of these the ones that take several pictures of equal size at once, P x N x D
MANY = {"kmeans": kmeans_many, "bisecting": bisecting_many}

Labelled = tuple[npt.NDArray[np.int32], tuple[float, ...]]

__all__ = ["CLUSTERINGS", "MANY", "ClusterSettings", "cluster", "cluster_many"]


def cluster(features: Features, settings: ClusterSettings, device: torch.device | None = None) -> Clusters:
    """Group the cells of one picture; see cluster_many."""
    return cluster_many([features], settings, device)[0]


def cluster_many(features: Sequence[Features], settings: ClusterSettings, device: torch.device | None = None) -> list[Clusters]:
    """Group the cells of pictures, each on its own.

    HDBSCAN's noise goes to the cluster with the nearest centre (by cosine): noise pixels are scattered over a picture and mostly
    isolated features.  No cluster at all counts as one.  More than `settings.most` clusters: k-means decides, and `method` says so.

    Args:
        features: of the pictures; those of equal size go through the methods of MANY together.
        settings: which method, and how.
        device: where distances are computed; None: where the features are.

    Returns:
        Clusters with labels by falling size, so that 0 is the pristine one (FOCAL, section 3.2).

    Raises:
        InputError: an unknown method.
        ValueError: features that are not finite.
    """
    if settings.method not in CLUSTERINGS:
        raise InputError(unknown("clustering", settings.method, CLUSTERINGS))
    points = [one.vectors.flatten(1).T.contiguous().float() for one in features]
    if not all(bool(one.isfinite().all()) for one in points):
        raise ValueError("features hold NaN or infinity; nothing can be clustered")
    found = _labelled(points, settings, device)
    return [
        _clusters(one, their_points.cpu(), labelled, settings)
        for one, their_points, labelled in zip(features, points, found, strict=True)
    ]


def _labelled(points: Sequence[torch.Tensor], settings: ClusterSettings, device: torch.device | None) -> list[Labelled]:
    if settings.method not in MANY:
        return [CLUSTERINGS[settings.method](one if device is None else one.to(device), settings) for one in points]
    by_size: dict[int, list[int]] = {}
    for number, one in enumerate(points):
        by_size.setdefault(len(one), []).append(number)
    found: dict[int, Labelled] = {}
    for numbers in by_size.values():
        together = torch.stack([points[number] for number in numbers])
        answers = MANY[settings.method](together if device is None else together.to(device), settings)
        found |= dict(zip(numbers, answers, strict=True))
    return [found[number] for number in range(len(points))]


def _clusters(features: Features, points: torch.Tensor, labelled: Labelled, settings: ClusterSettings) -> Clusters:
    """Labels by falling size, noise adopted."""
    rows, columns = features.vectors.shape[1:]
    labels, persistence = labelled
    method = settings.method
    found = int(labels.max(initial=-1)) + 1
    if method == "hdbscan" and found > settings.most:
        method = f"kmeans ({method} found {found} clusters)"
        labels, persistence = kmeans_labels(points, settings)
    noise = labels < 0
    if (labels >= 0).any():
        labels = _adopt_noise(points.numpy(), labels)
    else:
        labels, persistence = np.zeros(len(points), np.int32), (1.0,)
    order = np.argsort(-np.bincount(labels), kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return Clusters(
        labels=rank[labels].reshape(rows, columns),
        noise=noise.reshape(rows, columns),
        persistence=tuple(float(persistence[k]) for k in order),
        method=method,
    )


def _adopt_noise(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels with every -1 replaced by the cluster whose mean direction is nearest."""
    if not (labels < 0).any():
        return labels
    centres = np.stack([points[labels == k].mean(0) for k in range(labels.max() + 1)])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    adopted = labels.copy()
    adopted[labels < 0] = (points[labels < 0] @ centres.T).argmax(1)
    return adopted
