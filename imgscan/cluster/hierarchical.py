"""Agglomerative clustering with Ward's criterion (Ward, JASA 1963), of FOCAL's Table 4, from scikit-learn."""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.kmeans import numbered
from imgscan.cluster.settings import ClusterSettings

MOST_POINTS = 20_000  # all pairs of distances are held: 1.6 GB here
MOST_GRID = isqrt(MOST_POINTS)
"""Cells a side of a square picture."""


def hierarchical_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """`settings.clusters` clusters.

    Args:
        points: N x D float32.
        settings: of the common signature.

    Returns:
        N labels 0, 1, ...; persistence 1.0 each.

    Raises:
        ValueError: more than MOST_POINTS points.
    """
    from sklearn.cluster import AgglomerativeClustering

    array = points.cpu().numpy()
    if len(array) > MOST_POINTS:
        raise ValueError(f"{len(array)} points; hierarchical takes at most {MOST_POINTS}, choose a smaller --grid")
    if len(array) <= settings.clusters or not np.ptp(array, axis=0).any():
        return np.zeros(len(array), np.int32), (1.0,)
    return numbered(AgglomerativeClustering(n_clusters=settings.clusters, linkage="ward").fit_predict(array))
