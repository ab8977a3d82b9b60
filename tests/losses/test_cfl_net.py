"""tests/data/parity/cfl_net_losses.npz: random inputs and the answers of the released CFL-Net code (niloy193/CFLNet, 4b02e66)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.losses.cfl_net import _rows_released, patch_contrast, patch_contrast_released, patch_labels

OFFICIAL = Path(__file__).parents[1] / "data" / "parity" / "cfl_net_losses.npz"
# The released code's value, and Eq. 2 on the same input (a float64 numpy restatement, apart from this code).
CASES = {"mixed": (5.648534297943115, 5.471261109157875), "one_positive": (1.761701226234436, 2.2810142484202656)}


def official(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """B x N x D and B x N of the file, as maps."""
    with np.load(OFFICIAL) as stored:
        features, labels = torch.from_numpy(stored[f"{case}/features"]), torch.from_numpy(stored[f"{case}/labels"])
    side = math.isqrt(labels.shape[1])
    return features.transpose(1, 2).unflatten(2, (side, side)), labels.long().unflatten(1, (side, side))


@pytest.mark.parametrize("case", CASES)
def test_the_released_rule_gives_the_released_number(case: str) -> None:
    assert float(patch_contrast_released(*official(case))) == pytest.approx(CASES[case][0], abs=1e-5)


@pytest.mark.parametrize("case", [*CASES, "all_authentic"])
def test_the_released_rule_gives_the_released_number_of_every_patch(case: str) -> None:
    with np.load(OFFICIAL) as stored:
        wanted, loss = stored[f"{case}/per_patch"], float(stored[f"{case}/loss"])
    rows = _rows_released(*official(case)).numpy()
    np.testing.assert_allclose(rows, wanted, atol=1e-5)
    assert rows.mean() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("case", [*CASES, "all_authentic"])
def test_both_rules_have_finite_gradients(case: str) -> None:
    features, labels = official(case)
    for loss in (patch_contrast, patch_contrast_released):
        leaf = features.clone().requires_grad_()
        value = loss(leaf, labels)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert bool(gradient.isfinite().all())
        assert bool(gradient.any()) == (case != "all_authentic")
        assert case != "all_authentic" or float(value.detach()) == 0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_equation_2(case: str, chunk: int) -> None:
    assert float(patch_contrast(*official(case), chunk=chunk)) == pytest.approx(CASES[case][1], abs=1e-5)


def test_from_projection_to_loss_as_the_released_trainer() -> None:
    with np.load(OFFICIAL) as stored:
        mask = torch.from_numpy(stored["trainer/mask"] / 255)
        projection, wanted = torch.from_numpy(stored["trainer/feature_map"]), float(stored["trainer/contrast_loss"])
        labels = torch.from_numpy(stored["trainer/patch_labels"]).long().reshape(2, 8, 8)
    patches = F.avg_pool2d(F.interpolate(projection, size=(32, 32), mode="bilinear", align_corners=True), 4)
    assert patch_labels(mask).tolist() == labels.tolist()
    assert float(patch_contrast_released(patches, labels)) == pytest.approx(wanted, abs=1e-5)


def test_value_by_hand() -> None:
    """Authentic (1, 0) and (0.6, 0.8), tampered (0, 1), t = 0.5: cosines 0.6 within, 0 and 0.8 across; lengths must not matter.

    L = log(1 + e^(0 - 1.2)), log(1 + e^(1.6 - 1.2)), and 0 for the tampered patch, which has no other of its class.
    """
    features = torch.tensor([[1.0, 0.0], [1.8, 2.4], [0.0, 0.5]]).T.reshape(1, 2, 1, 3)
    wanted = (math.log1p(math.exp(-1.2)) + math.log1p(math.exp(0.4)) + 0) / 3
    assert wanted == pytest.approx(0.39210, abs=1e-5)
    assert float(patch_contrast(features, torch.tensor([[[0, 0, 1]]]), temperature=0.5)) == pytest.approx(wanted, abs=1e-6)


def test_a_patch_is_what_most_of_it_is() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :2] = True  # exactly half of the first patch
    mask[0, :4, 4:6] = True
    mask[0, 0, 6] = True  # nine sixteenths of the second
    mask[0, 4:, 4:] = True
    assert patch_labels(mask).tolist() == [[[0, 1], [0, 1]]]
    assert patch_labels(mask.float() * 0.4).sum() == 0


def test_gradcheck() -> None:
    features = torch.randn(2, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([[[0, 0, 1], [1, 0, 1]], [[0, 0, 0], [1, 0, 0]]])
    assert torch.autograd.gradcheck(lambda f: patch_contrast(f, labels, temperature=0.5, chunk=2), (features,))


def test_chunks_change_neither_the_value_nor_the_gradient() -> None:
    features = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.zeros(2, 6, 6, dtype=torch.long)
    labels[:, 1:4, 2:5] = 1
    whole, pieces = patch_contrast(features, labels), patch_contrast(features, labels, chunk=5)
    torch.testing.assert_close(whole, pieces)
    torch.testing.assert_close(*(torch.autograd.grad(loss, features)[0] for loss in (whole, pieces)))


def test_a_picture_of_one_class_counts_as_zero() -> None:
    features, labels = official("mixed")
    none = torch.zeros_like(labels[:1])
    both = patch_contrast(torch.cat([features[:1], features[1:]]), torch.cat([labels[:1], none]))
    assert float(both) == pytest.approx(float(patch_contrast(features[:1], labels[:1])) / 2, rel=1e-5)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("zero", [False, True])
def test_a_batch_of_one_class_gives_zero_and_a_gradient(value: int, zero: bool) -> None:
    features = (torch.zeros(2, 4, 3, 3) if zero else torch.randn(2, 4, 3, 3)).requires_grad_()
    loss = patch_contrast(features, torch.full((2, 3, 3), value))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert features.grad is not None
    assert (features.grad == 0).all()


def test_vectors_of_zeros_give_no_nan() -> None:
    features = torch.zeros(1, 4, 3, 3, requires_grad=True)
    loss = patch_contrast(features, torch.tensor([[[0, 1, 0], [1, 0, 0], [0, 0, 1]]]))
    torch.autograd.backward(loss)
    assert bool(loss.isfinite())
    assert features.grad is not None
    assert bool(features.grad.isfinite().all())


def test_the_lowest_temperatures_do_not_overflow() -> None:
    assert bool(patch_contrast(*official("mixed"), temperature=1e-3).isfinite())


def test_bad_shapes_raise_with_the_shape() -> None:
    for loss in (patch_contrast, patch_contrast_released):
        with pytest.raises(ValueError, match=r"\(1, 4, 8, 8\).*\(1, 4, 4\)"):
            loss(torch.rand(1, 4, 8, 8), torch.zeros(1, 4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(1, 10, 8\).*multiples of 4"):
        patch_labels(torch.zeros(1, 10, 8))
    with pytest.raises(ValueError, match="uint8"):
        patch_labels(torch.zeros(1, 8, 8, dtype=torch.uint8))
