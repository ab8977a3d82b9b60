import dataclasses
import hashlib

import pytest
import torch
from torch import nn

from imgscan.errors import ConfigError
from imgscan.models import build_named
from imgscan.models.ncl import SIZES, build
from imgscan.models.pivot import Pivot
from imgscan.models.resnet import ResidualTrunk


def on_meta(size: str) -> nn.Module:
    with torch.device("meta"):
        return build_named("ncl", size).eval()


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_base_is_the_deeplab_it_came_from() -> None:
    """DeepLabV3+ on ResNet-101 with two classes: 680 tensors, 42,500,160 + 15,535,104 + 1,304,162 parameters."""
    model = on_meta("paper-base")
    parts = [count(part) for part in (model.backbone, model.aspp, model.decoder)]
    assert parts == [42_500_160, 15_535_104, 1_304_162]
    assert count(model) == 59_339_426
    assert model.pivot is None
    lines = sorted(f"{key} {list(tensor.shape)}" for key, tensor in model.state_dict().items())
    assert len(lines) == 680
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == "9569fb54d45fab65274861a794ed163783b5bc369eb8dabfdb97f3fd6cec6138"


@pytest.mark.parametrize(
    ("size", "stride", "channels"),
    [
        ("paper", 2, 64),
        ("paper-stage2", 4, 256),
        ("paper-stage5", 8, 2048),
        ("paper-base", 2, 64),
        ("vit", 16, 384),
        ("vit-stage5", 16, 384),
        ("small", 2, 64),
    ],
)
def test_taps(size: str, stride: int, channels: int) -> None:
    model = on_meta(size)
    with torch.device("meta"):
        answer = model(torch.empty(1, 3, 512, 512))
    assert answer.features.shape == (1, channels, 512 // stride, 512 // stride)
    assert (model.tap_stride, model.dim) == (stride, channels)
    assert answer.logits.shape == (1, 2, 512, 512)
    grids = [] if size == "paper-base" else [(1, 2, 64, 64), (1, 2, 128, 128)]
    assert [one.shape for one in answer.aux] == grids


def test_pivot_and_classifiers_cost_what_they_should() -> None:
    """Two branches of 64 x 64 + 2 x 64 = 4,224, two classifiers of 2 x 256 + 2 = 514."""
    assert count(on_meta("paper")) - count(on_meta("paper-base")) == 2 * 4_224 + 2 * 514


def test_small_sizes() -> None:
    assert 3_000_000 < count(on_meta("small")) < 4_000_000
    assert on_meta("compact").backbone.conv1.weight.shape[1] == 15, "the channels of noise_view.py"
    assert count(on_meta("tiny")) < 200_000
    assert count(on_meta("tiny-vit")) < 200_000


def test_dilations_of_the_paper() -> None:
    """Output stride 8, multi-grid 1, 2, 4: rate 2 in all of layer3, 4, 8, 16 in layer4, and no stride behind layer2."""
    with torch.device("meta"):
        trunk = ResidualTrunk("resnet101", 8, (1, 2, 4))
    assert [block.conv2.dilation[0] for block in trunk.layer3] == [2] * 23
    assert [block.conv2.dilation[0] for block in trunk.layer4] == [4, 8, 16]
    assert [layer[0].conv2.stride[0] for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)] == [1, 2, 1, 1]
    assert trunk.strides() == (2, 4, 8, 8, 8)
    assert trunk.channels() == (64, 256, 512, 1024, 2048)


def test_the_backbone_is_drawn_as_the_paper_draws_it() -> None:
    """normal(0, sqrt(2 / (k k out))): 3x3 into 512 channels has deviation sqrt(2 / 4608) = 0.020833; all batch norms start at 1."""
    torch.manual_seed(0)
    trunk = ResidualTrunk("resnet18", 8, (1, 2))
    assert float(trunk.layer4[1].conv2.weight.detach().std()) == pytest.approx(0.020833, rel=0.01)
    assert all((part.weight == 1).all() for part in trunk.modules() if isinstance(part, nn.BatchNorm2d))


def test_the_tapped_map_is_not_touched() -> None:
    """The first stage ends in a ReLU and is answered as it is: not normalised, no negative number."""
    torch.manual_seed(0)
    model = build_named("ncl", "tiny").eval()
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        features = model(picture).features
        stem = model.backbone.act1(model.backbone.bn1(model.backbone.conv1(model.scale(picture))))
    assert torch.equal(features, stem)
    assert features.min() == 0


def test_the_two_taps_of_the_transformer_differ() -> None:
    torch.manual_seed(0)
    first = build(SIZES["tiny-vit"]).eval()
    last = build(dataclasses.replace(SIZES["tiny-vit"], tap=5)).eval()
    last.load_state_dict(first.state_dict())
    picture = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        ends, starts = last(picture), first(picture)
    assert torch.equal(ends.logits, starts.logits)
    assert not torch.allclose(ends.features, starts.features)
    # The embedding of a patch knows nothing of the others; what the last block leaves does.
    changed = picture.clone()
    changed[..., :16, :16] = 0
    with torch.inference_mode():
        assert torch.equal(first(changed).features[..., 1:, 1:], starts.features[..., 1:, 1:])
        assert not torch.allclose(last(changed).features[..., 1:, 1:], ends.features[..., 1:, 1:])


@pytest.mark.parametrize(("size", "tap"), [("tiny", 0), ("tiny", 6), ("tiny-vit", 2)])
def test_taps_that_are_not_there(size: str, tap: int) -> None:
    with pytest.raises(ConfigError, match=f"is {tap}; wanted"):
        build(dataclasses.replace(SIZES[size], tap=tap))


def test_trunks_that_are_not_there() -> None:
    with pytest.raises(
        ConfigError,
        match=r"did you mean resnet101\? known: resnet101, resnet18, resnet18-half, resnet50, tiny, vit-small",
    ):
        build(dataclasses.replace(SIZES["tiny"], trunk="resnet102"))
    with pytest.raises(ConfigError, match=r"multi-grid of resnet18-half is \(1, 2, 4\); wanted 2 factors"):
        build(dataclasses.replace(SIZES["small"], multi_grid=(1, 2, 4)))
    with pytest.raises(ConfigError, match=r"rates are \(12, 24\); wanted three"):
        build(dataclasses.replace(SIZES["tiny"], rates=(12, 24)))


def identity_pivot(channels: int) -> Pivot:
    """plus passes its input on, minus turns the sign; batch norm in eval mode does nothing but divide by sqrt(1 + eps)."""
    pivot = Pivot(channels).eval()
    with torch.no_grad():
        pivot.plus.conv.weight.copy_(torch.eye(channels))
        pivot.minus.conv.weight.copy_(-torch.eye(channels))
    return pivot


def test_pivot_by_hand() -> None:
    """Picture 0 has (1, -1) and (3, 5), picture 1 nothing, picture 2 (-2, 4).

    plus: means of the rectified vectors: ((1 + 3) / 2, (0 + 5) / 2), nothing, (0, 4); minus of the negated ones likewise.
    """
    vectors = torch.tensor([[1.0, -1], [-2, 4], [3, 5]])
    with torch.no_grad():
        plus, minus, present = identity_pivot(2)(vectors, torch.tensor([0, 2, 0]), 3)
    torch.testing.assert_close(plus, torch.tensor([[2, 2.5], [0, 0], [0, 4]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(minus, torch.tensor([[0, 0.5], [0, 0], [2, 0]]), atol=1e-4, rtol=0)
    assert present.tolist() == [True, False, True]


def test_pivot_normalises_over_the_vectors_of_all_pictures() -> None:
    """1 and 3 have mean 2 and deviation 1, so they become -1 and 1 and, rectified, 0 and 1, although each picture has one only."""
    pivot = identity_pivot(1).train()
    plus, minus, _ = pivot(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]), 2)
    torch.testing.assert_close(plus.detach(), torch.tensor([[0.0], [1.0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(minus.detach(), torch.tensor([[1.0], [0.0]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("k", [0, 1])
def test_pivot_with_too_little_to_normalise(k: int) -> None:
    """In train mode: no crash, no number that is none, the running statistics as before, and a gradient for every weight."""
    torch.manual_seed(0)
    pivot = Pivot(8).train()
    plus, minus, present = pivot(torch.rand(k, 8), torch.zeros(k, dtype=torch.int64), 2)
    assert plus.shape == minus.shape == (2, 8)
    assert present.tolist() == [k > 0, False]
    assert not plus[1].any()
    assert plus.isfinite().all()
    torch.autograd.backward((plus + minus).sum())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in pivot.parameters())
    assert not pivot.plus.bn.running_mean.any()
    assert pivot.plus.bn.num_batches_tracked == 0


def test_pivot_does_not_wait_for_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made a SyncBatchNorm by a distributed loop, it still takes the statistics at hand: 10 % of the mean 2 and the variance 2."""
    pivot = nn.SyncBatchNorm.convert_sync_batchnorm(identity_pivot(1)).train()
    assert isinstance(pivot.plus.bn, nn.SyncBatchNorm)
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", lambda self, vectors: pytest.fail("it synchronised"))
    pivot(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]), 2)
    assert float(pivot.plus.bn.running_mean) == pytest.approx(0.2)
    assert float(pivot.plus.bn.running_var) == pytest.approx(0.9 + 0.2)
    assert pivot.plus.bn.num_batches_tracked == 1


def test_pivot_sees_every_picture_alone_but_for_the_norm() -> None:
    torch.manual_seed(0)
    pivot = Pivot(4).eval()
    vectors, picture = torch.rand(7, 4), torch.tensor([0, 1, 1, 0, 2, 2, 2])
    with torch.no_grad():
        plus, _, _ = pivot(vectors, picture, 3)
        alone, _, _ = pivot(vectors[picture == 1], torch.tensor([0, 0]), 1)
    torch.testing.assert_close(plus[1:2], alone)


@pytest.mark.parametrize(("vectors", "picture"), [((3, 5), (3,)), ((3, 4), (2,)), ((3, 4, 1, 1), (3,))])
def test_pivot_shapes(vectors: tuple[int, ...], picture: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="wanted k x 4 and k"):
        Pivot(4)(torch.rand(vectors), torch.zeros(picture, dtype=torch.int64), 1)


def test_pivot_of_a_picture_that_is_not_in_the_batch() -> None:
    with pytest.raises(ValueError, match=r"picture holds 0\.\.2; wanted 0\.\.1"):
        Pivot(4)(torch.rand(2, 4), torch.tensor([0, 2]), 2)


def test_compact_sees_the_noise_view() -> None:
    """15 channels of which the three residuals of a flat picture are 0; the rest of the network is as without it."""
    model = build(SIZES["tiny-compact"]).eval()
    seen: list[torch.Tensor] = []
    model.backbone.conv1.register_forward_hook(lambda module, inputs, answer: seen.append(inputs[0]))
    with torch.no_grad():
        answer = model(torch.full((1, 3, 64, 64), 0.4))
    assert seen[0].shape == (1, 15, 64, 64)
    assert seen[0][:, 3:6].abs().max() < 1e-4
    assert answer.logits.shape == (1, 2, 64, 64)
    assert answer.features.shape == (1, model.dim, 32, 32)
