"""FOCAL extractors with a mask head; what holds for all extractors is in test_networks.py."""

import pytest
import torch
from torch import nn

from imgscan.models import build_named
from imgscan.models.mask_head import MaskHead
from imgscan.models.segmentation import Segmentation

HEADED = ["focal-hrnet", "focal-vit"]


def built(network: str, size: str = "tiny-headed") -> nn.Module:
    torch.manual_seed(0)
    return build_named(network, size)


SIZES = [(network, size) for network in HEADED for size in ("tiny-headed", "headed")]


@pytest.mark.parametrize(("network", "size"), [*SIZES, ("focal-hrnet", "headed-traces")])
def test_logits_lie_on_the_grid_of_the_features(network: str, size: str) -> None:
    model = built(network, size).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        answer = model(torch.rand(2, 3, 64, 96))
    assert isinstance(answer, Segmentation)
    assert answer.logits.shape == (2, 2, 64 // model.stride, 96 // model.stride)
    assert answer.features.shape == (2, model.size.dim, 64 // model.stride, 96 // model.stride)
    assert (answer.logits[:, 0] == 0).all()
    assert {answer.logits.dtype, answer.features.dtype} == {torch.float32}
    torch.testing.assert_close(answer.features.norm(dim=1), torch.ones_like(answer.features[:, 0]))


@pytest.mark.parametrize("network", HEADED)
def test_the_features_are_those_of_the_extractor_without_a_head(network: str) -> None:
    headed, bare = built(network).eval(), built(network, "tiny").eval()
    bare.load_state_dict({k: v for k, v in headed.state_dict().items() if not k.startswith("head.")})
    pictures = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(headed(pictures).features, bare(pictures))


@pytest.mark.parametrize("network", HEADED)
def test_every_weight_gets_a_gradient(network: str) -> None:
    model = built(network)
    answer = model(torch.rand(2, 3, 64, 64))
    torch.autograd.backward(answer.logits.pow(3).sum() + answer.features.pow(3).sum())
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert len(without) < 0.1 * len(list(model.parameters())), without


@pytest.mark.parametrize("stride", [4, 8])
def test_the_head_sees_the_rest_of_the_picture(stride: int) -> None:
    """The same cells in other company: a corner far beyond what the convolutions reach changes what is said of them."""
    torch.manual_seed(0)
    head = MaskHead(6, stride).eval()
    features = torch.rand(1, 6, 64, 64)
    other = features.clone()
    other[..., 62:, 62:] += 50
    with torch.inference_mode():
        first, second = head(features), head(other)
    assert (first[0, 1, 0, 0] - second[0, 1, 0, 0]).abs() > 1e-4
