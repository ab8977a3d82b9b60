"""What a card says of its training, held against pictures that are measured."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.commands.calibrate import calibrate_command
from imgscan.datasets.photos import keep_aside
from imgscan.errors import ExitCode
from imgscan.evaluation.contestants import ModelOptions, of_model
from imgscan.evaluation.seen import seen, trained_files
from imgscan.weights import Card, find_model
from tests.conftest import PHOTOS
from tests.processes import run


def card(**training: Any) -> Card:
    plain = find_model("focal-hrnet").cards[0]
    return replace(plain, data={**plain.data, "training": training, "recipe": {}})


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twenty of 8 x 8 pixels, each another one, of which one or more are kept aside for validation by their names."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_photographs_but_for_those_kept_aside(photographs: Path) -> None:
    everything = sorted(photographs.iterdir())
    rest, kept = keep_aside(everything)
    assert kept
    assert trained_files(card(data="synth", roots=[str(photographs)], pictures=len(rest))) == rest
    assert trained_files(card(data="synth", roots=[str(photographs)], pictures=len(rest) - 1)) == rest, (
        "one was a copy of a kept one"
    )
    assert trained_files(card(data="synth", roots=[str(photographs)], pictures=20)) == everything, "with a --validation-root"


def test_the_training_split_of_a_folder_and_no_untouched_ones(tmp_path: Path, photographs: Path) -> None:
    for name in ("images", "masks", "authentic"):
        shutil.copytree(photographs, tmp_path / "set" / name)
    found = trained_files(card(data=str(tmp_path / "set")))
    assert 10 < len(found) < 20
    assert {path.parent.name for path in found} == {"images"}
    learned = card(data=str(tmp_path / "set"))
    learned = replace(learned, data={**learned.data, "recipe": {"data": {"authentic": True}}})
    assert {path.parent.name for path in trained_files(learned)} == {"images", "authentic"}


@pytest.mark.parametrize(
    "training",
    [{}, {"data": None}, {"data": "synth"}, {"data": "synth", "roots": "x"}, {"data": "synth", "roots": ["no/where", 3]}],
)
def test_what_is_gone_or_no_text_is_nothing(training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert trained_files(card(**training)) == []
    assert trained_files(card(data="no/such/folder")) == []


def test_a_copy_under_another_name_is_seen_and_another_picture_of_its_size_is_not(photographs: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same.png", tmp_path / "other.png"
    shutil.copy(photographs / "3.png", same)
    other.write_bytes((photographs / "3.png").read_bytes()[:-1] + b"!")
    assert seen([other, same], photographs.iterdir()) == [same]


@pytest.fixture
def mixed(folder: Path) -> Path:
    """Three pictures of nobody's training, and a copy of one that the tiny networks were trained on."""
    shutil.copy(min(PHOTOS.glob("*.jpg")), folder / "copy.jpg")
    return folder


def test_evaluate_says_what_is_no_test(mixed: Path, tmp_path: Path, tiny_weights: dict[str, Path]) -> None:
    model = f"focal-hrnet@{tiny_weights['focal-hrnet']}"
    done = run("evaluate", model, "--data", mixed, "--out", tmp_path / "out", "-j", 0)
    assert done.returncode == ExitCode.CLEAN
    assert f"was trained on 1 of the 4 pictures of {mixed}, {mixed}/copy.jpg for one: on them this is no test" in done.stderr


def test_calibrate_says_that_thresholds_come_out_too_low(
    mixed: Path, tiny_weights: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"focal-hrnet@{tiny_weights['focal-hrnet']}"
    for pristine, told in ((mixed, True), (mixed / "a", False)):
        calibrate_command(
            [model],
            pristine=[pristine],
            copies=False,
            device="cpu",
            jobs=0,
            batch=None,
            side=None,
            accept_licence=False,
            csv_file=None,
            false_alarms=0.5,
        )
        assert (f"was trained on 1 of these 4 pictures, {mixed}/copy.jpg for one" in capsys.readouterr().err) == told


def test_joined_models_have_the_cards_of_all(tiny_weights: dict[str, Path]) -> None:
    names = "|".join(f"{network}@{path}" for network, path in tiny_weights.items())
    assert [one.network for one in of_model(names, ModelOptions(torch.device("cpu"), 0)).cards] == list(tiny_weights)
