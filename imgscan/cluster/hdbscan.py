"""HDBSCAN for dense features (Campello, Moulavi, Sander, PAKDD 2013), as FOCAL's section 3.2 asks for.

The package `hdbscan` leaves its fast trees above 60 dimensions and then spends most of its time on distances.  Here torch makes
the distances and the core distances, and the package's own compiled code does the rest: spanning tree, condensed tree, choice of
clusters (the hierarchy is scikit-learn's, ten times as fast).  The labels equal the package's.
"""

from __future__ import annotations

from threading import local

import numpy as np
import numpy.typing as npt
import torch
from hdbscan._hdbscan_linkage import mst_linkage_core
from hdbscan.hdbscan_ import _tree_to_labels
from sklearn.cluster._hierarchical_fast import single_linkage_label

from imgscan.cluster.settings import ClusterSettings

MOST_POINTS = 20_000  # the distance matrix is dense: 3.2 GB of float64 here
CHUNK = 128  # rows of it at a time
_memory = local()


def hdbscan_labels(points: torch.Tensor, settings: ClusterSettings) -> tuple[npt.NDArray[np.int32], tuple[float, ...]]:
    """Cluster by Euclidean distance (on unit vectors the same order as cosine), excess of mass.

    Args:
        points: N x D float32.
        settings: min_cluster_size and min_samples (a point's core distance is that to its `neighbours`-th neighbour, itself not
            counted), cluster_selection_epsilon and allow_single_cluster, as the package names them.

    Returns:
        N labels, -1 = noise; one persistence (0..1) per cluster.

    Raises:
        ValueError: more than MOST_POINTS points.
    """
    count, smallest = len(points), settings.members(len(points))
    if count > MOST_POINTS:
        raise ValueError(f"{count} points; at most {MOST_POINTS} are clustered, choose a smaller grid")
    if count <= max(smallest, settings.neighbours):
        return np.full(count, -1, np.int32), ()
    tree = mst_linkage_core(reachability(points, settings.neighbours).numpy())
    tree = single_linkage_label(tree[np.argsort(tree[:, 2])])
    labels, _, persistence, _, _ = _tree_to_labels(
        points.numpy(), tree, smallest, "eom", settings.single, False, settings.epsilon, 0
    )
    return labels.astype(np.int32), tuple(float(p) for p in persistence)


def reachability(points: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Mutual reachability distances, N x N float64: max(d(a, b), core(a), core(b)).

    The result lies in memory that the thread's next call writes over: for N x N, fresh pages cost more than the arithmetic.
    """
    count = len(points)
    memory: torch.Tensor | None = getattr(_memory, "matrix", None)
    if memory is None or memory.numel() < count * count:
        memory = _memory.matrix = torch.empty(count * count, dtype=torch.float64)
    distances = memory[: count * count].view(count, count)
    squares = (points * points).sum(1)
    core = points.new_empty(count)
    for first in range(0, count, CHUNK):  # small enough to stay in the processor's cache
        part = slice(first, first + CHUNK)
        chunk = torch.addmm(squares[None, :] + squares[part, None], points[part], points.T, alpha=-2)
        chunk.clamp_(min=0).sqrt_()
        chunk.diagonal(first).zero_()
        core[part] = chunk.topk(neighbours + 1, dim=1, largest=False).values[:, -1]
        distances[part] = chunk
    core = core.double()
    for one in (core[:, None], core[None, :]):
        torch.maximum(distances, one, out=distances)
    return distances
