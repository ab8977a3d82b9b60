import math

import pytest
import torch

from imgscan.losses.mask import mask_loss


def maps(forged: list[float]) -> torch.Tensor:
    logits = torch.tensor(forged).reshape(1, 1, 2, 2)
    return torch.cat((torch.zeros_like(logits), logits), 1)


LABELS = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])[None]  # one cell of four is forged


def test_the_value_by_hand() -> None:
    """Logits ln 3, 0, 0, 0, so p = 3/4, 1/2, 1/2, 1/2; the highest one decides about the picture."""
    cells = (math.log(4 / 3) + 3 * math.log(2)) / 4
    dice = 1 - (2 * 0.75 + 1) / (2.25 + 1 + 1)
    loss = mask_loss(maps([math.log(3), 0, 0, 0]), LABELS, dice=0.5, picture=0.2)
    assert float(loss) == pytest.approx(cells + 0.5 * dice + 0.2 * math.log(4 / 3), abs=1e-6)


def test_an_untouched_picture_has_no_dice_and_wants_silence() -> None:
    silent, loud = (mask_loss(maps([level] * 4), LABELS * 0, dice=9.0, picture=0.0) for level in (-6.0, 6.0))
    assert float(silent) == pytest.approx(math.log1p(math.exp(-6)), abs=1e-6)
    assert float(loud) == pytest.approx(6 + math.log1p(math.exp(-6)), abs=1e-5)


def test_a_cell_counts_by_its_share_of_forged_pixels() -> None:
    half = LABELS.clone()
    half[0, 1] = 0  # two of the cell's four pixels
    right, wrong = (mask_loss(maps([level, -9, -9, -9]), half, dice=0.0, picture=0.0) for level in (0.0, 3.0))
    assert right < wrong


def test_gradients() -> None:
    logits = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[0, :4, :4] = 2
    loss = mask_loss(logits, labels, dice=0.5, picture=0.2)
    torch.autograd.backward(loss)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 0], -logits.grad[:, 1])
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 9, 8), (8, 8)])
def test_shapes_that_do_not_fit_raise(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="wanted B x 2 x h x w"):
        mask_loss(torch.zeros(1, 2, 4, 4), torch.zeros(shape), dice=0.5, picture=0.2)
