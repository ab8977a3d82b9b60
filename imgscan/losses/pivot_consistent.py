"""NCL's pivot-consistent loss: cross-entropy that weighs the contour of a forgery.

Zhou, Ma, Du, Alhammadi, Feng, "Pre-training-free Image Manipulation Localization through Non-Mutually Exclusive Contrastive
Learning", ICCV 2023, arXiv 2309.14900, Eq. 8 (which lacks the minus sign).  One supervised map at a time: the paper sums it over
the maps of its decoder, and adds 0.01 times the contrastive loss (ncl.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from imgscan.losses.ncl import CONTOUR, cell_classes


def contour_map(mask: Tensor, stride: int, window: int = 0) -> Tensor:
    """The pixels that lie in a contour cell of `ncl.cell_classes`.

    Args:
        mask: B x H x W bool, True tampered.
        stride, window: as there.

    Returns:
        B x H x W bool.

    Raises:
        ValueError: as there.
    """
    return (cell_classes(mask, stride, window) == CONTOUR).repeat_interleave(stride, 1).repeat_interleave(stride, 2)


def pc_loss(logits: Tensor, mask: Tensor, contour: Tensor, *, mu: float = 0.9) -> Tensor:
    """The loss of one map.

    With CE the two-class cross-entropy of a pixel, that is the binary one of the softmax probability of "tampered":

        loss = mu * mean over contour pixels of CE + (1 - mu) * mean over all pixels of CE

    Both means run over the whole batch; without contour pixels the first is 0.  For a smaller map a pixel is tampered where more
    than half of what it stands for is, and a contour pixel where any of it is.

    Args:
        logits: B x 2 x h x w float, authentic and tampered.
        mask: B x H x W bool, True tampered; H and W are multiples of h and w (or equal).
        contour: B x H x W bool, of `contour_map`.
        mu: 0..1, the weight of the contour.

    Returns:
        Scalar, >= 0.

    Raises:
        ValueError: shapes that do not belong together, masks that are not bool, mu outside 0..1.
    """
    fits = logits.ndim == 4 and logits.shape[1] == 2 and logits.numel() > 0 and mask.ndim == 3 and mask.shape == contour.shape
    fits = fits and logits.shape[0] == mask.shape[0] and mask.shape[1] % logits.shape[2] == 0 == mask.shape[2] % logits.shape[3]
    if not fits:
        raise ValueError(
            f"logits {tuple(logits.shape)}, mask {tuple(mask.shape)}, contour {tuple(contour.shape)}; "
            "wanted B x 2 x h x w and twice B x H x W, H and W multiples of h and w"
        )
    if mask.dtype != torch.bool or contour.dtype != torch.bool:
        raise ValueError(f"mask of {mask.dtype}, contour of {contour.dtype}; wanted bool")
    if not 0 <= mu <= 1:
        raise ValueError(f"mu is {mu}; wanted 0..1")
    window = (mask.shape[1] // logits.shape[2], mask.shape[2] // logits.shape[3])
    truth = F.avg_pool2d(mask.float()[:, None], window)[:, 0] > 0.5
    edge = F.max_pool2d(contour.float()[:, None], window)[:, 0] > 0
    entropy = F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), truth.long(), reduction="none")
    at_contour = entropy.masked_fill(~edge, 0).sum() / edge.sum().clamp(min=1)
    return mu * at_contour + (1 - mu) * entropy.mean()
