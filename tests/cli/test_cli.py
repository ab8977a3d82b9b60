"""The command line as its user meets it: real subprocesses, exit codes, one clear line for what went wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from PIL import Image

from imgscan.commands.calibrate import calibrate_command
from imgscan.errors import ExitCode
from imgscan.exits import exits
from imgscan.features_file import retire
from imgscan.report.record import read_record
from tests.conftest import PHOTOS
from tests.processes import run
from tests.test_drawn import window

IMGSCAN = [sys.executable, "-m", "imgscan"]


def test_help_and_errors_before_the_scan_do_not_import_torch() -> None:
    code = "import sys; from typer.testing import CliRunner; from imgscan.cli import app; import re\n"
    for args in (["--help"], ["scan", "--help"], ["models", "list"], ["scan", "/no/such/folder"], ["train", "focal", "--help"]):
        wanted = 2 if "/no/such/folder" in args else 0
        check = f"done = CliRunner().invoke(app, {args!r}); assert 'torch' not in sys.modules\nassert done.exit_code == {wanted}"
        done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_nobody_who_fails_answers_as_one_with_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 stops a pipeline for a forgery: an internal error whose place is asked for, and one that nobody reads, say 2."""

    def failing() -> ExitCode:
        raise ValueError("of nobody's making")

    monkeypatch.setenv("IMGSCAN_TRACEBACK", "1")
    with pytest.raises(typer.Exit) as ended:
        exits(failing)()
    assert ended.value.exit_code == ExitCode.INCOMPLETE
    for of_no_torchrun in ("", "many"):
        monkeypatch.setenv("WORLD_SIZE", of_no_torchrun)
        with pytest.raises(typer.Exit) as ended:
            exits(failing)()
        assert ended.value.exit_code == ExitCode.INCOMPLETE
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*IMGSCAN, "scan", str(tmp_path / "missing")], stderr=writer, stdout=subprocess.DEVNULL, check=False)
    os.close(writer)
    assert done.returncode == ExitCode.INCOMPLETE
    (tmp_path / "gone").mkdir()
    script = f"cd {tmp_path / 'gone'} && rmdir {tmp_path / 'gone'} && exec {' '.join(IMGSCAN)} scan {PHOTOS} --out {tmp_path / 'o'}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.INCOMPLETE, done.stderr
    assert (
        "imgscan: no configuration can be looked for: No such file or directory (the working folder, or one above it); "
        in done.stderr
    )


def test_help_names_every_exit_code() -> None:
    text = run("scan", "--help").stdout
    for code in ExitCode:
        assert f"{int(code)}" in text


def test_a_scan_writes_what_it_promises(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    done = run("scan", folder, "--model", tiny_model, "--out", tmp_path / "out", "-v")
    assert done.returncode == ExitCode.CLEAN, done.stderr
    assert done.stdout == ""
    assert "3 pictures: 0 flagged, 3 scored, 0 skipped" in done.stderr
    assert "the network alone" in done.stderr
    assert "no measured operating points" in done.stderr
    out = tmp_path / "out"
    for name, size in (("a/b.jpg", (192, 128)), ("forged.png", (128, 128)), ("tall.webp", (96, 160))):
        with Image.open(out / "masks" / f"{name}.png") as mask, Image.open(out / "overlays" / f"{name}.jpg") as overlay:
            assert mask.size == overlay.size == size
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["run", "result", "result", "result", "summary"]
    assert (out / "features.h5").exists()
    assert "0 of 3 pictures flagged" in (out / "report.html").read_text()


def test_another_side_is_recorded_and_taken_for_another_scan(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    """A picture of 192 x 128 in tiles of 96, then at once: what the first found does not stand for the second."""
    starts = []
    for flags in (("--side", "96"), ()):
        done = run("scan", folder / "a", "--model", tiny_model, *flags, "--out", tmp_path / "out")
        assert done.returncode == ExitCode.CLEAN, done.stderr
        start, result, _ = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
        assert result["status"] == "assessed"
        starts.append(start)
    small, large = ({plan["side"] for plan in start["input"]} for start in starts)
    assert small == {96}
    assert min(large) > 192
    assert starts[0]["key"] != starts[1]["key"]


def test_another_side_than_the_thresholds_were_measured_with_is_said(tmp_path: Path) -> None:
    small = PHOTOS.parent / "example" / "untouched-garden.jpg"
    for flags, said in ((("--side", "768"), True), ((), False)):
        out = tmp_path / str(said)
        done = run("scan", small, "--model", "focal-hrnet", *flags, "--out", out)
        assert done.returncode == ExitCode.CLEAN, done.stderr
        assert ("rates were measured with 512 and 768 pixels at once; imgscan calibrate --side 768" in done.stderr) == said
        page = (out / "report.html").read_text()
        assert ("That was with 512 and 768 pixels at once; this scan had another --side" in page) == said


@pytest.mark.parametrize("colours", [256, 2])  # with so few it looks drawn as much as can be
def test_a_screenshot_is_not_judged_unless_asked_for(tmp_path: Path, colours: int) -> None:
    window().quantize(colours).save(tmp_path / "window.png")
    flags = ("--model", "focal-hrnet", "--fail-on", "0", "--out", tmp_path / "out", "--no-features")
    done = run("scan", tmp_path / "window.png", *flags)
    assert (done.returncode, done.stdout) == (ExitCode.CLEAN, "")
    assert "1 picture: 0 flagged, 0 clean, 1 not judged (drawn or typeset, see --drawn), 0 skipped" in done.stderr
    _, line, summary = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert (line["score"], line["regions"], line["flagged"], summary["withheld"]) == (0.0, [], False, 1)
    assert line["withheld"].startswith("looks drawn")
    assert not np.asarray(Image.open(tmp_path / "out" / line["mask"])).any()
    asked = run("scan", tmp_path / "window.png", "--drawn", *flags)  # another scan, not the remembered one
    assert "not judged" not in asked.stderr
    _, line, summary = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert (line["withheld"], summary["withheld"]) == (None, 0)
    assert line["score"] > 0


def test_of_a_screenshot_there_are_no_features_and_it_is_remembered(tmp_path: Path, folder: Path) -> None:
    window().save(folder / "window.png")
    flags = ("--model", "focal-hrnet", "--fail-on", "never", "--out", tmp_path / "out")
    for _ in range(2):
        done = run("scan", folder, *flags, "-v")
        assert done.returncode == ExitCode.CLEAN, done.stderr
        assert "1 not judged" in done.stderr
        with h5py.File(tmp_path / "out" / "features.h5") as file:
            assert "forged.png" in file
            assert "window.png" not in file
    assert "extract" not in done.stderr, "nothing was computed again"


def test_no_features(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    assert run("scan", folder, "-m", tiny_model, "--out", tmp_path / "o", "--no-features").returncode == 0
    assert not (tmp_path / "o" / "features.h5").exists()


def test_features_of_another_model_do_not_stay_beside_a_record_without_any(tmp_path: Path) -> None:
    out, picture = tmp_path / "o", PHOTOS / "budgie-b69cad6a.jpg"
    run("scan", picture, "-m", "noi1", "--out", out)
    run("scan", picture, "-m", "noi1", "--out", out, "--no-features")
    assert (out / "features.h5").exists(), "they are of this model, and the next scan takes them"
    run("scan", picture, "-m", "ela", "--out", out, "--no-features")
    assert not (out / "features.h5").exists()


def test_features_of_another_model_are_kept_for_the_record_that_is(tmp_path: Path) -> None:
    """A scan that was interrupted moves the complete record aside, and they belong to that."""
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file.attrs["key"], file.attrs["complete"] = "other", True
    retire(tmp_path, "other", whole=False)
    assert [path.name for path in tmp_path.iterdir()] == ["features.h5"]
    retire(tmp_path, "mine", whole=False)
    assert [path.name for path in tmp_path.iterdir()] == ["features.previous.h5"]
    retire(tmp_path, "mine", whole=True)


def flagged(folder: Path, tiny_model: str, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """2-means marks something on nearly every picture, so a score of 0 makes findings of them."""
    return run("scan", folder, "-m", tiny_model, "--out", tmp_path / "o", "--cluster", "kmeans", "--fail-on", "0", *more)


def test_findings_are_exit_1_and_go_to_stdout(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    done = flagged(folder, tiny_model, tmp_path)
    assert done.returncode == ExitCode.FINDINGS, done.stderr
    assert done.stdout.startswith("flagged")


def test_exit_zero(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    assert flagged(folder, tiny_model, tmp_path, "--exit-zero").returncode == ExitCode.CLEAN


def test_an_unreadable_picture_outranks_findings(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = flagged(folder, tiny_model, tmp_path, "--exit-zero")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "skipped" in done.stderr
    assert "broken.jpg" in done.stderr
    assert flagged(folder, tiny_model, tmp_path, "--allow-unreadable").returncode == ExitCode.FINDINGS


def test_some_unreadable_pictures_are_let_through_and_more_are_not(one: Path) -> None:
    """In the exit code, the record and the reports alike; what was found before is counted anew."""
    for name in ("a.jpg", "b.jpg"):
        (one / "photos" / name).write_bytes(b"\xff\xd8\xff nothing")
    scan = ("scan", "photos", "-m", "ela", "--out", "o", "-o", "r.junit.xml")
    pictures = sum(1 for _ in (one / "photos").iterdir())
    share = 100 * 2 / pictures
    for limit, code in (("1", 2), ("2", 0), (f"{share:.3f}%", 0), (f"{share - 0.01:.3f}%", 2), ("0", 2)):
        done = run(*scan, "--max-unreadable", limit, cwd=one)
        assert done.returncode == code, (limit, done.stderr)
        record = read_record(one / "o" / "results.jsonl")
        assert record.run["max_unreadable"] == limit
        assert (record.summary or {})["exit_code"] == code
        assert record.let_through is (code == 0)
        said = f"2 of {pictures} pictures could not be assessed, more than --max-unreadable {limit}: the scan is not complete"
        assert (said in done.stderr) is (code == 2)
        assert ('errors="0"' if code == 0 else 'errors="2"') in (one / "r.junit.xml").read_text()
    assert "from an earlier scan" in done.stderr
    done = run(*scan, cwd=one)
    assert (done.returncode, read_record(one / "o" / "results.jsonl").run["max_unreadable"]) == (ExitCode.INCOMPLETE, "0")


def test_a_scan_never_writes_over_its_inputs(tiny_model: str, tmp_path: Path, photos: list[np.ndarray]) -> None:
    """A benchmark with images/x.png and masks/x.png.png: --out must not replace the ground truth."""
    for name in ("images/x.png", "masks/x.png.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(photos[0][:64, :64]).save(tmp_path / name)
    before = (tmp_path / "masks" / "x.png.png").read_bytes()
    done = run("scan", tmp_path / "images", "-m", tiny_model, "--out", tmp_path)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "that no scan of imgscan made" in done.stderr
    assert (tmp_path / "masks" / "x.png.png").read_bytes() == before


def test_another_clustering_has_no_measured_thresholds(folder: Path, tmp_path: Path) -> None:
    done = run("scan", folder / "tall.webp", "--model", "focal-vit", "--cluster", "kmeans", "--out", tmp_path / "o")
    assert "no measured operating points" in done.stderr
    assert done.returncode == ExitCode.CLEAN
    again = run(
        "scan",
        folder / "tall.webp",
        "--model",
        "focal-vit",
        "--cluster",
        "birch",
        "--out",
        tmp_path / "o",
        "--fail-on",
        "possible",
    )
    assert again.returncode == ExitCode.INCOMPLETE
    assert "no measured operating point" in again.stderr


def test_closed_stdout_is_no_internal_error() -> None:
    command = " ".join([*IMGSCAN, "models", "list"]) + " >&-"
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=False).returncode == 0


def test_nothing_to_scan_is_0_with_a_warning(tiny_model: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("scan", tmp_path / "empty", "-m", tiny_model, "--out", tmp_path / "o")
    assert done.returncode == ExitCode.CLEAN
    assert "nothing to scan: no pictures in" in done.stderr


def test_patterns_that_leave_nothing_are_named(tiny_model: str, tmp_path: Path) -> None:
    """'photos/*' of photos is everything below it: that was "no pictures in photos"."""
    (tmp_path / "photos" / "2019").mkdir(parents=True)
    for name in ("a.png", "2019/b.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / "photos" / name)
    done = run("scan", "photos", "--exclude", "photos/*", "-m", tiny_model, "--out", tmp_path / "o", cwd=tmp_path)
    assert done.returncode == ExitCode.CLEAN
    assert "nothing to scan: --exclude photos/* leave none of 2 pictures in photos" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["scan", "/no/such/folder"], "/no/such/folder: no such file or folder"),
        (["scan", PHOTOS, "--model", "focal-fushion"], "did you mean focal-fusion"),
        (["scan", PHOTOS, "--model", "focal-vit@/no/such.safetensors"], "/no/such.toml"),
        (["scan", PHOTOS, "--device", "cuda:77"], "there is: auto, cpu"),
        (["scan", PHOTOS, "--cluster", "dbscan"], "did you mean hdbscan"),
        (["scan", PHOTOS, "--fail-on", "sometimes"], "possible"),
        (["scan", PHOTOS, "--out", "/proc/nowhere"], "/proc/nowhere"),
        (["scan", PHOTOS, "--out", PHOTOS], "is a scanned folder"),
        (["scan", PHOTOS, "--bogus"], "--bogus"),
        (["scan", PHOTOS, "--baseline", PHOTOS], "--baseline: "),
        (["scan", PHOTOS, "--batch", "0"], "--batch"),
        (["scan", PHOTOS, "--model", "ela", "--side", "256"], "--side 256: ela has no network"),
        (["scan", PHOTOS, "--side", "64"], "--side 64: tiles of focal-hrnet@open overlap by 64 pixels; wanted at least 96"),
        (["calibrate", "ela", "--pristine", PHOTOS, "--side", "256"], "--side 256: ela has no network"),
        (["calibrate", "ela", "--pristine", PHOTOS, "--false-alarms", "5"], "--false-alarms 5: wanted a share"),
        (
            ["calibrate", "focal-vit", "--pristine", PHOTOS, "--cluster", "hdbscn"],
            "--cluster: unknown clustering 'hdbscn'; did you mean",
        ),
        (
            ["evaluate", "ela", "--data", PHOTOS, "--cluster", "hdbscn"],
            "--cluster: unknown clustering 'hdbscn'; did you mean hdbscan",
        ),
        (["evaluate", "--table", "ncl-3", "--cluster", "kmean"], "--cluster: unknown clustering 'kmean'; did you mean kmeans"),
        (["train", "ncl", "--data", "casia"], "give --data-root DIR"),
        (["train", "ncl", "--data", "cassia", "--data-root", PHOTOS], "did you mean casia"),
        (["train", "ncl", "--data", "columbia", "--data-root", PHOTOS], "columbia"),
        (["train", "ncl", "--compat", "official", "--data-root", PHOTOS], "has none"),
        (["train", "focal", "--size", "compact-hrnt", "--data-root", PHOTOS], "did you mean compact-hrnet"),
        (["train", "focal"], "--data-root"),
        (["train", "focal", "--data-root", PHOTOS, "--set", "train.stpes=3"], "did you mean steps"),
        (["train", "focal", "--data-root", PHOTOS, "--validation-root", PHOTOS], "validation needs other photographs"),
        (["evaluate", "ela", "--data", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(args: list[object], message: str, tmp_path: Path) -> None:
    done = run(*args, cwd=tmp_path)
    assert done.returncode == ExitCode.INCOMPLETE
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if "Usage" not in done.stderr:  # Typer's own usage errors take a few lines
        assert len([line for line in done.stderr.splitlines() if line.startswith("imgscan:")]) == 1
    assert not list(tmp_path.rglob("*.new"))


ENDED = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
if hasattr(signal, "SIGHUP"):
    ENDED[signal.SIGHUP] = ExitCode.HUNG_UP


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize(("number", "code"), ENDED.items())
def test_interrupted_scans_keep_their_results(
    tiny_model: str, tmp_path: Path, number: int, code: ExitCode, photos: list[np.ndarray], group: bool
) -> None:
    """`group`: a terminal and a batch system signal the worker processes too."""
    root = tmp_path / "many"
    root.mkdir()
    for k in range(400):
        Image.fromarray(photos[k % 4][: 160 + k, :256]).save(root / f"{k:03}.jpg")
    out = tmp_path / "o"
    args = [*IMGSCAN, "scan", str(root), "-m", tiny_model, "--out", str(out), "--batch", "1"]
    # A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and whoever runs this test may be one.
    process = subprocess.Popen(
        args,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        start_new_session=True,
    )
    partial = out / "results.jsonl.new"
    for _ in range(600):
        if partial.exists() and partial.read_text().count("\n") > 3:
            break
        time.sleep(0.1)
    os.killpg(process.pid, number) if group else process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "the results so far are intact" in errors
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert lines[-1]["type"] == "summary"
    assert lines[-1]["complete"] is False
    assert lines[-1]["exit_code"] == code
    results = [line for line in lines if line["type"] == "result"]
    assert 0 < len(results) < 400
    assert all((out / line["mask"]).exists() for line in results)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a terminal of Unix")
@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_is_closed_ends_a_scan_as_ctrl_c_does(tmp_path: Path, nohup: bool) -> None:
    """Nothing can be written to it any more; under nohup the scan goes on, and what it finds stands in the reports."""
    import pty

    command = [*IMGSCAN, "scan", str(PHOTOS), str(tmp_path / "pipe.png"), "-m", "ela", "--jobs", "0", "--out", str(tmp_path / "o")]
    command += ["--fail-on", "0"]
    os.mkfifo(tmp_path / "pipe.png")  # where the scan waits
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
        os.execv(command[0], command)
    partial = tmp_path / "o" / "results.jsonl.new"
    for _ in range(600):
        if partial.exists() and partial.read_text().count("\n") > 2:
            break
        time.sleep(0.1)
    os.close(terminal)
    if nohup:
        (tmp_path / "pipe.png").write_bytes((PHOTOS / "budgie-b69cad6a.jpg").read_bytes())
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    lines = [json.loads(line) for line in (tmp_path / "o" / "results.jsonl").read_text().splitlines()]
    assert (lines[-1]["type"], lines[-1]["complete"]) == ("summary", nohup)
    assert len(lines) == 1 + 5 + 1 if nohup else len(lines) > 3
    assert (status, lines[-1]["exit_code"]) == ((ExitCode.FINDINGS,) * 2 if nohup else (ExitCode.HUNG_UP,) * 2)
    assert (tmp_path / "o" / "report.html").exists() == nohup


def test_a_reader_that_went_away_is_141(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    scan = " ".join([*IMGSCAN, "scan", str(folder), "-m", f"'{tiny_model}'", "--out", str(tmp_path / "o")])
    command = f"({scan} --cluster kmeans --fail-on 0; echo $? > {tmp_path / 'code'}) | true"
    subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=300)
    assert (tmp_path / "code").read_text().strip() == str(int(ExitCode.BROKEN_PIPE))


def test_evaluate_prints_a_row_per_model_and_folder(tmp_path: Path, tiny_model: str, photos: list[np.ndarray]) -> None:
    for name in ("images", "masks"):
        (tmp_path / "d" / name).mkdir(parents=True)
    Image.fromarray(photos[0][:96, :128]).save(tmp_path / "d" / "images" / "x.png")
    mask = np.zeros((96, 128), np.uint8)
    mask[20:60, 20:60] = 255
    Image.fromarray(mask).save(tmp_path / "d" / "masks" / "x.png")
    done = run("evaluate", "ela", tiny_model, "--data", tmp_path / "d", "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    ela, ours = (json.loads(line) for line in done.stdout.splitlines())
    assert ela["model"] == "ela"
    assert ela["weights"] == ""
    assert len(ela["data_sha256"]) == 64
    assert 0 <= ours["columns"]["auc"]["mean"] <= 1
    assert 0 <= ours["columns"]["f1"]["mean"] <= 1
    assert ours["protocol"] == "native"
    assert len(ours["weights"]) == 2 * 64 + 1


def test_evaluate_counts_a_set_once_and_tells_models_of_one_name_apart(tmp_path: Path, photos: list[np.ndarray]) -> None:
    for name in ("d", "untouched"):
        (tmp_path / name).mkdir()
        Image.fromarray(photos[0][:96, :128]).save(tmp_path / name / f"{name}.png")
    data = ["--data", tmp_path / "d", "--data", f"{tmp_path / 'd'}/", "--data", tmp_path / "untouched"]
    models = ["ela|noi1", "ela | noi1", "ela"]
    done = run("evaluate", *models, *data, "--json", "--out", tmp_path / "out", "--csv", tmp_path / "all.csv")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["model"] for line in lines] == ["ela|noi1", "ela"] * 3
    assert [line["data"] for line in lines[-2:]] == ["all together"] * 2
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 4
    (tmp_path / "untouched" / "broken.png").write_bytes(b"nothing")
    done = run("evaluate", "ela", *data, "--attack", "jpeg-50", "--json", "--out", tmp_path / "out")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["skipped"] for line in lines if line["attack"] == "none"] == [0, 1, 1], "the last is of both sets together"
    done = run("evaluate", "ela", *data, "--csv", tmp_path, "--out", tmp_path / "other")
    assert (done.returncode, (tmp_path / "other").exists()) == (int(ExitCode.INCOMPLETE), False)
    assert "cannot be written there" in done.stderr
    done = run("evaluate", "--masks", tmp_path / "d", *data, "--attack", "jpeg-50", "--out", tmp_path / "out")
    assert "predictions were made of the pictures as they are" in done.stderr


def test_evaluate_prints_tables_and_writes_every_metric(tmp_path: Path, photos: list[np.ndarray]) -> None:
    for name in ("images", "masks", "authentic"):
        (tmp_path / "d" / name).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(photos[number][:96, :128]).save(tmp_path / "d" / "images" / f"{number}.png")
        Image.fromarray(np.eye(96, 128, dtype=np.uint8) * 255).save(tmp_path / "d" / "masks" / f"{number}.png")
        Image.fromarray(photos[number][96:192, :128]).save(tmp_path / "d" / "authentic" / f"clean{number}.png")
    masks = ["--masks", tmp_path / "d" / "masks"]
    out = ["--out", tmp_path / "out"]
    done = run("evaluate", "noi1", *masks, "--data", tmp_path / "d", "--attack", "jpeg-50", "--csv", tmp_path / "all.csv", *out)
    assert done.returncode == ExitCode.INCOMPLETE, "the untouched pictures have no prediction"
    assert "protocol native" in done.stdout
    for text in ("all-pristine", "all-forged", "robustness", "jpeg-50"):
        assert text in done.stdout
    assert "looked for" in done.stderr
    again = run("evaluate", "noi1", *masks, "--data", tmp_path / "d", "--attack", "jpeg-50", *out)
    assert "8 of 12 answers" in again.stderr, "of the model; a folder of predictions may have changed"
    assert again.stdout == done.stdout
    Image.fromarray(np.zeros((128, 96), np.uint8)).save(tmp_path / "d" / "masks" / "1.png")
    sick = run("evaluate", "ela", "--data", tmp_path / "d", *out)
    assert sick.returncode == ExitCode.INCOMPLETE
    assert sick.stderr.splitlines()[0].endswith("masks rotated by 90 degrees: " + str(tmp_path / "d" / "masks" / "1.png"))
    header, *rows = (tmp_path / "all.csv").read_text().splitlines()
    assert all(str(tmp_path / "d") in row for row in rows), "attacked pictures keep their names"
    assert {row.split(",")[1] for row in rows if "masks:" in row} == {"none"}, "predictions are of the pictures as they were"
    assert header.startswith("protocol,attack,model,data,picture,")
    assert "mcc" in header


def test_evaluate_names_masks_that_mark_nothing_and_predictions_of_two_sets(tmp_path: Path, photos: list[np.ndarray]) -> None:
    for folder in ("one", "two"):
        for name in ("images", "masks"):
            (tmp_path / folder / name).mkdir(parents=True)
        Image.fromarray(photos[0][:96, :128]).save(tmp_path / folder / "images" / "x.png")
        mask = np.eye(96, 128, dtype=np.uint8)
        Image.fromarray(mask * (255 if folder == "two" else 1)).save(tmp_path / folder / "masks" / "x.png")
    done = run("evaluate", "noi1", "--data", tmp_path / "one", "--out", tmp_path / "out")
    assert "masks that mark nothing by their rule (white is above 127) but hold levels above 0, as 0 and 1 do: " in done.stderr
    both = ["--data", tmp_path / "one", "--data", tmp_path / "two"]
    done = run("evaluate", "--masks", tmp_path / "two" / "masks", *both, "--out", tmp_path / "out")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "both have a picture x.png" in done.stderr
    (tmp_path / "alike").mkdir()
    for name in ("x.png", "x.jpg"):
        Image.fromarray(photos[0][:96, :128]).save(tmp_path / "alike" / name)
    done = run("evaluate", "--masks", tmp_path / "two" / "masks", "--data", tmp_path / "alike", "--out", tmp_path / "out")
    assert "looked for x.jpg.png, x.jpg.npz" in done.stderr, "x.png may be the answer on either"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ela", "--protocol", "focl"], "did you mean focal"),
        (["ela", "--attack", "jpge"], "did you mean jpeg"),
        (["--masks", "/no/such"], "/no/such"),
        ([], "give models, or --masks"),
        (["ela|noi1&noi2"], "wanted one of them"),
        (["ela+noi1"], "ela has no features to fuse"),
        (["--table", "focal-7"], "did you mean focal-"),
        (["--table", "focal-1", "--protocol", "ncl"], "--table brings its own data, protocol"),
        (["--table", "focal-1", "--runs", "/no/such"], "--runs /no/such"),
        (["ela", "--runs", "/no/such"], "without it give MODELs"),
        (["ela", "noi1|cfa1", "--side", "256"], "ela, noi1|cfa1: no network that could see more or less at once"),
        (["ela", "--beyond", "shrink"], "leave --side and --beyond out"),
    ],
)
def test_what_evaluate_refuses(args: list[object], message: str, tmp_path: Path) -> None:
    data = [] if "--table" in args else ["--data", PHOTOS]
    done = run("evaluate", *args, *data, "--out", tmp_path)
    assert done.returncode == ExitCode.INCOMPLETE
    assert message in done.stderr


def test_models_list_show_and_verify() -> None:
    listed = run("models", "list")
    assert listed.returncode == 0
    assert "focal-hrnet@open" in listed.stdout
    assert 'network = "focal-vit"' in run("models", "show", "focal-vit").stdout
    assert run("models", "verify", "focal-fusion").stdout.count("\tok\t") == 2


def test_calibrate_measures_and_refuses_what_the_sample_cannot_show(folder: Path, tiny_model: str) -> None:
    done = run("calibrate", tiny_model, "--pristine", folder)
    assert done.returncode == ExitCode.INCOMPLETE, done.stderr
    assert "default: 3 pictures cannot show a rate of 0.02" in done.stderr
    assert "operating_points" not in done.stdout


def test_calibrate_counts_copies_and_says_of_how_many_photographs(folder: Path, tiny_model: str) -> None:
    done = run("calibrate", tiny_model, "--pristine", folder, "--copies")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# 24 pictures: 3 photographs and 7 copies of each (q90, ")
    assert "default: 24 pictures cannot show a rate of 0.02; wanted at least 50" in done.stderr
    (forms,) = re.findall(r"^# (as they are: .*)$", done.stdout, re.M)  # possible alone
    counts = [tuple(map(int, re.fullmatch(r".*: (\d+) of (\d+)", form).groups())) for form in forms.split(", ")]
    assert [some for _, some in counts] == [3] * 8
    assert f"false_alarms = {sum(reached for reached, _ in counts) / 24:.4f}" in done.stdout
    assert f"as_is = {counts[0][0] / 3:.4f}\nphotographs = 3\n" in done.stdout


def test_calibrate_leaves_out_what_is_not_judged(tmp_path: Path) -> None:
    """In a scan it raises no alarm whatever the threshold; counted as untouched pictures it would promise lower rates."""
    photographs = sorted(Path(PHOTOS).glob("*.jpg"))[:2]
    shown = tmp_path / "shown"
    shown.mkdir()
    for number, photograph in enumerate(photographs):
        shutil.copy(photograph, shown / f"{number}.jpg")
        window(side=300 + 20 * number).save(shown / f"{number}.png")
    table = tmp_path / "scores.csv"
    done = run("calibrate", "focal-hrnet", "--pristine", shown, "--false-alarms", "0.5", "--csv", table)
    assert done.returncode == 0, done.stderr
    assert "focal-hrnet: left out 2 of 4 pictures, not judged" in done.stderr
    assert re.findall(r"^level = .*$", done.stdout, re.M) == ['level = "default"']
    assert "false_alarms = 0.5000\npictures = 2\n" in done.stdout
    assert len(table.read_text().splitlines()) == 1 + 2
    few = run("calibrate", "focal-hrnet", "--pristine", shown, "--false-alarms", "0.3", "--copies")
    assert few.stdout.startswith("# 16 pictures: 2 photographs and 7 copies of each"), few.stdout
    none = run("calibrate", "focal-hrnet", "--pristine", shown, "--false-alarms", "0.3")
    assert "default: 2 pictures cannot show a rate of 0.3; wanted at least 4" in none.stderr
    clustered = run("calibrate", "focal-hrnet", "--pristine", shown, "--false-alarms", "0.5", "--cluster", "hdbscan")
    assert re.search(r'^level = "default"\ncluster = "hdbscan"\nscore = 0\.\d+\n', clustered.stdout, re.M), clustered.stderr


def test_calibrate_measures_several_models_as_it_measures_each(
    folder: Path, headed_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*models: str, csv_file: Path | None = None) -> str:
        how = {"device": "cpu", "jobs": 0, "batch": None, "side": None, "accept_licence": False}
        done = calibrate_command([*models], pristine=[folder], copies=True, csv_file=csv_file, **how)
        assert done == ExitCode.CLEAN
        return capsys.readouterr().out.strip()

    one, other, table = headed_model.split("+")[0], headed_model, tmp_path / "scores.csv"
    both = printed(one, other, csv_file=table)
    assert both == "\n\n".join(f"# {model}\n{printed(model)}" for model in (one, other))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2 * 24
    assert {row["picture"] for row in rows} == {str(path) for path in folder.rglob("*.*")}
    point = float(re.search(r"score = (\S+)", both)[1])
    reached = [row for row in rows if row["model"] == one and float(row["score"]) >= point]
    assert f"false_alarms = {len(reached) / 24:.4f}" in both


def test_version() -> None:
    assert run("--version").stdout.startswith("imgscan 0.")


def test_reports_are_written_and_printed(folder: Path, tmp_path: Path, tiny_model: str) -> None:
    out, files = tmp_path / "out", [tmp_path / name for name in ("r.html", "r.sarif", "r.junit.xml", "r.csv", "r.json")]
    flags = [flag for path in files for flag in ("-o", path)]
    done = run("scan", folder, "--model", tiny_model, "--out", out, "--fail-on", "0", "--format", "jsonl", *flags)
    assert done.returncode in (ExitCode.CLEAN, ExitCode.FINDINGS), done.stderr
    assert done.stdout == (out / "results.jsonl").read_text(), "what is printed is the record"
    assert all(path.stat().st_size for path in files)
    converted = run("report", out, "-o", tmp_path / "again.sarif", "--format", "csv")
    assert converted.returncode == ExitCode.CLEAN, converted.stderr
    assert (tmp_path / "again.sarif").read_bytes() == files[1].read_bytes()
    assert converted.stdout.splitlines() == files[3].read_text().splitlines()
    assert json.loads(run("report", "--schema").stdout)["title"] == "imgscan.results/1"


def test_paths_of_findings_alone(folder: Path, tmp_path: Path) -> None:
    """A detector marks something on noise; -l gives its path, --print0 too, whatever is in the name."""
    noisy = folder / "new\nline.png"
    pixels = np.random.default_rng(0).normal(128, 4, (256, 256, 3))
    pixels[64:160, 64:160] += np.random.default_rng(1).normal(0, 40, (96, 96, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(noisy)
    flags = ["--model", "noi1", "--fail-on", "0.5", "--no-features"]
    done = run("scan", noisy, *flags, "--out", tmp_path / "a", "--print0")
    assert (done.returncode, done.stdout) == (ExitCode.FINDINGS, f"{noisy}\0"), done.stderr
    done = run("scan", noisy, *flags, "--out", tmp_path / "b", "-l")
    assert done.stdout == f"{noisy}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-o", "x.doc"], "its ending names no format"),
        (["--format", "sarf"], "did you mean sarif"),
        (["--format", "csv", "-l"], "wanted one of them"),
    ],
)
def test_wrong_reports_are_named_before_the_scan(args: list[str], message: str, folder: Path, tmp_path: Path) -> None:
    done = run("scan", folder, "--out", tmp_path / "out", *args)
    assert done.returncode == ExitCode.INCOMPLETE
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_baseline_and_an_area_keep_findings_from_failing(tmp_path: Path) -> None:
    """The same picture under another name is the same finding."""
    pixels = np.random.default_rng(0).normal(128, 4, (256, 256, 3))
    pixels[64:160, 64:160] += np.random.default_rng(1).normal(0, 40, (96, 96, 3))
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / "a.png")
    flags = ["--model", "noi1", "--fail-on", "0.5", "--no-features"]
    first = run("scan", tmp_path / "in", *flags, "--out", tmp_path / "first")
    assert first.returncode == ExitCode.FINDINGS, first.stderr
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "b.png")
    known = ["--baseline", tmp_path / "first" / "results.jsonl", "-o", tmp_path / "r.sarif"]
    second = run("scan", tmp_path / "in", *flags, *known, "--out", tmp_path / "second")
    assert (second.returncode, second.stdout) == (ExitCode.CLEAN, ""), second.stderr
    lines = [json.loads(line) for line in (tmp_path / "second" / "results.jsonl").read_text().splitlines()]
    assert (lines[1]["known"], lines[1]["flagged"], lines[-1]["known"]) == (True, False, 1)
    (sarif,) = json.loads((tmp_path / "r.sarif").read_text())["runs"]
    assert (sarif["results"], sarif["properties"]["known"]) == ([], 1)
    again = run("scan", tmp_path / "in", *flags, "--baseline", tmp_path / "second", "--out", tmp_path / "third")
    assert again.returncode == ExitCode.CLEAN, "a baseline made with a baseline keeps its findings"
    facts = {"sha256": lines[1]["sha256"], "decision": "false alarm", "note": "a lamp", "time": "2026-11-30T15:00:00Z"}
    line = {"type": "decision", "schema": "imgscan.decisions/1", "path": "a.png", **facts, "version": "0.1.0", "run": ""}
    (tmp_path / "decisions.jsonl").write_text(json.dumps(line))
    decided = run("scan", tmp_path / "in", *flags, "--baseline", tmp_path / "decisions.jsonl", "--out", tmp_path / "third")
    assert decided.returncode == ExitCode.CLEAN, decided.stderr
    (_, found, _) = [json.loads(line) for line in (tmp_path / "third" / "results.jsonl").read_text().splitlines()]
    assert (found["known"], found["review"]["note"]) == (True, "a lamp")
    without = run("scan", tmp_path / "in", *flags, "--out", tmp_path / "third")
    assert (without.returncode, "1 of them from an earlier scan" in without.stderr) == (ExitCode.FINDINGS, True), without.stderr
    assert "review" not in (tmp_path / "third" / "results.jsonl").read_text(), "it is no part of what was found"
    small = run("scan", tmp_path / "in", *flags, "--min-area", "0.5", "--out", tmp_path / "small")
    assert small.returncode == ExitCode.CLEAN


def test_paths_from_a_list(folder: Path, tmp_path: Path, tiny_model: str) -> None:
    listed = tmp_path / "list"
    listed.write_bytes(os.fsencode(folder / "forged.png") + b"\0" + os.fsencode(folder / "a") + b"\0")
    done = run("scan", "--files-from", listed, "-0", "--model", tiny_model, "--out", tmp_path / "out", "--exclude", "*.webp")
    assert "2 pictures" in done.stderr, done.stderr
    assert "nothing to scan: give pictures" in run("scan").stderr
    assert "cannot be read" in run("scan", "--files-from", tmp_path / "none").stderr
    assert "wanted -0" in run("scan", "--files-from", listed).stderr


def test_what_is_gone_since_it_was_listed_takes_no_other_with_it(one: Path) -> None:
    (one / "list").write_text("photos/-t.jpg\nphotos/gone.jpg\n")
    scan = ("scan", "--files-from", "list", "-m", "ela", "--out", "o")
    done = run(*scan, cwd=one)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "skipped photos/gone.jpg: cannot be read: No such file" in done.stderr
    assert "1 scored, 1 skipped" in done.stderr
    assert run(*scan, "--allow-unreadable", cwd=one).returncode == ExitCode.CLEAN
    assert "photos/gone.jpg: no such file" in run(*scan, "photos/gone.jpg", cwd=one).stderr, "what is typed is a mistake"


def test_a_picture_on_stdin(folder: Path, tiny_model: str, tmp_path: Path) -> None:
    content = (folder / "forged.png").read_bytes()
    args = [*IMGSCAN, "scan", "-", str(folder), "--model", tiny_model, "--out", str(tmp_path / "o"), "--no-features"]
    done = subprocess.run(args, input=content, capture_output=True, check=False)
    assert done.returncode == ExitCode.CLEAN, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "o" / "results.jsonl").read_text().splitlines()]
    found = {line["name"]: line for line in lines if line["type"] == "result"}
    assert found["stdin"]["path"] == "<stdin>"
    assert found["stdin"]["sha256"] == found["forged.png"]["sha256"]
    assert (tmp_path / "o" / "masks" / "stdin.png").exists()
    both = subprocess.run([*IMGSCAN, "scan", "-", "--files-from", "-"], input=b"", capture_output=True, text=False, check=False)
    assert both.returncode == ExitCode.INCOMPLETE
    assert b"both read standard input" in both.stderr


def test_a_file_called_as_stdin_is(one: Path) -> None:
    """`-` is stdin where it is typed so; `./-` and a line of a list name a file."""
    content = (one / "photos" / "-t.jpg").read_bytes()
    (one / "-").write_bytes(content)
    (one / "list").write_text("-\n")
    for asked, paths in [
        (["./-"], ["-"]),
        (["--files-from", "list"], ["-"]),
        (["-", "./-"], ["-", "<stdin>"]),
        (["-", "--files-from", "list"], ["-", "<stdin>"]),
    ]:
        args = [*IMGSCAN, "scan", *asked, "-m", "ela", "--force", "--out", "o"]
        done = subprocess.run(args, input=content, capture_output=True, cwd=one, check=False)
        assert done.returncode == ExitCode.CLEAN, done.stderr
        lines = [json.loads(line) for line in (one / "o" / "results.jsonl").read_text().splitlines()]
        assert [line["path"] for line in lines if line["type"] == "result"] == paths


def test_odd_and_very_long_names(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """Spaces, newlines, bytes that are no UTF-8, a path of 4,000 bytes: each is a result with a mask, and in every report."""
    root = tmp_path / "p"
    root.mkdir()
    picture = Image.fromarray(photos[0][:96, :128])
    names = [b" two  spaces .png", b"new\nline.png", b"\xff\xfe.png"]
    for name in names:
        picture.save(root / os.fsdecode(name))
    length = 4000 - len(os.fsencode(root)) - len("/x.png")
    here = os.open(root, os.O_RDONLY)  # the way down is made step by step
    while length > 1:
        part = "d" * min(200, length - 1)
        os.mkdir(part, dir_fd=here)
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, length = below, length - len(part) - 1
    with open(os.open("x.png", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:  # noqa: PTH123 - opened by its number
        picture.save(file, "PNG")
    os.close(here)
    out = tmp_path / "o"
    reports = [flag for suffix in ("html", "sarif", "junit.xml", "csv", "txt") for flag in ("-o", tmp_path / f"r.{suffix}")]
    done = run("scan", root, "--model", "noi1", "--fail-on", "0", "--out", out, *reports)
    assert done.returncode in (ExitCode.CLEAN, ExitCode.FINDINGS), done.stderr
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    results = [line for line in lines if line["type"] == "result"]
    assert len(results) == 4
    assert max(len(os.fsencode(line["path"])) for line in results) >= 3990
    for line in results:
        assert (out / line["mask"]).exists()
        assert (out / line["overlay"]).exists()
    assert "4 of them from an earlier scan" in run("scan", root, "--model", "noi1", "--fail-on", "0", "--out", out).stderr


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A working directory with a folder of one picture whose name begins with a dash."""
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTOS / "budgie-b69cad6a.jpg", tmp_path / "photos" / "-t.jpg")  # ela marks something there
    return tmp_path


def test_an_output_folder_does_not_hide_what_is_to_be_scanned(one: Path) -> None:
    """As --out it is passed over; it once was scanned as nothing, with exit code 0."""
    done = run("scan", ".", "-m", "ela", "--fail-on", "0", "--out", "photos", cwd=one)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "holds 1 of the pictures to scan" in done.stderr
    assert [path.name for path in (one / "photos").iterdir()] == ["-t.jpg"]
    meant = run("scan", ".", "-m", "ela", "--exclude", "photos", "--out", "photos", cwd=one)
    assert meant.returncode == ExitCode.CLEAN, "what is excluded is not hidden"


def test_an_empty_path_is_not_this_folder(one: Path) -> None:
    for paths in (("",), (".", "")):
        done = run("scan", *paths, "-m", "ela", cwd=one)
        assert done.returncode == ExitCode.INCOMPLETE
        assert "is empty" in done.stderr
    for out in (("--out", ""), ("--out=",)):  # as $OUT that nobody has set
        done = run("scan", "-m", "ela", "photos", *out, cwd=one)
        assert done.stderr == "imgscan: --out is empty; wanted a folder, . for this one\n"
        assert done.returncode == ExitCode.INCOMPLETE
    assert [path.name for path in one.iterdir()] == ["photos"]
    assert run("scan", "./", "-m", "ela", "--exclude", "", "--out", "o", cwd=one).returncode == ExitCode.CLEAN


def test_a_tilde_that_the_shell_has_left_is_the_home_folder(one: Path) -> None:
    """It leaves it in --out=~/x; whoever then removes a folder called ~ removes the other one."""
    (one / "home").mkdir()
    done = run(
        *("scan", "photos", "-m", "ela", "--out=~/x", "-o", "~/r.csv"),
        cwd=one,
        environment={**os.environ, "HOME": str(one / "home")},
    )
    assert done.returncode == ExitCode.CLEAN
    assert sorted(path.name for path in one.iterdir()) == ["home", "photos"]
    assert sorted(path.name for path in (one / "home").iterdir()) == ["r.csv", "x"]


def test_a_printed_path_is_no_flag_and_goes_before_a_configured_format(one: Path) -> None:
    (one / "imgscan.toml").write_text('format = "csv"\n')
    done = run("scan", ".", "-m", "ela", "--fail-on", "0", "--out", "o", "--print0", cwd=one / "photos")
    assert (done.returncode, done.stdout) == (ExitCode.FINDINGS, "./-t.jpg\0"), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a terminal of Unix, and a name that Windows does not allow")
def test_a_path_on_a_terminal_is_no_command_of_its(one: Path) -> None:
    [picture] = (one / "photos").iterdir()
    odd = picture.rename(one / "photos" / "a\x1b[2J.jpg")
    controller, terminal = os.openpty()
    command = [*IMGSCAN, "scan", "photos", "-m", "ela", "--fail-on", "0", "-l", "--out", "o"]
    subprocess.run(command, cwd=one, stdout=terminal, stderr=subprocess.DEVNULL, timeout=300, check=False)
    assert os.read(controller, 1000) == b"photos/a\\x1b[2J.jpg\r\n"
    piped = subprocess.run(command, cwd=one, capture_output=True, timeout=300, check=False)
    assert piped.stdout == os.fsencode(f"photos/{odd.name}\n")


def test_a_report_that_cannot_be_written_takes_no_other_with_it(one: Path) -> None:
    scan = ("scan", "photos", "-m", "ela", "--fail-on", "0", "--out", "o")
    (one / "folder.html").mkdir()
    for path in ("photos/-t.jpg/x.html", "folder.html"):
        early = run(*scan, "-o", path, cwd=one)
        assert early.returncode == ExitCode.INCOMPLETE
        assert "cannot be written there" in early.stderr
        assert not (one / "o").exists(), "said before anything is scanned"
    (one / "o" / "report.html").mkdir(parents=True)
    late = run(*scan, "-o", "new/deep/good.sarif", cwd=one)
    assert late.returncode == ExitCode.INCOMPLETE
    assert "report.html: cannot be written" in late.stderr
    assert "-t.jpg" in late.stdout
    assert (one / "new" / "deep" / "good.sarif").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk without room, where Linux has it")
def test_a_scan_that_fails_leaves_no_reports_of_an_earlier_one(one: Path) -> None:
    """Whoever uploads them would take them for those of this scan."""
    scan = ("scan", "photos", "-m", "ela", "--fail-on", "0", "--out", "o", "--no-features")
    reports = [one / name for name in ("r.sarif", "r.junit.xml", "o/report.html")]
    files = ("-o", "r.sarif", "-o", "r.junit.xml", "-o", "known.jsonl")
    assert run(*scan, *files, cwd=one).returncode == ExitCode.FINDINGS
    known = (one / "known.jsonl").read_text()
    assert run(*scan, *files, "--report-from", "sometimes", cwd=one).returncode == ExitCode.INCOMPLETE
    assert all(path.exists() for path in reports), "nothing began, and what is there belongs together"
    (one / "o" / "results.jsonl.new").symlink_to("/dev/full")
    assert run(*scan, *files, "--baseline", "known.jsonl", cwd=one).returncode == ExitCode.INCOMPLETE
    assert not any(path.exists() for path in reports)
    assert (one / "known.jsonl").read_text() == known, "the baseline"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk without room, where Linux has it")
def test_standard_streams_that_are_full_or_closed(one: Path) -> None:
    command = " ".join([*IMGSCAN, "scan", "-m", "ela", "--fail-on", "0", "--out", "o"])
    full = subprocess.run(
        f"{command} photos --format csv > /dev/full", shell=True, cwd=one, capture_output=True, text=True, check=False
    )
    assert full.returncode == ExitCode.INCOMPLETE
    assert full.stderr.splitlines()[-1] == "imgscan: standard output or a file cannot be written: no space left on device"
    (one / "full").mkdir()
    (one / "full" / "results.jsonl.new").symlink_to("/dev/full")
    disk = run("scan", "photos", "-m", "ela", "--out", "full", cwd=one)
    assert disk.returncode == ExitCode.INCOMPLETE
    assert "full/results.jsonl: cannot be written: No space left" in disk.stderr
    closed = subprocess.run(f"{command} - <&-", shell=True, cwd=one, capture_output=True, text=True, check=False)
    assert closed.returncode == ExitCode.INCOMPLETE
    assert "not a picture that can be decoded" in closed.stderr


def test_a_folder_called_as_a_mask_would_be_is_pointed_out(one: Path) -> None:
    for written in (".png", ".jpg"):
        shutil.copytree(one / "photos", one / written / "photos")
        shutil.copytree(one / "photos", one / written / "photos" / f"-t.jpg{written}")
        done = run("scan", f"{written}/photos", "-m", "ela", "--out", "o", cwd=one)
        assert done.returncode == ExitCode.INCOMPLETE
        assert "as a folder and as a file" in done.stderr
