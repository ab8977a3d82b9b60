"""The bench measures what it says; how long things take is not tested."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from imgscan import __version__, bench
from imgscan.commands.bench import bench_command
from imgscan.drawn import DRAWN
from imgscan.errors import ImgscanError
from imgscan.records import Skipped
from imgscan.scanner import build_scanner
from imgscan.weights import find_model
from tests.processes import run
from tests.test_drawn import window

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


def test_networks_are_not_credited_with_what_never_reaches_them(tmp_path: Path, tiny_model: str) -> None:
    (tmp_path / "made-up").mkdir()
    sources = bench.pictures(tmp_path / "made-up", 4, ((64, 96), (96, 64)))
    sources[0].path.write_bytes(b"no picture")
    window().save(sources[1].path, format="PNG")
    scanner = build_scanner(find_model(tiny_model), device=CPU, jobs=0, spares=True)
    scanner = replace(scanner, localizing=replace(scanner.localizing, drawn=DRAWN))
    alone, whole, *_ = bench.whole_scan(sources, scanner, tmp_path / "out")
    assert (alone.size, whole.size) == ("2 pictures", "4 pictures")
    assert whole.ratio is not None
    assert abs(whole.ratio - alone.seconds / whole.seconds) < 1e-9


def test_masks_are_compared_where_both_ways_had_the_memory(
    tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made-up").mkdir()
    sources = bench.pictures(tmp_path / "made-up", 3, ((64, 96),))
    scanner = build_scanner(find_model(tiny_model), device=CPU, jobs=0)
    found = list(bench.scan(sources, scanner))
    for item, forged in zip(found, (0, 8, 16), strict=True):
        item.mask.forged[:] = False  # type: ignore[union-attr]
        item.mask.forged[0, :forged] = True  # type: ignore[union-attr]
    other = [Skipped(sources[0], "too large"), found[0], found[2]]  # the second: 8 of 64 x 96 pixels differ, and it changes sides
    rounds = iter([found, other])
    monkeypatch.setattr(bench, "scan", lambda sources, scanner: next(rounds))
    _, bf16 = bench.bf16_masks(sources, (scanner, scanner))
    assert bf16.size == "2 pictures"
    assert bf16.note == f"masks differ on {100 * 8 / (2 * 64 * 96):.3f} % of the pixels; 1 pictures change sides"


@pytest.mark.parametrize(
    ("said", "ratio", "note"), [("0 0", None, "this system does not tell"), ("50 20", 1.0, "50 MB, largest worker 20 MB")]
)
def test_memory_is_a_ratio_where_the_system_tells_it(
    monkeypatch: pytest.MonkeyPatch, said: str, ratio: float | None, note: str
) -> None:
    monkeypatch.setattr(bench.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    first, second = bench.memory((1, 2), "ela")
    assert (first.ratio, second.ratio, second.note) == (None, ratio, note)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "nosuch"},
        {"paths": [Path("nosuch")]},
        {"out": Path(__file__) / "bench.json"},
        {"parts": ["clusterings"], "paths": [Path(__file__).parent / "data" / "photos"]},
    ],
    ids=lambda wrong: " ".join(wrong),
)
def test_what_is_wrong_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]) -> None:
    monkeypatch.setattr(bench, "clusterings", lambda *_: pytest.fail("measured"))
    asked: dict[str, Any] = {"parts": ["clusterings", "scan"], "model": "ela", "paths": [], "out": None} | wrong
    with pytest.raises(ImgscanError):
        bench_command(asked.pop("parts"), **asked, pictures=1, most=1024, device="cpu", jobs=0, accept_licence=False)


def test_what_was_measured_is_printed_when_a_later_part_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> list[bench.Timed]:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "clusterings", lambda *_: iter([bench.Timed("hdbscan, imgscan", "1024 x 128", 0.25)]))
    monkeypatch.setattr(bench, "official", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench_command(
            ["clusterings", "official"],
            model="ela",
            paths=[],
            pictures=1,
            most=1024,
            device="cpu",
            jobs=0,
            accept_licence=False,
            out=None,
        )
    assert "hdbscan, imgscan   1024 x 128   0.250" in capsys.readouterr().out


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
    assert (content["imgscan"], content["model"]) == (__version__, "focal-fusion+copy-move+adq")
    assert len(content["lines"]) == 7
    wrong = run("bench", "clustrings")
    assert wrong.returncode == 2
    assert "did you mean clusterings" in wrong.stderr
