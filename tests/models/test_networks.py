"""One test over every FOCAL extractor and size that fits in a test, then parity of the official sizes.

The networks with a mask head have test_segmentation.py.
"""

import dataclasses
import importlib.util
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from imgscan.errors import ConfigError, InputError
from imgscan.models import NETWORKS, build_named
from imgscan.models.mix import Mix
from tests.models.parity import assert_same, assert_same_stage, stages

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
WITHOUT_MIT = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs the extra imgscan[mit]")
EXTRACTORS = [
    pytest.param(name, marks=WITHOUT_MIT if name == "focal-mit" else ()) for name in NETWORKS if name.startswith("focal-")
]


@pytest.mark.parametrize("network", EXTRACTORS)
@pytest.mark.parametrize("size", ["tiny", "compact"])
def test_unit_features_on_the_promised_grid(network: str, size: str) -> None:
    torch.manual_seed(0)
    model = build_named(network, size).eval()
    with torch.inference_mode():
        features = model(torch.rand(2, 3, 64, 96))
    assert features.shape == (2, model.size.dim, 64 // model.stride, 96 // model.stride)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.ones_like(features[:, 0]))


@pytest.mark.parametrize("network", EXTRACTORS)
def test_a_picture_does_not_depend_on_its_batch(network: str) -> None:
    torch.manual_seed(0)
    model = build_named(network, "tiny").eval()
    pictures = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(pictures)[1:2], model(pictures[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("network", EXTRACTORS)
def test_every_weight_gets_a_gradient(network: str) -> None:
    torch.manual_seed(0)
    model = build_named(network, "tiny")
    torch.autograd.backward(model(torch.rand(2, 3, 64, 64)).pow(3).sum())
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A bias before a normalisation of one map, or a scale whose ReLU stayed shut, may be still; a layer may not.
    assert len(without) < 0.1 * len(list(model.parameters())), without


@pytest.mark.parametrize("network", EXTRACTORS)
def test_the_fixed_view_is_not_in_the_state(network: str) -> None:
    assert not [key for key in build_named(network, "tiny").state_dict() if key.startswith("view")]


@pytest.mark.parametrize("network", NETWORKS)
def test_sizes_are_plain_data(network: str) -> None:
    for size in NETWORKS[network].SIZES.values():
        table = json.loads(json.dumps(dataclasses.asdict(size)))
        again = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        assert NETWORKS[network].Size(**again) == size


@pytest.mark.parametrize("network", EXTRACTORS)
@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 4, 64, 64), (3, 64, 64), (0, 3, 64, 64)])
def test_bad_input_raises_with_the_shape(network: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        build_named(network, "tiny")(torch.rand(shape))


def test_mix_is_the_sum_of_the_enlarged_maps() -> None:
    """By hand: 1x1 weights 2 and 3, biases 1 and 0; a constant lower map stays constant when enlarged: 2 x 1 + 1 + 3 x 4 = 15."""
    mix = Mix((1, 1), 1)
    mix.load_state_dict({"0.weight": _one(2), "0.bias": _one(1)[0, 0, 0], "1.weight": _one(3), "1.bias": _one(0)[0, 0, 0]})
    mixed = mix([torch.ones(1, 1, 4, 6), torch.full((1, 1, 2, 3), 4.0)])
    torch.testing.assert_close(mixed, torch.full((1, 1, 4, 6), 15.0))


def _one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value)


@pytest.mark.parametrize(("network", "parameters"), [("focal-convnext", 87_564_416), ("focal-efficientnet", 16_742_216)])
def test_the_ablation_has_the_full_backbone(network: str, parameters: int) -> None:
    """timm's counts of convnext_base and efficientnet_b4 without their classifiers; 256 channels at stride 4."""
    with torch.device("meta"):
        model = build_named(network, "official")
        assert model(torch.empty(1, 3, 256, 256)).shape == (1, 256, 64, 64)
    assert sum(p.numel() for p in model.trunk.parameters()) == parameters


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="the extra is installed")
def test_mit_names_its_extra() -> None:
    with pytest.raises(InputError, match=r"^focal-mit needs the extra: pip install 'imgscan\[mit\]'$"):
        build_named("focal-mit", "tiny")


def test_a_trunk_of_another_family_is_refused() -> None:
    convnext = NETWORKS["focal-convnext"]
    with pytest.raises(ConfigError, match="unknown convnext trunk 'convnext_bass'; did you mean convnext_base"):
        convnext.build(dataclasses.replace(convnext.SIZES["tiny"], trunk="convnext_bass"))


def test_unknown_names_list_the_legal_ones() -> None:
    with pytest.raises(InputError, match="did you mean focal-vit"):
        build_named("focal-vitt", "tiny")
    with pytest.raises(InputError, match="compact, headed, official, tiny, tiny-headed"):
        build_named("focal-vit", "huge")


def test_official_hrnet_has_the_official_trunk() -> None:
    """The released file has 28,536,113 parameters, 561 of them in a head that nothing reads; 32 channels at stride 4."""
    with torch.device("meta"):
        model = build_named("focal-hrnet", "official")
        assert model(torch.empty(1, 3, 1024, 1024)).shape == (1, 32, 256, 256)
    assert sum(p.numel() for p in model.parameters()) == 28_536_113 - 561


def test_official_vit_has_the_official_size() -> None:
    with torch.device("meta"):
        model = build_named("focal-vit", "official")
    assert sum(p.numel() for p in model.parameters()) == 308_278_272
    assert (model.stride, model.multiple, model.size.dim) == (16, 1024, 256)


def test_official_hrnet_begins_as_the_released_code_leaves_it() -> None:
    """PyTorch's rule draws evenly between -1 and 1 over the root of the fan-in: a deviation of 1 over the root of three times that.
    timm's normal of 2 over the fan-out has more than twice it at stride 1."""
    torch.manual_seed(0)
    trunk = build_named("focal-hrnet", "official").trunk
    for name in ("conv1", "layer1.0.conv2", "stage2.0.branches.0.0.conv1", "stage4.2.branches.3.3.conv2"):
        weight = trunk.get_submodule(name).weight.detach()
        fan_in = weight[0].numel()
        assert float(weight.std()) == pytest.approx((3 * fan_in) ** -0.5, rel=0.05), name
        assert float(weight.abs().max()) <= fan_in**-0.5, name


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference fixtures are not on this machine")
def test_official_hrnet_answers_as_the_released_code() -> None:
    tools = runpy.run_path(str(REFERENCE / "refweights.py"))
    filled = tools["to_torch"](tools["fill"](tools["load_manifest"](REFERENCE / "FOCAL_HRNet.state_dict.json")))
    state = {f"trunk.{k.removeprefix('module.').removeprefix('net.')}": v for k, v in filled.items() if "final_layer" not in k}
    model = build_named("focal-hrnet", "official").eval()
    model.load_state_dict(state, strict=True)
    fixture = np.load(REFERENCE / "parity" / "FOCAL_HRNet_256.npz")
    answers = {}
    for name in stages(fixture):
        model.trunk.get_submodule(name.removeprefix("net.")).register_forward_hook(
            lambda module, inputs, answer, name=name: answers.update({name: answer})
        )
    with torch.inference_mode():
        assert_same(fixture, "features", model.trunk(torch.from_numpy(tools["image"](256, 256)))[0], 1e-4)
    assert len(answers) == 5
    for name, answer in answers.items():
        assert_same_stage(fixture, name, answer[0] if isinstance(answer, list) else answer, 1e-4)
