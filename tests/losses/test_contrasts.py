"""One test over every contrast, then what each is by its own paper.

tests/data/parity/focal_losses.npz: random queries and negatives, and what the released code answers (HighwayWu/FOCAL, 2bebdc9).
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.losses import CONTRASTS
from imgscan.losses.circle import circle_loss
from imgscan.losses.dcl import decoupled_loss
from imgscan.losses.focal import Contrast, info_nce
from imgscan.losses.info_nce import info_nce_per_positive, info_nce_printed, per_positive_rows
from imgscan.losses.triplet import triplet_loss

OFFICIAL = Path(__file__).parents[1] / "data" / "parity" / "focal_losses.npz"
EACH = pytest.mark.parametrize("contrast", CONTRASTS.values(), ids=CONTRASTS)
# (1, 0) and (0.6, 0.8) against (0, 1): cosines 0.6 within, 0 and 0.8 across.
QUERIES, NEGATIVES = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0]])


def vectors(n: int, m: int, dim: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = F.normalize(torch.randn(n + m, dim, dtype=torch.float64, generator=generator), dim=1)
    return rows[:n], rows[n:]


def official(case: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    with np.load(OFFICIAL) as stored:
        queries, negatives = (F.normalize(torch.from_numpy(stored[f"info_nce_{case}/{k}"]), dim=1) for k in ("query", "negative"))
        return queries, negatives, float(stored[f"info_nce_{case}/loss"])


@EACH
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_separated_classes_score_lower_than_mixed_ones(contrast: Contrast, temperature: float) -> None:
    noise = 0.2 * torch.randn(24, 8, generator=torch.Generator().manual_seed(0))
    rows = F.normalize(noise + torch.eye(8)[[0] * 12 + [1] * 12], dim=1)
    separated, mixed = contrast(rows[:12], rows[12:], temperature), contrast(rows[::2], rows[1::2], temperature)
    assert separated.shape == ()
    assert float(separated) < float(mixed)


@EACH
def test_a_step_down_the_gradient_lowers_the_loss(contrast: Contrast) -> None:
    rows = torch.cat(vectors(6, 5)).requires_grad_()

    def loss(rows: torch.Tensor) -> torch.Tensor:
        unit = F.normalize(rows, dim=1)
        return contrast(unit[:6], unit[6:], 0.5)

    (gradient,) = torch.autograd.grad(loss(rows), rows)
    assert float(loss(rows.detach() - 1e-3 * gradient)) < float(loss(rows.detach()))


@EACH
def test_identical_vectors_give_finite_values_and_gradients(contrast: Contrast) -> None:
    queries, negatives = torch.tensor([[0.6, 0.8]] * 30).requires_grad_(), torch.tensor([[0.6, 0.8]] * 28).requires_grad_()
    loss = contrast(queries, negatives, 0.1)
    torch.autograd.backward(loss)
    assert bool(loss.isfinite())
    assert queries.grad is not None
    assert bool(queries.grad.isfinite().all())
    assert negatives.grad is not None
    assert bool(negatives.grad.isfinite().all())


@EACH
def test_two_queries_and_one_negative_at_a_low_temperature(contrast: Contrast) -> None:
    assert bool(contrast(QUERIES, NEGATIVES, 1e-3).isfinite())


@EACH
def test_the_order_of_the_vectors_does_not_matter(contrast: Contrast) -> None:
    queries, negatives = vectors(7, 5)
    torch.testing.assert_close(contrast(queries, negatives, 0.1), contrast(queries.flip(0), negatives.flip(0), 0.1))


# The circle's gradient is by intention not that of its value; it has a test of its own below.
@pytest.mark.parametrize("name", [name for name in CONTRASTS if name != "circle"])
def test_gradcheck(name: str) -> None:
    rows = [one.clone().requires_grad_() for one in vectors(5, 4)]
    assert torch.autograd.gradcheck(lambda q, n: CONTRASTS[name](F.normalize(q, dim=1), F.normalize(n, dim=1), 0.5), rows)


@EACH
@pytest.mark.parametrize("shapes", [((1, 3), (2, 3)), ((2, 3), (0, 3)), ((2, 3), (2, 4)), ((2,), (2, 3)), ((2, 3), (3,))])
def test_bad_shapes_raise_with_the_shape(contrast: Contrast, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        contrast(torch.rand(shapes[0]), torch.rand(shapes[1]), 0.1)
    assert str(shapes[0]) in str(raised.value)
    assert str(shapes[1]) in str(raised.value)


@pytest.mark.parametrize("case", "abc")
def test_info_nce_is_the_released_one(case: str) -> None:
    queries, negatives, wanted = official(case)
    assert float(info_nce(queries, negatives, 0.1)) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("case", "wanted"), [("a", 2.28), ("b", 0.14), ("c", -12.96)])
def test_equation_2_of_focal_as_printed(case: str, wanted: float) -> None:
    """The values of a restatement of the printed equation, published to two digits; the released code gives 4.53, 2.72 and 0.00."""
    queries, negatives, _ = official(case)
    assert float(info_nce_printed(queries, negatives, 0.1)) == pytest.approx(wanted, abs=0.005)


def test_values_by_hand() -> None:
    """t = 0.5, so logits of 1.2 within, 0 and 1.6 across; with two queries and one negative no sum has a second summand."""
    across = (math.log1p(math.exp(0 - 1.2)) + math.log1p(math.exp(1.6 - 1.2))) / 2
    assert float(info_nce_per_positive(QUERIES, NEGATIVES, 0.5)) == pytest.approx(across, abs=1e-6)
    assert float(info_nce_printed(QUERIES, NEGATIVES, 0.5)) == pytest.approx((0 - 1.2 + 1.6 - 1.2) / 2, abs=1e-6)
    assert float(decoupled_loss(QUERIES, NEGATIVES, 0.5)) == pytest.approx((0 - 1.2 + 1.6 - 1.2) / 2, abs=1e-6)


def test_three_queries_by_hand() -> None:
    """(1, 0), (0, 1), (-1, 0) against (0, -1), t = 1.  Cosines of each to the others 0 -1, 0 0, 0 -1; across 0, -1, 0."""
    queries, negatives = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([[0.0, -1.0]])
    s = [math.log1p(math.exp(x)) for x in (0, 1, -1)]
    assert float(info_nce_per_positive(queries, negatives, 1.0)) == pytest.approx(((s[0] + s[1]) / 2 * 2 + s[2]) / 3, abs=1e-6)
    inside = math.log((1 + math.exp(-1)) / 2)
    assert float(info_nce_printed(queries, negatives, 1.0)) == pytest.approx((-2 * inside - 1) / 3, abs=1e-6)
    assert float(decoupled_loss(queries, negatives, 1.0)) == pytest.approx((0.5 - 1 + 0.5) / 3, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_where_the_mean_stands_orders_the_four(seed: int) -> None:
    """Jensen: -log mean exp <= -mean, and the softplus of a mean <= the mean of the softplus.  One positive: nothing to average."""
    queries, negatives = vectors(6, 3, seed=seed)
    assert float(info_nce_printed(queries, negatives, 0.1)) < float(decoupled_loss(queries, negatives, 0.1))
    assert float(decoupled_loss(queries, negatives, 0.1)) < float(info_nce(queries, negatives, 0.1))
    assert float(info_nce(queries, negatives, 0.1)) < float(info_nce_per_positive(queries, negatives, 0.1))
    pair = queries[:2], negatives, 0.1
    torch.testing.assert_close(info_nce_per_positive(*pair), info_nce(*pair))
    torch.testing.assert_close(info_nce_printed(*pair), decoupled_loss(*pair))


def test_rows_are_the_summands() -> None:
    queries, negatives = vectors(7, 5)
    whole = per_positive_rows(queries, negatives, slice(None), 0.1)
    pieces = [per_positive_rows(queries, negatives, slice(start, start + 3), 0.1) for start in (0, 3, 6)]
    torch.testing.assert_close(torch.cat(pieces), whole)
    assert whole.shape == (7,)


@pytest.mark.parametrize("margin", [0.3, 1.0, 3.0])
def test_triplet_is_the_mean_over_every_triplet(margin: float) -> None:
    queries, negatives = vectors(6, 5)
    every = [(a, p, k) for a in range(6) for p in range(6) if a != p for k in range(5)]
    anchors, positives, others = (torch.tensor(one) for one in zip(*every, strict=True))
    wanted = F.triplet_margin_loss(queries[anchors], queries[positives], negatives[others], margin=margin, eps=0)
    torch.testing.assert_close(triplet_loss(queries, negatives, margin=margin), wanted)


def test_triplet_by_hand() -> None:
    """d = sqrt(2 - 2 cos): sqrt(0.8) within, sqrt(2) and sqrt(0.4) across."""
    wanted = ((1 + math.sqrt(0.8) - math.sqrt(2)) + (1 + math.sqrt(0.8) - math.sqrt(0.4))) / 2
    assert float(triplet_loss(QUERIES, NEGATIVES)) == pytest.approx(wanted, abs=1e-5)
    assert float(triplet_loss(QUERIES, NEGATIVES, margin=0.1)) == pytest.approx(
        (0.1 + math.sqrt(0.8) - math.sqrt(0.4)) / 2, abs=1e-5
    )


def test_circle_by_hand() -> None:
    """The paper's reduced form (Eq. 8): log(1 + sum exp(g (s_n^2 - m^2)) * sum exp(g ((s_p - 1)^2 - m^2))), m = 0.25, g = 2."""
    within = math.exp(2 * (0.4**2 - 0.0625))
    across = [math.exp(2 * (s**2 - 0.0625)) for s in (0, 0.8)]
    wanted = sum(math.log1p(within * one) for one in across) / 2
    assert float(circle_loss(QUERIES, NEGATIVES, 0.5)) == pytest.approx(wanted, abs=1e-6)


def test_circle_leaves_alone_what_is_beyond_its_optimum() -> None:
    """A negative at a cosine below -m has weight 0, so it adds exp(0) and no gradient."""
    queries = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    negatives = torch.tensor([[-1.0, 0.0]]).requires_grad_()
    loss = circle_loss(queries, negatives, 0.5)
    (gradient,) = torch.autograd.grad(loss, negatives)
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(2 * (0.4**2 - 0.0625))), abs=1e-6)
    assert not gradient.any()


def test_circle_has_the_gradient_of_the_paper() -> None:
    """Eq. 10, per query: Z = 1 - exp(-loss); by s_n: Z softmax(a_n (s_n - m) g) g (s_n + m); by s_p: Z softmax(..) g (s_p - 1 - m).

    One query is first a query, then also the other's positive; with the second query held fixed only negatives move here.
    """
    queries, negatives = vectors(2, 4)
    negatives = negatives.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(circle_loss(queries, negatives, 0.5), negatives)
    wanted = torch.zeros_like(gradient)
    for query, other in ((queries[0], queries[1]), (queries[1], queries[0])):
        across, within = negatives.detach() @ query, float(query @ other)
        exponents = 2 * (across + 0.25).clamp(min=0) * (across - 0.25)
        product = float(exponents.exp().sum()) * math.exp(-2 * (1.25 - within) * (within - 0.75))
        share = product / (1 + product)
        wanted += (share * exponents.softmax(0) * 2 * (across + 0.25).clamp(min=0))[:, None] * query / 2
    torch.testing.assert_close(gradient, wanted)
