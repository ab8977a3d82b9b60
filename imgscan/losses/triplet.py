"""The triplet margin loss over every triplet of a picture.

Balntas, Riba, Ponsa, Mikolajczyk, "Learning local feature descriptors with triplets and shallow convolutional neural networks",
BMVC 2016; part of FOCAL's Table 3 (arXiv 2308.09307), where it collapses.  What is done differently: no triplets are drawn.  A
thousand queries and a thousand negatives have 10^9 triplets, but for one query the hinge is linear beyond its threshold, so
sorting the negatives and a running sum give the exact mean over all of them.  No anchor swap.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from imgscan.losses.focal import check_vectors


def triplet_loss(queries: Tensor, negatives: Tensor, temperature: float = 0.1, *, margin: float = 1.0) -> Tensor:
    """The triplet margin loss, for one picture.

    With d the Euclidean distance, Q the queries and N the negatives:

        loss = mean over q, q' in Q, q != q', and k in N, of max(0, margin + d(q, q') - d(q, k))

    Args:
        queries: n x D float, unit vectors of one class; n >= 2.
        negatives: m x D float, unit vectors of the other class; m >= 1.
        temperature: not used; hinges have none, and all contrasts have one signature.
        margin: of distances, which lie in 0..2 between unit vectors; 1 is the paper's.

    Returns:
        Scalar, 0..2 + margin.

    Raises:
        ValueError: shapes that have no loss.
    """
    check_vectors(queries, negatives)
    n, m = queries.shape[0], negatives.shape[0]
    reach = margin + torch.cdist(queries, queries)
    away = torch.cdist(queries, negatives).sort(dim=1).values
    # Negatives nearer than `reach` are active: the hinges of a pair sum to (number of active) * reach - (sum of active distances).
    active = torch.searchsorted(away.detach(), reach.detach())
    running = F.pad(away.cumsum(1), (1, 0))
    hinges = active * reach - running.gather(1, active)
    itself = torch.eye(n, dtype=torch.bool, device=queries.device)
    return hinges.masked_fill(itself, 0).sum() / (n * (n - 1) * m)
