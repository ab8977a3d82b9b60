"""Where weights are looked for, in which order, and where never."""

import errno
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from imgscan import places
from imgscan.errors import ConfigError, WeightsError
from imgscan.weights import find_model, installed


@pytest.fixture
def named(tiny_weights: dict[str, Path]) -> dict[str, bytes]:
    """File name -> content of a card focal-hrnet@here and its weights."""
    card = tiny_weights["focal-hrnet"]
    text = card.read_text().replace('tag = "mine"', 'tag = "here"')
    text = text.replace('file = "weights.safetensors"', 'file = "focal-hrnet.here.safetensors"')
    return {
        "focal-hrnet.here.toml": text.encode(),
        "focal-hrnet.here.safetensors": card.with_suffix(".safetensors").read_bytes(),
    }


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_each_place_goes_before_the_next(named: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit, then IMGSCAN_WEIGHTS in its own order, then the user's folder; the others are listed as hidden."""
    user = put(tmp_path / "data" / "imgscan" / "weights", named)
    first, second, explicit = (put(tmp_path / name, named) for name in ("first", "second", "explicit"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert find_model("focal-hrnet@here").cards[0].path.parent == user
    monkeypatch.setenv("IMGSCAN_WEIGHTS", os.pathsep.join([str(tmp_path / "not there"), "", str(first), str(second)]))
    assert find_model("focal-hrnet@here").cards[0].path.parent == first
    assert find_model(f"focal-hrnet@{explicit}/focal-hrnet.here.toml").cards[0].path.parent == explicit
    mine = [one for one in installed() if one.full_name == "focal-hrnet@here"]
    assert [(one.place.what, one.path.parent, one.hidden) for one in mine] == [
        ("IMGSCAN_WEIGHTS", first, False),
        ("IMGSCAN_WEIGHTS", second, True),
        ("user", user, True),
    ]
    assert [one.place.what for one in installed()][-1] == "packaged"


def test_never_the_working_directory(named: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, named)
    put(tmp_path / "weights", named)
    put(tmp_path / "imgscan" / "weights", named)
    monkeypatch.chdir(tmp_path)
    for text in ("", os.pathsep, f"{os.pathsep}{os.pathsep}"):  # an empty entry of PATH would mean the working directory
        monkeypatch.setenv("IMGSCAN_WEIGHTS", text)
        with pytest.raises(WeightsError, match="no weights 'focal-hrnet@here'; there are: focal-hrnet@open"):
            find_model("focal-hrnet@here")
    monkeypatch.setenv("XDG_DATA_HOME", ".")  # relative: to be ignored, says its specification
    assert places.user_folder().is_absolute()


@pytest.mark.parametrize("text", [".", "weights", "./weights"])
def test_a_relative_folder_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSCAN_WEIGHTS", text)
    with pytest.raises(ConfigError, match=r"IMGSCAN_WEIGHTS: .* is relative; wanted absolute folders"):
        find_model("focal-hrnet")


def test_a_folder_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where HOME is another user's: what ships is found; IMGSCAN_WEIGHTS, whose weights would go first, is named."""
    closed, listdir, stat = tmp_path / "closed", os.listdir, os.stat

    def refused(path: Any) -> Any:
        if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return path

    monkeypatch.setattr(os, "listdir", lambda path: listdir(refused(path)))
    monkeypatch.setattr(os, "stat", lambda path, **more: stat(refused(path), **more))
    monkeypatch.setenv("XDG_DATA_HOME", str(closed))
    assert find_model("focal-hrnet").cards[0].tag == "open"
    assert {one.place.what for one in installed()} == {"packaged"}
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(closed))
    with pytest.raises(ConfigError, match=r"^IMGSCAN_WEIGHTS: .*closed: cannot be read: Permission denied$"):
        find_model("focal-hrnet")


def test_a_broken_card_disturbs_only_who_asks_for_it(
    named: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {**named, "focal-vit.cut.toml": b"name = ", "focal-vit.short.toml": b'name = "focal-vit"\n'})
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(tmp_path))
    assert find_model("focal-hrnet@here").cards[0].path.parent == tmp_path
    with pytest.raises(WeightsError, match=r"focal-vit.cut.toml: not TOML"):
        find_model("focal-vit@cut")
    with pytest.raises(WeightsError, match=r"focal-vit.short.toml: lacks tag"):
        find_model("focal-vit@short")


def test_a_card_of_other_types_disturbs_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended every scan by name, and `models list`, with an internal error."""
    keys = 'network = "ncl"\nsha256 = "0"\nlicence = ""\nbackbone = {}\n'
    put(
        tmp_path,
        {
            "mine.open.toml": f'name = "mine"\ntag = "open"\nfile = 3\n{keys}'.encode(),
            "theirs.toml": f'name = "theirs"\ntag = "open"\nfile = "x"\ncommercial = "no"\n{keys}'.encode(),
            "fused.toml": b'fuses = ["focal-hrnet@open", "focal-vit@open"]\nfinders = 3\n',
        },
    )
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(tmp_path))
    assert find_model("focal-fusion").name == "focal-hrnet@open+focal-vit@open"
    broken = {one.full_name: one.problem for one in installed() if one.card is None}
    assert broken == {
        "mine@open": f"weights card {tmp_path}/mine.open.toml: file is 3; wanted a text",
        "theirs@open": f"weights card {tmp_path}/theirs.toml: commercial is 'no'; wanted true or false",
    }
    with pytest.raises(WeightsError, match=r"theirs.toml: commercial is 'no'"):
        find_model("theirs@open")


def test_a_combination_of_other_types_names_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"fused.toml": b'fuses = ["focal-hrnet@open", "focal-vit@open"]\nclustering = "head"\n'})
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"fused.toml: clustering is 'head'; wanted a table"):
        find_model("focal-fusion")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("finder = ['copy-move']", "unknown key or table 'finder'; did you mean finders?"),
        ("weight = {}", "unknown key or table 'weight'; did you mean weights?"),
        ("[localise]", "unknown key or table 'localise'; did you mean localize?"),
        ("commercial = false", "unknown key or table 'commercial'"),  # that is for the cards of its networks to say
    ],
)
def test_what_nobody_reads_of_a_combination_is_named(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thresholds for a model with `copy-move` were those of the model without, where `finders` was misspelt."""
    put(tmp_path, {"fused.toml": f'fuses = ["focal-hrnet@open", "focal-vit@open"]\n{line}\n'.encode()})
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(tmp_path))
    for name in ("focal-fusion", "focal-fusion+copy-move"):
        with pytest.raises(WeightsError, match=rf"fused.toml: {re.escape(message)}"):
            find_model(name)
    assert find_model("focal-hrnet").name == "focal-hrnet@open"


def test_a_broken_card_that_hides_the_default_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the answer was that there are no such weights."""
    put(tmp_path, {"focal-hrnet.open.toml": b"name = "})
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(tmp_path))
    for name in ("focal-hrnet", "focal-hrnet@open", "focal-fusion"):
        with pytest.raises(WeightsError, match=r"focal-hrnet.open.toml: not TOML"):
            find_model(name)
    assert find_model("focal-vit").name == "focal-vit@open"
    put(tmp_path, {"focal-hrnet.open.toml": b'name = "other"', "focal-fusion.open.toml": b"fuses = ["})
    with pytest.raises(WeightsError, match=r"focal-fusion.open.toml: not TOML"):  # its thresholds were those of what ships
        find_model("focal-hrnet@open+focal-vit")


def test_a_release_that_is_not_here_says_where_to_get_it() -> None:
    with pytest.raises(
        WeightsError, match=r"get FOCAL_ViT_weights.pth from https://github.com/HighwayWu/FOCAL, then: imgscan models"
    ):
        find_model("focal-vit@official")
    with pytest.raises(WeightsError, match="then: imgscan models import focal-hrnet FILE"):
        find_model("focal-fusion@official")


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {"XDG_DATA_HOME": "/x"}, "/x/imgscan/weights"),
        ("linux", {}, "/home/me/.local/share/imgscan/weights"),
        ("darwin", {}, "/home/me/Library/Application Support/imgscan/weights"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/imgscan/weights"),
        ("win32", {}, "/home/me/AppData/Local/imgscan/weights"),
    ],
)
def test_the_users_folder_is_the_platforms(
    platform: str, variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", platform)
    assert places.user_folder() == Path(wanted)
