"""Releases in miniature: the real names of every tensor, networks of a hundredth of the size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from imgscan.models import build_named, cfl_net, focal_hrnet, focal_vit
from imgscan.releases.table import RELEASES


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder of one's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("IMGSCAN_WEIGHTS", raising=False)
    monkeypatch.delenv("IMGSCAN_ACCEPT_LICENCE", raising=False)
    return tmp_path / "data" / "imgscan" / "weights"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """RELEASES for networks of the size `bare`: the shape of the official one, tiny."""
    monkeypatch.setitem(focal_hrnet.SIZES, "bare", focal_hrnet.HRNetSize("tiny", 4, mixed=False, noise_view=False))
    monkeypatch.setitem(focal_vit.SIZES, "bare", focal_vit.ViTSize(8, 16, 2, 2, 4, (1,), 8, 64, noise_view=False))
    monkeypatch.setitem(cfl_net.SIZES, "bare", cfl_net.SIZES["tiny"])
    for name in ("focal-hrnet", "focal-vit", "cfl-net", "sam-vit-l"):
        changed = {"size": "bare", "input": {"mode": "resize", "side": 64, "multiple": 32}}
        monkeypatch.setitem(RELEASES, name, dataclasses.replace(RELEASES[name], **changed))


def released(name: str, size: str = "bare") -> dict[str, torch.Tensor]:
    """What the authors' file would hold for a fresh network of ours: their names, their extra parts."""
    torch.manual_seed(1)
    release = RELEASES[name]
    state = build_named(release.network, size).state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point() and "conv_srm" not in key:
            state[key] = torch.rand_like(tensor) + 0.1
    if name == "focal-hrnet":
        theirs = {"module.net." + key.removeprefix("trunk."): one for key, one in state.items()}
        return theirs | {"module.net.final_layer.weight": torch.ones(2), "module.net.final_layer.bias": torch.ones(2)}
    if name == "focal-vit":
        renamed = {
            "module.net.image_encoder." + key.removeprefix("trunk.").replace(".fc1.", ".lin1.").replace(".fc2.", ".lin2."): one
            for key, one in state.items()
        }
        return renamed | {"module.net.prompt_encoder.x": torch.ones(1), "module.net.mask_decoder.y": torch.ones(1)}
    return state


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path
