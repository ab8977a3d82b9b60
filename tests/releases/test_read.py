"""Reading strangers' files: nothing in them is run, and each bad one gets a line that says what it is."""

import ast
import collections
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import imgscan
from imgscan.errors import WeightsError
from imgscan.releases.read import read_state
from tests.releases.conftest import save


class Bomb:
    """What an attacker puts into a .pth."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: {"state_dict": {"conv1.weight": bomb}}, lambda bomb: [bomb]])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("urged", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(
    tmp_path: Path, wrap: object, zipped: bool, urged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    file = tmp_path / "weights.pth"
    torch.save(wrap(Bomb(trap)), file, _use_new_zipfile_serialization=zipped)
    if urged:  # torch's own way to switch the safety off from outside
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(WeightsError, match=r"its pickle asks for \S*mkdir: .* reading it would run code, and imgscan never does"):
        read_state(file)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Bomb(trap)))
    assert trap.exists(), "the trap works"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    """By the name of what it asks for, also where torch knows nothing of the pickle's instructions."""
    bomb = Bomb(tmp_path / "trap")
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"mkdir": [os.name, "mkdir"], "a": bomb, "b": bomb}, protocol))
    with pytest.raises(WeightsError, match=rf"w\.pth: its pickle asks for {os.name}\.mkdir: a pickled module or another object"):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_in_a_newer_pickle_are_told_how_to_come(tmp_path: Path, zipped: bool) -> None:
    """torch does not read protocol 4, whatever is in it."""
    state = {"a": torch.zeros(2), "b": torch.zeros(3, dtype=torch.float16)}
    torch.save(state, tmp_path / "w.pth", pickle_protocol=4, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"a pickle of a kind that is not read safely; wanted what torch\.save\(network"):
        read_state(tmp_path / "w.pth")
    torch.save({**state, "c": Bomb(tmp_path / "trap")}, tmp_path / "w.pth", pickle_protocol=4)
    with pytest.raises(WeightsError, match=r"its pickle asks for \S*mkdir: "):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "trap").exists()


def test_a_whole_module_is_refused_by_its_class(tmp_path: Path) -> None:
    """What NCL's authors published: torch.save of the network itself."""
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.modules\.linear\.Linear: a pickled module"):
        read_state(tmp_path / "whole.pth")


def test_nothing_in_the_package_unpickles_a_file() -> None:
    """torch.load only with weights_only=True; pickle only between our own processes and in the reader of lists of text, which
    rebuilds nothing else (tests/datasets/test_manifests.py)."""
    folder = Path(imgscan.__file__).parent
    allowed = {"workers.py", "datasets/manifests.py"}
    loads = 0
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = path.relative_to(folder).as_posix()
            if isinstance(node, ast.Import):
                modules = {one.name.split(".")[0] for one in node.names}
                assert not modules & {"dill", "joblib", "cloudpickle", "marshal", "shelve"}, name
                assert "pickle" not in modules or name in allowed, name
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in ("pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"), (
                    name
                )
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
            if called == "torch.load":
                loads += 1
                assert given.get("weights_only") == "True", name
            if called in ("np.load", "numpy.load"):
                assert given.get("allow_pickle", "False") == "False", name
            assert called not in ("torch.hub.load", "torch.package.PackageImporter", "torch.load_state_dict_from_url"), name
    assert loads == 1


def test_plain_wrapped_and_safetensors_hold_the_same(tmp_path: Path) -> None:
    state = {"conv1.weight": torch.arange(6.0).reshape(2, 3)}
    save_file(state, tmp_path / "a.safetensors")
    (tmp_path / "b.bin").write_bytes((tmp_path / "a.safetensors").read_bytes())  # by content, not by name
    wrapped = {"epoch": 3, "best": torch.tensor(0.5), "optimizer": {"lr": 1}, "state_dict": collections.OrderedDict(state)}
    files = [
        save(state, tmp_path / "plain.pth"),
        save(wrapped, tmp_path / "wrapped.pth"),
        save({"model": {"state_dict": state}}, tmp_path / "twice.pth"),
        tmp_path / "a.safetensors",
        tmp_path / "b.bin",
    ]
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in [*files, tmp_path / "old.pth"]:
        found = read_state(file)
        assert list(found.tensors) == ["conv1.weight"]
        assert torch.equal(found.tensors["conv1.weight"], state["conv1.weight"])
        assert found.beside == (("epoch", "best", "optimizer") if file.name == "wrapped.pth" else ())


def test_a_header_may_be_as_long_as_a_letter_is_large(tmp_path: Path) -> None:
    """A safetensors file begins with the length of its header: 15,392 is a space and `<`, as a web page may begin."""
    state = {"conv1.weight": torch.arange(6.0)}
    for padding in range(15_200, 15_392):
        save_file(state, tmp_path / "a.safetensors", {"note": "x" * padding})
        head = (tmp_path / "a.safetensors").read_bytes()[:8]
        if head[:2] == b" <":
            break
    assert head[:2] == b" <"
    assert torch.equal(read_state(tmp_path / "a.safetensors").tensors["conv1.weight"], state["conv1.weight"])


def _cut(tmp_path: Path, old: bool = False) -> Path:
    torch.save({"conv1.weight": torch.rand(64, 64)}, tmp_path / "whole.pth", _use_new_zipfile_serialization=not old)
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    return tmp_path / "cut.pth"


def _cut_safetensors(tmp_path: Path) -> Path:
    save_file({"a": torch.rand(64, 64)}, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content[: len(content) // 2])
    return tmp_path / "a.safetensors"


def _text(text: bytes) -> object:
    def write(tmp_path: Path) -> Path:
        (tmp_path / "w.pth").write_bytes(text)
        return tmp_path / "w.pth"

    return write


def _saved(what: object) -> object:
    return lambda tmp_path: save(what, tmp_path / "w.pth")


def _script(tmp_path: Path) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.rand(1, 2)), tmp_path / "w.pth")
    return tmp_path / "w.pth"


BAD = {
    "cut off": (_cut, "is cut off, damaged or no weights at all"),
    "cut off, old format": (lambda tmp_path: _cut(tmp_path, old=True), "is cut off, damaged or no weights at all"),
    "cut off safetensors": (_cut_safetensors, "is cut off or damaged"),
    "empty": (_text(b""), "is empty; download it again"),
    "a web page": (_text(b"\n<!DOCTYPE html><html>Google Drive - Virus scan warning"), "is a web page"),
    "a pointer": (_text(b"version https://git-lfs.github.com/spec/v1\noid sha256:1"), "is a pointer of Git LFS"),
    "noise": (_text(bytes(range(256)) * 9), "no weights at all"),
    "TorchScript": (_script, "is a TorchScript archive"),
    "a list": (_saved([torch.zeros(1)]), "holds a list; wanted a state dictionary"),
    "a tensor": (_saved(torch.zeros(1)), "holds a Tensor; wanted a state dictionary"),
    "nothing": (_saved({}), "holds nothing"),
    "no weights": (_saved({"epoch": 3, "optimizer": {}}), r"has no state dictionary \(it holds: epoch, optimizer\)"),
    "two": (_saved({"model": {"a": torch.zeros(1)}, "state_dict": {"a": torch.zeros(1)}}), "has model and state_dict, and which"),
    "two, beside a tensor": (
        _saved({"best": torch.zeros(1), "model": {"a": torch.zeros(1)}, "net": {"a": torch.zeros(1)}}),
        "has model and net, and which",
    ),
    "a name of two lines": (_saved({"two\nlines": 3}), r"\(it holds: two\\nlines\)"),
    "a number among tensors": (_saved({"a": torch.zeros(1), "b": 3}), "'b' holds a int; wanted a tensor under every name"),
    "missing": (lambda tmp_path: tmp_path / "none.pth", "cannot be read: No such file"),
    "a folder": (lambda tmp_path: tmp_path, "is a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_one_line_that_names_it(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    path = make(tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
