"""`imgscan models` and the flags on weights, as their user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from typer.testing import CliRunner, Result

from imgscan.cli import app
from imgscan.errors import ExitCode
from imgscan.models import build_named
from imgscan.report.record import read_record
from imgscan.training.initial import initialise
from imgscan.training.recipe import ModelSection
from tests.releases.conftest import home, released, save, small  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("small", "home")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def complaint(done: Result) -> str:
    """The one line of a refusal."""
    assert done.exit_code == ExitCode.INCOMPLETE, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("imgscan: ")
    assert "internal error" not in line
    return line


def imported(name: str, folder: Path, *more: str) -> Path:
    done = run("models", "import", name, save(released(name), folder / f"{name}.pth"), *more)
    assert done.exit_code == 0, done.output
    return Path(done.stdout.strip())


def test_import_says_what_it_did_and_what_comes_next(tmp_path: Path) -> None:
    done = run("models", "import", "focal-hrnet", save(released("focal-hrnet"), tmp_path / "w.pth"))
    assert done.exit_code == 0
    assert Path(done.stdout.strip()).name == "focal-hrnet.official.toml"
    assert "each accounted for" in done.stderr
    assert "left out: 2 tensors of final_layer, the head of HRNet's key points" in done.stderr
    assert "next: imgscan scan PICTURES --model focal-hrnet@official --compat official" in done.stderr


def test_the_command_that_import_names_runs(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """All of it: both released files in, one scan as released, the masks out."""
    imported("focal-hrnet", tmp_path)
    imported("focal-vit", tmp_path)
    Image.fromarray(photos[0][:200, :150]).save(tmp_path / "a.png")
    scanned = ("scan", tmp_path / "a.png", "--model", "focal-fusion@official", "--out", tmp_path / "o", "--jobs", "0")
    done = run(*scanned, "--compat", "official")
    assert done.exit_code == 0, done.output
    record = read_record(tmp_path / "o" / "results.jsonl")
    assert record.run["compat"] == "official"
    assert record.run["model"] == "focal-vit@official+focal-hrnet@official"
    assert record.run["fuse"] == {"rule": "first"}
    assert record.run["clustering"]["method"] == "kmeans"
    assert not record.run["bf16"]
    assert [plan["mode"] for plan in record.run["input"]] == ["resize", "resize"]
    assert record.results[0]["grid"] == [8, 8]  # of the ViT
    assert record.results[0]["method"] == "kmeans"
    mask = np.asarray(Image.open(tmp_path / "o" / "masks" / "a.png.png"))
    assert mask.shape == (200, 150)
    assert 0 < (mask > 0).mean() <= 0.5  # the smaller cluster; 2-means always marks something
    plain = run(*scanned)
    assert plain.exit_code == 0, plain.output
    record = read_record(tmp_path / "o" / "results.jsonl")
    assert record.run["compat"] is None
    assert record.run["fuse"] == {"rule": "average"}
    assert record.run["clustering"]["method"] == "hdbscan"


def test_compat_refuses_what_it_cannot_follow(tmp_path: Path, folder: Path) -> None:
    assert "focal-vit@open is not of the authors' release" in complaint(
        run("scan", folder, "-m", "focal-fusion", "--compat", "official")
    )
    assert "unknown release 'offical'" in complaint(run("scan", folder, "--compat", "offical"))
    imported("focal-hrnet", tmp_path)
    line = complaint(run("scan", folder, "-m", "focal-hrnet@official", "--compat", "official", "--cluster", "kmeans"))
    assert "leave --cluster and --grid out" in line


def test_the_gate_stands_before_restricted_weights_and_every_report_tells(tmp_path: Path, photos: list[np.ndarray]) -> None:
    imported("cfl-net", tmp_path)
    Image.fromarray(photos[0][:96, :128]).save(tmp_path / "a.png")
    out = tmp_path / "o"
    reports = [tmp_path / f"r{ending}" for ending in (".html", ".sarif", ".csv", ".junit.xml", ".json", ".jsonl", ".txt")]
    scanned = ["scan", tmp_path / "a.png", "-m", "cfl-net@official", "--compat", "official", "--out", out, "--jobs", "0"]
    for command in (scanned, ["calibrate", "cfl-net@official", "--pristine", tmp_path], ["models", "export", "cfl-net@official"]):
        line = complaint(run(*command))
        assert "weights cfl-net@official: no commercial use (licence: not stated)" in line
        assert "--accept-licence" in line
    assert not out.exists()
    done = run(*scanned, "--accept-licence", *(part for path in reports for part in ("-o", path)))
    assert done.exit_code == 0, done.output
    assert "no commercial use (not stated); accepted by you" in done.stderr
    for path in reports:
        text = path.read_text()
        assert "not stated" in text, path
        assert "cfl-net@official" in text, path
    assert read_record(out / "results.jsonl").run["licences"] == {
        "cfl-net@official": {"licence": "not stated", "commercial": False, "accepted": True}
    }


def test_accepting_once_at_the_import_is_enough(tmp_path: Path, photos: list[np.ndarray]) -> None:
    imported("cfl-net", tmp_path, "--accept-licence")
    Image.fromarray(photos[0][:96, :128]).save(tmp_path / "a.png")
    done = run("scan", tmp_path / "a.png", "-m", "cfl-net@official", "--out", tmp_path / "o", "--jobs", "0")
    assert done.exit_code == 0, done.output


def test_list_shows_places_hashes_and_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = imported("focal-hrnet", tmp_path)
    imported("cfl-net", tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for path in card.parent.glob("focal-hrnet.*"):
        (other / path.name).write_bytes(path.read_bytes())
    (other / "focal-vit.broken.toml").write_text("=")
    monkeypatch.setenv("IMGSCAN_WEIGHTS", str(other))
    content = bytearray((other / "focal-hrnet.official.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "focal-hrnet.official.safetensors").write_bytes(content)
    (card.parent / "cfl-net.official.safetensors").unlink()
    rows = {row["file"]: row for row in map(json.loads, run("models", "list", "--json").stdout.splitlines())}
    altered = rows[str(other / "focal-hrnet.official.safetensors")]
    assert (altered["name"], altered["hash"], altered["commercial"]) == ("focal-hrnet@official", "altered", "yes")
    hidden = rows[str(card.with_suffix(".safetensors"))]
    assert (hidden["name"], hidden["hash"]) == ("focal-hrnet@official (hidden by an earlier one)", "ok")
    lost = rows[str(card.parent / "cfl-net.official.safetensors")]
    assert (lost["hash"], lost["commercial"], lost["licence"]) == ("file missing", "no", "not stated")
    assert "not TOML" in rows[str(other / "focal-vit.broken.toml")]["hash"]
    shipped = next(row for row in rows.values() if row["name"].startswith("focal-vit@open"))
    assert (shipped["name"], shipped["hash"], shipped["place"]) == ("focal-vit@open (default)", "ok", "packaged")
    assert shipped["results"].startswith("AUC 0.")
    table = run("models", "list").stdout
    assert len({line.index("  ") for line in table.splitlines()[:1]}) == 1
    for row in rows.values():
        assert row["name"] in table
    done = run("models", "verify")
    assert done.exit_code == ExitCode.INCOMPLETE
    assert "focal-vit@open\tok" in done.stdout
    for problem in ("focal-hrnet.official.safetensors: not the file that", "cfl-net.official.safetensors is missing", "not TOML"):
        assert problem in done.stderr


def test_verify_tells_an_altered_file(tmp_path: Path) -> None:
    card = imported("focal-hrnet", tmp_path)
    assert run("models", "verify", "focal-hrnet@official").exit_code == 0
    file = card.with_suffix(".safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert f"{file}: not the file that {card} describes" in complaint(run("models", "verify", "focal-hrnet@official"))
    assert "the file was altered" in complaint(run("models", "export", "focal-hrnet@official", "-o", tmp_path / "x"))


def test_show_prints_the_card_the_state_and_the_anatomy(tmp_path: Path) -> None:
    imported("cfl-net", tmp_path)
    text = run("models", "show", "cfl-net@official", "--no-timing").stdout
    assert 'channel_order = "bgr"' in text  # as the authors read pictures
    assert "hash ok, commercial use: no" in text
    assert "cfl-net@official: input 3 x 64 x 64" in text
    assert "aspp" in text
    assert "an input on this machine" not in text
    assert "aspp  " not in run("models", "show", "cfl-net@official", "--cards").stdout


@pytest.mark.parametrize("damage", ["truncated", "wrong", "extra", "missing", "nan", "dtype", "ncl", "unwritable"])
def test_every_bad_import_is_one_line_exit_2_and_leaves_nothing(damage: str, tmp_path: Path, home: Path) -> None:  # noqa: F811
    state = released("focal-hrnet")
    name, key = "focal-hrnet", "module.net.conv1.weight"
    if damage == "wrong":
        state = released("cfl-net")
    elif damage == "extra":
        state["module.net.more"] = torch.zeros(1)
    elif damage == "missing":
        del state[key]
    elif damage == "nan":
        state[key][0] = float("nan")
    elif damage == "dtype":
        state[key] = state[key].to(torch.int32)
    elif damage == "ncl":
        name = "ncl"
    elif damage == "unwritable":
        home.parent.mkdir(parents=True)
        home.write_text("")
    file = save(state, tmp_path / "w.pth")
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-500])
    complaint(run("models", "import", name, file))
    assert not home.is_dir()


def test_sam_starts_trainings_and_scans_nothing(tmp_path: Path, folder: Path) -> None:
    state = {key.removeprefix("module.net."): one for key, one in released("focal-vit").items()}
    done = run("models", "import", "sam-vit-l", save(state, tmp_path / "sam.pth"))
    assert "next: imgscan train focal --size official-vit --init sam-vit-l@official" in done.stderr
    assert "only start trainings" in complaint(run("scan", folder, "-m", "sam-vit-l@official", "--out", tmp_path / "o"))


def test_imagenets_resnet_gets_a_home_and_starts_a_training(tmp_path: Path, folder: Path) -> None:
    state = torchvision.models.resnet50(weights=None).state_dict()
    done = run("models", "import", "resnet50", save(state, tmp_path / "resnet50-0676ba61.pth"), "--accept-licence")
    assert done.exit_code == 0, done.output
    assert "left out: 2 tensors of fc, the classifier of ImageNet's thousand classes" in done.stderr
    assert "next: imgscan train cfl-net --init resnet50@official" in done.stderr
    assert "only start trainings" in complaint(run("scan", folder, "-m", "resnet50@official", "--out", tmp_path / "o"))
    assert run("models", "show", "resnet50@official").exit_code == 0
    model = build_named("cfl-net", "official")
    initialise(model, ModelSection("cfl-net", "official", "resnet50@official"))
    assert torch.equal(model.state_dict()["encoder.layer4.2.conv3.weight"], state["layer4.2.conv3.weight"])
    assert not torch.equal(model.state_dict()["encoder_srm.layer4.2.conv3.weight"], state["layer4.2.conv3.weight"])


def test_exports_go_where_they_are_told(tmp_path: Path) -> None:
    imported("focal-hrnet", tmp_path)
    done = run("models", "export", "focal-hrnet@official", "--format", "safetensors", "-o", tmp_path / "x")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "focal-hrnet.official.safetensors",
        "focal-hrnet.official.toml",
    ]
    assert "unknown format 'onyx'; did you mean onnx" in complaint(
        run("models", "export", "focal-hrnet@official", "--format", "onyx")
    )
    assert "nothing to export" in complaint(run("models", "export", "ela"))
