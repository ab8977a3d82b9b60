"""Shapes, parameters and multiply-adds against counts by hand and published ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from imgscan.anatomy import Anatomy, Stage, draw, examine
from imgscan.models import NETWORKS
from imgscan.weights import Card, find_model, read_card


@pytest.mark.parametrize("name", ["focal-hrnet@open", "focal-vit@open"])
def test_it_adds_up(name: str) -> None:
    card = find_model(name).cards[0]
    found = examine(card, timing=False)
    network = NETWORKS[card.network].build(NETWORKS[card.network].SIZES[card.data["size"]])
    assert found.parameters == sum(stage.parameters for stage in found.stages) == sum(p.numel() for p in network.parameters())
    assert found.multiply_adds == pytest.approx(sum(stage.multiply_adds for stage in found.stages), rel=1e-6)
    assert found.seconds is None
    last = next(stage for stage in found.stages if stage.name in ("trunk.neck", "mix.0"))
    stride = card.data["features"]["stride"]
    assert last.shape == f"{card.data['features']['dim']} x {512 // stride} x {512 // stride}"


def test_multiply_adds_by_hand(tiny_weights: dict[str, Path]) -> None:
    """A convolution: output cells x output channels x input channels x kernel area."""
    card = read_card(tiny_weights["focal-hrnet"])
    found = examine(card, timing=True)
    first = next(stage for stage in found.stages if stage.name == "trunk.conv1")
    side = card.data["input"]["side"] // 2
    channels, height, width = map(int, first.shape.split(" x "))
    assert (height, width) == (side, side)
    assert first.parameters == channels * 15 * 9  # of the noise view's channels
    assert first.multiply_adds == first.parameters * side * side
    assert found.seconds is not None
    assert found.seconds > 0


def official(name: str, side: int) -> Card:
    size = NETWORKS[name].SIZES["paper" if name == "ncl" else "official"]
    card = find_model("focal-hrnet@open").cards[0]
    data = {"input": {"mode": "resize", "side": side}}
    return replace(card, name=name, network=name, backbone={**size.__dict__}, data=data)


def test_the_official_vit_has_the_released_shapes() -> None:
    """Without 1.2 GB: nothing is computed.  Blocks by hand: 4 matrices of width x width for attention, 8 for the MLP, per token;
    attention itself comes on top, and windows are padded from 64 to 70 tokens a side."""
    found = examine(official("focal-vit", 1024), timing=False)
    assert found.parameters == 308_278_272
    assert found.stages[-1].shape == "256 x 64 x 64"
    positions = next(stage for stage in found.stages if stage.name == "trunk.pos_embed")
    assert (positions.shape, positions.parameters) == ("64 x 64 x 1024", 64 * 64 * 1024)
    assert found.parameters == sum(stage.parameters for stage in found.stages)
    blocks = next(stage for stage in found.stages if stage.name == "trunk.blocks")
    assert blocks.kind == "24 x Block"
    dense = 24 * 64 * 64 * 12 * 1024 * 1024
    assert dense < blocks.multiply_adds < 1.4 * dense


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "focal-mit"])  # which needs an extra
def test_no_network_hides_a_part(name: str) -> None:
    """Also not where the trunk calls the members of a row itself, as EfficientNet's does."""
    card = official(name, 64)
    found = examine(replace(card, backbone={**NETWORKS[name].SIZES["tiny"].__dict__}), timing=False)
    assert found.parameters == sum(stage.parameters for stage in found.stages)
    assert found.multiply_adds == pytest.approx(sum(stage.multiply_adds for stage in found.stages), rel=1e-6)
    unseen = [stage.name for stage in found.stages if stage.shape == "-"]
    assert unseen == (["pivot"] if name == "ncl" else []), "what only trainings ask"


def test_attention_is_counted() -> None:
    """The shipped ViT at 512 x 512 by hand: 4,096 tokens of 192 numbers, two blocks in windows of 8 x 8, two that attend to every
    third token down and across, of which alone keys and values are made."""
    found = examine(find_model("focal-vit@open").cards[0], timing=False)
    blocks = next(stage for stage in found.stages if stage.name == "trunk.blocks")
    tokens, width, keys = 64 * 64, 192, 21 * 21
    windows = tokens * 12 * width * width + 2 * tokens * 64 * width
    sampled = (tokens * 10 + keys * 2) * width * width + 2 * tokens * keys * width
    assert blocks.multiply_adds == 2 * windows + 2 * sampled


def test_the_drawing() -> None:
    stages = (Stage("stem", "Conv2d", "8 x 4 x 4", 1_000, 2_000_000_000), Stage("head", "3 x Block", "8 x 2 x 2", 24, 500_000_000))
    text = draw(Anatomy("a@b", 8, stages, 1_024, 2_500_000_000, 0.5, 2))
    assert text.splitlines() == [
        "a@b: input 3 x 8 x 8, RGB from 0 to 1",
        "stage  is         answers         parameters  multiply-adds",
        "stem   Conv2d     8 x 4 x 4            1,000        2.000 G  ########################",
        "head   3 x Block  8 x 2 x 2               24        0.500 G  ######",
        "all               from 3 x 8 x 8       1,024        2.500 G",
        "0.50 s an input on this machine (CPU, float32, 2 threads)",
    ]


def test_released_shapes_where_they_are_known() -> None:
    """Stage by stage what the released HRNet answers at 256 x 256."""
    reference = Path(__file__).parents[2] / "shared" / "reference" / "parity" / "FOCAL_HRNet_256.npz"
    if not reference.exists():
        pytest.skip("the reference fixtures are not on this machine")
    import numpy as np

    fixture = np.load(reference)
    shapes = {stage.name: stage.shape for stage in examine(official("focal-hrnet", 256), timing=False).stages}
    for name, ours in {
        "conv1": "trunk.conv1",
        "layer1": "trunk.layer1",
        "stage2": "trunk.stage2",
        "stage4": "trunk.stage4",
    }.items():
        wanted = " x ".join(map(str, fixture[f"stage_shape/net.{name}"][1:]))
        assert shapes[ours].split(", ")[0] == wanted
