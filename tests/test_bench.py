"""The bench measures what it says; how long things take is not tested."""

import json
from pathlib import Path

import pytest
import torch

from imgscan import bench
from imgscan.scanner import build_scanner
from imgscan.weights import find_model
from tests.cli.test_cli import run

CPU = torch.device("cpu")


def test_clusterings_are_compared_on_the_same_points() -> None:
    lines = list(bench.clusterings([(1024, 16)], CPU))
    assert [line.what for line in lines] == [
        "hdbscan, package",
        "hdbscan, scikit-learn",
        "hdbscan, imgscan",
        "kmeans",
        "bisecting",
        "birch",
        "hierarchical",
    ]
    package, scikit, ours = lines[:3]
    assert package.note == scikit.note == "labels equal ours"
    assert ours.ratio is not None
    assert abs(ours.ratio - package.seconds / ours.seconds) < 1e-9


def test_a_scan_is_measured_against_its_networks(tmp_path: Path, tiny_model: str) -> None:
    (tmp_path / "made-up").mkdir()
    sources = bench.pictures(tmp_path / "made-up", 3, ((64, 96), (96, 64)))
    scanner = build_scanner(find_model(tiny_model), device=CPU, jobs=0)
    alone, whole, *parts = bench.whole_scan(sources, scanner, tmp_path / "out")
    assert whole.ratio is not None
    assert abs(whole.ratio - alone.seconds / whole.seconds) < 1e-9
    assert {"  extract", "  cluster"} <= {line.what for line in parts}
    float32, bf16 = bench.bf16_masks(sources, (scanner, scanner))
    assert bf16.note == "masks differ on 0.000 % of the pixels; 0 pictures change sides", "the same arithmetic twice"
    assert float32.size == "3 pictures"
    sources[0].path.write_bytes(b"no picture")
    assert bench.whole_scan(sources, scanner, tmp_path / "again"), "what is skipped has no features"


def test_a_training_step_is_measured_in_cores_that_make_forgeries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FORGERIES", 2)
    photos = sorted((Path(__file__).parent / "data" / "photos").glob("*.jpg"))
    monkeypatch.setattr(bench, "LOADS", 1)
    small, large, loaded, *steps = bench.training(photos, CPU, (2,), jobs=2)
    assert (large.size, small.size) == ("512 x 512", "256 x 256")
    assert loaded.what == "forgeries of 256, 2 loaders"
    assert loaded.note == f"{1 / loaded.seconds:.0f} a second"
    assert loaded.ratio is not None
    assert abs(loaded.ratio - small.seconds / loaded.seconds) < 1e-9
    assert [step.what for step in steps] == ["training step, focal-hrnet headed", "training step, focal-vit headed"]
    for step in steps:
        assert step.ratio is not None
        assert abs(step.ratio - 2 * small.seconds / step.seconds) < 1e-9


def test_the_command_prints_and_writes_json(tmp_path: Path) -> None:
    done = run("bench", "clusterings", "--most", "1024", "-o", tmp_path / "b.json")
    assert done.returncode == 0, done.stderr
    assert "1024 x 128" in done.stdout
    content = json.loads((tmp_path / "b.json").read_text())
    assert content["machine"]["torch"] == torch.__version__
    assert len(content["lines"]) == 7
    wrong = run("bench", "clustrings")
    assert wrong.returncode == 2
    assert "did you mean clusterings" in wrong.stderr
