"""Devices: what is fast where, as far as a machine without them can tell."""

import pytest
import torch

from imgscan.devices import bf16_is_fast, choose_device, out_of_memory


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


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("MPS backend out of memory"), False),
    ],
)
def test_devices_say_in_words_that_memory_is_out(error: Exception, is_it: bool) -> None:
    assert out_of_memory(error) == is_it


def test_the_chosen_gpu_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that pin memory take a context on whichever is current."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert current == [torch.device("cuda:1")]
