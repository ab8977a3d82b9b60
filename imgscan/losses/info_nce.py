"""Two relatives of FOCAL's loss: InfoNCE with one positive at a time, and InfoNCE++ as its paper prints it.

van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", arXiv 1807.03748; extended to many
positives by Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, arXiv 2004.11362.  The same formula is Eq. 2 of CFL-Net
(cfl_net.py) and the first term of NCL (ncl.py), which is why its rows are a function of their own.

FOCAL's Table 3 (arXiv 2308.09307) compares both with InfoNCE++ as released, which is imgscan.losses.focal.info_nce.  The three
differ in where the mean over the positives stands and in whether the positive is part of the denominator:

    info_nce_per_positive   mean outside the logarithm, positive below: at least the released one, equal when n = 2
    focal.info_nce          mean inside the exponential, positive below
    info_nce_printed        mean of the exponentials, positive not below: without a lower bound but the temperature's
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from imgscan.losses.focal import check_vectors


def info_nce_per_positive(queries: Tensor, negatives: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE for every pair of queries, averaged.

    With e(a, b) = exp(a . b / t), t = temperature, Q the queries and N the negatives:

        loss = mean over q, q' in Q, q != q', of -log( e(q, q') / (e(q, q') + sum over k in N of e(q, k)) )

    Args:
        queries: n x D float, unit vectors of one class; n >= 2.
        negatives: m x D float, unit vectors of the other class; m >= 1.
        temperature: t, > 0.

    Returns:
        Scalar, >= 0.

    Raises:
        ValueError: shapes that have no loss.
    """
    check_vectors(queries, negatives)
    return per_positive_rows(queries, negatives, slice(None), temperature).mean()


def per_positive_rows(queries: Tensor, negatives: Tensor, rows: slice, temperature: float) -> Tensor:
    """The summands of `info_nce_per_positive` of the queries in `rows`: one value each, the mean over its n - 1 positives.

    Needs a few matrices of (number of rows) x n and of (number of rows) x m; with many vectors, take some rows at a time.
    """
    some = queries[rows]
    negative = torch.logsumexp(some @ negatives.T / temperature, dim=1)
    terms = F.softplus(negative[:, None] - some @ queries.T / temperature)
    number = torch.arange(queries.shape[0], device=queries.device)
    itself = number[rows, None] == number
    return terms.masked_fill(itself, 0).sum(1) / (queries.shape[0] - 1)


def info_nce_printed(queries: Tensor, negatives: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE++ as FOCAL's Eq. 2 is printed.

        loss = mean over q in Q of -log( mean over q' in Q, q' != q, of e(q, q') / sum over k in N of e(q, k) )

    Every sum of exponentials is a log-sum-exp, so that no temperature overflows.

    Args:
        queries: n x D float, unit vectors of one class; n >= 2.
        negatives: m x D float, unit vectors of the other class; m >= 1.
        temperature: t, > 0.

    Returns:
        Scalar, >= log(m) - 2 / t: it goes on falling when the classes are apart, since the positive is not in the denominator.

    Raises:
        ValueError: shapes that have no loss.
    """
    check_vectors(queries, negatives)
    itself = torch.eye(queries.shape[0], dtype=torch.bool, device=queries.device)
    positive = torch.logsumexp((queries @ queries.T / temperature).masked_fill(itself, -math.inf), dim=1)
    negative = torch.logsumexp(queries @ negatives.T / temperature, dim=1)
    return (negative - positive).mean() + math.log(queries.shape[0] - 1)
