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


def choose_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:N or mps -> a device that is there; InputError says what is."""
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
    return torch.device(name)
