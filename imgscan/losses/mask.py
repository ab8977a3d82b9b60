"""The loss of a mask head beside FOCAL's contrast (models/mask_head.py); ours, of known parts.

With l the logit of a cell, y the forged share of its pixels, p = sigmoid(l):

    cells    = mean over all cells of BCE(l, y)
    dice     = mean over forged pictures of 1 - (2 sum p y + 1) / (sum p + sum y + 1)
    pictures = mean over pictures of BCE(mean of its highest HIGHEST logits, is anything forged)
    loss     = cells + DICE dice + PICTURE pictures
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

HIGHEST = 0.01  # share of a picture's cells whose logits decide about the picture


def mask_loss(logits: Tensor, labels: Tensor, *, dice: float, picture: float) -> Tensor:
    """Cross-entropy of the cells, with dice and the cross-entropy of pictures.

    Args:
        logits: B x 2 x h x w float; what counts is channel 1 minus channel 0.
        labels: B x H x W integer, 0 pristine, more is forged; H and W are multiples of h and w.
        dice, picture: weights, >= 0.

    Returns:
        Scalar float32, >= 0.

    Raises:
        ValueError: shapes that do not belong together.
    """
    fits = logits.ndim == 4 and logits.shape[1] == 2 and labels.ndim == 3 and len(labels) == len(logits)
    if not fits or any(large % small for large, small in zip(labels.shape[1:], logits.shape[2:], strict=True)):
        raise ValueError(f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}; wanted B x 2 x h x w and B x kh x kw")
    forged = (logits[:, 1] - logits[:, 0]).float().flatten(1)
    truth = F.adaptive_avg_pool2d((labels > 0).float()[:, None], (logits.shape[2], logits.shape[3])).flatten(1)
    loss = F.binary_cross_entropy_with_logits(forged, truth)
    if dice:
        touched = (truth.amax(1) > 0).float()  # weights instead of a selection, whose size a GPU would have to be waited for
        share = forged.sigmoid()
        overlap = (2 * (share * truth).sum(1) + 1) / (share.sum(1) + truth.sum(1) + 1)
        loss = loss + dice * ((1 - overlap) * touched).sum() / touched.sum().clamp(min=1)
    if picture:
        loss = loss + picture * picture_loss(logits, labels)
    return loss


def picture_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """`pictures` of the formula above: the mean over pictures of BCE(mean of its highest HIGHEST logits, is anything forged); ours.

    Args:
        logits: B x 2 x h x w float; what counts is channel 1 minus channel 0.
        labels: B x H x W integer, 0 pristine, more is forged.

    Returns:
        Scalar float32, >= 0.
    """
    forged = (logits[:, 1] - logits[:, 0]).float().flatten(1)
    highest = forged.topk(max(1, round(HIGHEST * forged.shape[1])), dim=1).values.mean(1)
    return F.binary_cross_entropy_with_logits(highest, (labels > 0).flatten(1).any(1).float())
