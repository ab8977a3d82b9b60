"""One test over every network with a mask head, at the sizes that fit in a test."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from imgscan.models import NETWORKS, build_named
from imgscan.models.segmentation import Segmentation, enlarge, sides

TINY = [("cfl-net", "tiny"), ("ncl", "tiny"), ("ncl", "tiny-vit")]
every_tiny = pytest.mark.parametrize(("network", "size"), TINY)


def built(network: str, size: str) -> nn.Module:
    torch.manual_seed(0)
    return build_named(network, size)


def test_no_network_is_left_out() -> None:
    assert {name for name in NETWORKS if not name.startswith("focal-")} == {name for name, _ in TINY}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("network", "size"), [*TINY, ("cfl-net", "small"), ("ncl", "small")])
def test_the_same_answer_in_train_and_eval_mode(network: str, size: str, training: bool) -> None:
    model = built(network, size).train(training)
    with torch.no_grad():
        answer = model(torch.rand(2, 3, 64, 96))
    assert isinstance(answer, Segmentation)
    assert answer.logits.shape == (2, 2, 64, 96)
    assert answer.features.shape == (2, model.dim, 64 // model.stride, 96 // model.stride)
    assert [one.shape for one in answer.aux] == ([] if network == "cfl-net" else [(2, 2, 8, 12), (2, 2, 16, 24)])
    for one in (answer.logits, answer.features, *answer.aux):
        assert one.dtype == torch.float32
        assert one.isfinite().all()


@every_tiny
def test_answers_are_float32_under_autocast(network: str, size: str) -> None:
    model = built(network, size).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        answer = model(torch.rand(1, 3, 64, 64))
    assert {one.dtype for one in (answer.logits, answer.features, *answer.aux)} == {torch.float32}


@every_tiny
def test_a_picture_does_not_depend_on_its_batch(network: str, size: str) -> None:
    model = built(network, size).eval()
    pictures = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        together, alone = model(pictures), model(pictures[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.features[1:2], alone.features, atol=1e-5, rtol=1e-4)


@every_tiny
def test_strict_save_and_load(network: str, size: str, tmp_path: Path) -> None:
    model, other = built(network, size).eval(), build_named(network, size).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
    pictures = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(model(pictures).logits, other(pictures).logits)


@every_tiny
def test_nothing_fixed_is_in_the_state_but_the_released_bank(network: str, size: str) -> None:
    model = built(network, size)
    assert not [key for key in model.state_dict() if key.startswith(("scale", "view"))]
    fixed = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    assert fixed == (["conv_srm.weight"] if network == "cfl-net" else [])


@every_tiny
def test_gradients_reach_every_parameter(network: str, size: str) -> None:
    model = built(network, size)
    answer = model(torch.rand(4, 3, 64, 64))
    loss = answer.logits.square().mean() + sum(one.square().mean() for one in answer.aux) + answer.features.square().mean()
    if getattr(model, "pivot", None) is not None:
        cells = answer.features.permute(0, 2, 3, 1)[:, 0, :3].flatten(0, 1)
        plus, minus, _ = model.pivot(cells, torch.arange(4).repeat_interleave(3), 4)
        loss = loss + plus.square().sum() + minus.square().sum()
    torch.autograd.backward(loss)
    wanted = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert not [name for name, weight in wanted.items() if weight.grad is None]
    # A bias in front of a batch norm is subtracted again: its gradient is rounding.
    still = [name for name, weight in wanted.items() if not weight.grad.any() and name != "projection.0.bias"]
    assert not still


@every_tiny
@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 4, 64, 64), (3, 64, 64), (0, 3, 64, 64)])
def test_bad_input_raises_with_the_shape(network: str, size: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        built(network, size)(torch.rand(shape))


@pytest.mark.parametrize(("network", "size"), [("cfl-net", "tiny"), ("ncl", "tiny")])
def test_a_batch_of_one_cannot_be_trained_on(network: str, size: str) -> None:
    model = built(network, size)
    picture = torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match="a batch of 1 in train mode: the image-pooling branch"):
        model(picture)
    with torch.inference_mode():
        assert model.eval()(picture).logits.shape == (1, 2, 64, 64)


def test_the_transformer_takes_a_batch_of_one() -> None:
    assert built("ncl", "tiny-vit")(torch.rand(1, 3, 64, 64)).logits.shape == (1, 2, 64, 64)


@every_tiny
def test_the_networks_scale_their_input_themselves(network: str, size: str) -> None:
    """(0.485 - 0.485) / 0.229 = 0, (1 - 0.456) / 0.224 = 2.428571, (0 - 0.406) / 0.225 = -1.804444."""
    pixel = torch.tensor([0.485, 1.0, 0.0])[None, :, None, None]
    torch.testing.assert_close(built(network, size).scale(pixel).flatten(), torch.tensor([0.0, 2.428571, -1.804444]))


def test_enlarging_aligns_the_corners() -> None:
    """0 and 3 over four cells: 0, 1, 2, 3 when the corners are aligned, 0, 0.75, 2.25, 3 when they are not."""
    line = torch.tensor([[[[0.0, 3.0]]]])
    torch.testing.assert_close(enlarge(line, sides(line, 2))[0, 0], torch.tensor([[0.0, 1, 2, 3]] * 2))
