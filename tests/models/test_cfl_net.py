import dataclasses
import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgscan.errors import ConfigError
from imgscan.models import build_named
from imgscan.models.cfl_net import SIZES, build
from tests.models.parity import assert_same, assert_same_stage, stages

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


def keys_digest(model: nn.Module) -> str:
    """SHA-256 over the sorted lines "key [shape]" of a state dict."""
    lines = sorted(f"{key} {list(tensor.shape)}" for key, tensor in model.state_dict().items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_official_has_the_keys_of_the_released_weights() -> None:
    """690 tensors, 111,906,915 parameters, and the digest over keys and shapes of the released state dict."""
    with torch.device("meta"):
        model = build_named("cfl-net", "official")
    assert len(model.state_dict()) == 690
    assert sum(p.numel() for p in model.parameters()) == 111_906_915
    assert keys_digest(model) == "41eae3d9cfeb1570e3d8ee37b84e246fd4c0217165c9c7e2832fefbe95ce84ac"


@pytest.mark.parametrize("side", [224, 256])
def test_official_grids(side: int) -> None:
    with torch.device("meta"):
        answer = build_named("cfl-net", "official").eval()(torch.empty(1, 3, side, side))
    assert answer.logits.shape == (1, 2, side, side)
    assert answer.features.shape == (1, 256, side // 8, side // 8)


def test_official_and_small_stay_in_their_size() -> None:
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in build(size).parameters()) for name, size in SIZES.items()}
    assert counts["tiny"] < 300_000 < 5_000_000 < counts["small"] < 9_000_000
    assert 7_000_000 < counts["compact"] < 8_500_000


def test_small_has_a_feature_a_patch() -> None:
    """64 x 64 patches of 4 x 4 pixels at 256."""
    with torch.device("meta"):
        assert build_named("cfl-net", "small").eval()(torch.empty(1, 3, 256, 256)).features.shape == (1, 256, 64, 64)


def test_compact_has_the_noise_view_in_place_of_the_bank() -> None:
    """Its second stream begins with the 15 channels of noise_view.py, the first one with RGB; the view itself has no weights."""
    with torch.device("meta"):
        state = build_named("cfl-net", "compact").state_dict()
    assert state["encoder_srm.conv1.weight"].shape[1] == 15
    assert state["encoder.conv1.weight"].shape[1] == 3
    assert not [key for key in state if key.startswith(("conv_srm", "view"))]


def test_the_second_stream_is_told_of_jpeg_histories() -> None:
    """Luma 100 - 128 = -28 everywhere: a block's DC is -224; the steps 16, 6 and 3 of qualities 50, 80, 90 move it by 0, 2, 1."""
    model = build_named("cfl-net", "tiny-compact").eval()
    seen: list[torch.Tensor] = []
    model.encoder_srm.conv1.register_forward_hook(lambda module, inputs, answer: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.full((1, 3, 64, 64), 100 / 255))
    (view,) = seen
    assert view.shape == (1, 15, 64, 64)
    assert view[:, 3:6].abs().max() < 1e-4, "a flat picture has no residuals"
    torch.testing.assert_close(view[0, [13, 10, 8], 20, 20], torch.log1p(torch.tensor([0, 2 / 8, 1 / 8])), atol=1e-3, rtol=0)


def test_srm_bank_by_hand() -> None:
    """The answer to one bright pixel is each kernel turned round (all are symmetric), the same from any channel."""
    bank = build_named("cfl-net", "tiny").conv_srm
    picture = torch.zeros(1, 3, 5, 5)
    picture[0, 1, 2, 2] = 12
    with torch.no_grad():
        second, small, large = bank(picture)[0]
    assert second[2].tolist() == [0, 6, -12, 6, 0]
    assert second.abs().sum() == 24, "a line, not a cross"
    assert small[1:4, 1:4].tolist() == [[-3, 6, -3], [6, -12, 6], [-3, 6, -3]]
    torch.testing.assert_close(large[2], torch.tensor([-2.0, 8, -12, 8, -2]))
    with torch.no_grad():
        torch.testing.assert_close(bank(picture), bank(picture.roll(1, 1)))
        flat = bank(torch.full((1, 3, 16, 16), 0.7))[..., 2:-2, 2:-2]
    assert flat.abs().max() < 1e-5


def test_the_noise_stream_sees_large_residuals_as_they_are() -> None:
    """No truncation: twice the contrast is twice the residual."""
    bank = build_named("cfl-net", "tiny").conv_srm
    picture = torch.rand(1, 3, 16, 16) * 200
    with torch.no_grad():
        torch.testing.assert_close(bank(2 * picture), 2 * bank(picture))


def test_bgr_turns_the_picture_round() -> None:
    torch.manual_seed(0)
    rgb = build(SIZES["tiny"]).eval()
    bgr = build(dataclasses.replace(SIZES["tiny"], channel_order="bgr")).eval()
    bgr.load_state_dict(rgb.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(bgr(picture).logits, rgb(picture.flip(1)).logits)
        assert not torch.equal(bgr(picture).logits, rgb(picture).logits)


def test_unknown_channel_order() -> None:
    with pytest.raises(ConfigError, match="unknown channel order 'gbr'"):
        build(dataclasses.replace(SIZES["tiny"], channel_order="gbr"))


# Four rows and columns of the logits at 28 x 28 that the released code answers on the reference weights, channel 1.
LITERALS = [
    [-0.235004, -0.257111, -0.253921, -0.218116],
    [-0.292156, -0.410108, -0.418055, -0.17056],
    [-0.299519, -0.408237, -0.400035, -0.174455],
    [-0.141938, -0.161141, -0.161569, 0.056884],
]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference fixtures are not on this machine")
def test_official_answers_as_the_released_code() -> None:
    tools = runpy.run_path(str(REFERENCE / "refweights.py"))
    with torch.device("meta"):
        model = build_named("cfl-net", "official").eval()
    filled = tools["to_torch"](tools["fill"](tools["load_manifest"](REFERENCE / "CFLNet.state_dict.json")))
    model.load_state_dict(filled, strict=True, assign=True)
    model.scale = nn.Identity()  # the fixture was made with the picture in 0..1, which is on the meta device here anyway
    fixture = np.load(REFERENCE / "parity" / "CFLNet_224.npz")
    within: dict[str, torch.Tensor] = {}
    for name in ("decoder", *stages(fixture)):
        model.get_submodule(name).register_forward_hook(lambda module, inputs, answer, name=name: within.update({name: answer}))
    with torch.inference_mode():
        answer = model(torch.from_numpy(tools["image"](224, 224)))
    logits = within.pop("decoder")
    assert_same(fixture, "logits", logits, 1e-3)
    assert_same(fixture, "projection", answer.features, 1e-3)
    assert_same(fixture, "probability", answer.logits.softmax(1)[:, 1:], 1e-3)
    assert len(within) == 7
    for name, one in within.items():
        assert_same_stage(fixture, name, one, 1e-3)
    np.testing.assert_allclose(logits[0, 1, ::9, ::9].numpy(), LITERALS, atol=1e-4)
