"""Fixtures: real photographs, forgeries made from them, and a model of two tiny networks in a folder of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.datasets.forge import forge
from imgscan.training import loop
from imgscan.training.card import write_weights
from imgscan.training.recipe import Recipe, with_settings

# Before any test is collected: what the user of this machine has imported is none of the tests' business.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="imgscan-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)
os.environ.pop("IMGSCAN_WEIGHTS", None)
os.environ.pop("IMGSCAN_ACCEPT_LICENCE", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # the other cores have tests of their own
    torch.set_num_threads(1)

PHOTOS = Path(__file__).parent / "data" / "photos"


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Four photographs, 768 x 768 x 3 uint8 (CC0, see tests/data/README.md)."""
    return [np.array(Image.open(path).convert("RGB")) for path in sorted(PHOTOS.glob("*.jpg"))]


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Cards of untrained tiny networks: network name -> card."""
    cards = {}
    for network in ("focal-hrnet", "focal-vit"):
        recipe = with_settings(Recipe(), {"model": {"network": network, "size": "tiny"}}, "test")
        run = loop.start(recipe, torch.device("cpu"))
        folder = tmp_path_factory.mktemp(network)
        cards[network] = write_weights(run, folder, "synth", [PHOTOS], 4)
    return cards


@pytest.fixture(scope="session")
def tiny_model(tiny_weights: dict[str, Path]) -> str:
    """What to give --model for the two tiny networks fused."""
    return "+".join(f"{network}@{card}" for network, card in tiny_weights.items())


@pytest.fixture(scope="session")
def headed_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What to give --model for the two tiny networks with mask heads, fused."""
    names = []
    for network in ("focal-hrnet", "focal-vit"):
        recipe = with_settings(Recipe(), {"model": {"network": network, "size": "tiny-headed"}}, "test")
        run = loop.start(recipe, torch.device("cpu"))
        card = write_weights(run, tmp_path_factory.mktemp(f"{network}-headed"), "synth", [PHOTOS], 4)
        names.append(f"{network}@{card}")
    return "+".join(names)


@pytest.fixture
def folder(tmp_path: Path, photos: list[np.ndarray]) -> Path:
    """A folder of three small pictures: a JPEG in a folder, a forged PNG, a tall WebP."""
    root = tmp_path / "pictures"
    (root / "a").mkdir(parents=True)
    Image.fromarray(photos[0][:128, :192]).save(root / "a" / "b.jpg", quality=90)
    rng = np.random.default_rng(5)
    made = forge(lambda: photos[int(rng.integers(4))], 128, rng, "splicing")
    Image.fromarray(made.rgb).save(root / "forged.png")
    Image.fromarray(photos[1][:160, :96]).save(root / "tall.webp", lossless=True)
    return root
