"""Recipes, checkpoints and the loop: resuming has to end with the weights of a run left alone."""

from pathlib import Path

import pytest
import torch

from imgscan.commands.train import find_recipe, recipes_folder
from imgscan.errors import ConfigError, ImgscanError, InputError
from imgscan.training import checkpoint, loop
from imgscan.training.card import to_toml
from imgscan.training.recipe import Recipe, TrainSection, parse_setting, read_recipe, with_settings
from tests.conftest import PHOTOS

CPU = torch.device("cpu")


def tiny(**train: object) -> Recipe:
    settings = {
        "model": {"network": "focal-hrnet", "size": "tiny"},
        "data": {"side": 64, "workers": 0, "validation": 6, "untouched": 0.25},
        "loss": {"both_ways": True, "floor": 0.7},
        "train": {"steps": 6, "batch": 2, "rate": 1e-3, "ema": 0.9, "log_every": 1, "validate_every": 3, "clip": 1.0, **train},
    }
    return with_settings(Recipe(), settings, "test")


def go(recipe: Recipe, out: Path, *, resume: bool = False, until: int | None = None) -> checkpoint.Run:
    run = loop.start(recipe, CPU)
    if resume:
        checkpoint.load(run, out / "checkpoint.safetensors")
    stop = (lambda: run.step >= until) if until else (lambda: False)
    loop.train(run, [PHOTOS], [], out, CPU, minutes=None, report=lambda p: None, stop=stop)
    return run


@pytest.mark.parametrize("network", ["focal-hrnet", "focal-vit"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, network: str) -> None:
    recipe = with_settings(tiny(), {"model": {"network": network}}, "test")
    whole = go(recipe, tmp_path / "whole")
    go(recipe, tmp_path / "parts", until=2)
    resumed = go(checkpoint.read_recipe_of(tmp_path / "parts" / "checkpoint.safetensors"), tmp_path / "parts", resume=True)
    assert resumed.step == whole.step == 6
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert whole.average is not None
    assert resumed.average is not None
    for name, tensor in whole.average.state_dict().items():
        assert torch.equal(tensor, resumed.average.state_dict()[name]), name


def test_the_loss_falls_and_validation_scores(tmp_path: Path) -> None:
    losses: list[float] = []
    scores: list[float] = []

    def report(now: loop.Progress) -> None:
        losses.append(now.loss)
        if now.score is not None:
            scores.append(now.score)

    recipe = tiny(steps=40, batch=4, log_every=10, validate_every=20, rate=3e-3, amp=False)
    run = loop.start(recipe, CPU)
    loop.train(run, [PHOTOS], [PHOTOS], tmp_path, CPU, minutes=None, report=report)
    assert losses[-1] < losses[0]
    assert len(scores) == 2
    assert 0 < run.best <= 1
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "focal_loss", lambda features, *_, **__: features.sum() * float("nan"))
    with pytest.raises(ImgscanError, match="the loss is nan near step 1"):
        go(tiny(), tmp_path)


def test_a_nan_between_reports_does_not_replace_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(steps=20, log_every=10, save_minutes=0.0)
    go(recipe, tmp_path, until=3)
    good = (tmp_path / "checkpoint.safetensors").read_bytes()
    monkeypatch.setattr(loop, "focal_loss", lambda features, *_, **__: features.sum() * float("nan"))
    with pytest.raises(ImgscanError, match="the loss is nan near step 4"):
        go(recipe, tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == good


def test_an_average_may_start_on_resume(tmp_path: Path) -> None:
    go(tiny(ema=0.0), tmp_path, until=2)
    resumed = go(tiny(ema=0.9), tmp_path, resume=True)
    assert resumed.average is not None
    assert resumed.step == 6


def test_minutes_end_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    run = loop.start(tiny(), CPU)
    loop.train(run, [PHOTOS], [], tmp_path, CPU, minutes=0, report=lambda p: None)
    assert run.step == 1
    assert checkpoint.read_recipe_of(tmp_path / "checkpoint.safetensors") == tiny()


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = go(tiny(steps=1), tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ImgscanError, match="No space left"):
        checkpoint.save(run, tmp_path / "checkpoint.safetensors")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.new"))


def test_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a checkpoint"):
        checkpoint.read_recipe_of(tmp_path / "x")


def test_rates_by_hand() -> None:
    """Warm-up to half after 5 of 10 steps; the cosine is at half its height in the middle and at zero at the end."""
    train = TrainSection(steps=100, rate=1.0, warmup=10, schedule="cosine")
    assert loop.rate_at(train, 4) == pytest.approx(0.5 * 0.5 * (1 + 0.99211), abs=1e-4)
    assert loop.rate_at(train, 50) == pytest.approx(0.5)
    assert loop.rate_at(train, 100) == pytest.approx(0.0)
    assert loop.rate_at(TrainSection(steps=100, rate=1.0), 99) == 1.0


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
    short = f"{recipe.model.size}-{recipe.model.network.removeprefix('focal-')}"
    assert find_recipe(short) == path


def test_recipes_say_no_more_than_the_differences() -> None:
    import tomllib

    defaults = Recipe().as_dict()
    for path in recipes_folder().glob("*.toml"):
        for section, values in tomllib.loads(path.read_text()).items():
            for key, value in values.items():
                assert key in ("network", "size") or defaults[section][key] != value, f"{path.name}: {section}.{key} is the default"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("train.rate=0.1", {"train": {"rate": 0.1}}),
        ("train.steps=5", {"train": {"steps": 5}}),
        ("train.schedule=cosine", {"train": {"schedule": "cosine"}}),
        ("train.amp=false", {"train": {"amp": False}}),
    ],
)
def test_settings(text: str, wanted: dict[str, dict[str, object]]) -> None:
    assert parse_setting(text) == wanted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trian": {}}, "did you mean train"),
        ({"train": {"stesp": 3}}, "did you mean steps"),
        ({"train": {"steps": "many"}}, "wanted a int"),
        ({"train": {"steps": True}}, "wanted a int"),
        ({"train": 3}, r"wanted a table \[train\]"),
        ({"train": {"schedule": "cosin"}}, "wanted constant or cosine"),
        ({"train": {"log_every": 0}}, "at least 1"),
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
    import tomllib

    table = {"a": 1, "b": 'ü " \\ \n \x7f 😀', "c": [1, 2], "d": {"e": True, "f@g.h": {"g": 1.5e-7, "i j": "k"}}}
    assert tomllib.loads(to_toml(table)) == table
