"""`imgscan train` in real processes: the three methods, data sets, interruption, torchrun."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from imgscan.commands import train
from imgscan.commands.train import last_words, train_command
from imgscan.commands.train_material import gather
from imgscan.commands.train_options import TrainOptions, find_recipe, same_network, with_options
from imgscan.datasets.forge import forge
from imgscan.datasets.resolve import resolve
from imgscan.errors import ConfigError, ExitCode, InputError, WorkerError
from imgscan.training import loop, profile
from imgscan.training.initial import find_start
from imgscan.training.recipe import read_recipe
from imgscan.training.schedule import Plateau
from tests import processes
from tests.conftest import PHOTOS

TINY = ["--set", "model.size=tiny", "--set", "data.side=64", "--set", "data.workers=0", "--set", "data.validation=4"]
TINY += ["--set", "train.log_every=1", "--set", "train.batch=2", "--set", "train.save_minutes=0.0", "--device", "cpu"]
SMALL = {"focal": "compact-vit", "cfl-net": "small", "ncl": "small"}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def run(*args: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    if not launcher:
        return processes.run("train", *args, environment=ENVIRONMENT)
    command = [sys.executable, *launcher, "-m", "imgscan", "train", *map(str, args)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # torchrun's workers too
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Flags that name three photographs to train on and one to validate on."""
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(sorted(PHOTOS.glob("*.jpg"))):
        place = folder / ("validation" if number == 0 else "training")
        place.mkdir(exist_ok=True)
        (place / photo.name).write_bytes(photo.read_bytes())
    return ["--data-root", folder / "training", "--validation-root", folder / "validation"]


@pytest.fixture(scope="module")
def casia(tmp_path_factory: pytest.TempPathFactory, photos: list[np.ndarray]) -> Path:
    """A made-up tree in the layout of CASIA v2: 40 forgeries on 40 backgrounds, and untouched pictures."""
    root = tmp_path_factory.mktemp("data") / "CASIA2"
    for name in ("Tp", "Au", "CASIA 2 Groundtruth"):
        (root / name).mkdir(parents=True)
    for number in range(40):
        made = forge(lambda host=photos[number % 4]: host, 96, np.random.default_rng(number), "splicing")
        stem = f"Tp_D_NRN_S_N_ani{number:05d}_nat{number:05d}_{number:05d}"
        Image.fromarray(made.rgb).save(root / "Tp" / f"{stem}.jpg", quality=95)
        Image.fromarray((made.labels > 0).astype(np.uint8) * 255).save(root / "CASIA 2 Groundtruth" / f"{stem}_gt.png")
        Image.fromarray(photos[number % 4][number : number + 96, :96]).save(root / "Au" / f"Au_nat_{number:05d}.jpg")
    return root


@pytest.mark.parametrize("method", ["focal", "cfl-net", "ncl"])
def test_resume_and_scan_with_the_result(tmp_path: Path, roots: list[object], method: str) -> None:
    base = [method, *roots, "--out", tmp_path / "t", "--size", SMALL[method]]
    steps = ["--set", "train.steps=4", "--set", "train.warmup=0"]
    first = run(*base, *TINY, *steps, "--minutes", "0.01", "--set", "train.batch=60")
    assert first.returncode == 0, first.stderr
    assert "before the first step  validation AUC 0." in first.stderr
    assert "step 4/4" not in first.stderr, "nothing was left to resume"
    again = run(*base, *TINY)
    assert again.returncode == ExitCode.INCOMPLETE
    assert "add --resume" in again.stderr
    resumed = run(method, "--out", tmp_path / "t", "--resume", "--size", SMALL[method], *TINY[:2])  # the checkpoint knows its data
    assert resumed.returncode == 0, resumed.stderr
    assert "step 4/4" in resumed.stderr
    card = Path(resumed.stdout.strip())
    network = tomllib.loads(card.read_text())["network"]
    done = processes.run("scan", PHOTOS / "budgie-eb1c4694.jpg", "-m", f"{network}@{card}", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "o" / "masks" / "budgie-eb1c4694.jpg.png") as mask:
        assert mask.size == (768, 768)


def test_a_data_set_in_its_published_layout(tmp_path: Path, casia: Path) -> None:
    done = run("ncl", "--data", "casia", "--data-root", casia, "--out", tmp_path, "--size", "small", *TINY, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    card = tomllib.loads((tmp_path / "weights.toml").read_text())
    assert card["training"]["data"] == "casia"
    assert 30 <= card["training"]["pictures"] < 40, "a tenth is kept aside for validation"
    assert card["training"]["steps"] == card["training"]["pictures"] // 2
    assert card["training"]["validation_pictures"] == 40 - card["training"]["pictures"]
    assert find_start(str(tmp_path / "weights.toml")).path == tmp_path / "weights.safetensors"
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".new")[:3] == [
        "best.safetensors",
        "checkpoint.safetensors",
        "events",
    ]


def test_what_teaches_nothing_is_told_before_the_first_step(
    tmp_path: Path, photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With masks in the other polarity a training goes on as if nothing were wrong; stored as 0 and 1 they mark nothing."""
    for name, shift, levels in (("mine", 0, (255, 0)), ("other", 200, (0, 1))):
        for number in range(6):
            mask = np.zeros((96, 96), np.uint8)
            mask[8:40, 8:40] = 1
            for folder, pixels in (("images", photos[0][shift + number :, :96][:96]), ("masks", np.array(levels, np.uint8)[mask])):
                (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / name / folder / f"{number}.png")

    def stop(*_: object, **__: object) -> None:
        raise InputError("here the first step would be")

    monkeypatch.setattr(loop, "train", stop)
    monkeypatch.setattr("imgscan.commands.train._StopSignal", lambda: SimpleNamespace(by=None))
    mine, other, out = str(tmp_path / "mine"), tmp_path / "other", tmp_path / "t"
    settings = ["model.size=tiny", "data.side=64", "train.steps=49"]
    with pytest.raises(InputError, match="here the first step"):
        train_command(TrainOptions("ncl", "small", mine, [], [other], out, None, None, settings, False, None, "cpu", None))
    said = capsys.readouterr().err
    assert "train.warmup is 50 steps of 49: the rate never comes to train.rate, 0.02" in said
    assert "mine, trained on: most masks mark over half of the picture: the other polarity is meant\n" in said
    assert "other, validated on: masks that mark nothing by their rule (white is above 127) but hold levels" in said


def test_a_run_that_came_to_its_end_says_how_it_trains_on() -> None:
    recipe = read_recipe(find_recipe("ncl", "small"))
    options = TrainOptions("ncl", None, None, [], [], Path(), None, None, [], True, None, "cpu", None)
    run: Any = SimpleNamespace(recipe=recipe, step=recipe.train.steps, plateau=Plateau())
    (said,) = last_words(run, options, began=run.step, passed_over=0, stopped=False)
    assert said == "step 10000 of 10000: nothing was left to train; more with --set train.steps=N or --epochs N"
    assert not list(last_words(run, options, began=run.step - 1, passed_over=0, stopped=False)), "it has just come there"


def test_a_training_file_that_is_validated_on_is_refused(tmp_path: Path, casia: Path) -> None:
    trained = sorted((casia / "Tp").iterdir())
    other = tmp_path / "validation"
    for name in ("images", "masks"):
        (other / name).mkdir(parents=True)
    for path in trained:  # all of them, so that the one from the training split is among them
        (other / "images" / path.name).write_bytes(path.read_bytes())
        mask = casia / "CASIA 2 Groundtruth" / f"{path.stem}_gt.png"
        (other / "masks" / f"{path.stem}.png").write_bytes(mask.read_bytes())
    done = run("ncl", "--data", "casia-v2", "--data-root", casia, "--validation-root", other, "--out", tmp_path / "t", *TINY)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "is the same file as" in done.stderr
    assert "of the validation split" in done.stderr


def test_a_training_file_that_is_tested_on_is_refused_whatever_the_folder_is_called(tmp_path: Path, casia: Path) -> None:
    """A folder with + in its name is one folder, and its test split is looked for there."""
    folder = tmp_path / "a+b"
    shutil.copytree(casia / "Tp", folder / "images")
    (folder / "masks").mkdir()
    for mask in (casia / "CASIA 2 Groundtruth").iterdir():
        shutil.copy(mask, folder / "masks" / f"{mask.stem.removesuffix('_gt')}.png")
    train, test = (resolve(str(folder), [], split)[0].image for split in ("train", "test"))
    shutil.copy(train, test)
    recipe = read_recipe(find_recipe("ncl", "small"))
    options = TrainOptions("ncl", "small", str(folder), [], [], tmp_path, None, None, [], False, None, "cpu", None)
    with pytest.raises(InputError, match="of the test split"):
        gather(options, recipe)


def test_a_setting_goes_before_what_the_recipe_counts_in_epochs(tmp_path: Path) -> None:
    options = TrainOptions(
        "cfl-net", None, None, [], [], tmp_path, None, None, ["train.validate_every=2"], False, None, "cpu", None
    )
    recipe = read_recipe(find_recipe("cfl-net", "official"))
    assert recipe.train.validations, "or there is nothing to go before"
    assert loop.in_steps(with_options(recipe, options), 1000, 1).train.validate_every == 2


def test_a_copy_of_a_training_photograph_is_not_validated_on(tmp_path: Path, roots: list[object]) -> None:
    photo = sorted(Path(str(roots[1])).iterdir())[0]
    (tmp_path / "other.jpg").write_bytes(photo.read_bytes())
    done = run("focal", "--data-root", roots[1], "--validation-root", tmp_path, "--out", tmp_path / "t", *TINY)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "other.jpg is also trained on" in done.stderr


def listen() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(*args: object, group: bool = False) -> subprocess.Popen[str]:
    """A training in the background; `group`: its processes are a group of their own, which no nohup around the tests shields."""
    command = [sys.executable, "-m", "imgscan", "train", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        command, **pipes, text=True, env=ENVIRONMENT, start_new_session=group, preexec_fn=listen if group else None
    )


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_killed_and_resumed_ends_with_the_weights_of_a_run_left_alone(tmp_path: Path, roots: list[object]) -> None:
    flags = [*TINY, "--set", "train.steps=40", "--set", "train.validate_every=1000"]
    base = ["focal", *roots, "--size", "compact-vit"]
    whole = run(*base, *flags, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    process = start(*base, *flags, "--out", tmp_path / "parts")
    wait_for(tmp_path / "parts" / "checkpoint.safetensors")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "parts" / "weights.toml").exists(), "it was over before it was killed"
    resumed = run("focal", *roots, "--resume", "--out", tmp_path / "parts")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "whole" / "weights.safetensors").read_bytes() == (tmp_path / "parts" / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_saves(tmp_path: Path, roots: list[object], number: signal.Signals) -> None:
    """As batch systems and closed terminals send it: the loader process must not end before the checkpoint is written."""
    flags = [*TINY, "--set", "train.steps=100000", "--set", "data.workers=1"]
    process = start("ncl", *roots, "--size", "small", *flags, "--out", tmp_path, group=True)
    wait_for(tmp_path / "checkpoint.safetensors")
    os.killpg(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert (tmp_path / "weights.toml").exists()


def test_events_that_cannot_be_written_end_the_run(tmp_path: Path, roots: list[object]) -> None:
    """As on a full disk.  TensorBoard fails in a thread of its own, and loader processes ignore the signal that would end them."""
    pytest.importorskip("tensorboard")
    flags = [*TINY, "--set", "train.steps=100000", "--set", "data.workers=1"]
    process = start("ncl", *roots, "--size", "small", *flags, "--out", tmp_path, group=True)
    wait_for(tmp_path / "checkpoint.safetensors")
    (tmp_path / "events").rename(tmp_path / "gone")  # at once: into a folder that is being emptied TensorBoard may write anew
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INCOMPLETE, err
    assert f"{tmp_path / 'events'}: cannot be written: No such file or directory" in err


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_with_twice_the_batch(tmp_path: Path, roots: list[object]) -> None:
    """The ViT has no batch norm; untouched pictures and draws are off, so the mean over processes is that over the batch."""
    flags = ["focal", *roots, "--size", "compact-vit", *TINY, "--set", "train.steps=3", "--set", "train.precision=float32"]
    flags += ["--set", "data.untouched=0.0", "--set", "loss.max_keys=100000", "--set", "train.clip=0.0", "--set", "train.warmup=0"]
    flags += ["--set", "train.optimizer=sgd", "--set", "train.rate=0.01"]
    alone = run(*flags, "--out", tmp_path / "one", "--set", "train.batch=2")
    assert alone.returncode == 0, alone.stderr
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    both = run(*flags, "--out", tmp_path / "two", "--set", "train.batch=1", launcher=launcher)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("weights.toml") == 1, "only the first process speaks"
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor.float(), two[name].float(), rtol=2e-3, atol=1e-4, msg=name)


def test_a_run_goes_on_with_the_seed_that_it_was_begun_with() -> None:
    """Its card would name the other one, and count as another training beside its own beginning."""
    options = TrainOptions("focal", None, None, [], [], Path("run"), None, None, [], True, None, "cpu", None)
    recipe = with_options(read_recipe(find_recipe("focal", "compact-hrnet")), replace(options, settings=["train.seed=3"]))
    file = Path("run/checkpoint.safetensors")
    for settings in ([], ["train.seed=3"], ["train.rate=0.5"]):
        assert same_network(recipe, replace(options, settings=settings), file).train.seed == 3
    with pytest.raises(ConfigError, match=r"train\.seed: run/checkpoint\.safetensors was begun with 3; another seed needs another"):
        same_network(recipe, replace(options, settings=["train.seed=4"]), file)


@pytest.mark.parametrize("steps", [None, 1])
def test_memory_that_is_full_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roots: list[object], steps: int | None
) -> None:
    """--profile is asked to find out what fits, and a network may find the GPU full."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 is full. More")

    photos, kept = [Path(str(roots[1]))], [Path(str(roots[3]))]
    options = TrainOptions("focal", None, None, photos, kept, tmp_path / "out", None, None, [], False, None, "cpu", None)
    monkeypatch.setattr(train, "_StopSignal", lambda: None)
    monkeypatch.setattr(loop, "start", full)
    monkeypatch.setattr(profile, "start", full)
    said = r"a step does not fit into the memory of cpu; wanted a smaller train.batch .*\(CUDA out of memory. .* GPU 0 is full\)"
    with pytest.raises(WorkerError, match=said):
        train.train_command(replace(options, profile=steps))
