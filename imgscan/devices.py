"""What this machine can compute on, and how."""

from __future__ import annotations

import torch

from imgscan.errors import InputError


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the device has bf16 arithmetic; elsewhere autocast would only cost."""
    if device.type == "cuda":  # torch's own answer is about the current device, and counts what is emulated
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    # Builds for Apple's processors do not have oneDNN.
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def out_of_memory(error: Exception) -> bool:
    """Whether the device has no memory left; CUDA's libraries and Apple's devices say so in words alone."""
    said = ("MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and any(one in str(error) for one in said))


def free_memory(device: torch.device) -> None:
    """Give back what torch keeps of a device's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def choose_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:N or mps -> a device that is there, now the current one; InputError says what is."""
    there = ["cpu"]
    there += [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name == "auto":
        return torch.device("cuda:0" if "cuda:0" in there else there[-1])
    if name == "cuda":
        name = "cuda:0"
    if name not in there:
        raise InputError(f"--device {name}: not on this machine; there is: auto, {', '.join(there)}")
    device = torch.device(name)
    if device.index:  # or a thread that pins memory takes some of the first GPU
        torch.cuda.set_device(device)
    return device
