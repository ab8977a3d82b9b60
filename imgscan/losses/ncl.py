"""NCL's contrastive loss between tampered, authentic and contour cells.

Zhou, Ma, Du, Alhammadi, Feng, "Pre-training-free Image Manipulation Localization through Non-Mutually Exclusive Contrastive
Learning", ICCV 2023, arXiv 2309.14900, Eq. 7.

Training code was never released, so what the text leaves open is decided here: the logarithms get the minus sign that Eq. 7
lacks; e(a, b) is exp(a . b / t) of L2-normalised vectors; a contour cell is a cell of the tapped map that holds pixels of both
kinds; the tampered and authentic cells are capped by a draw, for a half-forged 512 x 512 picture has 32 K of each at stride 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from imgscan.losses.focal import draw
from imgscan.losses.info_nce import per_positive_rows

AUTHENTIC, TAMPERED, CONTOUR = 0, 1, 2  # classes of a cell
MAX_KEYS = 1024  # cells drawn per class and picture

Pivots = tuple[Tensor, Tensor, Tensor]  # plus B x C, minus B x C, present B bool


def cell_classes(mask: Tensor, stride: int, window: int = 0) -> Tensor:
    """The class of every feature cell, by the share r of its pixels that are tampered: r = 0, r = 1, or between.

    An edge between two cells leaves none of them in between, though the convolutions that lead to both look across it; with a
    window r is the share of what they look at.

    Args:
        mask: B x H x W bool, True tampered.
        stride: pixels a side of a cell; H and W are multiples of it.
        window: pixels a side of the square around a cell's first pixel, where the fields of a ResNet's convolutions are centred
            (conv1's own is 7 at stride 2); odd, at least 2 stride - 1.  0: the cell itself.

    Returns:
        B x H/stride x W/stride int64: 0 authentic, 1 tampered, 2 contour.

    Raises:
        ValueError: a mask of another shape or dtype, or a window that does not hold the cell or has no middle.
    """
    if mask.ndim != 3 or mask.shape[1] % stride or mask.shape[2] % stride:
        raise ValueError(f"mask {tuple(mask.shape)}; wanted B x H x W with H and W multiples of {stride}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask of {mask.dtype}; wanted bool")
    if window and (window % 2 == 0 or window < 2 * stride - 1):
        raise ValueError(
            f"window of {window} pixels; wanted 0, or an odd number of at least {2 * stride - 1} at a stride of {stride}"
        )
    if window:
        there = F.max_pool2d(torch.stack((mask, ~mask), 1).float(), window, stride, window // 2) > 0  # of each kind, any
        return 2 * there[:, 0].long() - (~there[:, 1]).long()
    batch, height, width = mask.shape
    cells = mask.reshape(batch, height // stride, stride, width // stride, stride).transpose(2, 3).flatten(3)
    # any + any - all of the cell: 0 nothing, 2 a part, 1 everything
    return 2 * cells.any(3).long() - cells.all(3).long()


def contour_vectors(features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The feature vectors of all contour cells of a batch, as the pivot network takes them.

    Args:
        features: B x C x h x w float, as tapped (not normalised).
        classes: B x h x w integer, of `cell_classes`.

    Returns:
        k x C vectors, picture by picture, and the k int64 numbers of the pictures they are from; k may be 0.

    Raises:
        ValueError: features and classes do not belong together.
    """
    _check(features, classes)
    contour = classes == CONTOUR
    return features.permute(0, 2, 3, 1)[contour], contour.nonzero()[:, 0]


def ncl_loss(
    features: Tensor,
    classes: Tensor,
    pivots: Pivots | None,
    *,
    temperature: float = 0.1,
    max_keys: int = MAX_KEYS,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean of the per-picture losses over the pictures that have tampered and authentic cells.

    With P, N the L2-normalised vectors of tampered and authentic cells, c+, c- the L2-normalised pivots, e(a, b) = exp(a . b / t):

        L1 = -mean over m != j in P of log( e(p_m, p_j) / (e(p_m, p_j) + sum over i of e(p_m, n_i)) )
        L2 = -mean over j in P      of log( e(c+, p_j)  / (e(c+, p_j)  + sum over i of e(c+, n_i)) )
        L3 = -mean over i in N      of log( e(c-, n_i)  / (e(c-, n_i)  + sum over j of e(c-, p_j)) )

    and L1 + L2 + L3 for a picture.  L1 = 0 when there is one tampered cell; L2 = L3 = 0 without a pivot.

    Args:
        features: B x C x h x w float, the tapped map; normalised here along C.
        classes: B x h x w integer, of `cell_classes`.
        pivots: what the pivot network gives, pooled over each picture's contour cells: plus B x C, minus B x C (both normalised
            here), present B bool (False: the picture has no contour cell, its rows are not read); None: no pivot network.
        temperature: t, > 0.
        max_keys: cells drawn of each of P and N.
        generator: CPU generator for the draws.

    Returns:
        Scalar, >= 0; 0 with a gradient of zeros when no picture counts.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check(features, classes)
    precision = torch.promote_types(features.dtype, torch.float32)
    if pivots is not None:
        plus, minus, present = pivots
        if plus.shape != features.shape[:2] or minus.shape != plus.shape or present.shape != plus.shape[:1]:
            raise ValueError(
                f"pivots {tuple(plus.shape)}, {tuple(minus.shape)}, {tuple(present.shape)} for features {tuple(features.shape)}; "
                "wanted plus B x C, minus B x C, present B"
            )
        plus, minus = (F.normalize(pivot.to(precision), dim=1, eps=1e-6) for pivot in (plus, minus))
    losses = []
    for number, (picture, label) in enumerate(zip(features.to(precision), classes, strict=True)):
        vectors, flat = F.normalize(picture, dim=0, eps=1e-6).flatten(1).T, label.flatten()
        tampered = draw(vectors[flat == TAMPERED], max_keys, generator)
        authentic = draw(vectors[flat == AUTHENTIC], max_keys, generator)
        if not tampered.shape[0] or not authentic.shape[0]:
            continue
        loss = vectors.sum() * 0
        if tampered.shape[0] > 1:
            loss = loss + per_positive_rows(tampered, authentic, slice(None), temperature).mean()
        if pivots is not None and bool(present[number]):
            loss = loss + _to_pivot(plus[number], tampered, authentic, temperature)
            loss = loss + _to_pivot(minus[number], authentic, tampered, temperature)
        losses.append(loss)
    if not losses:
        return features.to(precision).sum() * 0
    return torch.stack(losses).mean()


def _to_pivot(pivot: Tensor, own: Tensor, other: Tensor, temperature: float) -> Tensor:
    """L2 or L3: the pivot (C values) is the query, `own` (n x C) its positives one at a time, `other` (m x C) its negatives."""
    return F.softplus(torch.logsumexp(other @ pivot / temperature, dim=0) - own @ pivot / temperature).mean()


def _check(features: Tensor, classes: Tensor) -> None:
    if features.ndim != 4 or classes.shape != (features.shape[0], *features.shape[2:]):
        raise ValueError(f"features {tuple(features.shape)}, classes {tuple(classes.shape)}; wanted B x C x h x w and B x h x w")
