"""Networks and their losses on a GPU that is not there (tests/claimed.py): nothing of theirs stays behind on the CPU."""

import pytest
import torch

from imgscan.devices import whole_float32
from imgscan.losses import CONTRASTS
from imgscan.models import noise_view
from imgscan.training.loop import _has_idle_parameters as has_idle_parameters
from imgscan.training.loop import follow, start
from imgscan.training.objective import Trainee
from imgscan.training.recipe import Recipe, with_settings
from tests.claimed import GPU, Claimed, claiming, moved

CASES = [
    *(("focal-hrnet", "tiny", {"contrast": name, "both_ways": True}) for name in CONTRASTS),
    ("focal-hrnet", "tiny", {"floor": 0.5}),
    ("focal-hrnet", "tiny", {"whole_batch": True, "contrast": "info-nce++"}),
    ("focal-hrnet", "tiny-headed", {"weight": 0.1, "dice": 0.5, "picture": 0.3}),
    ("focal-vit", "tiny-headed", {}),
    ("focal-convnext", "tiny", {}),
    ("focal-efficientnet", "tiny", {}),
    ("cfl-net", "tiny", {"weight": 1.0, "picture": 0.2}),
    ("cfl-net", "tiny-compact", {"weight": 1.0, "contrast": "released"}),
    ("ncl", "tiny-compact", {"weight": 1.0, "picture": 0.2}),
    ("ncl", "tiny-vit", {"weight": 1.0, "window": 31}),
]


@pytest.mark.parametrize(("network", "size", "loss"), CASES)
def test_the_same_loss_as_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, network: str, size: str, loss: dict[str, float | str | bool]
) -> None:
    settings = {
        "model": {"network": network, "size": size},
        "loss": loss,
        "train": {"batch": 2, "ema": 0.9, "precision": "float32"},
    }
    run = start(with_settings(Recipe(), settings, "test"), torch.device("cpu"))
    rgb = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    labels[0, 6:20, 8:22], labels[0, 24:31, 24:31] = 1, 2
    trainee = Trainee(run.model, run.recipe).eval()
    with torch.no_grad():
        expected = float(trainee(rgb, labels, 7))
    moved(run.model)
    moved(run.average)
    with claiming(monkeypatch):
        found = trainee(rgb.to(GPU), labels.to(GPU), 7)
        assert isinstance(found, Claimed)
        assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
        torch.autograd.backward(found)
        follow(run.average, run.model, 0.9)
    idle = [name for name, one in run.model.named_parameters() if one.requires_grad and one.grad is None]
    assert not idle or has_idle_parameters(run.recipe), "several processes would wait for these"


def test_no_tf32_in_the_noise_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's default for convolutions: it takes as much from a residual as there is of a sensor's noise in it."""
    seen = []

    def noticed(func: object) -> None:
        if "conv" in str(func) or "mm" in str(func):
            seen.append((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))

    monkeypatch.setattr(noise_view, "whole_float32", lambda _: whole_float32(torch.device("cuda")))
    view = moved(noise_view.NoiseView())
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    with claiming(monkeypatch, noticed):
        view(torch.rand(1, 3, 16, 16).to(GPU))
    assert len(seen) >= 2
    assert set(seen) == {("ieee", "ieee")}
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
