import math

import pytest
import torch
import torch.nn.functional as F

from imgscan.losses.pivot_consistent import contour_map, pc_loss


def test_contour_map() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :3, :2] = True
    assert contour_map(mask, 2).int().tolist() == [[[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]]
    assert not contour_map(mask, 1).any()


def logits_of(probabilities: list[float]) -> torch.Tensor:
    """1 x 2 x 1 x w logits whose softmax gives these probabilities of "tampered"; the first channel is not 0 on purpose."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([torch.full_like(p, 3.0), 3 + (p / (1 - p)).log()])[None, :, None, :]


def test_value_by_hand() -> None:
    """Probabilities 0.9, 0.2, 0.4, 0.5, truth 1 1 0 0, the middle two are contour."""
    entropies = [-math.log(x) for x in (0.9, 0.2, 0.6, 0.5)]
    mask, contour = torch.tensor([[[True, True, False, False]]]), torch.tensor([[[False, True, True, False]]])
    wanted = 0.9 * sum(entropies[1:3]) / 2 + 0.1 * sum(entropies) / 4
    assert wanted == pytest.approx(1.02710, abs=1e-4)
    logits = logits_of([0.9, 0.2, 0.4, 0.5])
    assert float(pc_loss(logits, mask, contour)) == pytest.approx(wanted, abs=1e-9)
    assert float(pc_loss(logits, mask, contour, mu=0)) == pytest.approx(sum(entropies) / 4, abs=1e-9)
    assert float(pc_loss(logits, mask, contour, mu=1)) == pytest.approx(sum(entropies[1:3]) / 2, abs=1e-9)
    assert float(pc_loss(logits, mask, contour & False)) == pytest.approx(0.1 * sum(entropies) / 4, abs=1e-9)


def test_smaller_maps_take_the_majority_and_every_contour() -> None:
    """Three cells of 2 x 2: half, three quarters and nothing tampered; one contour pixel in the last."""
    mask, contour = torch.zeros(1, 2, 6, dtype=torch.bool), torch.zeros(1, 2, 6, dtype=torch.bool)
    mask[0, 0, :4] = True
    mask[0, 1, 2] = True
    contour[0, 1, 5] = True
    logits = logits_of([0.3, 0.4, 0.2])
    entropies = [-math.log(x) for x in (0.7, 0.4, 0.8)]
    assert float(pc_loss(logits, mask, contour)) == pytest.approx(0.9 * entropies[2] + 0.1 * sum(entropies) / 3, abs=1e-9)


def test_it_is_the_binary_cross_entropy_of_the_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, mask = torch.randn(2, 2, 4, 4, generator=generator), torch.rand(2, 4, 4, generator=generator) > 0.5
    wanted = F.binary_cross_entropy(logits.softmax(1)[:, 1], mask.float())
    torch.testing.assert_close(pc_loss(logits, mask, torch.ones_like(mask)), wanted)


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 2, 3, dtype=torch.float64, generator=generator).requires_grad_()
    mask = torch.rand(2, 4, 6, generator=generator) > 0.5
    contour = contour_map(mask, 2)
    assert contour.any()
    assert torch.autograd.gradcheck(lambda x: pc_loss(x, mask, contour), (logits,))


def test_without_contour_the_first_term_has_no_gradient() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    none = torch.zeros(1, 3, 3, dtype=torch.bool)
    loss = pc_loss(logits, none, none, mu=1)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_certain_logits_stay_finite() -> None:
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    logits = torch.tensor([1e4, -1e4]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert float(pc_loss(logits, mask, mask)) == pytest.approx(2e4)


def test_bad_arguments_raise_with_the_shape() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 4\).*\(1, 4, 4\)"):
        pc_loss(torch.rand(1, 2, 3, 4), mask, mask)
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 4\)"):
        pc_loss(torch.rand(1, 1, 4, 4), mask, mask)
    with pytest.raises(ValueError, match=r"\(1, 2, 8, 8\)"):
        pc_loss(torch.rand(1, 2, 8, 8), mask, mask)
    with pytest.raises(ValueError, match=r"\(1, 2, 2\)"):
        pc_loss(torch.rand(1, 2, 4, 4), mask, mask[:, :2, :2])
    with pytest.raises(ValueError, match="float32"):
        pc_loss(torch.rand(1, 2, 4, 4), mask.float(), mask)
    with pytest.raises(ValueError, match=r"mu is 1\.5"):
        pc_loss(torch.rand(1, 2, 4, 4), mask, mask, mu=1.5)
    with pytest.raises(ValueError, match=r"\(1, 5, 4\)"):
        contour_map(torch.zeros(1, 5, 4, dtype=torch.bool), 2)
