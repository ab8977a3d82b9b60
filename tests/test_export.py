"""Exports answer as torch does, and one that does not is not kept."""

import importlib.util
import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imgscan import export as exporting
from imgscan.errors import InputError, OutputError
from imgscan.export import export
from imgscan.networks import load_network
from imgscan.weights import Card, find_model, read_card

NEEDS_ONNX = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs the extra imgscan[onnx]",
)


@pytest.fixture
def card(tiny_weights: dict[str, Path]) -> Card:
    return read_card(tiny_weights["focal-hrnet"])


@NEEDS_ONNX
@pytest.mark.slow
def test_onnx_agrees_with_torch_at_other_sizes_and_batches(tiny_weights: dict[str, Path], tmp_path: Path) -> None:
    """Of the ViT, which has everything that exporters stumble over: the noise view, windows, attention."""
    import onnx
    import onnxruntime

    card = read_card(tiny_weights["focal-vit"])
    done = export(card, "onnx", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["focal-vit.mine.onnx"]
    session = onnxruntime.InferenceSession(str(done.file), providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 64, 96), (2, 3, 160, 64)):
        rgb = torch.rand(shape, generator=torch.Generator().manual_seed(7))
        (features,) = session.run(["features"], {"rgb": rgb.numpy()})
        with torch.inference_mode():
            ours = load_network(card)(rgb).numpy()
        assert features.shape == ours.shape
        assert np.abs(features - ours).max() < 1e-4
    facts = {one.key: one.value for one in onnx.load(str(done.file)).metadata_props}
    assert facts["imgscan.weights_sha256"] == card.sha256
    assert facts["imgscan.licence"] == card.licence


@NEEDS_ONNX
@pytest.mark.slow
def test_onnx_of_a_vit_that_samples_its_tokens_is_of_its_size(tmp_path: Path) -> None:
    """How coarse the grid is that it attends to depends on the picture's size; at 512 x 512 it is every third token."""
    import onnxruntime

    card = find_model("focal-vit@open").cards[0]
    done = export(card, "onnx", tmp_path)
    assert done.said.startswith("512 x 512 pixels only; ")
    session = onnxruntime.InferenceSession(str(done.file), providers=["CPUExecutionProvider"])
    rgb = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(7))
    features, probability = session.run(["features", "probability"], {"rgb": rgb.numpy()})
    with torch.inference_mode():
        ours = load_network(card)(rgb)
    np.testing.assert_allclose(features, ours.features.numpy(), atol=1e-4)
    np.testing.assert_allclose(probability, ours.logits.softmax(1)[:, 1:].numpy(), atol=1e-4)


@NEEDS_ONNX
@pytest.mark.parametrize(("network", "size"), [("cfl-net", "tiny"), ("focal-hrnet", "tiny-headed")])
def test_onnx_of_a_mask_head_gives_its_probability_too(network: str, size: str, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    from imgscan.training import loop
    from imgscan.training.card import write_weights
    from imgscan.training.recipe import Recipe, with_settings

    recipe = with_settings(Recipe(), {"model": {"network": network, "size": size}}, "test")
    card = read_card(write_weights(loop.start(recipe, torch.device("cpu")), tmp_path, "synth", [tmp_path], 4))
    done = export(card, "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(str(done.file), providers=["CPUExecutionProvider"])
    rgb = torch.rand(1, 3, 96, 64)
    features, probability = session.run(["features", "probability"], {"rgb": rgb.numpy()})
    with torch.inference_mode():
        ours = load_network(card)(rgb)
    np.testing.assert_allclose(features, ours.features.numpy(), atol=1e-4)
    np.testing.assert_allclose(probability, ours.logits.softmax(1)[:, 1:].numpy(), atol=1e-4)
    assert {one.key: one.value for one in onnx.load(str(done.file)).metadata_props}["imgscan.outputs"] == "features, probability"


@pytest.fixture
def grid_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """Of a tiny ViT that attends to a grid of tokens."""
    from imgscan.models import focal_vit
    from imgscan.training import loop
    from imgscan.training.card import write_weights
    from imgscan.training.recipe import Recipe, with_settings

    monkeypatch.setitem(focal_vit.SIZES, "tiny-grid", replace(focal_vit.SIZES["tiny"], most_keys=16))
    recipe = with_settings(Recipe(), {"model": {"network": "focal-vit", "size": "tiny-grid"}}, "test")
    torch.manual_seed(3)
    return read_card(write_weights(loop.start(recipe, torch.device("cpu")), tmp_path / "grid", "synth", [tmp_path], 4))


def test_torchscript_of_a_vit_that_samples_its_tokens(grid_card: Card, tmp_path: Path) -> None:
    """A trace attended to all tokens."""
    assert export(grid_card, "torchscript", tmp_path / "out").file.exists()


def test_torchscript_agrees_with_torch_at_its_size(card: Card, tmp_path: Path) -> None:
    done = export(card, "torchscript", tmp_path)
    facts = {"imgscan.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit about its age
        traced = torch.jit.load(str(done.file), _extra_files=facts)
    side = card.data["input"]["side"]
    rgb = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(traced(rgb)[0], load_network(card)(rgb), atol=1e-4, rtol=0)
    assert json.loads(facts["imgscan.json"])["imgscan.model"] == "focal-hrnet@mine"


def test_safetensors_come_with_a_card_that_works(card: Card, tmp_path: Path) -> None:
    done = export(card, "safetensors", tmp_path)
    again = find_model(f"focal-hrnet@{done.file}").cards[0]
    assert again.sha256 == card.sha256
    assert again.data["recipe"] == card.data["recipe"]
    load_network(again)


def test_what_answers_otherwise_is_not_kept(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "AGREEMENT", -1.0)
    with pytest.raises(OutputError, match="off torch, more than -1; not kept"):
        export(card, "torchscript", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_and_a_missing_extra_say_what_to_do(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown format 'onxx'; did you mean onnx"):
        export(card, "onxx", tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'imgscan\[onnx\]'"):
        export(card, "onnx", tmp_path)


def test_a_folder_that_cannot_be_written(card: Card, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export(card, "safetensors", tmp_path / "file")
