"""Circle loss: every similarity is weighted by how far it is from where it should be.

Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020,
arXiv 2002.10857, Eq. 4 to 8; part of FOCAL's Table 3 (arXiv 2308.09307).  What is done differently: the scale gamma is
1 / temperature, so that one setting serves every contrast.  The paper takes 80 to 256, temperatures of 0.0125 to 0.004.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from imgscan.losses.focal import check_vectors


def circle_loss(queries: Tensor, negatives: Tensor, temperature: float = 0.1, *, margin: float = 0.25) -> Tensor:
    """Circle loss, for one picture.

    With s = cosine similarity, g = 1 / temperature, m = margin, Q the queries and N the negatives, for every q:

        a_p = max(0, 1 + m - s(q, q')),  a_n = max(0, s(q, k) + m)
        loss_q = log( 1 + sum over k in N of exp(g a_n (s(q, k) - m))
                          * sum over q' in Q, q' != q, of exp(-g a_p (s(q, q') - 1 + m)) )

    and the loss is the mean over q.  The weights a_p and a_n are constants to the gradient (the paper's Eq. 10): it pulls with
    g a_p and pushes with g a_n, hence it is not the derivative of the value.

    Args:
        queries: n x D float, unit vectors of one class; n >= 2.
        negatives: m x D float, unit vectors of the other class; m >= 1.
        temperature: 1 / g, > 0.
        margin: 0..1; s should exceed 1 - m within the class and stay below m towards the other.

    Returns:
        Scalar, > 0.

    Raises:
        ValueError: shapes that have no loss.
    """
    check_vectors(queries, negatives)
    alike, unlike = queries @ queries.T, queries @ negatives.T
    pull = (1 + margin - alike.detach()).clamp(min=0)
    push = (unlike.detach() + margin).clamp(min=0)
    itself = torch.eye(queries.shape[0], dtype=torch.bool, device=queries.device)
    positive = (-pull * (alike - 1 + margin) / temperature).masked_fill(itself, -math.inf)
    negative = push * (unlike - margin) / temperature
    return F.softplus(torch.logsumexp(positive, dim=1) + torch.logsumexp(negative, dim=1)).mean()
