"""Segment: the clusters of a network with a mask head, which says itself what is forged (CFL-Net, NCL, headed FOCAL)."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F

from imgscan.records import Clusters, Features

THRESHOLD = 0.5  # of the probability: the papers' argmax over two classes


def segment(features: Features, threshold: float = THRESHOLD) -> Clusters:
    """Two groups of cells, by the probability averaged over each cell.

    Args:
        features: with a probability.
        threshold: above it a cell is forged.

    Returns:
        Clusters on the grid of the features: 0 pristine, 1 forged, no noise; also where all or nothing is forged.
    """
    assert features.probability is not None
    rows, columns = features.vectors.shape[1:]
    cells = F.adaptive_avg_pool2d(features.probability.values[None], (rows, columns))[0]
    labels = (cells > threshold).numpy().astype(np.int32)
    return Clusters(labels=labels, noise=np.zeros_like(labels, bool), persistence=(1.0, 1.0), method="mask head")
