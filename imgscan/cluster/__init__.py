"""Cluster: which cells of a picture belong together.  One literal table name -> function, all with the same signature."""

from __future__ import annotations

import numpy as np

from imgscan.cluster.hdbscan import hdbscan_labels
from imgscan.cluster.kmeans import kmeans_labels
from imgscan.cluster.settings import ClusterSettings
from imgscan.errors import InputError, unknown
from imgscan.records import Clusters, Features

# name -> (N x D float32 unit vectors, settings) -> (N labels, -1 = noise; one persistence per cluster)
CLUSTERINGS = {
    "hdbscan": hdbscan_labels,
    "kmeans": kmeans_labels,
}

__all__ = ["CLUSTERINGS", "ClusterSettings", "cluster"]


def cluster(features: Features, settings: ClusterSettings) -> Clusters:
    """Group the cells.

    HDBSCAN's noise goes to the cluster with the nearest centre (by cosine): noise pixels are scattered over a picture and mostly
    isolated features.  No cluster at all counts as one.  More than `settings.most` clusters: k-means decides, and `method` says so.

    Returns:
        Clusters with labels by falling size, so that 0 is the pristine one (FOCAL, section 3.2).

    Raises:
        InputError: an unknown method.
        ValueError: features that are not finite.
    """
    if settings.method not in CLUSTERINGS:
        raise InputError(unknown("clustering", settings.method, CLUSTERINGS))
    rows, columns = features.vectors.shape[1:]
    points = features.vectors.flatten(1).T.contiguous().float()
    if not bool(points.isfinite().all()):
        raise ValueError("features hold NaN or infinity; nothing can be clustered")
    method = settings.method
    labels, persistence = CLUSTERINGS[method](points, settings)
    found = int(labels.max(initial=-1)) + 1
    if method != "kmeans" and found > settings.most:
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
