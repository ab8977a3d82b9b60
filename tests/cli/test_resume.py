"""Re-running is resuming: what was found is not computed again, and a killed scan ends as one that was left alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from imgscan.cli import app
from imgscan.errors import ExitCode, OutputError
from imgscan.records import Source
from imgscan.report.jsonl import run_line
from imgscan.resume import DECIDED, FILE, Journal, _digest
from tests.cli.test_cli import IMGSCAN
from tests.processes import run
from tests.report.test_formats import assessed

FLAGS = ["--fail-on", "0.2", "--jobs", "0"]
VOLATILE = {"started", "seconds"}  # the clock's


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, photos: list[np.ndarray]) -> Path:
    """60 small pictures, two of them equal, and one that is broken."""
    root = tmp_path_factory.mktemp("many")
    (root / "sub").mkdir()
    for k in range(60):
        Image.fromarray(photos[k % 4][4 * k : 4 * k + 96, :128]).save(root / ("sub" if k % 3 else ".") / f"{k:02}.jpg", quality=90)
    (root / "copy.jpg").write_bytes((root / "00.jpg").read_bytes())
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    return root


def tree(out: Path) -> dict[str, bytes]:
    """Every file of an output folder; of the record all but the clock."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    del files["report.html"]  # says when
    lines = [json.loads(line) for line in files["results.jsonl"].splitlines()]
    files["results.jsonl"] = json.dumps([{k: v for k, v in line.items() if k not in VOLATILE} for line in lines]).encode()
    return files


def results(out: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, (out / "results.jsonl").read_text().splitlines()) if line["type"] == "result"]


# Loads everything once and forks a scan at a time (nothing of torch has run before a fork), which it kills at a random moment.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import imgscan.models.focal_hrnet, imgscan.models.focal_vit, imgscan.pipeline, imgscan.resume
from imgscan.cli import app
count, out, args = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
drawn = random.Random(count)
written = lambda: sum(path.stat().st_size for path in out.glob("*.jsonl*"))
early = 0
for _ in range(count):
    before = written()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            app(args)
        finally:
            os._exit(0)
    while os.waitpid(child, os.WNOHANG) == (0, 0) and written() in (0, before):
        time.sleep(0.002)
    time.sleep(drawn.random() * 0.15)
    try:
        os.kill(child, signal.SIGKILL)
        early += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except (ProcessLookupError, ChildProcessError):
        pass  # it had come to its end
print(early)
"""


@pytest.mark.slow
def test_a_scan_killed_twenty_times_ends_as_one_left_alone(many: Path, tiny_model: str, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    scan = ["scan", many, "-m", tiny_model, *FLAGS, "--out"]
    assert run(*scan, alone).returncode == 2  # a picture is broken
    args = map(str, [20, killed, *scan, killed])
    done = subprocess.run([sys.executable, "-c", KILLER, *args], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) >= 2, "some were killed before their end, the others after it"
    assert run(*scan, killed).returncode == 2
    assert len(results(killed)) == 62
    assert tree(killed) == tree(alone)


def test_nothing_is_computed_twice_and_force_computes_again(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    scan = ["scan", folder, "-m", tiny_model, "--out", out]
    run(*scan)
    first = tree(out)
    written = (out / "features.h5").stat().st_mtime_ns
    again = run(*scan)
    assert "3 of them from an earlier scan" in again.stderr
    assert tree(out) == first
    assert (out / "features.h5").stat().st_mtime_ns == written
    assert "earlier" not in run(*scan, "--force").stderr
    assert tree(out) == first
    assert "earlier" not in run(*scan, "--cluster", "kmeans").stderr, "other settings, other results"


def test_what_changed_is_computed_and_what_moved_is_not(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    scan = ["scan", folder, "-m", tiny_model, "--out", out, "--cluster", "kmeans"]
    run(*scan)
    (folder / "tall.webp").rename(folder / "a" / "moved.webp")
    (out / "masks" / "forged.png.png").write_bytes(b"somebody painted on it")
    done = run(*scan, "--fail-on", "0")
    assert "2 of them from an earlier scan" in done.stderr, "forged.png's mask is not the one that was written"
    assert done.returncode == 1, "what fails is decided anew"
    fresh = tmp_path / "fresh"
    run("scan", folder, "-m", tiny_model, "--out", fresh, "--cluster", "kmeans", "--fail-on", "0")
    assert results(out) == results(fresh)
    for line in results(out):
        assert (out / line["mask"]).read_bytes() == (fresh / line["mask"]).read_bytes()
        assert (out / line["overlay"]).read_bytes() == (fresh / line["overlay"]).read_bytes()


def test_features_that_were_not_kept_are_computed(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    scan = ["scan", folder, "-m", tiny_model, "--out", tmp_path / "o"]
    run(*scan, "--no-features")
    assert "3 of them from an earlier scan" in run(*scan, "--no-features").stderr
    assert "earlier" not in run(*scan).stderr
    assert (tmp_path / "o" / "features.h5").exists()


def test_two_scans_do_not_write_into_one_folder(many: Path, tiny_model: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    with Journal(out, "other"):
        second = run("scan", many, "-m", tiny_model, "--out", out, *FLAGS)
    assert second.returncode == ExitCode.INCOMPLETE
    assert "another scan writes there" in second.stderr
    assert sorted(path.name for path in out.iterdir()) == []
    assert run("scan", many / "00.jpg", "-m", tiny_model, "--out", out, *FLAGS).returncode in (0, 1), "the lock went with its scan"


def test_a_pipe_is_not_read_twice(tmp_path: Path) -> None:
    """For its hash it would be read, and decoding would find nothing in it."""
    os.mkfifo(tmp_path / "pipe")
    assert _digest(Source(tmp_path / "pipe", "pipe")) is None


def test_an_interrupted_scan_is_taken_up(many: Path, tiny_model: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    args = [*IMGSCAN, "scan", str(many), "-m", tiny_model, "--out", str(out), *FLAGS]
    process = subprocess.Popen(
        args, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    journal = out / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 2000):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    done = len([line for line in results(out) if line["status"] == "assessed"])
    assert 0 < done < 61
    taken = run("scan", many, "-m", tiny_model, "--out", out, *FLAGS).stderr
    assert int(taken.split(" of them from an earlier scan")[0].split()[-1]) >= done


def found(out: Path, name: str = "p.png") -> tuple[Source, dict[str, Any]]:
    """A picture, and its result with the files that were written for it."""
    picture, files = out.parent / name, {"mask": out / "masks" / f"{name}.png", "overlay": out / "overlays" / f"{name}.jpg"}
    picture.write_bytes(name.encode())
    line = assessed(name, path=str(picture), score=0.5, sha256=hashlib.sha256(name.encode()).hexdigest(), fingerprint=None)
    line = {name: value for name, value in line.items() if name not in DECIDED}
    for kind, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{kind} of {name}".encode())
        line |= {kind: path.relative_to(out).as_posix(), f"{kind}_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Source(picture, name), line


def taken(out: Path, key: str, *sources: Source, features: Any = None, force: bool = False) -> dict[int, dict[str, Any]]:
    """What a scan takes from there; interrupted, so that the journal stays."""
    with pytest.raises(KeyboardInterrupt), Journal(out, key, force=force) as journal:  # noqa: PT012
        lines = journal.find(sources, features, 1)
        raise KeyboardInterrupt
    return lines


def interrupted(out: Path, key: str, *lines: dict[str, Any], force: bool = False) -> None:
    """A scan that found so much."""
    with pytest.raises(KeyboardInterrupt), Journal(out, key, force=force) as journal:  # noqa: PT012
        for line in lines:
            journal.append(line)
        raise KeyboardInterrupt


def completed(out: Path, key: str, *lines: dict[str, Any]) -> None:
    """The record of a scan that came to its end."""
    run = run_line(key=key, model="m", started="", weights={}, operating_points=[], fail_on={})
    (out / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (run, *lines)))


A, B = "a" * 64, "b" * 64  # keys of scans
REVIEW = {"decision": "unsure", "note": "", "time": "2026-11-30T15:04:05Z", "version": "1", "run": A}
SAID = {"flagged": True, "reported": True, "known": False, "review": REVIEW}  # by the scan before


def test_what_other_settings_found_is_not_taken(tmp_path: Path) -> None:
    """Neither out of the journal of a scan that was interrupted nor out of the record of a complete one, without features too."""
    out = tmp_path / "out"
    source, line = found(out)
    interrupted(out, A, line | SAID)
    assert taken(out, B, source) == {}
    assert taken(out, A, source) == {0: line}, "what fails is decided anew"
    (out / FILE).unlink()
    completed(out, A, line | SAID)
    assert taken(out, B, source) == {}
    assert taken(out, A, source) == {0: line}


def test_what_was_taken_from_a_record_stays_when_that_is_replaced(tmp_path: Path) -> None:
    """Whoever interrupts a scan has a record of what it had so far in place of the complete one."""
    out = tmp_path / "out"
    source, line = found(out)
    completed(out, A, line | SAID)
    assert taken(out, A, source) == {0: line}
    (out / "results.jsonl").unlink()
    assert taken(out, A, source) == {0: line}


def test_by_force_nothing_is_taken_neither_now_nor_later(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (p, of_p), (q, of_q) = found(out), found(out, "q.png")
    interrupted(out, A, of_p)
    completed(out, A, of_p | SAID, of_q | SAID)
    assert taken(out, A, p, q, force=True) == {}
    (out / "results.jsonl").unlink()
    interrupted(out, A, of_p)
    interrupted(out, A, of_q, force=True)
    assert taken(out, A, p, q) == {1: of_q}, "before it came to p.png it was interrupted"


def test_the_journal_has_each_picture_once_no_skipped_ones_and_goes_with_a_complete_scan(tmp_path: Path) -> None:
    out = tmp_path / "out"
    source, line = found(out)
    skipped = {"type": "result", "status": "skipped", "name": "s.png", "path": "s.png", "reason": "broken"}
    interrupted(out, A, skipped, line, line)
    interrupted(out, A, line)
    assert [json.loads(row) for row in (out / FILE).read_text().splitlines()] == [{"key": A, **line}]
    with Journal(out, A) as journal:
        assert journal.find([source], None, 1) == {0: line}
    assert not (out / FILE).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_journal_on_a_full_disk_is_named(tmp_path: Path) -> None:
    """It is flushed once more when it is closed, and that error has no name."""
    out = tmp_path / "out"
    _, line = found(out)
    with pytest.raises(OutputError, match=rf"{FILE}: cannot be written: No space left"), Journal(out, A) as journal:  # noqa: PT012
        journal._file = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - the journal closes it
        journal.append(line)


def test_what_the_features_have_no_room_for_is_told_and_everything_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (64, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    out, page = tmp_path / "o", tmp_path / "page.csv"
    scan = ["scan", str(tmp_path / "a.png"), "--model", "ela", "--no-config", "--jobs", "0", "--out", str(out), "-o", str(page)]
    with monkeypatch.context() as full:
        full.setattr("imgscan.features_file.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
        done = CliRunner().invoke(app, scan)
    assert done.exit_code == ExitCode.INCOMPLETE
    assert "1 picture: 0 flagged, 1 scored, 0 skipped" in done.stderr
    assert "features.h5: cannot be written: no space left on device" in done.stderr
    assert page.exists()
    assert (out / "report.html").exists()
    summary = json.loads((out / "results.jsonl").read_text().splitlines()[-1])
    assert (summary["complete"], summary["exit_code"]) == (True, ExitCode.INCOMPLETE)
    again = CliRunner().invoke(app, scan)  # from the parts that stayed
    assert again.exit_code == ExitCode.CLEAN
    assert "1 of them from an earlier scan" in again.stderr
    assert (out / "features.h5").exists()


class Without:
    """Features of no picture."""

    def has(self, line: dict[str, Any]) -> bool:
        return False


def test_features_are_missed_but_those_of_what_was_not_judged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    pairs = [found(out, name) for name in ("p.png", "q.png")]
    (p, of_p), (q, of_q) = pairs[0], (pairs[1][0], {**pairs[1][1], "withheld": "looks drawn"})
    interrupted(out, A, of_p, of_q)
    assert taken(out, A, p, q, features=Without()) == {1: of_q}
    assert taken(out, A, p, q) == {0: of_p, 1: of_q}


def test_what_moved_takes_its_files_along(tmp_path: Path) -> None:
    """Two pictures change names: the first is given the files of the other, whose own are gone then and have to be made."""
    out = tmp_path / "out"
    (p, of_p), (q, of_q) = found(out), found(out, "q.png")
    interrupted(out, A, of_p, of_q)
    moved = Source(tmp_path / "sub" / "r.png", "sub/r.png")
    moved.path.parent.mkdir()
    moved.path.write_bytes(p.path.read_bytes())
    files = {"mask": "masks/sub/r.png.png", "overlay": "overlays/sub/r.png.jpg"}
    assert taken(out, A, moved) == {0: {**of_p, "name": "sub/r.png", "path": str(moved.path), **files}}
    assert [(out / path).read_bytes() for path in files.values()] == [b"mask of p.png", b"overlay of p.png"]
    p.path.write_bytes(b"q.png")
    q.path.write_bytes(b"p.png")
    own = {name: of_p[name] for name in ("name", "path", "mask", "overlay")}
    assert taken(out, A, p, q) == {0: {**of_q, **own}}
    assert (out / of_p["mask"]).read_bytes() == b"mask of q.png"


@pytest.mark.parametrize("kind", ["mask", "overlay"])
def test_files_that_are_gone_or_altered_are_made_again(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    source, line = found(out)
    interrupted(out, A, line)
    (out / line[kind]).write_bytes(b"somebody painted on it")
    assert taken(out, A, source) == {}
    (out / line[kind]).unlink()
    assert taken(out, A, source) == {}


def test_a_result_of_before_there_were_fingerprints_is_given_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    source, line = found(out)
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(picture, "PNG")
    source.path.write_bytes(picture.getvalue())
    line = {**line, "sha256": hashlib.sha256(picture.getvalue()).hexdigest()}
    del line["fingerprint"]
    interrupted(out, A, line)
    (again,) = taken(out, A, source).values()
    assert len(again.pop("fingerprint")) == 64
    assert again == line


def test_a_line_that_a_kill_cut_off_costs_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    pairs = [found(out, name) for name in ("p.png", "q.png")]
    out.mkdir(exist_ok=True)
    (out / FILE).write_text('{"key": "a", "type": "resu')
    with pytest.raises(KeyboardInterrupt), Journal(out, "a") as journal:  # noqa: PT012
        for _, line in pairs:
            journal.append(line)
        raise KeyboardInterrupt
    assert taken(out, "a", *(source for source, _ in pairs)) == dict(enumerate(line for _, line in pairs))
