"""The clusterings by name, and what a weights card means that does not say; cluster/ has the functions.  No torch here."""

from __future__ import annotations

from typing import Literal, get_args

from imgscan.errors import InputError, unknown

ClusterName = Literal["hdbscan", "kmeans", "bisecting", "birch", "hierarchical"]
CLUSTERINGS: tuple[ClusterName, ...] = get_args(ClusterName)
HEAD = "head"  # [clustering] method: in place of a clustering the mask heads of the networks decide
NO_GRID = "--grid: mask heads decide here and nothing is clustered; leave it out, or add --cluster hdbscan"
METHOD, GRID = CLUSTERINGS[0], 64  # of [clustering], where it has none


def check_clustering(method: str | None) -> None:
    """InputError, with the near miss, for what --cluster does not take; None: as the card says."""
    if method is not None and method not in (HEAD, *CLUSTERINGS):
        raise InputError(f"--cluster: {unknown('clustering', method, CLUSTERINGS)}")
