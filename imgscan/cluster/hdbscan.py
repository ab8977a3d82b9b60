"""HDBSCAN for dense features (Campello, Moulavi, Sander, PAKDD 2013), as FOCAL's section 3.2 asks for.

The package `hdbscan` leaves its fast trees above 60 dimensions and then spends minutes on distances.  Here torch finds the spanning
tree (reachability.py), and the package's own compiled code does the rest: condensed tree and choice of clusters (the hierarchy is
scikit-learn's, ten times as fast).  The labels equal the package's but for ties: core distances make edges weigh the same, and
which of them comes first may move some points, as it does between the package's own algorithms; where most points are equal to
others (which features of a network are not), and with `leaf`, many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from imgscan.cluster.reachability import spanning_tree
from imgscan.cluster.settings import ClusterSettings
from imgscan.devices import whole_float32


def hdbscan_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """Cluster by Euclidean distance (on unit vectors the same order as cosine).

    Args:
        points: N x D float32, on any device.
        settings: min_cluster_size and min_samples (a point's core distance is that to its `neighbours`-th neighbour, itself not
            counted), cluster_selection_method, cluster_selection_epsilon and allow_single_cluster, as the package names them.

    Returns:
        N labels, -1 = noise; one persistence (0..1) per cluster.

    Raises:
        ValueError: a coordinate is not finite.
    """
    # Half a second to import, which scans where mask heads decide need not pay.
    from hdbscan.hdbscan_ import _tree_to_labels
    from sklearn.cluster._hierarchical_fast import single_linkage_label

    if points.device.type == "mps":  # no float64 there
        points = points.cpu()
    if not bool(points.isfinite().all()):
        raise ValueError("points hold NaN or infinity; nothing can be clustered")
    count, smallest = len(points), settings.members(len(points))
    if count <= max(smallest, settings.neighbours):
        return np.full(count, -1, np.int32), ()
    with whole_float32(points.device):  # what is said to be no nearer than so and so far must not be
        tree = single_linkage_label(spanning_tree(points, settings.neighbours))
    labels, _, persistence, _, _ = _tree_to_labels(
        None, tree, smallest, settings.select, settings.single, False, settings.epsilon, 0
    )
    return labels.astype(np.int32), tuple(float(p) for p in persistence)
