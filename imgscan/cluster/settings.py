"""What a clustering may be told; [clustering] of a weights card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imgscan.cluster_names import GRID, METHOD
from imgscan.typed import within


@dataclass(frozen=True)
class ClusterSettings:
    """--cluster and --grid override the card; InputError for a number that no clustering can have."""

    method: str = METHOD  # a name of CLUSTERINGS, or HEAD
    grid: int = GRID  # most cells along the longer side
    smallest: float = 0.01  # fewest members of a cluster, as a share of the cells (HDBSCAN's min_cluster_size)
    neighbours: int = 8  # HDBSCAN's min_samples
    epsilon: float = 0.0  # clusters nearer than this (Euclidean, of unit vectors) are one; the last two only if `single`
    select: Literal["eom", "leaf"] = "eom"  # excess of mass, or the leaves of the tree (cluster_selection_method)
    single: bool = True  # whether HDBSCAN may answer that there is only one cluster (allow_single_cluster)
    clusters: int = 2  # of the methods that are told how many: k-means, bisecting, BIRCH, hierarchical
    most: int = 40  # more clusters than this mean that the features do not separate: fall back to k-means

    def __post_init__(self) -> None:
        within(self, 8, None, "grid")
        within(self, 0, 1, "smallest")
        within(self, 0, None, "epsilon")
        within(self, 1, None, "neighbours", "clusters", "most")

    def members(self, points: int) -> int:
        """Fewest members of a cluster among so many points."""
        return max(4, round(self.smallest * points))
