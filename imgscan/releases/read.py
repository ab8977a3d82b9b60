"""Reading other people's weights without running anything that is in them.

safetensors holds tensors and nothing else.  A .pth is a pickle, which can hold any code; `torch.load(weights_only=True)` rebuilds
tensors and plain containers and refuses the rest, and nothing in imgscan reads one in another way.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickletools import genops
from typing import IO, Any
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from imgscan.errors import WeightsError
from imgscan.printable import printable

# Where trainers put the state dictionary when they save more than that.
WRAPPERS = ("state_dict", "model", "model_state_dict", "state", "net", "network", "weights", "params", "extractor")
# What a file begins with that is no weights: bytes -> what it is
_OTHERS = {
    b"<": "is a web page, as a download that asked for a click leaves behind; download it again",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file; fetch it with git lfs pull",
    b"\x89PNG": "is a picture",
    b"\xff\xd8\xff": "is a picture",
    b"\x1f\x8b": "is compressed; unpack it first",
}
# What a state dictionary is put together from; all else that a pickle asks for is somebody's code.
_PLAIN = re.compile(r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.(storage\.)?\w*Storage|torch\.[a-z]+\d*")
_PICKLES = 5  # one after the other in a file of torch's older form, before the numbers
_SAFETENSORS_LIMIT = 100_000_000  # bytes; a longer header is refused by the format itself


@dataclass(frozen=True)
class StateFile:
    """What a file of weights holds."""

    path: Path
    tensors: dict[str, Tensor]  # as stored, on the CPU
    beside: tuple[str, ...]  # what else it holds, by name: epoch, optimizer, ...


def read_state(path: Path) -> StateFile:
    """The tensors of a .safetensors, .pth, .pt or .bin file, by content, not by name.

    Raises:
        WeightsError: the file is missing, cut off, no weights, or a pickle that asks for more than tensors; says which.
    """
    if path.is_dir():
        raise WeightsError(f"weights {path}: is a folder; wanted a .pth or .safetensors file")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"weights {path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise WeightsError(f"weights {path}: is empty; download it again")
    if _is_safetensors(head):  # first: the length that it begins with may look like anything
        return _unwrapped(path, _safetensors(path))
    for beginning, what in _OTHERS.items():
        if head.lstrip().startswith(beginning):
            raise WeightsError(f"weights {path}: {what}")
    return _unwrapped(path, _pickled(path))


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 9 and int.from_bytes(head[:8], "little") < _SAFETENSORS_LIMIT and head[8:9] == b"{"


def _safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"weights {path}: is cut off or damaged ({_line(error)}); download it again") from error


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on its own old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken files make torch raise nearly anything
        raise WeightsError(f"weights {path}: {_reason(error, path)}") from error


def _reason(error: Exception, path: Path) -> str:
    """Why torch did not read a file, in one line."""
    text = str(error)
    found = re.search(r"GLOBAL (\S+)", text) or re.search(r"Trying to instantiate (\S+)", text)
    names = _imported(path) if not found and "Unsupported operand" in text else []
    asked = found[1] if found else next((name for name in names if not _PLAIN.fullmatch(name)), None)
    wanted = "wanted what torch.save(network.state_dict(), FILE) writes, or safetensors"
    if asked:
        return (
            f"its pickle asks for {printable(asked)}: a pickled module or another object, not a state dictionary; reading it would "
            f"run code, and imgscan never does; {wanted}"
        )
    if names:
        return f"is a pickle of a kind that is not read safely; {wanted}"
    if "TorchScript" in text:
        return "is a TorchScript archive; wanted a state dictionary (.pth) or safetensors"
    return f"is cut off, damaged or no weights at all ({_line(error)}); download it again"


def _imported(path: Path) -> list[str]:
    """What a pickle would import, by name: its instructions are read one by one, and none is followed."""
    names: list[str] = []
    with suppress(Exception):  # broken files make pickletools raise nearly anything
        if is_zipfile(path):
            with ZipFile(path) as held, held.open(next(one for one in held.namelist() if one.endswith("data.pkl"))) as file:
                names += _named(file)
        else:
            with path.open("rb") as file:
                for _ in range(_PICKLES):
                    names += _named(file)
    return names


def _named(file: IO[bytes]) -> Iterator[str]:
    """The names in the next pickle of a file."""
    pushed: list[str] = ["", ""]  # texts that were put on the stack
    memo: list[str] = []
    for code, value, _ in genops(file):
        if code.name == "GLOBAL":
            yield str(value).replace(" ", ".", 1)
        elif code.name == "STACK_GLOBAL":
            yield ".".join(pushed[-2:])
        elif code.name == "MEMOIZE":
            memo.append(pushed[-1])
        elif code.name in ("BINGET", "LONG_BINGET"):
            pushed.append(memo[int(value or 0)])
        elif isinstance(value, str):
            pushed.append(value)


def _line(error: Exception) -> str:
    """The first sentence of an error."""
    return next((line.strip().split(". ")[0][:160] for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _unwrapped(path: Path, held: Any) -> StateFile:
    """The state dictionary, out of what a trainer may have wrapped it in."""
    beside: list[str] = []
    for _ in range(3):
        if not isinstance(held, Mapping):
            raise WeightsError(f"weights {path}: holds a {type(held).__name__}; wanted a state dictionary, names to tensors")
        if not held:
            raise WeightsError(f"weights {path}: holds nothing; wanted a state dictionary, names to tensors")
        inner = [key for key in held if key in WRAPPERS and isinstance(held[key], Mapping)]
        if not inner and any(isinstance(value, Tensor) for value in held.values()):
            break  # with one, the tensors beside it are a trainer's: the best score so far
        if len(inner) != 1:
            found = ", ".join(printable(str(key)) for key in list(held)[:6])
            several = f"has {' and '.join(inner)}, and which is meant is not clear" if inner else "has no state dictionary"
            raise WeightsError(f"weights {path}: {several} (it holds: {found}); save the one that is meant with torch.save")
        beside += [printable(str(key)) for key in held if key != inner[0]]
        held = held[inner[0]]
    odd = [key for key, value in held.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        raise WeightsError(
            f"weights {path}: {str(odd[0])!r} holds a {type(held[odd[0]]).__name__}; wanted a tensor under every name"
        )
    return StateFile(path, dict(held), tuple(beside))
