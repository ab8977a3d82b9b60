"""`imgscan evaluate --table` on made-up trees in the published layouts, and `imgscan train table`."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.commands import table, train_table
from imgscan.commands.table import _sets
from imgscan.commands.train_options import TrainOptions
from imgscan.commands.train_table import _wanted_trainings, train_table_command
from imgscan.datasets.resolve import Wanted, resolve
from imgscan.errors import ConfigError, ExitCode
from imgscan.evaluation.cells import find_candidates, parse_column
from imgscan.evaluation.papers import PaperRow, Run, grid_names, read_table, table_names
from tests.conftest import PHOTOS
from tests.datasets.test_published import TREES
from tests.processes import run


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Three of FOCAL's six test sets, four pixels for each of the layout tests' trees."""
    root = tmp_path / "data"
    for name in ("columbia", "casia-v1", "misd"):
        TREES[name](root / name)
    for path in root.rglob("*.*"):
        if path.suffix.lower() in (".png", ".jpg", ".tif", ".bmp"):
            with Image.open(path) as image:
                large = image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST)
            large.save(path)
    return root


def test_a_table_is_laid_beside_the_paper(published: Path, tmp_path: Path) -> None:
    done = run("evaluate", "--table", "focal-1", "--data-root", published, "--out", tmp_path / "out", "--json")
    assert done.returncode == ExitCode.CLEAN, done.stderr
    cells = {(line["method"], line["column"]): line for line in map(json.loads, done.stdout.splitlines())}
    assert len(cells) == 13 * 14, "every cell is there, run or not"
    ours = cells["FOCAL (Fusion)", "columbia F1"]
    assert (ours["paper"], ours["pictures"], ours["reason"]) == (0.981, 2, ""), "the two forged pictures, not the untouched one"
    assert 0 < ours["ours"] < 1
    assert ours["model"] == "focal-hrnet@open+focal-vit@open"
    assert "nist16 is not found" in cells["Lyu-NOI", "nist16 F1"]["reason"]
    assert "not run: coverage, nist16, ffpp" in cells["FOCAL (ViT)", "mean F1"]["reason"]
    assert "no such method" in cells["TruFor", "columbia F1"]["reason"]
    text = run("evaluate", "--table", "focal-1", "--data-root", published, "--out", tmp_path / "out")
    assert "3 of 3 answers" not in text.stderr
    assert "answers on columbia are in" in text.stderr, "measured once"
    assert f"{ours['ours'] - 0.981:+.3f}" in text.stdout
    sizes = "focal-hrnet@open (headed), focal-vit@open (headed)"
    assert f"note: of another size than the paper's, so that a difference tells little: {sizes}\n" in text.stdout
    assert "note: " in text.stdout


def test_counts_and_nothing_to_run(published: Path, tmp_path: Path) -> None:
    done = run("evaluate", "--table", "focal-5", "--data-root", published, "--out", tmp_path / "out", "--json")
    counts = {line["method"]: line["ours"] for line in map(json.loads, done.stdout.splitlines())}
    assert (counts["Columbia"], counts["MISD"], counts["NIST"]) == (2, 1, None)
    none = run("evaluate", "--table", "ncl-2", "--data-root", published, "--out", tmp_path / "out")
    assert none.returncode == ExitCode.INCOMPLETE
    assert "imgscan train ncl --data defacto" in none.stdout
    assert "no cell could be run" in none.stderr


def test_of_a_folder_that_was_trained_on_the_test_split_is_measured(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(40):
            Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(tmp_path / name / f"{number}.png")
    folder = str(tmp_path)
    column = parse_column(f"{folder} F1", "native")
    splits: list[tuple[list[str], Wanted]] = [([], "all"), ([folder], "test")]
    for trained, split in splits:
        sets, missing = _sets([column], [], trained)
        assert not missing
        assert [entry.image for entry in sets[folder].entries] == [entry.image for entry in resolve(folder, [], split)]
    assert len(sets[folder].entries) < 20


def test_of_a_set_nobody_was_trained_on_all_is_measured(tmp_path: Path) -> None:
    """As the papers do that the numbers are laid beside; its split is for who trains on it."""
    TREES["nist16"](tmp_path / "nist16")
    column = parse_column("nist16 F1", "focal")
    everything, _ = _sets([column], [tmp_path], [])
    assert len(everything["nist16"].entries) == 2
    tested, missing = _sets([column], [tmp_path], ["nist16"])
    assert len(tested["nist16"].entries if tested else []) < 2 or missing


def test_focal_is_measured_with_the_clustering_of_its_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that ship have a mask head, which is not what the table is about; the command line may say otherwise."""
    asked: list[str | None] = []

    def noted(wanted: dict[object, Any], *_: object) -> tuple[dict[object, object], dict[object, str], int]:
        asked.extend(dict.fromkeys(one.cluster for one in wanted.values() if one.model.startswith("focal")))
        return {}, dict.fromkeys(wanted, "not measured here"), 0

    monkeypatch.setattr(table, "_measured", noted)
    TREES["casia-v1"](tmp_path / "casia-v1")
    for cluster, compat, wanted in ((None, None, "hdbscan"), ("kmeans", None, None), (None, "official", None)):
        options = SimpleNamespace(cluster=cluster, compat=compat, roots=[tmp_path])
        table._filled(read_table("focal-1"), options, find_candidates([], []))  # type: ignore[arg-type]
        assert asked.pop() == wanted
        assert not asked


def test_per_column_networks_are_trained_on_their_columns(tmp_path: Path) -> None:
    done = run("train", "table", "cfl-net-3", "--out", tmp_path, "--data", "synth", "--data-root", PHOTOS)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "leave --data out" in done.stderr


PLAIN = TrainOptions("", None, None, [], [], Path("runs"), None, None, [], False, None, "cpu", None)


@pytest.mark.parametrize(
    ("name", "count"),
    [("focal-1", 2), ("focal-2", 5), ("focal-3", 12), ("focal-4", 2), ("fusion", 2), ("clusterings", 2), ("noise", 8)],
)
def test_every_network_of_a_table_is_trained_once(name: str, count: int) -> None:
    """Clusterings and joined masks are nothing that training knows of."""
    assert len(_wanted_trainings(read_table(name), PLAIN, None)) == count


@pytest.mark.parametrize("name", [name for name in (*table_names(), *grid_names()) if name != "focal-5"])
def test_what_is_trained_in_one_folder_is_trained_in_no_other(name: str) -> None:
    """InfoNCE and InfoNCE++ of FOCAL's Table 3, too."""
    trainings = _wanted_trainings(read_table(name), PLAIN, None)
    assert len({one.folder for one in trainings}) == len(trainings)
    assert len({(one.method, one.size, one.data, *one.settings) for one in trainings}) == len(trainings)


def test_runs_in_folders_of_before_are_gone_on_with() -> None:
    """The first row's name is the one that its weights have always had."""
    folders = [one.folder for one in _wanted_trainings(read_table("focal-4"), PLAIN, "focal")]
    assert folders == [Path("runs/focal-4/birch-focal-hrnet"), Path("runs/focal-4/birch-focal-vit")]


@pytest.mark.parametrize("name", ["ncl-4", "ncl-5", "ncl-6"])
def test_a_size_for_some_rows_only_is_refused(name: str) -> None:
    """The depth of the tap would be ResNet-101 against a thin ResNet-18."""
    table = read_table(name)
    with pytest.raises(ConfigError, match=rf"--size small: some rows of {name} have a size of their own .*; leave --size out"):
        _wanted_trainings(table, replace(PLAIN, size="small"), None)
    with pytest.raises(ConfigError, match=rf"--set model\.size=x: rows of {name} have a model\.size of their own"):
        _wanted_trainings(table, replace(PLAIN, settings=["train.steps=1", "model.size=x"]), None)


def test_a_size_whose_recipe_all_rows_take_with_sizes_of_their_own_is_not_refused() -> None:
    trainings = _wanted_trainings(read_table("noise"), replace(PLAIN, size="compact-hrnet", settings=["train.seed=2"]), "focal")
    assert {one.size for one in trainings} == {"compact-hrnet"}
    assert all(one.settings[0].startswith("model.size=") for one in trainings)


def test_seeds_are_trained_one_after_the_other_each_in_a_folder_within_that_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the table before the second seed; what is there stays, and a third seed adds to two."""
    asked: list[tuple[str, list[str]]] = []

    def trained(options: TrainOptions) -> ExitCode:
        options.out.mkdir(parents=True, exist_ok=True)
        asked.append((str(options.out.relative_to(tmp_path / "focal-4")), options.settings))
        return ExitCode.CLEAN

    monkeypatch.setattr(train_table, "train_command", trained)
    plain = replace(PLAIN, out=tmp_path)
    assert train_table_command("focal-4", plain, None, 2) == ExitCode.CLEAN
    first, second = "birch-focal-hrnet", "birch-focal-vit"
    settings = ["train.seed=1666666"]  # the recipes' 666666, and a million
    assert asked == [(first, []), (second, []), (f"{first}/seed-2", settings), (f"{second}/seed-2", settings)]
    asked.clear()
    assert train_table_command("focal-4", plain, None, 3) == ExitCode.CLEAN
    assert asked == [(f"{name}/seed-3", ["train.seed=2666666"]) for name in (first, second)]
    asked.clear()
    train_table_command("focal-4", replace(plain, out=tmp_path, settings=["train.seed=4"]), None, 4)
    assert [settings[-1] for _, settings in asked] == ["train.seed=3000004"] * 2


def test_seeds_of_rows_with_a_seed_of_their_own_are_refused(tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        'title = "t"\nprotocol = "native"\ncolumns = ["misd F1"]\n[axes]\nnetwork = ["ncl"]\nsettings = [{ "train.seed" = 1 }]\n'
    )
    with pytest.raises(ConfigError, match=r"--seeds 2: rows of .* have a train\.seed of their own"):
        train_table_command(str(grid), replace(PLAIN, out=tmp_path), None, 2)


def test_a_mean_over_seeds_and_over_data_sets() -> None:
    """By hand: two seeds on two sets, then one of them on the second."""
    measured = {"x F1": (0.2, 0.4), "y F1": (0.6, 1.0)}
    columns = tuple(parse_column(text, "native") for text in ("x F1", "y F1", "mean F1"))
    row = PaperRow("a", True, ("-", "-", "-"), Run("ncl"))
    own = {text: [(number, 5) for number in numbers] for text, numbers in measured.items()}
    mean = table._mean_cell(row, columns[2], list(columns), "-", own, 100.0)
    assert (mean.ours, mean.seeds, mean.deviation) == (pytest.approx(55), pytest.approx((40, 70)), pytest.approx(450**0.5))
    assert mean.pictures == 10
    own["y F1"].pop()
    mean = table._mean_cell(row, columns[2], list(columns), "-", own, 100.0)
    assert (mean.ours, mean.deviation) == (pytest.approx(45), None), "(30 + 60) / 2; of unequal ones there is no spread"


@pytest.mark.parametrize(("name", "networks"), [("ncl-1", 1), ("ncl-4", 2)])
def test_benchmarks_are_not_trained_on_and_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, networks: int
) -> None:
    asked: list[str | None] = []

    def trained(options: TrainOptions) -> ExitCode:
        options.out.mkdir(parents=True)
        asked.append(options.data)
        return ExitCode.CLEAN

    monkeypatch.setattr(train_table, "train_command", trained)
    for _ in range(2):
        assert train_table_command(name, replace(PLAIN, out=tmp_path), None) == ExitCode.CLEAN
        assert capsys.readouterr().err.count("nothing is trained on coverage, columbia: ") == 1
    assert set(asked) == {"nist16", "casia", "defacto"}
    assert len(asked) == len(set(asked)) * networks, "and what is finished is not trained again"


def test_a_grid_is_trained_and_then_filled(tmp_path: Path) -> None:
    """Two rows that differ in a setting, each with weights of its own, on a folder of pictures and masks."""
    data = tmp_path / "my pictures"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    for number, path in enumerate(sorted(PHOTOS.glob("*.jpg"))):
        with Image.open(path) as photo:
            photo.crop((0, 0, 128, 96)).save(data / "images" / f"{number}.png")
        mask = np.zeros((96, 128), np.uint8)
        mask[16:64, 16:64] = 255
        Image.fromarray(mask).save(data / "masks" / f"{number}.png")
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'title = "two losses"\nprotocol = "native"\ncolumns = ["{data} F1", "{data} auc"]\n'
        '[axes]\nnetwork = ["focal-hrnet"]\nsettings = [{}, { "loss.contrast" = "triplet" }]\n'
    )
    for name, some in (("train", slice(3)), ("val", slice(3, 4))):
        (tmp_path / name).mkdir()
        for path in sorted(PHOTOS.glob("*.jpg"))[some]:
            shutil.copy(path, tmp_path / name)
    small: list[object] = ["--set", "model.size=tiny", "--set", "train.steps=1", "--set", "train.batch=2", "--set", "data.side=64"]
    small += ["--set", "data.workers=0", "--set", "data.validation=2", "--set", "data.epoch=2", "--data", "synth"]
    small += ["--data-root", tmp_path / "train", "--validation-root", tmp_path / "val"]
    trained = run("train", "table", grid, "--out", tmp_path / "runs", *small)
    assert trained.returncode == ExitCode.CLEAN, trained.stderr
    assert len(list((tmp_path / "runs").rglob("weights.toml"))) == 2
    again = run("train", "table", grid, "--out", tmp_path / "runs", *small, "--seeds", "2")
    assert again.stderr.count("is finished") == 2, again.stderr
    folders = sorted(str(path.parent.relative_to(tmp_path / "runs" / "grid")) for path in (tmp_path / "runs").rglob("weights.toml"))
    names = ["focal-hrnet", "focal-hrnet-loss.contrast-triplet-focal-hrnet"]
    assert folders == sorted(one for name in names for one in (name, f"{name}/seed-2"))
    other = run("train", "table", grid, "--out", tmp_path / "runs", *small, "--set", "train.rate=0.5")
    assert other.returncode == ExitCode.INCOMPLETE
    assert other.stderr.count("is finished, with other settings") == 2
    assert "with other settings" in run("train", "table", grid, "--out", tmp_path / "runs", *small, "--epochs", "2").stderr
    done = run("evaluate", "--table", grid, "--runs", tmp_path / "runs", "--out", tmp_path / "out", "--json")
    assert done.returncode == ExitCode.CLEAN, done.stderr
    cells = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(cell["pictures"], cell["reason"]) for cell in cells] == [(4, "")] * 4
    assert len({cell["model"] for cell in cells}) == 2
    assert "triplet" in cells[2]["model"]
    for cell in cells:
        one, other = cell["seeds"]
        assert cell["ours"] == pytest.approx((one + other) / 2)
        assert cell["deviation"] == pytest.approx(abs(one - other) / 2**0.5)
        assert cell["models"] == [cell["model"], cell["model"].replace("weights.toml", "seed-2/weights.toml")]
    printed = run("evaluate", "--table", grid, "--runs", tmp_path / "runs", "--out", tmp_path / "out").stdout
    assert re.search(r"column +ours +deviation +seeds +n +model", printed)
    assert "deviation their standard deviation (n - 1)" in printed
    models = [cells[0]["models"][0], cells[0]["models"][1]]
    compared = run("evaluate", *models, "--data", data, "--out", tmp_path / "out").stdout
    assert f"{cells[0]['ours']:.3f} \u00b1 {cells[0]['deviation']:.3f}" in compared.partition("over seeds, protocol native")[2]
