"""`imgscan models verify --answers`, as the owner of a pipeline meets it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from imgscan.answers_file import Recorded, read_answers, write_answers
from imgscan.cli import app
from imgscan.detectors import adq, copy_move, double_quantisation, small_copies
from imgscan.digests import file_sha256
from imgscan.errors import ExitCode
from imgscan.networks import load_state, save_state

WEIGHTS = Path(__file__).parents[2] / "weights"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The card and weights of focal-vit@open in a folder that goes before what ships."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in WEIGHTS.glob("focal-vit.open.*"):
        shutil.copy(path, folder)
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(folder))
    return folder / "focal-vit.open.toml"


def verify(*args: object) -> Result:
    return CliRunner().invoke(app, ["models", "verify", "--answers", *map(str, args)])


def said(done: Result) -> list[list[str]]:
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_what_a_scan_uses_answers_as_recorded() -> None:
    """If this fails and the change of answers is meant: weights/answers/README.md has the command."""
    done = verify("focal-fusion+copy-move+adq")
    assert done.exit_code == ExitCode.CLEAN, done.output
    ((name, state, far),) = said(done)
    assert (name, state) == ("focal-hrnet@open+focal-vit@open+copy-move+adq", "ok")
    assert far.startswith("float32: scores within 0.0000, masks IoU 1.000")
    assert done.stderr == ""


@pytest.mark.slow
def test_everything_that_ships_answers_as_recorded() -> None:
    done = verify()
    assert done.exit_code == ExitCode.CLEAN
    checked = [name for name, *_ in said(done)]
    files = sorted(path.name.split(".open")[0] + "@open" for path in WEIGHTS.glob("*.safetensors"))
    assert checked == ["focal-hrnet@open+focal-vit@open+copy-move+adq", *files]
    assert verify(*set(read_answers(WEIGHTS / "answers" / "answers.json").models) - set(checked)).exit_code == ExitCode.CLEAN


def test_damaged_weights_are_noticed_whatever_their_hash_says(mine: Path) -> None:
    file, digest = mine.with_suffix(".safetensors"), file_sha256(mine.with_suffix(".safetensors"))
    state = load_state(file)
    state["trunk.blocks.1.mlp.fc1.weight"] *= 1.1
    save_state({name: one.half() for name, one in state.items()}, file)
    done = verify("focal-vit", "copy-move")
    assert done.exit_code == ExitCode.INCOMPLETE  # the card still has the other hash
    assert [line[:2] for line in said(done)] == [["focal-vit", "not checked"], ["copy-move", "ok"]]
    assert "the file was altered" in done.stderr
    mine.write_text(mine.read_text().replace(digest, file_sha256(file)))
    done = verify("focal-vit", "copy-move")
    assert done.exit_code == ExitCode.FINDINGS
    assert [line[:2] for line in said(done)] == [["focal-vit@open", "differs"], ["copy-move", "ok"]]
    assert f"focal-vit@open: weights focal-vit@open: {file_sha256(file)[:12]}..., recorded {digest[:12]}... ({mine})" in done.stderr
    assert re.search(r"focal-vit@open, float32: \w+\.jpg: .*recorded", done.stderr)
    assert "take your own cards out of IMGSCAN_WEIGHTS" in done.stderr
    assert f"torch {torch.__version__}" in done.stderr


def test_another_threshold_and_another_setting_are_noticed(mine: Path) -> None:
    mine.write_text(mine.read_text().replace("score = 0.9822", "score = 0.98").replace("peak = 0.005", "peak = 0.006"))
    done = verify("focal-vit@open")
    assert done.exit_code == ExitCode.FINDINGS
    assert f"focal-vit@open: threshold likely: 0.98, recorded 0.9822 ({mine})" in done.stderr
    assert f"focal-vit@open: setting localize.peak: 0.006, recorded 0.005 ({mine})" in done.stderr


@pytest.mark.parametrize(
    ("name", "where", "constant", "value"),
    [
        ("adq", adq, "E_PASSED", 0.36),
        ("adq", double_quantisation, "STEP", 0.93),
        ("copy-move", copy_move, "HALF", 520.0),
        ("copy-move", small_copies, "ENOUGH", 3300.0),
    ],
)
def test_another_constant_of_a_detector_is_noticed(
    name: str, where: object, constant: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, constant, value)
    done = verify(name)
    assert done.exit_code == ExitCode.FINDINGS
    assert re.search(f"{name}, float32: .*recorded", done.stderr)
    assert "the code, a package or the device computes otherwise" in done.stderr


def test_answers_about_fewer_pictures_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    """What an imgscan recorded that asked about fewer."""
    recorded = read_answers(WEIGHTS / "answers" / "answers.json")
    one = recorded.models["adq"]
    few = Recorded(
        recorded.made,
        {name: recorded.shown[name] for name in ("copied.jpg", "spliced.jpg")},
        {"adq": replace(one, pictures={name: one.pictures[name] for name in ("copied.jpg", "spliced.jpg")})},
    )
    write_answers(tmp_path / "few.json", few)
    done = verify("adq", "--against", tmp_path / "few.json")
    assert (done.exit_code, done.stderr) == (ExitCode.CLEAN, "")


def test_what_nobody_recorded_is_not_checked_and_says_how_to_record_it(tiny_model: str, tmp_path: Path) -> None:
    done = verify("ela", "adq")
    assert done.exit_code == ExitCode.INCOMPLETE
    assert [line[:2] for line in said(done)] == [["ela", "not checked"], ["adq", "ok"]]
    assert "imgscan models verify --answers ela --record FILE" in done.stderr
    file = tmp_path / "mine.json"
    done = verify(tiny_model, "--record", file)
    assert (done.exit_code, done.stdout) == (ExitCode.CLEAN, f"{file}\n")
    done = verify(tiny_model, "--against", file)
    assert done.exit_code == ExitCode.CLEAN, done.output
    assert said(done)[0][1] == "ok"


def test_answers_about_other_pictures_are_not_compared(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    recorded = (WEIGHTS / "answers" / "answers.json").read_text()
    one = read_answers(WEIGHTS / "answers" / "answers.json").shown["copied.jpg"]
    file.write_text(recorded.replace(one.sha256, "0" * 64))
    done = verify("adq", "--against", file)
    assert (done.exit_code, done.stdout) == (ExitCode.INCOMPLETE, "")
    assert "about other pictures than ship with this one (copied.jpg)" in done.stderr
    file.write_text(recorded.replace(one.pixels, "0" * 64).replace('"level": "none"', '"level": "likely"'))
    done = verify("adq", "--against", file)
    assert done.exit_code == ExitCode.FINDINGS
    assert "copied.jpg: decoded to other pixels than recorded, by Pillow" in done.stderr


def test_flags_about_answers_want_answers(tmp_path: Path) -> None:
    for flag in (("--device", "cpu"), ("--against", tmp_path), ("--record", tmp_path)):
        done = CliRunner().invoke(app, ["models", "verify", *map(str, flag)])
        assert done.exit_code == ExitCode.INCOMPLETE
        assert f"{flag[0]} is about answers; add --answers" in done.stderr
    assert "wanted one of them" in verify("--against", "a", "--record", "b").stderr
    assert "not on this machine" in verify("adq", "--device", "cuda:9").stderr


def test_several_models_are_hashed_at_once() -> None:
    done = CliRunner().invoke(app, ["models", "verify", "focal-vit", "adq", "focal-fusion"])
    assert done.exit_code == ExitCode.CLEAN
    assert [line[0] for line in said(done)] == ["adq", "focal-vit@open", "focal-hrnet@open"]


def test_usage_errors_load_no_torch() -> None:
    call = "app(['models', 'verify', '--device', 'cpu'])"
    code = f"import sys; from imgscan.cli import app\ntry: {call}\nexcept SystemExit: print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
