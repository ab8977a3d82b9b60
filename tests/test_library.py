"""The library: three names, whose page is run as it stands."""

from __future__ import annotations

import doctest
import hashlib
import inspect
import io
import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import imgscan
from imgscan.cluster import ClusterSettings, cluster
from imgscan.datasets.entries import Entry
from imgscan.errors import InputError
from imgscan.evaluation import measure
from imgscan.evaluation.measure import Question, Task
from imgscan.records import Features, Skipped, Source

ROOT = Path(__file__).parents[1]


def test_the_public_surface() -> None:
    assert imgscan.__all__ == ["Finding", "Skipped", "scan"]
    assert list(inspect.signature(imgscan.scan).parameters) == [
        "pictures",
        "model",
        "device",
        "jobs",
        "cluster",
        "grid",
        "compat",
        "accept_licence",
        "drawn",
    ]
    assert [one.name for one in fields(imgscan.Finding)] == [
        "picture", "score", "level", "area", "regions", "clusters", "method", "grid", "mask", "withheld", "inside", "panels",
    ]  # fmt: skip
    assert [one.name for one in fields(imgscan.Skipped)] == ["source", "reason"]


def test_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = doctest.testfile(str(ROOT / "man" / "library.md"), module_relative=False)
    assert done.failed == 0
    assert done.attempted > 10


def test_the_clusters_by_hand_are_those_that_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of the page, on features of three groups and of noise."""
    page = (ROOT / "man" / "library.md").read_text("utf-8")
    lines = page[page.index("    import json\n") : page.index("Features are stored")].splitlines()
    dice = np.random.default_rng(3)
    groups = np.eye(8)[:3].repeat((50, 30, 20), 0) + dice.normal(0, 0.02, (100, 8))
    points = np.concatenate((groups, dice.normal(0, 1, (20, 8))))
    features = torch.nn.functional.normalize(torch.from_numpy(points.T).float().half().float().reshape(8, 10, 12), dim=0)
    settings = ClusterSettings(smallest=0.1)
    clusters = cluster(Features(features, (8.0, 8.0)), settings)
    assert clusters.noise.any(), "or nothing is given to the nearest"
    assert set(np.unique(clusters.labels)) == {0, 1, 2}
    out = tmp_path / "imgscan-out"
    out.mkdir()
    with h5py.File(out / "features.h5", "w") as file:
        file["a/b.jpg/features"], file["a/b.jpg/labels"] = features.numpy(), clusters.labels
    record = [{"clustering": asdict(settings)}, {"name": "a/b.jpg", "method": "hdbscan", "grid": [10, 12]}, {"flagged": 1}]
    (out / "results.jsonl").write_text("\n".join(map(json.dumps, record)))
    monkeypatch.chdir(tmp_path)
    exec("\n".join(line[4:] for line in lines), {})
    assert capsys.readouterr().out == "a/b.jpg 0 of 120 cells differ\n"


def test_attacked_pictures_are_written_as_evaluate_attacks_them(
    tmp_path: Path, photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of the page; an attack that draws, for the second picture, so that its number matters."""
    page = (ROOT / "man" / "library.md").read_text("utf-8")
    lines = (
        page[page.index("    from pathlib import Path\n") : page.index("## Features, and")]
        .replace("jpeg-50", "noise-5")
        .splitlines()
    )
    forged = np.zeros((96, 128), bool)
    forged[8:40, 16:64] = True
    for folder, pixels in (("images", photos[0][:96, :128]), ("masks", forged)):
        (tmp_path / "DIR" / folder).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(pixels).save(tmp_path / "DIR" / folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(line[4:] for line in lines), {})
    source = Entry(Path("DIR/images/1.png"), Path("DIR/masks/1.png"))
    task = Task(source, 1, (Question("noise-5", 0),))
    shown = dict(measure._each_shown(task))["noise-5"]
    assert not isinstance(shown, Skipped)
    assert (np.asarray(Image.open("attacked/images/1.png")) == shown.picture.rgb).all()
    assert (np.asarray(Image.open("attacked/masks/1.png")) == forged).all()


def test_importing_it_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, imgscan; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("wrong", [b"a picture", None, 3])
def test_what_is_no_picture_is_refused(wrong: object, tmp_path: Path) -> None:
    given = io.BytesIO(wrong) if isinstance(wrong, bytes) else [wrong]  # an open file would be taken for its lines
    with pytest.raises(InputError, match="wanted a path, or the bytes"):
        next(imgscan.scan(given))  # type: ignore[arg-type]
    for alone in ("", None, 3):
        with pytest.raises(InputError, match="wanted a path"):
            next(imgscan.scan(alone))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^picture 0 is array.*; wanted a path, or the bytes of a picture$"):
        next(imgscan.scan(np.zeros((40, 40, 3), np.uint8)))  # type: ignore[arg-type]
    assert repr(Source(tmp_path, "x", b"secret")).count("secret") == 0


def test_results_are_those_of_the_command_and_in_order(folder: Path, tiny_model: str) -> None:
    content = (folder / "tall.webp").read_bytes()
    results = list(imgscan.scan([content, folder, str(folder / "forged.png")], model=tiny_model, cluster="kmeans", grid=16))
    assert [one.picture.name for one in results if isinstance(one, imgscan.Finding)] == [
        "0", "forged.png", "tall.webp", "a/b.jpg", "forged.png",
    ]  # fmt: skip
    first, last = results[0], results[2]
    assert isinstance(first, imgscan.Finding)
    assert isinstance(last, imgscan.Finding)
    assert first.method == "kmeans"
    assert first.mask is not None
    assert last.mask is not None
    np.testing.assert_array_equal(first.mask.forged, last.mask.forged)
    with Image.open(folder / "tall.webp") as file:
        assert first.mask.forged.shape == file.size[::-1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_one_picture(folder: Path, kind: type) -> None:
    content = (folder / "forged.png").read_bytes()
    for given in (kind(content), [kind(content)]):
        [found] = imgscan.scan(given, model="ela")
        assert isinstance(found, imgscan.Finding)
        assert found.picture.sha256 == hashlib.sha256(content).hexdigest()


def _scan_with_jobs(folder: Path) -> str:
    try:
        return str(len(list(imgscan.scan(folder, model="ela", jobs=1))))
    except InputError as error:
        return str(error)


def test_a_daemonic_process_is_told_that_it_may_start_no_others(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_scan_with_jobs, (folder,)).startswith("jobs is 1; wanted 0 here: a daemonic process")


def test_nothing_is_scanned_before_it_is_asked_for(tmp_path: Path) -> None:
    waiting = imgscan.scan(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such file"):
        next(waiting)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": None}, "model is None; wanted text"),
        ({"model": Path("weights.toml")}, "wanted text, as imgscan scan --model"),
        ({"device": 0}, "device is 0; wanted text"),
        ({"cluster": 2}, "cluster is 2; wanted text"),
        ({"compat": True}, "compat is True; wanted text"),
        ({"accept_licence": "no"}, "accept_licence is 'no'; wanted True or False"),
        ({"drawn": None}, "drawn is None; wanted True or False"),
        ({"jobs": "2"}, "jobs is '2'; wanted a whole number"),
        ({"jobs": 1.5}, "jobs is 1.5; wanted a whole number"),
        ({"grid": "auto"}, "grid is 'auto'; wanted a whole number"),
    ],
)
def test_arguments_of_another_type_are_said_as_such(folder: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        next(imgscan.scan(folder, **wrong))


def test_whole_numbers_of_numpy_and_paths_in_bytes_are_taken(folder: Path, tiny_model: str) -> None:
    [entry] = [one for one in os.scandir(os.fsencode(folder)) if one.name == b"forged.png"]
    [found] = imgscan.scan(entry, model=tiny_model, cluster="kmeans", grid=np.int64(8), jobs=np.int64(0))  # type: ignore[arg-type]
    assert isinstance(found, imgscan.Finding)
    assert max(found.grid) == 8


@pytest.mark.parametrize("wrong", [{"grid": 0, "cluster": "hdbscan"}, {"grid": 300}, {"jobs": -1}])
def test_wrong_arguments_are_said_as_such(folder: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"grid 0|grid 300|jobs is -1"):
        next(imgscan.scan(folder, model="focal-hrnet", **wrong))
