"""What a training step adds up, network by network, by hand and against the released code."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imgscan.commands.train_options import DEFAULT_SIZES, find_recipe
from imgscan.errors import ConfigError
from imgscan.losses.ncl import cell_classes, ncl_loss
from imgscan.losses.pivot_consistent import contour_map, pc_loss
from imgscan.models import build_named
from imgscan.models.segmentation import Segmentation
from imgscan.training.objective import OBJECTIVES, check
from imgscan.training.recipe import LossSection, Recipe, parse_setting, read_recipe, with_settings

RELEASED = Path(__file__).parents[3] / "shared" / "reference" / "parity" / "CFLNet_losses.npz"


def paper(method: str) -> Recipe:
    return read_recipe(find_recipe(method, DEFAULT_SIZES[method]))


def test_forged_pixels_weigh_ten_times_as_much() -> None:
    """Logits ln 3 and 0: a pristine pixel of probability 3 / 4, a forged one of 1 / 4; weights 0.0892 and 0.9108."""
    logits = torch.zeros(1, 2, 1, 2)
    logits[:, 0] = math.log(3)
    answer = Segmentation(logits, (), torch.zeros(1, 4, 1, 1))
    found = OBJECTIVES["cfl-net"](SimpleNamespace(), answer, torch.tensor([[[0, 1]]]), LossSection(weight=0, forged=0.9108), None)
    assert float(found) == pytest.approx(0.0892 * math.log(4 / 3) + 0.9108 * math.log(4), abs=1e-6)
    assert paper("cfl-net").loss.forged == 0.9108


@pytest.mark.skipif(not RELEASED.exists(), reason="the reference fixtures are not on this machine")
def test_the_released_cross_entropy_but_for_soft_masks() -> None:
    """The released code takes 255 alone for forged.  A part of this mask is 200: forged for imgscan, where the value is another."""
    fixture = np.load(RELEASED)
    mask = torch.from_numpy(fixture["trainer/mask"])
    answer = Segmentation(torch.from_numpy(fixture["trainer/logits"]), (), torch.zeros(2, 4, 4, 4))
    released, ours = (
        float(OBJECTIVES["cfl-net"](SimpleNamespace(), answer, labels, LossSection(weight=0, forged=0.9108), None))
        for labels in ((mask == 1).long(), (mask * 255 > 127).long())
    )
    assert released == pytest.approx(float(fixture["trainer/cross_entropy"]), abs=1e-5)
    assert ours == pytest.approx(0.9223561, abs=1e-5)


@pytest.mark.parametrize("window", [0, 7])
def test_ncl_is_a_hundredth_of_the_contrast_beside_a_loss_for_every_map(window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, half, features = (torch.randn(2, *shape, generator=generator) for shape in ((2, 16, 16), (2, 8, 8), (4, 8, 8)))
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[:, 4:12, 6:13] = 1
    loss = with_settings(paper("ncl"), parse_setting(f"loss.window={window}"), "test").loss
    network = SimpleNamespace(tap_stride=2, pivot=None)
    found = OBJECTIVES["ncl"](network, Segmentation(logits, (half,), features), labels, loss, generator)
    mask = labels > 0
    maps = sum(float(pc_loss(one, mask, contour_map(mask, 2, window), mu=0.9)) for one in (logits, half))
    contrast = float(ncl_loss(features, cell_classes(mask, 2, window), None))
    assert float(found) == pytest.approx(maps + 0.01 * contrast, abs=1e-5)


def test_a_window_has_to_hold_a_cell() -> None:
    recipe = with_settings(paper("ncl"), parse_setting("loss.window=5"), "test")
    check(recipe, build_named("ncl", "tiny"), torch.device("cpu"))
    with torch.device("meta"):
        second = build_named("ncl", "paper-stage2")
    with pytest.raises(ConfigError, match=r"loss\.window is 5; wanted 0 or at least 7"):
        check(recipe, second, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"loss\.window is 4; wanted 0 or an odd number"):
        with_settings(recipe, parse_setting("loss.window=4"), "test")
