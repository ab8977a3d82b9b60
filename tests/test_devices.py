"""Devices: what is fast where, as far as a machine without them can tell."""

import pytest
import torch

from imgscan.devices import bf16_is_fast


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bf16_is_asked_of_the_device_itself(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fast: bool) -> None:
    """A T4 (7.5) emulates it, and torch says that this is support."""
    asked: list[torch.device] = []

    def get_device_capability(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return capability

    monkeypatch.setattr(torch.cuda, "get_device_capability", get_device_capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert bf16_is_fast(torch.device("cuda:1")) == fast
    assert asked == [torch.device("cuda:1")]


def test_bf16_where_torch_has_no_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds for Apple's processors: even asking oneDNN is an error there."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", None)
    assert not bf16_is_fast(torch.device("cpu"))
    assert not bf16_is_fast(torch.device("mps"))
