import math

import pytest
import torch

from imgscan.losses.ncl import AUTHENTIC, CONTOUR, TAMPERED, cell_classes, contour_vectors, ncl_loss


def test_cells_by_the_share_of_their_pixels() -> None:
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[0, :2, :3] = True
    mask[1, 3, 5] = True
    assert cell_classes(mask, 2).tolist() == [[[1, 2, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 2]]]
    assert cell_classes(mask, 1).tolist() == mask.long().tolist()
    assert cell_classes(mask[:, :, :4], 4).tolist() == [[[2]], [[0]]]


def test_cells_by_what_the_first_convolution_looks_at() -> None:
    """An edge between two cells of 2 pixels: of 7 pixels around 0, 2, 4, 6, 8, 10 the second to fourth hold both kinds."""
    mask = torch.zeros(1, 2, 12, dtype=torch.bool)
    mask[..., 4:] = True
    assert cell_classes(mask, 2).tolist() == [[[0, 0, 1, 1, 1, 1]]]
    assert cell_classes(mask, 2, 7).tolist() == [[[0, 2, 2, 2, 1, 1]]]
    assert cell_classes(mask, 2, 3).tolist() == [[[0, 0, 2, 1, 1, 1]]]
    assert cell_classes(mask[..., :4], 2, 7).tolist() == [[[0, 0]]]
    assert cell_classes(mask[..., 4:], 2, 7).tolist() == [[[1, 1, 1, 1]]]


@pytest.mark.parametrize(("stride", "window"), [(2, 7), (2, 3), (4, 7), (4, 11)])
def test_the_window_is_the_field_of_a_convolution(stride: int, window: int) -> None:
    """A kernel of ones counts the tampered pixels in sight, and on a picture of ones all pixels in sight."""
    mask = torch.rand(2, 32, 24, generator=torch.Generator().manual_seed(0)) > 0.97
    mask[0, 5:20, 8:] = True
    count, most = (
        torch.nn.functional.conv2d(one[:, None], torch.ones(1, 1, window, window), stride=stride, padding=window // 2)[:, 0]
        for one in (mask.float(), torch.ones(2, 32, 24))
    )
    wanted = torch.where(count == 0, AUTHENTIC, torch.where(count == most, TAMPERED, CONTOUR))
    assert set(wanted.flatten().tolist()) == {AUTHENTIC, TAMPERED, CONTOUR}
    assert torch.equal(cell_classes(mask, stride, window), wanted)


@pytest.mark.parametrize("window", [1, 2, 8, -7])
def test_windows_without_a_middle_or_smaller_than_a_cell(window: int) -> None:
    with pytest.raises(ValueError, match=f"window of {window} pixels; wanted 0, or an odd number of at least 3"):
        cell_classes(torch.zeros(1, 8, 8, dtype=torch.bool), 2, window)


def test_contour_vectors_are_raw_and_know_their_picture() -> None:
    features = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).reshape(2, 3, 2, 2)
    classes = torch.tensor([[[2, 0], [1, 2]], [[0, 0], [2, 0]]])
    vectors, pictures = contour_vectors(features, classes)
    assert vectors.tolist() == [[0, 4, 8], [3, 7, 11], [14, 18, 22]]
    assert pictures.tolist() == [0, 0, 1]
    assert pictures.dtype == torch.int64
    none, of = contour_vectors(features, torch.zeros(2, 2, 2, dtype=torch.long))
    assert (none.shape, of.shape) == ((0, 3), (0,))


# One picture of five cells; lengths other than 1, which must not matter.
CELLS = torch.tensor([[2.0, 0.0], [1.8, 2.4], [0.0, 0.5], [-1.0, 0.0], [7.0, 7.0]]).T.reshape(1, 2, 1, 5)
CLASSES = torch.tensor([[[TAMPERED, TAMPERED, AUTHENTIC, AUTHENTIC, CONTOUR]]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def lse(*xs: float) -> float:
    return math.log(sum(map(math.exp, xs)))


def test_value_by_hand() -> None:
    """Tampered (1, 0), (0.6, 0.8); authentic (0, 1), (-1, 0); pivots + (0.8, 0.6), - (0, -1); t = 0.5.

    Cosines: p1 p2 0.6; p1 n 0, -1; p2 n 0.8, -0.6; c+ p 0.8, 0.96; c+ n 0.6, -0.8; c- n -1, 0; c- p 0, -0.8.
    """
    first = (softplus(lse(0, -2) - 1.2) + softplus(lse(1.6, -1.2) - 1.2)) / 2
    second = (softplus(lse(1.2, -1.6) - 1.6) + softplus(lse(1.2, -1.6) - 1.92)) / 2
    third = (softplus(lse(0, -1.6) + 2) + softplus(lse(0, -1.6) - 0)) / 2
    assert (first, second, third) == pytest.approx((0.62145, 0.47672, 1.53996), abs=1e-5)
    assert float(ncl_loss(CELLS, CLASSES, None, temperature=0.5)) == pytest.approx(first, abs=1e-6)
    plus, minus = torch.tensor([[4.0, 3.0]]), torch.tensor([[0.0, -0.1]])
    for present, wanted in ((True, first + second + third), (False, first)):
        loss = ncl_loss(CELLS, CLASSES, (plus, minus, torch.tensor([present])), temperature=0.5)
        assert float(loss) == pytest.approx(wanted, abs=1e-6)


def test_one_tampered_cell_has_no_pair() -> None:
    classes = torch.tensor([[[TAMPERED, CONTOUR, AUTHENTIC, AUTHENTIC, CONTOUR]]])
    assert float(ncl_loss(CELLS, classes, None)) == 0
    pivots = torch.tensor([[4.0, 3.0]]), torch.tensor([[0.0, -0.1]]), torch.tensor([True])
    second = softplus(lse(1.2, -1.6) - 1.6)  # the third term has one negative, p1, at cosine 0 to c-
    third = (softplus(0 + 2) + softplus(0)) / 2
    assert float(ncl_loss(CELLS, classes, pivots, temperature=0.5)) == pytest.approx(second + third, abs=1e-6)


def some_batch() -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, 3, 3, dtype=torch.float64, generator=generator)
    classes = torch.tensor(
        [[[0, 2, 1], [0, 2, 1], [0, 2, 1]], [[0, 0, 1], [0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 2, 0], [0, 0, 0]]]
    )
    plus, minus = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    return features, classes, (plus, minus, torch.tensor([True, False, True]))


def test_the_mean_over_pictures_with_both_classes() -> None:
    features, classes, (plus, minus, present) = some_batch()
    alone = [
        ncl_loss(features[k : k + 1], classes[k : k + 1], (plus[k : k + 1], minus[k : k + 1], present[k : k + 1])) for k in range(3)
    ]
    assert float(alone[2]) == 0
    torch.testing.assert_close(ncl_loss(features, classes, (plus, minus, present)), (alone[0] + alone[1]) / 2)


def test_contour_cells_count_only_through_the_pivots() -> None:
    features, classes, pivots = some_batch()
    changed = features + 5 * (classes == CONTOUR)[:, None]
    torch.testing.assert_close(ncl_loss(features, classes, pivots), ncl_loss(changed, classes, pivots))


def test_gradcheck() -> None:
    features, classes, (plus, minus, present) = some_batch()
    inputs = [one.clone().requires_grad_() for one in (features, plus, minus)]
    assert torch.autograd.gradcheck(lambda f, p, m: ncl_loss(f, classes, (p, m, present), temperature=0.5), inputs)


def test_rows_of_absent_pivots_are_not_read() -> None:
    features, classes, (plus, minus, present) = some_batch()
    plus[1] = math.nan
    assert bool(ncl_loss(features, classes, (plus, minus, present)).isfinite())


@pytest.mark.parametrize("value", [AUTHENTIC, TAMPERED, CONTOUR])
def test_a_batch_of_one_class_gives_zero_and_a_gradient(value: int) -> None:
    features = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = ncl_loss(features, torch.full((2, 3, 3), value), (torch.rand(2, 4), torch.rand(2, 4), torch.ones(2, dtype=torch.bool)))
    torch.autograd.backward(loss)
    assert loss.shape == ()
    assert float(loss.detach()) == 0
    assert features.grad is not None
    assert (features.grad == 0).all()


def test_vectors_of_zeros_give_no_nan() -> None:
    features = torch.zeros(1, 2, 1, 5, requires_grad=True)
    loss = ncl_loss(features, CLASSES, (torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([True])))
    torch.autograd.backward(loss)
    assert bool(loss.isfinite())
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())


def test_the_draw_is_limited_and_repeatable() -> None:
    features = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    classes = torch.zeros(1, 8, 8, dtype=torch.long)
    classes[:, :4] = TAMPERED
    losses = [ncl_loss(features, classes, None, max_keys=5, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(losses[0], features)
    read = gradient.abs().sum(1)[0] > 0
    assert (int(read[:4].sum()), int(read[4:].sum())) == (5, 5)


def test_bad_shapes_raise_with_the_shape() -> None:
    with pytest.raises(ValueError, match=r"\(1, 6, 8\).*multiples of 4"):
        cell_classes(torch.zeros(1, 6, 8, dtype=torch.bool), 4)
    with pytest.raises(ValueError, match="float32"):
        cell_classes(torch.zeros(1, 8, 8), 4)
    with pytest.raises(ValueError, match=r"\(1, 4, 8, 8\).*\(1, 4, 4\)"):
        ncl_loss(torch.rand(1, 4, 8, 8), torch.zeros(1, 4, 4), None)
    with pytest.raises(ValueError, match=r"\(1, 4, 8, 8\).*\(1, 4, 4\)"):
        contour_vectors(torch.rand(1, 4, 8, 8), torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match=r"\(1, 3\).*\(1, 4, 8, 8\)"):
        ncl_loss(
            torch.rand(1, 4, 8, 8), torch.zeros(1, 8, 8), (torch.rand(1, 3), torch.rand(1, 4), torch.ones(1, dtype=torch.bool))
        )
