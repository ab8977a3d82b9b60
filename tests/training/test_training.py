"""Recipes, checkpoints and the loop: resuming has to end with the weights of a run left alone."""

import json
import math
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from threadpoolctl import threadpool_info

from imgscan.commands.train_options import DEFAULT_SIZES, anywhere, find_recipe
from imgscan.datasets.augment import AUGMENTATIONS
from imgscan.datasets.entries import Entry, read_levels, read_rgb
from imgscan.datasets.photos import find_photos
from imgscan.datasets.synth import cell_labels
from imgscan.errors import ConfigError, ImgscanError, InputError, OutputError
from imgscan.losses.focal import focal_loss
from imgscan.models import build_named, focal_hrnet
from imgscan.models.segmentation import Segmentation
from imgscan.scanner import build_scanner
from imgscan.toml import to_toml
from imgscan.training import checkpoint, loop, objective
from imgscan.training.card import write_weights
from imgscan.training.log import COLUMNS
from imgscan.training.objective import to_patches
from imgscan.training.profile import profile
from imgscan.training.recipe import (
    DataSection,
    LossSection,
    Recipe,
    TrainSection,
    parse_setting,
    read_recipe,
    recipes_folder,
    with_settings,
)
from imgscan.training.schedule import Plateau, rate_at
from imgscan.training.sequence import EntryDataset, _order, _Shares, batches, fit
from imgscan.training.validation import ValidationEntries, validation_samples
from imgscan.training.world import World, join
from imgscan.weights import find_model
from tests.conftest import PHOTOS

CPU = torch.device("cpu")


ALONE = World(0, 1, CPU)


def tiny(network: str = "focal-hrnet", **train: object) -> Recipe:
    settings = {
        "model": {"network": network, "size": "tiny"},
        "data": {"side": 64, "workers": 0, "validation": 6, "untouched": 0.25},
        "loss": {"both_ways": True, "floor": 0.7, "mu": 0.9, "weight": 0.1},
        "train": {"steps": 6, "batch": 2, "rate": 1e-3, "ema": 0.9, "log_every": 1, "validate_every": 3, "clip": 1.0, **train},
    }
    return with_settings(Recipe(), settings, "test")


def go(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    until: int | None = None,
    minutes: float | None = None,
    entries: Sequence[Entry] = (),
    report: loop.Report = lambda now: None,
) -> checkpoint.Run:
    run = loop.start(recipe, CPU)
    if resume:
        checkpoint.load(run, out / "checkpoint.safetensors")
    photos = find_photos([PHOTOS])
    samples = loop.training_samples(recipe, photos, entries, 1)
    validation = validation_samples(recipe, photos, entries)
    stop = (lambda: run.step + 1 >= until) if until else (lambda: False)  # asked while the step is being done
    loop.train(run, samples, validation, out, ALONE, epoch=3, minutes=minutes, report=report, stop=stop)
    return run


def assert_equal_weights(one: torch.nn.Module | None, other: torch.nn.Module | None) -> None:
    assert one is not None
    assert other is not None
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize(
    ("network", "train"),
    [
        ("focal-hrnet", {}),
        ("focal-vit", {"accumulate": 2}),
        ("cfl-net", {"schedule": "step", "every": 1}),
        ("ncl", {"optimizer": "sgd", "schedule": "poly", "decay": 5e-4}),
        ("ncl", {"schedule": "plateau", "every": 1, "validate_every": 1}),
        ("cfl-net", {"schedule": "plateau", "every": 1, "validate_every": 3, "steps": 9}),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, network: str, train: dict[str, object]) -> None:
    recipe = with_settings(tiny(network, **train), {"data": {"sides": "64+96" if network == "focal-hrnet" else ""}}, "test")
    whole = go(recipe, tmp_path / "whole")
    go(recipe, tmp_path / "parts", until=2)
    resumed = go(checkpoint.read_header_of(tmp_path / "parts" / "checkpoint.safetensors")[0], tmp_path / "parts", resume=True)
    assert resumed.step == whole.step == recipe.train.steps
    assert resumed.plateau == whole.plateau
    assert_equal_weights(whole.model, resumed.model)
    assert_equal_weights(whole.average, resumed.average)


@pytest.mark.parametrize("network", ["focal-hrnet", "cfl-net", "ncl"])
def test_the_loss_falls_and_validation_scores(tmp_path: Path, network: str) -> None:
    losses: list[float] = []
    scores: list[float] = []

    def report(now: loop.Progress) -> None:
        if now.loss is not None:
            losses.append(now.loss)
        if now.score is not None:
            scores.append(now.score)

    recipe = tiny(network, steps=24, batch=4, log_every=8, validate_every=12, rate=3e-3, seed=1, precision="float32")
    run = go(recipe, tmp_path, report=report)
    assert losses[-1] < losses[0]
    assert len(scores) == 3  # before the first step, and twice on the way
    assert 0 < run.plateau.best <= 1
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "step,epoch,loss,rate,seconds,pictures_per_second,validation_auc"
    assert [row.split(",")[0] for row in rows[1:]] == ["0", "8", "12", "16", "24"]
    with Image.open(tmp_path / "previews" / "0000024.png") as sheet:
        assert sheet.size == (3 * 64, 4 * 64)
    assert (tmp_path / "best.safetensors").exists()


def logged_steps(folder: Path) -> list[str]:
    return [row.split(",")[0] for row in (folder / "log.csv").read_text().splitlines()[1:]]


def test_a_run_that_was_killed_after_a_checkpoint_has_every_step_once_in_its_log(tmp_path: Path) -> None:
    go(tiny(), tmp_path, until=2)
    with (tmp_path / "log.csv").open("a") as file:  # steps that no checkpoint holds, the last cut short
        file.write("3,1,9.00000,1.000e-03,1,1.00,0.5000\n4,1,9.0")
    go(tiny(), tmp_path, resume=True)
    assert logged_steps(tmp_path) == ["0", "1", "2", "3", "4", "5", "6"]
    assert "9.0" not in [row.split(",")[2] for row in (tmp_path / "log.csv").read_text().splitlines()]


def test_a_run_that_begins_anew_does_not_go_on_in_the_log_of_one_without_a_checkpoint(tmp_path: Path) -> None:
    """Killed before its first checkpoint, it cannot be resumed; its pictures that could not be read count anew, too."""
    (tmp_path / "log.csv").write_text(",".join(COLUMNS) + "\n0,0,,0,0,0,0.5\n50,1,9,1,1,1,\n")
    (tmp_path / "unreadable.txt").write_text("".join(f"{number}.jpg: cannot be decoded\n" for number in range(99)))
    go(tiny(), tmp_path, until=2)
    assert logged_steps(tmp_path) == ["0", "1", "2"]
    assert not (tmp_path / "unreadable.txt").exists()


def test_events_past_the_checkpoint_are_taken_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(tiny(), tmp_path, until=4)
    went_further = checkpoint.read_header_of(tmp_path / "checkpoint.safetensors")[0]
    run = loop.start(went_further, CPU)
    checkpoint.load(run, tmp_path / "checkpoint.safetensors")
    run.step = 2  # as if the last checkpoint were that of the second step
    checkpoint.save(run, tmp_path / "checkpoint.safetensors")
    go(went_further, tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [one.step for one in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("fast", "meant"), [(True, "bf16"), (False, "float32")])
def test_the_arithmetic_is_the_devices_own_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, fast: bool, meant: str) -> None:
    monkeypatch.setattr(loop, "bf16_is_fast", lambda device: fast)
    assert loop.start(tiny(), CPU).recipe.train.precision == meant  # what checkpoint and card will say
    assert loop.start(tiny(precision="fp16"), CPU).recipe.train.precision == "fp16"


def nan_loss(*_: object, **__: object) -> torch.Tensor:
    return torch.zeros((), requires_grad=True) * float("nan")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(steps=20, log_every=10, save_minutes=0.0)
    go(recipe, tmp_path, until=3)
    good = (tmp_path / "checkpoint.safetensors").read_bytes()
    monkeypatch.setattr(objective, "focal_loss", nan_loss)
    with pytest.raises(ImgscanError, match=r"not a number at step 3; the batch is kept in .*bad-batch\.safetensors"):
        go(recipe, tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good
    assert load_file(tmp_path / "bad-batch.safetensors")["rgb"].shape == (2, 3, 64, 64)


def test_slow_steps_are_told_one_by_one_but_logged_as_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SILENCE", -1.0)
    told: list[loop.Progress] = []
    go(tiny(steps=3, log_every=2, validate_every=1000), tmp_path, report=told.append)
    assert [now.step for now in told] == [0, 1, 2, 3]
    assert logged_steps(tmp_path) == ["0", "2", "3"]
    rows = (tmp_path / "log.csv").read_text().splitlines()
    first, second = (now.loss for now in told[1:3])
    assert first is not None
    assert second == pytest.approx(float(rows[2].split(",")[2]), abs=1e-5), "the mean since the last line of the log"
    assert second != first


def test_the_best_weights_are_none_of_an_earlier_run(tmp_path: Path) -> None:
    """One that was killed between its first validation and its first checkpoint leaves best.safetensors behind."""
    save_file({"stale": torch.zeros(1)}, tmp_path / "best.safetensors")
    run = go(tiny(keep="best", validate_every=1000), tmp_path, until=2)
    card = write_weights(run, tmp_path, "synth", [PHOTOS], 4)
    assert set(load_file(tmp_path / "weights.safetensors")) == set(run.shipped.state_dict())
    tomllib.loads(card.read_text())  # no score of a validation that never was


def test_the_card_describes_the_best_weights_that_are_there(tmp_path: Path) -> None:
    """A run that was killed after them goes on from an older checkpoint, which knows of another score."""
    run = go(tiny(keep="best", validate_every=1), tmp_path, until=2)
    state = {key: (one + 1).contiguous() for key, one in run.shipped.state_dict().items()}
    save_file(state, tmp_path / "best.safetensors", metadata={"step": "18", "score": "0.98701"})
    training = tomllib.loads(write_weights(run, tmp_path, "synth", [PHOTOS], 4).read_text())["training"]
    assert (training["steps"], training["validation_auc"], training["best_validation_auc"]) == (18, 0.987, 0.987)


def test_before_the_first_checkpoint_none_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "focal_loss", nan_loss)
    with pytest.raises(ImgscanError, match="there is no checkpoint yet"):
        go(tiny(), tmp_path)


def test_a_file_where_events_belong_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "events").write_text("")
    with pytest.raises(OutputError, match=r"events: cannot be written"):
        go(tiny(), tmp_path)


def test_every_seed_that_is_allowed_fits_into_a_generator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.seed is 281474976710656; wanted from 0 up to, but not, 2\^48"):
        tiny(seed=2**48)
    assert go(tiny(seed=2**48 - 1, steps=1, accumulate=4), tmp_path).step == 1


@pytest.mark.parametrize("setting", [{"decay": -1.0}, {"momentum": -0.5, "optimizer": "sgd"}])
def test_what_an_optimizer_refuses_is_refused_as_a_setting(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"train.{next(iter(setting))} is -"):
        tiny(**setting)


def test_a_relative_folder_is_the_same_data_fromanywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ds").mkdir()
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path)
    stored = anywhere("casia+ds*40")
    assert stored == f"casia+{(tmp_path / 'ds').resolve()}*40"
    monkeypatch.chdir(tmp_path / "else")
    assert anywhere("casia+../ds*40") == anywhere(stored) == stored


def test_a_gradient_that_is_no_number_stops_the_run_before_it_reaches_the_weights(tmp_path: Path) -> None:
    recipe = tiny(steps=20, save_minutes=0.0)
    go(recipe, tmp_path, until=3)
    good = (tmp_path / "checkpoint.safetensors").read_bytes()
    run = loop.start(recipe, CPU)
    checkpoint.load(run, tmp_path / "checkpoint.safetensors")
    next(run.model.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    samples = loop.training_samples(recipe, find_photos([PHOTOS]), [], 1)
    with pytest.raises(ImgscanError, match="gradient is not a number at step 3"):
        loop.train(run, samples, samples, tmp_path, ALONE, epoch=3, minutes=None, report=lambda now: None)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good


def test_gradients_that_no_scale_makes_finite_end_a_run_in_fp16_too(tmp_path: Path) -> None:
    """The loss scale halves at every step that is passed over; at last it is so small that nothing is left of any gradient."""
    recipe = tiny(steps=6, precision="fp16", validate_every=1000, log_every=1000)
    run = loop.start(recipe, CPU)
    next(run.model.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    samples = loop.training_samples(recipe, find_photos([PHOTOS]), [], 1)
    before = [one.detach().clone() for one in run.model.parameters()]
    run.scaler.scale(torch.ones(1))  # it comes into being at its first use
    run.scaler.update(2.0**-23)  # where 39 halvings lead
    with pytest.raises(ImgscanError, match="gradient is not a number at step 2"):
        loop.train(run, samples, samples, tmp_path, ALONE, epoch=3, minutes=None, report=lambda now: None)
    assert all(torch.equal(one, other) for one, other in zip(before, run.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        ("focal-hrnet", {"loss": {"contrast": "circel"}}, "did you mean circle"),
        ("cfl-net", {"loss": {"contrast": "relesed"}}, "did you mean released"),
        ("cfl-net", {"data": {"side": 72}}, "wants a multiple of 16"),
        ("cfl-net", {"data": {"sides": "64+72"}}, "data.sides is 72; .* wants a multiple of 16"),
        ("focal-hrnet", {"data": {"sides": "64+x"}}, "data.sides is '64.x'; wanted multiples of 8"),
        ("ncl", {"loss": {"contrast": "circle"}}, "unknown contrast of ncl"),
        ("cfl-net", {"loss": {"patch": 24}}, "a side that is a multiple of the patch"),
        ("ncl", {"train": {"batch": 1}}, "at least 2 pictures"),
    ],
)
def test_settings_that_do_not_fit_each_other(network: str, settings: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loop.start(with_settings(tiny(network), settings, "test"), CPU)


@pytest.mark.parametrize(
    ("network", "data", "fit", "mode"),
    [("ncl", "synth", "resize", "native"), ("ncl", "casia", "crop", "native"), ("ncl", "casia", "resize", "resize")],
)
def test_a_card_scans_as_it_was_trained(tmp_path: Path, network: str, data: str, fit: str, mode: str) -> None:
    run = loop.start(with_settings(tiny(network), {"data": {"fit": fit}}, "test"), CPU)
    card = tomllib.loads(write_weights(run, tmp_path, data, [PHOTOS], 4).read_text())
    assert card["input"]["mode"] == mode
    assert card["input"]["side"] == (256 if mode == "native" else 64)


@pytest.mark.parametrize("network", ["focal-hrnet", "focal-vit", "cfl-net", "ncl"])
def test_a_card_says_what_features_there_are(tmp_path: Path, network: str) -> None:
    run = loop.start(tiny(network), CPU)
    said = tomllib.loads(write_weights(run, tmp_path, "synth", [PHOTOS], 4).read_text())["features"]
    with torch.inference_mode():
        answer = run.model.eval()(torch.rand(1, 3, 128, 128))
    features = answer.features if isinstance(answer, Segmentation) else answer
    assert features.shape == (1, said["dim"], 128 // said["stride"], 128 // said["stride"])


def test_own_weights_of_the_official_size_are_clustered_as_the_released_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(focal_hrnet.SIZES, "official", focal_hrnet.HRNetSize("tiny", 4, mixed=False, noise_view=False))
    recipe = with_settings(tiny(), {"model": {"size": "official"}}, "test")
    card = write_weights(loop.start(recipe, CPU), tmp_path, "casia", [PHOTOS], 4)
    assert tomllib.loads(card.read_text())["clustering"]["smallest"] == pytest.approx(200 / 4096, abs=1e-4)


def test_a_trained_mask_head_decides_as_what_ships(tmp_path: Path) -> None:
    """[input] and [localize] of its card are those of focal-hrnet@open."""
    recipe = with_settings(tiny(), {"model": {"size": "tiny-headed"}}, "test")
    card = tomllib.loads(write_weights(loop.start(recipe, CPU), tmp_path, "synth", [PHOTOS], 4).read_text())
    shipped = find_model("focal-hrnet@open").cards[0].data
    assert card["input"] == shipped["input"]
    assert card["localize"].items() <= shipped["localize"].items()
    assert card["localize"].keys() | {"smallest", "share"} == shipped["localize"].keys()


@pytest.mark.parametrize("network", ["cfl-net", "ncl"])
def test_own_weights_with_a_mask_do_not_judge_what_looks_drawn(tmp_path: Path, network: str) -> None:
    card = write_weights(loop.start(tiny(network), CPU), tmp_path, "casia", [PHOTOS], 4)
    localizing = build_scanner(find_model(f"{network}@{card}"), device=CPU, everything=True).localizing  # as calibrate does
    assert localizing.drawn == find_model(f"{network}@open").settings["localize"]["drawn"]
    assert not localizing.judges(0.5)


def test_a_window_can_show_the_last_lines_of_any_picture() -> None:
    rng = np.random.default_rng(0)
    rgb, labels = np.zeros((71, 70, 3), np.uint8), np.zeros((71, 70), np.uint8)
    labels[70:, 64:] = 1
    assert fit(rgb, labels, DataSection(side=64), None)[1].any()
    shown = [fit(rgb, labels, DataSection(side=64), rng)[1] for _ in range(40)]
    assert sum(bool(one.any()) for one in shown) >= 20, "half of the windows hold a forged pixel"
    assert all(one.shape == (64, 64) for one in shown)


@pytest.mark.parametrize(("network", "trunk"), [("cfl-net", ("encoder.", "encoder_srm.")), ("ncl", ("backbone.",))])
def test_the_head_may_learn_at_a_multiple_of_the_rate(network: str, trunk: tuple[str, ...], tmp_path: Path) -> None:
    recipe = tiny(network, head_lr_mult=10.0, steps=2, optimizer="sgd", rate=1e-3)
    run = go(recipe, tmp_path)
    rates = {id(one): group["lr"] for group in run.optimizer.param_groups for one in group["params"]}
    names = {name: rates[id(one)] for name, one in run.model.named_parameters() if one.requires_grad}
    assert [*{rate for name, rate in names.items() if name.startswith(trunk)}] == [pytest.approx(1e-3)]
    assert [*{rate for name, rate in names.items() if not name.startswith(trunk)}] == [pytest.approx(1e-2)]
    assert len(loop.start(tiny(network), CPU).optimizer.param_groups) == 1


def test_epochs_and_validations_in_steps() -> None:
    recipe = with_settings(Recipe(), {"train": {"epochs": 3, "validations": 5, "batch": 2, "accumulate": 2}}, "test")
    counted = loop.in_steps(recipe, 1000, 5)
    assert (counted.train.steps, counted.train.validate_every) == (150, 10)
    assert loop.in_steps(Recipe(), 1000, 5) == Recipe()


def test_a_step_without_forged_pixels_changes_nothing(tmp_path: Path) -> None:
    """Momentum alone would move the weights."""
    recipe = with_settings(tiny(steps=2, ema=0.0), {"loss": {"floor": -1.0}}, "test")
    run = go(recipe, tmp_path)
    before = {k: v.clone() for k, v in run.model.named_parameters()}
    run.recipe = with_settings(recipe, {"train": {"steps": 4}}, "test")
    black = [(torch.zeros(3, 64, 64, dtype=torch.uint8), torch.zeros(64, 64, dtype=torch.uint8), "")] * 8
    half = torch.zeros(64, 64, dtype=torch.uint8)
    half[:, 32:] = 1
    loop.train(run, black, [(black[0][0], half, "")], tmp_path, ALONE, epoch=3, minutes=None, report=lambda now: None)
    assert run.step == 4
    for name, tensor in run.model.named_parameters():
        assert torch.equal(tensor, before[name]), name


def test_pictures_without_forged_pixels_do_not_shrink_a_step(tmp_path: Path) -> None:
    """FOCAL's mean is over the pictures that count, also where they fall into several passes (Eq. 3, F7)."""
    settings = {"ema": 0.0, "clip": 0.0, "steps": 1, "precision": "float32", "optimizer": "sgd", "rate": 0.1}
    plain = {"loss": {"floor": -1.0, "max_keys": 100_000}}
    made = loop.training_samples(tiny("focal-vit"), find_photos([PHOTOS]), [], 1)
    forged = [one for one in (made[k] for k in range(12)) if one[1].any()][:2]
    clean = (forged[0][0], torch.zeros_like(forged[0][1]), "")
    weights = []
    for name, batch, passes in (("one", 4, 1), ("two", 2, 2)):
        run = loop.start(with_settings(tiny("focal-vit", batch=batch, accumulate=passes, **settings), plain, "test"), CPU)
        samples = [*forged, clean, clean]
        loop.train(run, samples, forged, tmp_path / name, ALONE, epoch=3, minutes=None, report=lambda now: None)
        weights.append(run.model.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_gradients_accumulate_to_those_of_the_larger_batch(tmp_path: Path) -> None:
    """The ViT has no batch norm: two batches of two are one of four."""
    settings = {"ema": 0.0, "clip": 0.0, "steps": 1, "precision": "float32", "optimizer": "sgd", "rate": 0.1}
    plain = {"loss": {"floor": -1.0, "max_keys": 100_000}, "data": {"untouched": 0.0}}
    one = go(with_settings(tiny("focal-vit", batch=4, **settings), plain, "test"), tmp_path / "one")
    two = go(with_settings(tiny("focal-vit", batch=2, accumulate=2, **settings), plain, "test"), tmp_path / "two")
    for name, tensor in one.model.state_dict().items():
        torch.testing.assert_close(tensor, two.model.state_dict()[name], rtol=1e-4, atol=1e-6, msg=name)


def test_patience_ends_a_run(tmp_path: Path) -> None:
    run = go(tiny(steps=50, validate_every=1, patience=2, rate=1e-9, ema=0.0), tmp_path)
    assert run.step < 50
    assert run.plateau.bad == 2
    weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    again = go(run.recipe, tmp_path, resume=True)
    assert again.step == run.step, "and resumed it stays ended"
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.model.state_dict().items())


def test_validation_needs_pictures_of_both_kinds(tmp_path: Path) -> None:
    """Masks of 0 and 1 that are read as 0 and 255, for one: such a run would end with weights that nothing was learned for."""
    blank = [(torch.zeros(3, 64, 64, dtype=torch.uint8), torch.zeros(64, 64, dtype=torch.uint8), "")] * 4
    run = loop.start(tiny(steps=1), CPU)
    with pytest.raises(InputError, match="no validation picture shows both"):
        loop.train(run, blank, blank, tmp_path, ALONE, epoch=3, minutes=None, report=lambda now: None)


def test_a_run_says_how_long_it_waited_for_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own: three seconds a picture, two pictures a step, and a step takes one: six of seven."""
    clock = [0.0]

    class Slow:
        def __len__(self) -> int:
            return 99

        def __getitem__(self, index: int, /) -> tuple[torch.Tensor, torch.Tensor, str]:
            clock[0] += 3
            labels = torch.zeros(64, 64, dtype=torch.uint8)
            labels[:32] = 1
            return torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8), labels, ""

    def step(*_: object) -> None:
        clock[0] += 1

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(loop, "_step", step)
    run = loop.start(tiny(steps=2), CPU)
    told: list[loop.Progress] = []
    loop.train(run, Slow(), [Slow()[0]] * 2, tmp_path, ALONE, epoch=3, minutes=None, report=told.append)
    assert [one.waited for one in told] == [0, pytest.approx(6 / 7), pytest.approx(6 / 7)]


def test_too_many_unreadable_pictures_end_a_run(tmp_path: Path, photos: list[np.ndarray]) -> None:
    entries = []
    for number in range(6):
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"
        Image.fromarray(photos[0][:80, :80]).save(image)
        shape = (80, 80) if number % 2 else (40, 80)  # every other mask has the wrong size
        Image.fromarray(np.eye(*shape, dtype=np.uint8) * 255).save(mask)
        entries.append(Entry(image, mask))
    good = [entry for number, entry in enumerate(entries) if number % 2]
    recipe = tiny("cfl-net", steps=4)
    run = loop.start(recipe, CPU)
    samples = loop.training_samples(recipe, [], entries, 1)
    validation = validation_samples(recipe, [], good)
    loop.train(run, samples, validation, tmp_path / "out", ALONE, epoch=3, minutes=None, report=lambda now: None)
    assert len((tmp_path / "out" / "unreadable.txt").read_text().splitlines()) == 3

    run = loop.start(with_settings(recipe, {"data": {"unreadable": 1}}, "test"), CPU)
    with pytest.raises(InputError, match=r"cannot be read.*unreadable\.txt"):
        loop.train(run, samples, validation, tmp_path / "no", ALONE, epoch=3, minutes=None, report=lambda now: None)


def test_a_broken_picture_is_one_however_often_it_is_met(tmp_path: Path) -> None:
    """Pillow's words name an object in memory, another one every time."""
    (tmp_path / "broken.png").write_bytes(b"x")
    said = []
    kept = []  # so that no address comes again
    for read in (read_rgb, read_levels) * 2:
        with pytest.raises(InputError, match=r"broken.png: cannot be decoded: not a picture") as error:
            read(tmp_path / "broken.png")
        said.append(str(error.value))
        kept.append(error)
    assert said[:2] == said[2:]


def test_the_cost_of_sides_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    forward = objective.Trainee.forward

    def counted(self: objective.Trainee, rgb: torch.Tensor, labels: torch.Tensor, number: int) -> torch.Tensor:
        shown.append(rgb.shape[-1])
        return forward(self, rgb, labels, number)

    monkeypatch.setattr(objective.Trainee, "forward", counted)
    recipe = with_settings(tiny(), {"data": {"sides": "64+96+64"}, "train": {"accumulate": 2}}, "test")
    cost = profile(recipe, CPU, 1)
    assert shown == [64, 96, 64] * 4, "two rounds of three steps of two turns"
    assert cost.seconds > 0


def test_an_average_may_start_on_resume(tmp_path: Path) -> None:
    go(tiny(ema=0.0), tmp_path, until=2)
    resumed = go(tiny(ema=0.9), tmp_path, resume=True)
    assert resumed.average is not None
    assert resumed.step == 6


def test_moments_are_laid_out_as_the_weights_on_resume(tmp_path: Path) -> None:
    """Adam in one kernel, on a GPU, takes no others; files know no layout."""
    go(tiny(), tmp_path, until=2)
    run = loop.start(tiny(), CPU)
    checkpoint.load(run, tmp_path / "checkpoint.safetensors")
    shaped = [
        (weight.stride(), value.stride())
        for weight, moments in run.optimizer.state.items()
        for value in moments.values()
        if value.shape == weight.shape
    ]
    assert len(shaped) >= 2 * len(list(run.model.parameters()))
    assert all(one == other for one, other in shaped)


def test_minutes_end_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    assert go(tiny(), tmp_path, minutes=0).step == 1
    assert checkpoint.read_header_of(tmp_path / "checkpoint.safetensors")[0] == loop.with_precision(tiny(), CPU)


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = go(tiny(steps=1), tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_state", full)
    with pytest.raises(ImgscanError, match=r"No space left.*the one before is still there"):
        checkpoint.save(run, tmp_path / "checkpoint.safetensors")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.new"))


def test_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a checkpoint"):
        checkpoint.read_header_of(tmp_path / "x")


def test_an_epoch_sees_every_picture_once_whatever_the_processes() -> None:
    train = TrainSection(steps=5, batch=2, accumulate=2)
    seen = sorted(n for rank in range(3) for batch in _Shares(train, rank, 3, 0) for n in batch)
    assert seen == list(range(5 * 2 * 2 * 3))
    assert list(_Shares(train, 1, 3, 2)) == list(_Shares(train, 1, 3, 0))[4:]
    assert sorted(_order(1, 0, 50)) == sorted(_order(1, 1, 50)) == list(range(50))
    assert list(_order(1, 0, 50)) != list(_order(1, 1, 50))


@pytest.mark.parametrize("augmented", [False, True])
def test_windows_start_on_the_block_grid_and_labels_follow(augmented: bool) -> None:
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (200, 168, 3), dtype=np.uint8)
    labels = np.zeros((200, 168), np.uint8)
    labels[40:60, 100:120] = 1
    rgb[40:60, 100:120] = 255
    for _ in range(20):
        cut, marks = fit(rgb, labels, DataSection(side=64), rng if augmented else None)
        assert cut.shape == (64, 64, 3)
        assert ((cut == 255).all(2) >= (marks > 0)).all()
        place = np.argwhere((rgb[..., 0][None] == 0).any() | (rgb == cut[0, 0]).all(2))
        assert any(
            (p % 8 == 0).all() and (rgb[p[0] : p[0] + 64, p[1] : p[1] + 64] == cut).all()
            for p in place
            if (p + 64 <= (200, 168)).all()
        )
    assert marks.any() or augmented


def test_sides_take_turns_for_data_sets_too(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """Passes of two pictures each: one of a size, the next of the other."""
    Image.fromarray(photos[0][:160, :160]).save(tmp_path / "x.png")
    Image.fromarray(np.eye(160, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    recipe = with_settings(tiny("cfl-net", batch=2, accumulate=2), {"data": {"sides": "64+96"}}, "test")
    samples = loop.training_samples(recipe, [], [Entry(tmp_path / "x.png", tmp_path / "m.png")], processes=1)
    assert [samples[k][0].shape[-1] for k in range(8)] == [64, 64, 96, 96] * 2
    both = loop.training_samples(recipe, [], [Entry(tmp_path / "x.png", tmp_path / "m.png")], processes=2)
    assert [both[k][0].shape[-1] for k in range(8)] == [64] * 4 + [96] * 4, "two processes see the same size at a time"


class Forged(np.random.Generator):
    """Draws as ever, but for the toss between a forged pixel and any place: that is always the first."""

    def random(self, *_: object) -> float:  # type: ignore[override]
        return 0.0


def test_a_window_drawn_for_a_forged_pixel_shows_it() -> None:
    """It starts at a multiple of 8, up to seven pixels before the place that was drawn."""
    rng = Forged(np.random.PCG64(0))
    labels = np.zeros((200, 168), np.uint8)
    labels[96, 80] = 1
    for _ in range(200):
        assert fit(np.zeros((200, 168, 3), np.uint8), labels, DataSection(side=64), rng)[1].any()


def test_small_pictures_are_continued_and_large_ones_resized() -> None:
    rgb = np.arange(40 * 40 * 3, dtype=np.uint8).reshape(40, 40, 3)
    labels = np.tri(40, dtype=np.uint8)
    cut, marks = fit(rgb, labels, DataSection(side=64), None)
    assert (cut[:40, :40] == rgb).all()
    assert (cut[40] == cut[39]).all()
    assert marks.shape == (64, 64)
    small, marks = fit(rgb, labels, DataSection(side=64, fit="resize"), None)
    assert small.shape == (64, 64, 3)
    assert marks.mean() == pytest.approx(labels.mean(), abs=0.02)


def test_pictures_of_data_sets_are_arrays_that_torch_may_write_to(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """Else it warns of undefined behaviour, once in a process unless it is told to warn always."""
    Image.fromarray(photos[0][:80, :80]).save(tmp_path / "x.png")
    Image.fromarray(np.eye(80, dtype=np.uint8) * 255).save(tmp_path / "m.png")
    entries = [Entry(tmp_path / "x.png", tmp_path / "m.png")]
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for way in ("crop", "resize"):
                data = DataSection(side=64, fit=way)
                assert EntryDataset(entries, data, seed=0, length=1)[0][1].shape == (64, 64)
                assert ValidationEntries(entries, data)[0][1].shape == (64, 64)
    finally:
        torch.set_warn_always(False)


def test_patches_equal_those_of_the_upsampled_map() -> None:
    """The released code: bilinear (align_corners) to the picture's size, then 4 x 4 average pooling."""
    features = torch.rand(2, 5, 8, 8, generator=torch.Generator().manual_seed(1))
    large = torch.nn.functional.interpolate(features, size=(64, 64), mode="bilinear", align_corners=True)
    torch.testing.assert_close(to_patches(features, 64), torch.nn.functional.avg_pool2d(large, 4))
    torch.testing.assert_close(to_patches(features, 64, 16), torch.nn.functional.avg_pool2d(large, 16))


@pytest.mark.parametrize("method", ["cfl-net", "ncl"])
def test_whether_a_picture_is_forged_is_asked_on_request(method: str) -> None:
    """100 cells: the highest 1 % of logits is one, ln 3 of an untouched picture, so BCE is ln 4; of a forged one ln (4 / 3)."""
    logits = torch.zeros(2, 2, 10, 10)
    logits[:, 1, 4, 4] = math.log(3)
    labels = torch.zeros(2, 10, 10, dtype=torch.uint8)
    labels[1, :5] = 1
    answer = Segmentation(logits, (), torch.rand(2, 4, 10, 10))
    network = SimpleNamespace(tap_stride=1, pivot=None)
    loss = [
        objective.OBJECTIVES[method](network, answer, labels, LossSection(weight=0, picture=weight), torch.Generator())
        for weight in (0.0, 1.0)
    ]
    assert float(loss[1] - loss[0]) == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, abs=1e-6)


def test_rates_by_hand() -> None:
    """Warm-up to half after 5 of 10 steps; the cosine is at half its height in the middle and at zero at the end."""
    train = TrainSection(steps=100, rate=1.0, warmup=10, schedule="cosine")
    assert rate_at(train, 4, 0) == pytest.approx(0.5 * 0.5 * (1 + 0.99211), abs=1e-4)
    assert rate_at(train, 50, 0) == pytest.approx(0.5)
    assert rate_at(train, 100, 0) == pytest.approx(0.0)
    assert rate_at(TrainSection(steps=100, rate=1.0), 99, 0) == 1.0
    cfl_net = TrainSection(rate=1e-4, schedule="step")
    assert [rate_at(cfl_net, 0, epoch) for epoch in (0, 19, 20, 40)] == pytest.approx([1e-4, 1e-4, 0.8e-4, 0.64e-4])
    ncl = TrainSection(steps=1000, rate=0.007, schedule="poly")
    assert rate_at(ncl, 500, 35) == pytest.approx(0.007 * 0.5358867)


def test_the_plateau_by_hand() -> None:
    """FOCAL's released code: patience 3, factor 0.5, so the fourth validation in a row without improvement halves the rate."""
    train = TrainSection(rate=1e-4, schedule="plateau", every=3, factor=0.5)
    plateau = Plateau()
    assert plateau.note(0.6, train)
    factors = [(plateau.note(0.5, train), plateau.factor)[1] for _ in range(8)]
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    for _ in range(200):
        plateau.note(0.5, train)
    assert train.rate * plateau.factor == pytest.approx(1e-8)


@pytest.mark.parametrize(
    ("scores", "falls"),
    [
        ([0.6] + [0.5] * 12, 3),
        ([0.8 * (1 + 2e-4) ** k for k in range(40)], 0),
        ([0.8 * (1 + 5e-5) ** k for k in range(40)], 0),  # ever better; every second counts, which is soon enough
        ([0.8 * (1 + 2e-5) ** k for k in range(40)], 8),  # every fifth, and the fourth before it ends the patience
        (np.random.default_rng(0).uniform(0.7, 0.7003, 40).tolist(), 9),
    ],
)
def test_the_plateau_is_that_of_torch(scores: list[float], falls: int) -> None:
    train = TrainSection(rate=1e-4, schedule="plateau", every=3, factor=0.5)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=train.rate)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=3, min_lr=1e-8)
    ours, rates = Plateau(), []
    for number, score in enumerate(scores):
        assert ours.note(score, train) == (score > max(scores[:number], default=0)), (
            "the best weights are kept however little better"
        )
        torchs.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
        assert train.rate * ours.factor == pytest.approx(rates[-1]), number
    assert rates[-1] == pytest.approx(train.rate * 0.5**falls)


def test_a_checkpoint_from_before_the_plateau_had_a_reference_of_its_own_resumes(tmp_path: Path) -> None:
    go(tiny(), tmp_path, until=4)
    file = tmp_path / "checkpoint.safetensors"
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    old = {"best": 0.9, "bad": 2, "since_fall": 2, "factor": 0.5}
    save_file(load_file(file), file, header | {"plateau": json.dumps(old)})
    run = loop.start(tiny(), CPU)
    checkpoint.load(run, file)
    assert run.plateau == Plateau(best=0.9, bad=2, reference=0.9, since_fall=2, factor=0.5)


def test_the_average_by_hand() -> None:
    slow, fast = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(slow.weight, 1.0)
    torch.nn.init.constant_(fast.weight, 3.0)
    loop.follow(slow, fast, 0.75)
    assert float(slow.weight.detach()) == pytest.approx(0.75 * 1 + 0.25 * 3)


@pytest.mark.parametrize("path", sorted(recipes_folder().glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_legal_and_names_a_network_and_a_size(path: Path) -> None:
    from imgscan.models import NETWORKS

    recipe = read_recipe(path)
    assert path.stem == f"{recipe.model.network}.{recipe.model.size}"
    assert recipe.model.size in NETWORKS[recipe.model.network].SIZES
    assert recipe.data.augment in AUGMENTATIONS
    short = f"{recipe.model.size}-{recipe.model.network.removeprefix('focal-')}" if recipe.method == "focal" else recipe.model.size
    assert find_recipe(recipe.method, short) == path
    for compat in tomllib.loads(path.read_text()).get("compat", {}):
        assert read_recipe(path, compat) != recipe


def test_every_method_has_its_default_recipe() -> None:
    for method, size in DEFAULT_SIZES.items():
        assert read_recipe(find_recipe(method, size)).method == method


def test_recipes_say_no_more_than_the_differences() -> None:
    defaults = Recipe().as_dict()
    for path in recipes_folder().glob("*.toml"):
        table = tomllib.loads(path.read_text())
        table.pop("compat", None)
        for section, values in table.items():
            for key, value in values.items():
                assert key in ("network", "size") or defaults[section][key] != value, f"{path.name}: {section}.{key} is the default"


def test_an_unknown_compat_says_what_there_is() -> None:
    for method in ("ncl", "focal"):  # FOCAL's recipe is its released code
        with pytest.raises(ConfigError, match="has none: there is nothing in it to change; leave --compat out"):
            read_recipe(find_recipe(method, DEFAULT_SIZES[method]), "official")
    with pytest.raises(ConfigError, match="has official"):
        read_recipe(find_recipe("cfl-net", "official"), "offical")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("train.rate=0.1", {"train": {"rate": 0.1}}),
        ("train.steps=5", {"train": {"steps": 5}}),
        ("train.schedule=cosine", {"train": {"schedule": "cosine"}}),
        ("train.compile=true", {"train": {"compile": True}}),
    ],
)
def test_settings(text: str, wanted: dict[str, dict[str, object]]) -> None:
    assert parse_setting(text) == wanted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trian": {}}, "did you mean train"),
        ({"train": {"stesp": 3}}, "did you mean steps"),
        ({"train": {"steps": "many"}}, "wanted a whole number"),
        ({"train": {"steps": True}}, "wanted a whole number"),
        ({"train": 3}, r"wanted a table \[train\]"),
        ({"train": {"schedule": "cosin"}}, "wanted one of constant, cosine"),
        ({"train": {"log_every": 0}}, "at least 1"),
        ({"train": {"rate": float("inf")}}, "wanted a finite number"),
        ({"train": {"power": -1.0}}, "more than 0"),
    ],
)
def test_a_wrong_setting_names_the_near_miss(settings: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_settings(Recipe(), settings, "test")


def test_whole_numbers_serve_as_floats() -> None:
    assert with_settings(Recipe(), {"train": {"rate": 1}}, "test").train.rate == 1.0


@pytest.mark.parametrize("text", ["train.rate", "rate=3", "=3", ".x=3"])
def test_a_setting_without_form(text: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        parse_setting(text)


def test_toml_is_read_back_as_written() -> None:
    table = {"a": 1, "b": 'ü " \\ \n \x7f 😀', "c": [1, 2], "d": {"e": True, "f@g.h": {"g": 1.5e-7, "i j": "k"}}}
    assert tomllib.loads(to_toml(table)) == table


def headed(tmp_path: Path) -> Recipe:
    """A recipe of a tiny network with a head, that goes on from weights without one."""
    bare = loop.start(tiny(), CPU).model
    save_file({k: v.contiguous() for k, v in bare.state_dict().items()}, tmp_path / "bare.safetensors")
    init = {"size": "tiny-headed", "init": str(tmp_path / "bare.safetensors")}
    return with_settings(tiny(), {"model": init, "data": {"families": "scale+edit"}}, "test")


def test_a_head_goes_on_from_weights_without_one_and_decides_when_scanning(tmp_path: Path) -> None:
    recipe = headed(tmp_path)
    before = load_file(tmp_path / "bare.safetensors")
    state = loop.start(recipe, CPU).model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in before.items())
    run = go(recipe, tmp_path / "run")
    card = tomllib.loads(write_weights(run, tmp_path / "run", "synth", [], 4).read_text())
    assert card["backbone"]["head"] is True
    assert card["clustering"] == {"method": "head"}
    assert 0 <= run.last <= 1


def test_untouched_pictures_count_for_a_head_without_a_floor() -> None:
    labels = torch.zeros(3, 8, 8)
    plain = with_settings(tiny(), {"loss": {"floor": -1.0}}, "test")
    assert objective.counts(plain, labels, 4) == 0
    assert objective.counts(with_settings(plain, {"model": {"size": "tiny-headed"}}, "test"), labels, 4) == 3


@pytest.mark.parametrize("network", ["cfl-net", "ncl"])
def test_pictures_without_a_forgery_train_networks_with_a_head(network: str) -> None:
    """Their cross-entropy says that nothing is forged; a step of such pictures alone is a step like any other."""
    labels = torch.zeros(3, 8, 8)
    assert objective.counts(tiny(network=network), labels, 4) == 3


def test_a_picture_counts_where_the_loss_counts_it() -> None:
    """A forgery of 3 x 3 pixels fills no cell of 4 x 4; its picture has no loss, and in a mean over pictures no share."""
    labels = torch.zeros(4, 16, 16, dtype=torch.uint8)
    labels[0, 1:4, 1:4] = 1  # ignored, and not pristine throughout
    labels[1, :8, :8] = 1
    labels[2] = 1  # nothing pristine
    for floor, wanted in ((-1.0, 1), (0.7, 2)):
        recipe = with_settings(tiny(), {"loss": {"floor": floor}}, "test")
        assert objective.counts(recipe, labels, 4) == wanted
        features = torch.nn.functional.normalize(torch.randn(4, 8, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1)
        held = None if floor < 0 else floor
        each = [float(focal_loss(features[k : k + 1], cell_labels(labels[k : k + 1], 4), floor=held)) for k in range(4)]
        assert sum(one != 0 for one in each) == wanted


def test_windows_lieanywhere() -> None:
    """Of a picture twice as large as the window, not half of them at its lower edge."""
    rgb, labels = np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128), np.uint8)
    rgb[..., 0], rgb[..., 1] = np.mgrid[:128, :128]
    rng = np.random.default_rng(0)
    corners = [tuple(fit(rgb, labels, DataSection(side=64), rng)[0][0, 0, :2]) for _ in range(400)]
    assert max(tops := [sum(top == 8 * k for top, _ in corners) for k in range(9)]) < 100, tops  # 400 / 8 each, the last seldom
    assert all(top % 8 == 0 and left % 8 == 0 for top, left in corners)


def test_a_frozen_part_stays_as_it_was_batch_norm_included(tmp_path: Path) -> None:
    recipe = with_settings(headed(tmp_path), {"model": {"frozen": "trunk"}}, "test")
    run = go(recipe, tmp_path / "run")
    before, now = load_file(tmp_path / "bare.safetensors"), run.model.state_dict()
    assert all(torch.equal(now[key], value) for key, value in before.items() if key.startswith("trunk."))
    assert not torch.equal(now["mix.0.weight"], before["mix.0.weight"])
    with pytest.raises(ConfigError, match="unknown part of the network 'trunc'; did you mean trunk"):
        loop.start(with_settings(recipe, {"model": {"frozen": "trunc"}}, "test"), CPU)
    whole = with_settings(Recipe(), {"model": {"network": "focal-vit", "size": "tiny", "frozen": "trunk"}}, "test")
    with pytest.raises(ConfigError, match="nothing of the network is left to train"):
        loop.start(whole, CPU)


class _Threads:
    """Samples that say how many threads numpy's linear algebra has where they are made."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int, /) -> tuple[torch.Tensor, torch.Tensor, str]:
        said = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        return torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.uint8), f"{max(said, default=1)}"


def test_loader_processes_do_not_take_each_others_cores() -> None:
    made = batches(_Threads(), TrainSection(batch=1, steps=4), workers=2, rank=0, size=1, first=0, pin=False)
    assert [remark for _, _, remarks in made for remark in remarks] == ["1"] * 4


@pytest.mark.parametrize("name", ["focal-hrnet", "focal-efficientnet", "cfl-net", "ncl"])
def test_norms_over_all_processes_compute_what_those_of_one_do(name: str) -> None:
    """EfficientNet's hold their activation, too."""
    torch.manual_seed(0)
    network = build_named(name, "tiny").eval()
    shown = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        wanted = network(shown)
        found = loop.convert_sync_batchnorm(network)(shown)
    assert any(isinstance(one, torch.nn.SyncBatchNorm) for one in loop.convert_sync_batchnorm(network).modules())
    for one, other in ((wanted, found),) if isinstance(wanted, torch.Tensor) else ((wanted.logits, found.logits),):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("network", ["cfl-net", "ncl"])
def test_the_same_batch_twice_is_the_step_of_that_batch(tmp_path: Path, network: str) -> None:
    """Where every picture has a loss, passes are averaged, not summed: batch norm sees each pass alone, so the two are equal."""
    settings = {"ema": 0.0, "clip": 0.0, "steps": 1, "precision": "float32", "optimizer": "sgd", "rate": 0.01}
    plain = {"loss": {"max_keys": 100_000}}
    made = loop.training_samples(tiny(network), find_photos([PHOTOS]), [], 1)
    forged = [one for one in (made[k] for k in range(12)) if one[1].any()][:2]
    weights = []
    for passes in (1, 2):
        run = loop.start(with_settings(tiny(network, accumulate=passes, **settings), plain, "test"), CPU)
        for module in run.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loop.train(run, forged * passes, forged, tmp_path / str(passes), ALONE, epoch=3, minutes=None, report=lambda now: None)
        weights.append(dict(run.model.named_parameters()))
    start = dict(loop.start(with_settings(tiny(network, **settings), plain, "test"), CPU).model.named_parameters())
    one, two = (torch.cat([(some[name] - start[name]).detach().flatten() for name in start]) for some in weights)
    assert (one - two).norm() < 0.01 * one.norm()


def test_nothing_is_validated_on_untouched_pictures_alone() -> None:
    with pytest.raises(InputError, match="the validation split has no forged pictures"):
        validation_samples(tiny("ncl"), [], [])


def test_variables_of_torchrun_that_somebody_else_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for alone in ("", "0", "1"):
        monkeypatch.setenv("WORLD_SIZE", alone)
        with join(CPU) as world:
            assert world == ALONE
    monkeypatch.setenv("WORLD_SIZE", "many")
    with pytest.raises(InputError, match="WORLD_SIZE is 'many'; wanted a number"), join(CPU):
        pass


def test_a_process_that_fails_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL's end is one of all processes: they would wait for each other, and torchrun for them."""
    ended: list[bool] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: ended.append(True))
    with pytest.raises(InputError), join(CPU):
        raise InputError
    assert not ended
    with join(CPU) as world:
        assert world.size == 2
    assert ended
