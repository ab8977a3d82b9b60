"""What this machine can compute on, and how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from imgscan.errors import InputError, WorkerError


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
    said = ("MPS backend out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and any(one in str(error) for one in said))


def in_short(error: Exception) -> str:
    """What torch says of a device, without its advice to whoever writes programs: the first three sentences of the first line."""
    line = str(error).partition("\n")[0]
    return ". ".join(line.split(". ")[:3]).rstrip(".")


def end_if_failed(device: torch.device, error: RuntimeError) -> None:
    """Raise WorkerError where an error says that the device failed: nothing is wrong with the picture it was asked about, and all
    that it is asked later fails too."""
    if isinstance(error, torch.AcceleratorError):
        raise WorkerError(f"{device} failed ({in_short(error)}); call again, or use --device cpu") from error


def whole_float32(device: torch.device) -> AbstractContextManager[None]:
    """Within, float32 keeps its 24 bits: of an NVIDIA GPU torch asks for TF32, which has 11, in convolutions unless it is told, and
    in products where an environment variable says so.

    Not in what torch.compile makes: that reads such settings when it runs.
    """
    return _without_tf32() if device.type == "cuda" and not torch.compiler.is_compiling() else nullcontext()


@contextmanager
def _without_tf32() -> Iterator[None]:
    kinds = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def finish() -> None:
    """Wait until the GPU in use, if there is one, has done all that it was asked for: a call only asks."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # or a first call would start it, and be timed with that
        torch.cuda.synchronize()  # the current device, which choose_device made the one that is asked for
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def free_memory(device: torch.device) -> None:
    """Give back what torch keeps of a device's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def choose_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:N or mps -> a device that is there, now the current one; InputError says what is."""
    if name == "cpu":
        return torch.device("cpu")
    there = ["cpu", *_gpus()]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name == "auto":
        name = next((one for one in there if one.startswith("cuda")), there[-1])
    if name == "cuda":
        name = "cuda:0"
    if name not in there:
        raise InputError(f"--device {name}: {_why_not(name)}; there is: auto, {', '.join(there)}")
    device = torch.device(name)
    if device.index:  # or a thread that pins memory takes some of the first GPU
        torch.cuda.set_device(device)
    return device


def _gpus() -> list[str]:
    """cuda:0, cuda:1, ... as far as this torch can compute on them; of the others it warns itself."""
    # Only the driver knows whether it is new enough; device_count() asks another library, which counts all the same.
    if not torch.cuda.is_available():
        return []
    return [f"cuda:{n}" for n in range(torch.cuda.device_count()) if _has_kernels(n)]


def _has_kernels(number: int) -> bool:
    """Whether this torch was built for such a GPU: for its generation, or with code that a driver can translate for later ones."""
    if torch.version.hip is not None:
        return True
    major, minor = torch.cuda.get_device_capability(number)
    for built in torch.cuda.get_arch_list():  # sm_75, sm_90a, compute_120
        kind, _, version = built.partition("_")
        own = divmod(int("".join(filter(str.isdigit, version))), 10)
        if own <= (major, minor) and (kind == "compute" or own[0] == major):
            return True
    return False


def _why_not(name: str) -> str:
    """Why nothing can be computed on a device."""
    if name in [f"cuda:{n}" for n in range(torch.cuda.device_count())]:
        return "this PyTorch cannot compute on it (it was built for other GPUs, or for a newer driver)"
    return "not on this machine"
