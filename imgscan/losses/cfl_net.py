"""CFL-Net's contrastive loss over patches.

Niloy, Bhaumik, Woo, "CFL-Net: Image Forgery Localization Using Contrastive Learning", WACV 2023, arXiv 2210.02182, Eq. 2, on
the averages of patches (4 x 4 pixels of a 256 x 256 picture: 64 x 64 of them).

What is done differently from the released code, and why:

* Its row maximum is taken over the queries instead of the keys, so the shift inside the exponentials does not cancel and the
  value is another one (5.6485 where Eq. 2 is 5.4713).  Here it is Eq. 2, by log-sum-exp; `patch_contrast_released` restates the
  released rule as a checked reference.
* It keeps about eight N x N matrices per picture, N = 4,096.  Here some queries are taken at a time and recomputed in the
  backward pass, which costs a second forward pass of the loss and needs memory in proportion to `chunk` x N only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from imgscan.losses.info_nce import per_positive_rows


def patch_labels(mask: Tensor, patch: int = 4) -> Tensor:
    """The label of every patch: the one most of its pixels have; exactly half is authentic.

    Args:
        mask: B x H x W bool, or float in 0..1; 1 is tampered.
        patch: pixels a side; H and W are multiples of it.

    Returns:
        B x H/patch x W/patch int64, 0 authentic, 1 tampered.

    Raises:
        ValueError: a mask of another shape or dtype.  Integers are refused: 0..255 would make every touched patch tampered.
    """
    if mask.ndim != 3 or mask.shape[1] % patch or mask.shape[2] % patch:
        raise ValueError(f"mask {tuple(mask.shape)}; wanted B x H x W with H and W multiples of {patch}")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ValueError(f"mask of {mask.dtype}; wanted bool, or float in 0..1")
    return (F.avg_pool2d(mask.float()[:, None], patch)[:, 0] > 0.5).long()


def patch_contrast(features: Tensor, labels: Tensor, *, temperature: float = 0.1, chunk: int = 1024) -> Tensor:
    """Supervised contrast between the patches of each picture.

    With f the L2-normalised patch vectors, t = temperature, e(i, j) = exp(f_i . f_j / t), A_i the other patches of i's class and
    N_i those of the other class:

        L_i  = 1 / |A_i| * sum over j in A_i of -log( e(i, j) / (e(i, j) + sum over k in N_i of e(i, k)) )
        loss = mean over pictures of the mean over patches of L_i

    Both classes are queries.  L_i = 0 where A_i or N_i is empty, so a picture of one class gives 0.

    Args:
        features: B x D x h x w float; normalised here along D.
        labels: B x h x w integer, 0 authentic, 1 tampered.
        temperature: t, > 0.
        chunk: queries at a time; about 40 x chunk x h x w bytes are needed besides the features, also in the backward pass.

    Returns:
        Scalar, >= 0; 0 with a gradient of zeros when no picture has both classes.

    Raises:
        ValueError: features and labels do not belong together.
    """
    _check(features, labels)
    total = features.to(_precision(features)).sum() * 0
    patches = labels[0].numel()
    for picture, label in zip(F.normalize(features.to(_precision(features)), dim=1, eps=1e-6), labels, strict=True):
        vectors, flat = picture.flatten(1).T, label.flatten()
        authentic, tampered = vectors[flat == 0], vectors[flat == 1]
        for own, other in ((authentic, tampered), (tampered, authentic)):
            if own.shape[0] < 2 or other.shape[0] < 1:
                continue
            for start in range(0, own.shape[0], chunk):
                rows = slice(start, start + chunk)
                total = total + checkpoint(
                    _sum_of_rows, own, other, rows, temperature, use_reentrant=False, preserve_rng_state=False
                )
    return total / (features.shape[0] * patches)


def _sum_of_rows(own: Tensor, other: Tensor, rows: slice, temperature: float) -> Tensor:
    return per_positive_rows(own, other, rows, temperature).sum()


def patch_contrast_released(features: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """`patch_contrast` as the released code computes it; a reference to check against.

    It keeps several B x N x N arrays (268 MB each at N = 4,096 and batch 4), and exponentials vanish at temperatures below 0.03.

    S = f f^T / t with a diagonal of 0;  E_ij = exp(S_ij - max over i of S_ij);
    L_i = mean over j in A_i of -log( E_ij / (E_ij + sum over k in N_i of E_ik) ).

    Args:
        features: B x D x h x w float; normalised here along D.
        labels: B x h x w integer, 0 authentic, 1 tampered.
        temperature: t, > 0.

    Returns:
        Scalar.

    Raises:
        ValueError: features and labels do not belong together.
    """
    return _rows_released(features, labels, temperature).mean()


def _rows_released(features: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """L_i of every patch, B x h w."""
    _check(features, labels)
    vectors = F.normalize(features.to(_precision(features)), dim=1, eps=1e-6).flatten(2).transpose(1, 2)
    flat = labels.flatten(1)
    itself = torch.eye(vectors.shape[1], dtype=torch.bool, device=vectors.device)
    logits = (vectors @ vectors.transpose(1, 2) / temperature).masked_fill(itself, 0)
    exponentials = (logits - logits.amax(dim=1, keepdim=True)).exp()
    same = flat[:, :, None] == flat[:, None, :]
    below = exponentials + (exponentials * ~same).sum(2, keepdim=True)
    terms = (below.log() - exponentials.log()) * (same & ~itself)
    rows: Tensor = terms.sum(2) / (same.sum(2) - 1).clamp(min=1)
    return rows


def _precision(features: Tensor) -> torch.dtype:
    """float32, or float64 where the features are."""
    return torch.promote_types(features.dtype, torch.float32)


def _check(features: Tensor, labels: Tensor) -> None:
    if features.ndim != 4 or not features.numel() or labels.shape != (features.shape[0], *features.shape[2:]):
        raise ValueError(f"features {tuple(features.shape)}, labels {tuple(labels.shape)}; wanted B x D x h x w and B x h x w")
