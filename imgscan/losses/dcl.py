"""Decoupled contrastive learning: InfoNCE without the positive in its denominator.

Yeh, Hong, Hsu, Liu, Chen, LeCun, "Decoupled Contrastive Learning", ECCV 2022, arXiv 2110.06848, Eq. 6; part of FOCAL's Table 3
(arXiv 2308.09307), where it scores far below InfoNCE.  Its single positive (another view of the picture) becomes every other
vector of the class, averaged; its negatives are the vectors of the other class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from imgscan.losses.focal import check_vectors, mean_similarity


def decoupled_loss(queries: Tensor, negatives: Tensor, temperature: float = 0.1) -> Tensor:
    """The decoupled contrastive loss, for one picture.

    With s = cosine similarity, t = temperature, Q the queries and N the negatives:

        loss = mean over q, q' in Q, q != q', of -s(q, q') / t + log sum over k in N of exp(s(q, k) / t)

    Args:
        queries: n x D float, unit vectors of one class; n >= 2.
        negatives: m x D float, unit vectors of the other class; m >= 1.
        temperature: t, > 0.

    Returns:
        Scalar, >= log(m) - 2 / t; it may be negative.

    Raises:
        ValueError: shapes that have no loss.
    """
    check_vectors(queries, negatives)
    # The mean over q' touches only the first summand, and the mean of similarities needs no n x n matrix.
    return (torch.logsumexp(queries @ negatives.T / temperature, dim=1) - mean_similarity(queries) / temperature).mean()
