"""FOCAL's contrastive loss, image by image.

Wu, Chen, Zhou, "Rethinking Image Forgery Detection via Contrastive Learning and Unsupervised Clustering", arXiv 2308.09307,
Eq. 2 and 3; computed as the released code does it, which differs from the print: the positive logit is the mean similarity to
the other queries (the mean stands inside the exponential) and is part of the denominator, so the loss is bounded below by 0.

With s = cosine similarity, t = temperature, Q the pristine pixels and N the forged ones of one picture:

    p_q  = mean over q' in Q, q' != q, of s(q, q')
    loss = mean over q in Q of -log( exp(p_q / t) / (exp(p_q / t) + sum over k in N of exp(s(q, k) / t)) )

What is added, all off by default:

* `both_ways` also takes the pixels of each forged part as queries against the pristine pixels, each pasted part on its own (two
  donors have two histories).  Forged pixels are then pulled together, which short trainings need.
* `floor` gives untouched pictures a loss, where the paper skips them: their pixels are queries against one imagined negative at
  cosine `floor`.  Without it nothing keeps an untouched picture in one piece, and content falls apart into clusters.
* `contrast` and `whole_batch` are the comparisons of the paper's Table 3: another contrast (imgscan.losses.CONTRASTS), and all
  pictures of a batch thrown together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Contrast = Callable[[Tensor, Tensor, float], Tensor]  # (queries n x D, negatives m x D, temperature) -> scalar

MAX_KEYS = 1000  # pixels drawn per class and picture, as in the released code (dict_size)


def info_nce(queries: Tensor, negatives: Tensor, temperature: float = 0.1) -> Tensor:
    """One direction of the contrast, for one picture.

    Args:
        queries: n x D float, unit vectors of one class; n >= 2 (a query needs another one as its positive).
        negatives: m x D float, unit vectors of the other class; m >= 1.
        temperature: > 0.

    Returns:
        Scalar, >= 0.

    Raises:
        ValueError: shapes that have no loss.
    """
    check_vectors(queries, negatives)
    positive = mean_similarity(queries) / temperature
    negative = torch.logsumexp(queries @ negatives.T / temperature, dim=1)
    return F.softplus(negative - positive).mean()


def check_vectors(queries: Tensor, negatives: Tensor) -> None:
    """Raise ValueError unless they are n x D and m x D with n >= 2 and m >= 1."""
    fits = queries.ndim == negatives.ndim == 2 and queries.shape[1] == negatives.shape[1]
    if not fits or queries.shape[0] < 2 or negatives.shape[0] < 1:
        raise ValueError(
            f"queries {tuple(queries.shape)}, negatives {tuple(negatives.shape)}; wanted n x D and m x D, n >= 2, m >= 1"
        )


def hold_together(queries: Tensor, floor: float, temperature: float = 0.1) -> Tensor:
    """The contrast of an untouched picture: info_nce against a single imagined negative at cosine `floor`.

    loss = mean over q of -log( exp(p_q / t) / (exp(p_q / t) + exp(floor / t)) )

    Args:
        queries: n x D float, unit vectors; n >= 2.
        floor: -1..1; the mean similarity p_q is pushed above it.
        temperature: t, > 0.

    Returns:
        Scalar, > 0.

    Raises:
        ValueError: fewer than two queries.
    """
    if queries.ndim != 2 or queries.shape[0] < 2:
        raise ValueError(f"queries {tuple(queries.shape)}; wanted n x D, n >= 2")
    return F.softplus((floor - mean_similarity(queries)) / temperature).mean()


def mean_similarity(queries: Tensor) -> Tensor:
    """p_q of every row of n x D unit vectors: its mean cosine to the other rows; n values."""
    # sum over q' of s(q, q') needs no n x n matrix: it is q . (sum of all queries) - q . q
    return ((queries @ queries.sum(0)) - (queries * queries).sum(1)) / (queries.shape[0] - 1)


def draw(vectors: Tensor, most: int, generator: torch.Generator | None) -> Tensor:
    """At most `most` rows of a tensor of n, drawn without replacement (all of them, in order, if there are no more)."""
    if vectors.shape[0] <= most:
        return vectors
    rows = torch.randperm(vectors.shape[0], generator=generator)[:most]
    return vectors[rows.to(vectors.device)]


def focal_loss(
    features: Tensor,
    labels: Tensor,
    *,
    temperature: float = 0.1,
    max_keys: int = MAX_KEYS,
    both_ways: bool = False,
    floor: float | None = None,
    generator: torch.Generator | None = None,
    contrast: Contrast = info_nce,
    whole_batch: bool = False,
) -> Tensor:
    """The mean of the per-picture losses over the pictures that have both classes (Eq. 3; the others are skipped).

    Args:
        features: B x D x h x w float; normalised here along D.
        labels: B x h x w integer; 0 pristine, 1.. the forged parts (a binary mask is the case of one part), -1 ignored.
        temperature: t, > 0.
        max_keys: pixels drawn per class.
        both_ways: also contrast every forged part of at least two pixels against the pristine pixels.
        floor: also hold untouched pictures together above this cosine; None skips them, as the paper does.
        generator: CPU generator for the draws.
        contrast: what compares the vectors of two classes; a value of imgscan.losses.CONTRASTS.
        whole_batch: one contrast over the vectors of all pictures that have both classes (up to max_keys per class of each),
            where the paper contrasts picture by picture; it counts as often as it has pictures.  With both_ways a forged part stays
            a class of its own.

    Returns:
        Scalar; 0 (with a gradient of zeros) when no picture of the batch counts.

    Raises:
        ValueError: features and labels do not belong together.
    """
    if features.ndim != 4 or labels.shape != (features.shape[0], *features.shape[2:]):
        raise ValueError(f"features {tuple(features.shape)}, labels {tuple(labels.shape)}; wanted B x D x h x w and B x h x w")
    rows = draw_rows(labels, max_keys=max_keys, both_ways=both_ways, floor=floor is not None, generator=generator)
    if not rows:
        return features.float().sum() * 0
    if features.is_cuda and contrast is info_nce and not whole_batch:
        return batched_loss(features, contrasts_of(rows), temperature=temperature, floor=floor)
    vectors = _unit_vectors(features).unbind(0)
    losses = []
    pooled: list[tuple[Tensor, Tensor, list[Tensor]]] = []
    for one in rows:
        pristine, forged, *parts = (
            vectors[one.picture][cells.to(features.device)] for cells in (one.pristine, one.forged, *one.parts)
        )
        if not len(forged):
            assert floor is not None
            losses.append(hold_together(pristine, floor, temperature))
        elif whole_batch:
            pooled.append((pristine, forged, parts))
        else:
            losses.append(_both_directions(pristine, forged, parts, contrast, temperature))
    if pooled:
        pristine = torch.cat([one for one, _, _ in pooled])
        forged = torch.cat([one for _, one, _ in pooled])
        parts = [part for _, _, ones in pooled for part in ones]
        losses += [_both_directions(pristine, forged, parts, contrast, temperature)] * len(pooled)
    return torch.stack(losses).mean()


def _unit_vectors(features: Tensor) -> Tensor:
    """B x D x h x w -> B x (h w) x D float32, unit vectors."""
    return F.normalize(features.float(), dim=1, eps=1e-6).flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class Rows:
    """The cells of a picture that are contrasted, as places in its flattened map; int64 on the CPU."""

    picture: int  # its place in the batch
    pristine: Tensor
    forged: Tensor  # empty: the picture is untouched and is held together
    parts: tuple[Tensor, ...]  # of each forged part, with both_ways


def draw_rows(labels: Tensor, *, max_keys: int, both_ways: bool, floor: bool, generator: torch.Generator | None) -> list[Rows]:
    """Draw the cells of every picture that has a loss; the arguments are those of focal_loss."""
    rows = []
    for picture, flat in enumerate(labels.cpu().flatten(1)):
        pristine = draw((flat == 0).nonzero()[:, 0], max_keys, generator)
        forged = draw((flat > 0).nonzero()[:, 0], max_keys, generator)
        if len(pristine) < 2 or not (len(forged) or (floor and not bool((flat < 0).any()))):
            continue
        cells = [(flat == part).nonzero()[:, 0] for part in flat[flat > 0].unique()] if both_ways else []
        parts = tuple(draw(part, max_keys, generator) for part in cells if len(part) >= 2)
        rows.append(Rows(picture, pristine, forged, parts))
    return rows


@dataclass(frozen=True)
class Contrasts:
    """All contrasts of a batch in tensors of one shape, so that a GPU does them together: R of at most n queries, m negatives."""

    queries: Tensor  # R x 1 + n int64: which picture, then places in its flattened map, -1 where there are fewer
    negatives: Tensor  # R x m int64, -1 where there are fewer; none at all: the imagined one of hold_together
    weights: Tensor  # R float32, their shares of the loss

    def to(self, device: torch.device) -> Contrasts:
        """The same there."""
        return Contrasts(*(one.to(device, non_blocking=True) for one in (self.queries, self.negatives, self.weights)))


def contrasts_of(rows: list[Rows]) -> Contrasts:
    """The contrasts of info_nce, with their shares: half of a picture's loss is that of its parts, where it has some."""
    queries, negatives, weights = [], [], []
    for one in rows:
        there = torch.tensor([one.picture])
        queries.append(torch.cat((there, one.pristine)))
        negatives.append(one.forged)
        weights.append(0.5 if one.parts else 1.0)
        for part in one.parts:
            queries.append(torch.cat((there, part)))
            negatives.append(one.pristine)
            weights.append(0.5 / len(one.parts))
    asked, answered = (nn.utils.rnn.pad_sequence(lists, batch_first=True, padding_value=-1) for lists in (queries, negatives))
    return Contrasts(asked, answered, torch.tensor(weights) / len(rows))


def batched_loss(features: Tensor, contrasts: Contrasts, *, temperature: float, floor: float | None) -> Tensor:
    """What focal_loss gives with info_nce, picture by picture, in some twenty operations for the whole batch.

    Args:
        features: B x D x h x w float.
        contrasts: of these pictures.
        temperature, floor: as in focal_loss.
    """
    contrasts = contrasts.to(features.device)
    vectors = _unit_vectors(features)
    picture, places = contrasts.queries[:, :1], contrasts.queries[:, 1:]
    asks, answers = places >= 0, contrasts.negatives >= 0
    first = picture * vectors.shape[1]  # of the picture, in all vectors one after the other
    pool = vectors.flatten(0, 1)

    def picked(cells: Tensor) -> Tensor:
        # What fills up is any vector, but not the same one everywhere, whose gradient would be added up one by one.
        filling = torch.arange(cells.shape[1], device=cells.device) % vectors.shape[1]
        return pool[first + torch.where(cells >= 0, cells, filling)]

    queries = picked(places) * asks[..., None]
    keys = picked(contrasts.negatives)
    count = asks.sum(1, keepdim=True)
    positive = ((queries * queries.sum(1, keepdim=True)).sum(2) - (queries * queries).sum(2)) / (count - 1)
    scores = (queries @ keys.transpose(1, 2) / temperature).masked_fill(~answers[:, None], -math.inf)
    imagined = torch.where(answers.any(1), -math.inf, math.inf if floor is None else floor / temperature)
    negative = torch.logsumexp(torch.cat((scores, imagined[:, None, None].expand(-1, scores.shape[1], 1)), 2), 2)
    losses = F.softplus(negative - positive / temperature) * asks
    return (losses.sum(1) / count[:, 0] * contrasts.weights).sum()


def _both_directions(pristine: Tensor, forged: Tensor, parts: list[Tensor], contrast: Contrast, temperature: float) -> Tensor:
    """The contrast of pristine against forged, averaged with that of the forged parts (if any) against pristine."""
    loss = contrast(pristine, forged, temperature)
    if not parts:
        return loss
    return (loss + torch.stack([contrast(part, pristine, temperature) for part in parts]).mean()) / 2
