"""Tensors that claim to be on another device, for machines without one: their numbers are computed on the CPU, and what a GPU would
refuse, an operation on tensors of two devices, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "claimed"  # of the device; autograd would ask for the streams of a real "cuda"
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::copy_")  # which take tensors of both

if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip("this torch has no devices written in Python", allow_module_level=True)


class _Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
LIBRARY = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
LIBRARY.fallback(torch.library.fallthrough_kernel)
GPU = torch.device(NAME, 0)


class Claimed(Tensor):
    """A tensor of the CPU that claims to be elsewhere."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Claimed:
        made = Tensor._make_wrapper_subclass(cls, held.shape, strides=held.stride(), dtype=held.dtype, device=GPU)
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __init__(self, noticed: Callable[[Any], None]) -> None:
        super().__init__()
        self.noticed = noticed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.noticed(func)
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    there = any(isinstance(one, Claimed) for one in tensors)
    elsewhere = any(not isinstance(one, Claimed) and one.ndim for one in tensors)
    if there and elsewhere and not (func._schema.name in INDEXED and isinstance(args[0], Claimed)):
        shapes = ", ".join(f"{type(one).__name__} {tuple(one.shape)}" for one in tensors)
        raise RuntimeError(f"{func}: tensors of two devices: {shapes}")
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
        kwargs = {key: one for key, one in kwargs.items() if key != "non_blocking"} | {"device": torch.device("cpu")}
    held = {id(one.held): one for one in tensors if isinstance(one, Claimed)}
    args, kwargs = tree_map(lambda one: one.held if isinstance(one, Claimed) else one, (args, kwargs))
    answer = func(*args, **kwargs)

    def claimed(one: Any) -> Any:
        if not there or not isinstance(one, Tensor):
            return one
        return held[id(one)] if id(one) in held else Claimed(one)

    return tree_map(claimed, answer)


def moved(module: nn.Module) -> nn.Module:
    """The module with all that module.to(device) would move."""
    for part in module.modules():
        for name, one in part._parameters.items():
            part._parameters[name] = None if one is None else nn.Parameter(Claimed(one.detach()), one.requires_grad)
        part._buffers.update({name: Claimed(one) for name, one in part._buffers.items() if one is not None})
    return module


@contextmanager
def claiming(monkeypatch: pytest.MonkeyPatch, noticed: Callable[[Any], None] = lambda _: None) -> Iterator[None]:
    """Within, what is moved to GPU, or made on it, claims to be there, and that this is one of CUDA; `noticed` is told of every
    operation."""
    plain = torch.tensor

    def tensor(*args: Any, device: torch.device | None = None, **kwargs: Any) -> Tensor:
        made = plain(*args, **kwargs)
        return made if device is None or device.type == "cpu" else Claimed(made)

    monkeypatch.setattr(torch, "tensor", tensor)  # it makes its tensor where no mode is asked
    monkeypatch.setattr(Claimed, "is_cuda", property(lambda _: True), raising=False)
    with _Mode(noticed):
        yield
