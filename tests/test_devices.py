"""Devices: what is fast where, as far as a machine without them can tell."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from imgscan import bench, scanner
from imgscan.devices import bf16_is_fast, choose_device, in_short, out_of_memory, whole_float32
from imgscan.errors import InputError, WorkerError


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
        (
            torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be"),
            True,
        ),  # for the first thing on a full GPU
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("MPS backend out of memory"), False),
    ],
)
def test_devices_say_in_words_that_memory_is_out(error: Exception, is_it: bool) -> None:
    assert out_of_memory(error) == is_it


BUILT = "sm_75 sm_80 sm_90"


def gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int], built: str = BUILT, works: bool = True) -> None:
    """A machine with GPUs of these generations, and a torch that was built for some."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: works)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
    monkeypatch.setattr(torch.cuda, "get_arch_list", built.split)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_the_chosen_gpu_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that pin memory take a context on whichever is current."""
    current: list[torch.device] = []
    gpus(monkeypatch, (8, 0), (8, 0))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert choose_device("auto") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert current == [torch.device("cuda:1")]


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts GPUs does not ask whether this torch can use them."""
    gpus(monkeypatch, (8, 6), works=False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(
        InputError, match=r"--device cuda:0: this PyTorch cannot compute on it \(.* newer driver\); there is: auto, cpu$"
    ):
        choose_device("cuda")
    with pytest.raises(InputError, match="--device cuda:1: not on this machine"):
        choose_device("cuda:1")


@pytest.mark.parametrize(
    ("capability", "built", "works"),
    [
        ((7, 5), BUILT, True),
        ((8, 9), BUILT, True),  # later ones of a generation run what was built for its first
        ((6, 1), BUILT, False),
        ((12, 0), BUILT, False),
        ((12, 0), "sm_75 sm_90 compute_90", True),  # which the driver translates for later ones
        ((8, 0), "sm_86", False),
        ((9, 0), "sm_80 sm_90a", True),
    ],
)
def test_a_gpu_that_torch_was_not_built_for(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], built: str, works: bool
) -> None:
    gpus(monkeypatch, capability, built=built)
    assert choose_device("auto") == torch.device("cuda:0" if works else "cpu")


def test_auto_takes_the_first_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    gpus(monkeypatch, (6, 1), (8, 6))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert choose_device("auto") == torch.device("cuda:1")
    assert current == [torch.device("cuda:1")]


def test_the_cpu_asks_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", None)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            r"focal@open does not fit into the memory of cuda:1 \(CUDA out of mem",
        ),
        (
            torch.AcceleratorError("CUDA error: out of memory\nSee"),
            r"does not fit into the memory of cuda:1 \(CUDA error: out of memory\)",
        ),
        (torch.AcceleratorError("CUDA error: ECC\nSee"), r"cuda:1 failed \(CUDA error: ECC\); call again, or use --device cpu"),
    ],
)
def test_a_gpu_that_others_have_filled(monkeypatch: pytest.MonkeyPatch, error: RuntimeError, said: str) -> None:
    def to(device: torch.device) -> None:
        raise error

    monkeypatch.setattr(scanner, "load_network", lambda card: SimpleNamespace(to=to))
    card: Any = SimpleNamespace(full_name="focal@open")
    with pytest.raises(WorkerError, match=said):
        scanner._network(card, torch.device("cuda:1"))


def test_what_is_told_of_an_error_of_torch() -> None:
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 3.00 MiB is free. "
        "Including non-PyTorch memory, this process has 1.00 GiB in use. If reserved memory is large, see the documentation.\nmore"
    )
    assert in_short(error) == (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 3.00 MiB is free"
    )


def test_full_float32_is_undone() -> None:
    """Also where TF32 was asked for; the CPU has none."""
    conv, product = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    before = conv.fp32_precision, product.fp32_precision
    product.fp32_precision = "tf32"
    try:
        with whole_float32(torch.device("cpu")):
            assert (conv.fp32_precision, product.fp32_precision) == (before[0], "tf32")
        with whole_float32(torch.device("cuda")):
            assert (conv.fp32_precision, product.fp32_precision) == ("ieee", "ieee")
        assert (conv.fp32_precision, product.fp32_precision) == (before[0], "tf32")
    finally:
        product.fp32_precision = before[1]


def test_times_wait_for_the_device_and_start_none(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append("cuda"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "of the current one")
    for started, apple, told in ((False, False, []), (True, False, ["cuda"]), (False, True, ["mps"])):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda started=started: started)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda apple=apple: apple)
        waited.clear()
        assert bench._timed(lambda: 3)[0] == 3
        assert waited == told, "a GPU that nothing was asked of is not started"
    assert json.loads(bench.as_json([], "m"))["machine"]["cuda"] == "of the current one"
