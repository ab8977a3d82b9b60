"""BIRCH (Zhang, Ramakrishnan, Livny, SIGMOD 1996), of FOCAL's Table 4, from scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.kmeans import numbered
from imgscan.cluster.settings import ClusterSettings

RADIUS, FINEST = 0.5, 1e-3
"""Largest radius of a subcluster, scikit-learn's default, and the smallest tried; unit vectors are at most 2 apart."""
MOST_SUBCLUSTERS = 5000  # its last step is hierarchical, quadratic in their number


def birch_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """`settings.clusters` clusters.

    The radius of the subclusters is halved until there are as many of them as clusters are wanted: features of a picture may all
    lie within the default radius.

    Args:
        points: N x D float32.
        settings: of the common signature.

    Returns:
        N labels 0, 1, ... (only 0 when the points do not differ); persistence 1.0 each.
    """
    from sklearn.cluster import Birch

    array = points.cpu().numpy()
    radius = RADIUS
    while len(array) > settings.clusters and radius >= FINEST:
        tree = Birch(threshold=radius, n_clusters=None).fit(array)
        subclusters = len(tree.subcluster_centers_)
        if subclusters >= settings.clusters:
            if subclusters > MOST_SUBCLUSTERS:
                break
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree.set_params(n_clusters=settings.clusters)
                tree.partial_fit()  # the global step alone
            return numbered(tree.predict(array))
        radius /= 2
    return np.zeros(len(array), np.int32), (1.0,)
