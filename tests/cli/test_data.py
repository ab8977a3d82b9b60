"""`imgscan data` as its user meets it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.commands import hard
from imgscan.commands.data import check_command
from imgscan.commands.synth import synth_command
from imgscan.datasets import DATASETS
from imgscan.datasets import photos as photographs
from imgscan.datasets.photos import find_photos
from imgscan.datasets.resolve import resolve
from imgscan.errors import ExitCode, InputError
from imgscan.records import Source
from imgscan.scanner import Scanner
from tests.conftest import PHOTOS
from tests.processes import run


def test_list_names_every_set_and_neither_it_nor_check_imports_torch() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from imgscan.cli import app\n"
        f"assert CliRunner().invoke(app, ['data', 'check', {str(PHOTOS)!r}]).exit_code == 0\n"
        "done = CliRunner().invoke(app, ['data', 'list']); assert 'torch' not in sys.modules; print(done.output)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in (*DATASETS, "synth"):
        assert f"\n{name}\t" in f"\n{done.stdout}"


def test_synth_then_check(tmp_path: Path) -> None:
    """What synth writes is a sound data set, resolves, and is the same again; then a mask is turned."""
    out = tmp_path / "made"
    call = ("data", "synth", "--data-root", PHOTOS, "--count", 6, "--side", 96, "--seed", 3, "--out")
    done = run(*call, out, "--kind", "enhancement", "--kind", "copy-move")
    assert done.returncode == ExitCode.CLEAN, done.stderr
    with (out / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} <= {"enhancement", "copy-move"}
    assert [row["image"] for row in rows] == [f"images/{k:06d}.png" for k in range(6)]
    for row in rows:
        mask = np.array(Image.open(out / row["mask"]))
        assert mask.shape == (96, 96)
        assert abs((mask == 255).mean() - float(row["forged_share"])) < 1e-4
        assert set(np.unique(mask)) == {0, 255}
    assert resolve(str(out), [], "all") != []
    assert [e.image for e in resolve(str(out / "manifest.csv"), [], "all")] == [e.image for e in resolve(str(out), [], "all")]

    done = run("data", "check", out)
    assert done.returncode == ExitCode.CLEAN, done.stdout + done.stderr
    assert done.stdout.endswith("verdict: sound\n")
    Image.open(out / "masks/000002.png").crop((0, 0, 96, 64)).save(out / "masks/000002.png")
    done = run("data", "check", out)
    assert done.returncode == ExitCode.FINDINGS
    assert "wrong-size" in done.stdout
    assert "000002.png" in done.stdout
    assert "defects found: 1 kinds of error, 0 of warning" in done.stdout

    done = run(*call, out)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "holds a data set already" in done.stderr


def test_synth_by_families(tmp_path: Path) -> None:
    call = ("data", "synth", "--data-root", PHOTOS, "--count", 3, "--side", 128, "--out", tmp_path / "made")
    done = run(*call, "--families", "edit")
    assert done.returncode == ExitCode.CLEAN, done.stderr
    plain = run(*call[:-1], tmp_path / "plain")
    assert plain.returncode == ExitCode.CLEAN, plain.stderr
    first = [(tmp_path / name / "images/000000.png").read_bytes() for name in ("made", "plain")]
    assert first[0] != first[1], "families draw otherwise"
    done = run(*call[:-1], tmp_path / "other", "--families", "edti")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "--families: unknown family 'edti'; did you mean edit" in done.stderr
    done = run(*call[:-1], tmp_path / "other", "--families", "all", "--kind", "removal")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "--kind and --families do not go together" in done.stderr
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_checked(tmp_path: Path) -> None:
    done = run("data", "check", "columbia", tmp_path)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "4cam_splc/" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(InputError, match=r"imgscan data check columbia ROOT"):  # it was told to give a flag that there is not
        check_command("columbia", None)


def test_hard_lists_the_most_suspected_and_training_takes_the_list(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for photo in sorted(PHOTOS.glob("*.jpg"))[:3]:
        (photos / photo.name).write_bytes(photo.read_bytes())
    (photos / "broken.jpg").write_bytes((photos / "budgie-536d6860.jpg").read_bytes()[:3000])
    call = ("data", "hard", "ela", "--data-root", photos, "--windows", 2, "--side", 96, "--jobs", 0, "--out", tmp_path / "hard.csv")
    done = run(*call, "--share", 1)
    assert done.returncode == ExitCode.INCOMPLETE, done.stderr
    assert "skipped" in done.stderr
    assert "broken.jpg" in done.stderr
    with (tmp_path / "hard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["photo"]).name for row in rows} == {path.name for path in photos.iterdir()} - {"broken.jpg"}
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    (photos / "broken.jpg").unlink()
    assert run(*call, "--share", 0.34).returncode == ExitCode.CLEAN
    with (tmp_path / "hard.csv").open(newline="") as file:
        assert [row["photo"] for row in csv.DictReader(file)] == [row["photo"] for row in rows[:2]], "ceil(0.34 x 3)"

    done = run(*call, "--families", "edti")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "--families: unknown family 'edti'; did you mean edit" in done.stderr
    done = run(*call[:-1], photos)  # before anything is judged
    assert f"--out {photos}: cannot be written" in done.stderr
    other = tmp_path / "other"
    other.mkdir()
    (other / "fourth.jpg").write_bytes(sorted(PHOTOS.glob("*.jpg"))[3].read_bytes())
    roots = ("--data-root", photos, "--validation-root", other)
    base = ("train", "focal", *roots, "--set", "data.hard=nowhere.csv", "--out", tmp_path / "run")
    done = run(*base)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "data.hard is for untouched pictures, and data.untouched is 0" in done.stderr
    done = run(*base, "--set", "data.untouched=0.4")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "data.hard: nowhere.csv: No such file" in done.stderr
    done = run("train", "ncl", "--data", tmp_path, "--set", "data.hard=hard.csv", "--out", tmp_path / "run")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "data.hard" in done.stderr
    assert "synth" in done.stderr


def _hard(photos: Path, out: Path, **changed: Any) -> ExitCode:
    call: dict[str, Any] = {"model": "ela", "windows": 2, "share": 1, "side": 96, "families": "", "seed": 0, "jobs": 0} | changed
    return hard.hard_command(roots=[photos], device="cpu", accept_licence=False, out=out, **call)


def test_hard_goes_on_where_it_was_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By photographs: of one that was half judged nothing is kept, nor of one that has changed, nor for another question."""
    photos = tmp_path / "photos"
    photos.mkdir()
    names = [photo.name for photo in sorted(PHOTOS.glob("*.jpg"))[:3]]
    for name in names:
        (photos / name).write_bytes((PHOTOS / name).read_bytes())
    _hard(photos, tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_text()
    out, scan = tmp_path / "hard.csv", hard.scan
    asked: list[str] = []

    def interrupted(sources: Sequence[Source], scanner: Scanner) -> Any:
        for number, result in enumerate(scan(sources, scanner)):
            if number == 3:  # the last window of the second
                raise KeyboardInterrupt
            yield result

    def noted(sources: Sequence[Source], scanner: Scanner) -> Any:
        asked.extend(source.name for source in sources)
        return scan(sources, scanner)

    monkeypatch.setattr(hard, "scan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _hard(photos, out)
    memory = tmp_path / "hard.csv.judged.jsonl"
    with memory.open("ab") as file:
        file.write(memory.read_bytes()[:30])  # what a kill leaves
    monkeypatch.setattr(hard, "scan", noted)

    def again(**changed: Any) -> list[str]:
        asked.clear()
        assert _hard(photos, out, **changed) == ExitCode.CLEAN
        return sorted({name.split(".")[0] for name in asked})

    assert again() == ["1", "2"]
    assert out.read_text() == whole
    assert "1 of 3 photographs are judged already" in capsys.readouterr().err
    assert again(share=0.1) == [], "nothing but the list"
    assert out.read_text() == "".join(whole.splitlines(keepends=True)[:2])
    for other in ({"seed": 1}, {"windows": 1}, {"side": 64}, {"families": "edit"}, {"model": "noi1"}):
        assert again(**other) == ["0", "1", "2"], other
    assert again() == [], "and what was known stays known"
    os.utime(photos / names[1], (1, 1))
    assert again() == ["1"]


def test_hard_judges_a_few_windows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All windows of all photographs filled the folder for temporary files; the list is the same whatever the number."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for photo in sorted(PHOTOS.glob("*.jpg"))[:3]:
        (photos / photo.name).write_bytes(photo.read_bytes())
    at_once: list[int] = []
    scan = hard.scan

    def counted(sources: Sequence[Source], scanner: Scanner) -> Any:
        at_once.append(len(sources))
        return scan(sources, scanner)

    def lines(most: int) -> str:
        monkeypatch.setattr(hard, "MOST_WINDOWS", most)
        out = tmp_path / f"{most}.csv"
        _hard(photos, out)
        return out.read_text()

    monkeypatch.setattr(hard, "scan", counted)
    whole = lines(2000)
    assert lines(5) == whole
    assert at_once == [6, 4, 2]
    assert lines(1) == whole


def test_hard_says_what_in_its_list_is_not_hard(tmp_path: Path) -> None:
    """Where a model suspects few photographs, the share is filled up with others, in the order of their names."""
    for number in range(3):
        Image.new("RGB", (96, 96), (60 + 50 * number, 90, 120)).save(tmp_path / f"{number}.png")
    call = ("data", "hard", "ela", "--data-root", tmp_path, "--windows", 1, "--side", 64, "--families", "", "--jobs", 0)
    done = run(*call, "--share", 0.5, "--out", tmp_path / "hard.csv")
    assert done.returncode == ExitCode.CLEAN, done.stderr
    assert "2 of the 2 listed are suspected nowhere (score 0); a smaller --share leaves them out" in done.stderr


def test_synth_passes_over_what_it_cannot_read(tmp_path: Path) -> None:
    """And does not see what macOS leaves beside pictures."""
    photos = tmp_path / "photos"
    photos.mkdir()
    whole = sorted(PHOTOS.glob("*.jpg"))
    for path in whole[:2]:
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / "cut.jpg").write_bytes(whole[2].read_bytes()[:2000])
    (photos / "text.jpg").write_text("no picture")
    (photos / f"._{whole[0].name}").write_bytes(b"x" * 100)
    done = run("data", "synth", "--data-root", photos, "--count", 6, "--side", 64, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "images").iterdir())) == 6
    said = sorted(line for line in done.stderr.splitlines() if "passed over" in line)
    assert [name in line for name, line in zip(("cut.jpg", "text.jpg"), said, strict=True)] == [True, True]


def _synth(out: Path, count: int = 6, **changed: Any) -> ExitCode:
    call: dict[str, Any] = {"roots": [PHOTOS], "side": 64, "kinds": ["enhancement"], "families": "", "seed": 3} | changed
    return synth_command(count=count, out=out, **call)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_synth_goes_on_where_it_was_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C in the middle of a PNG, what kills leave, and a file that was deleted: as if there had been no interruption."""
    assert _synth(tmp_path / "whole") == ExitCode.CLEAN
    whole, out = _files(tmp_path / "whole"), tmp_path / "cut"
    save, saved = Image.Image.save, []

    def interrupted(self: Image.Image, file: Any, *args: Any, **settings: Any) -> None:
        save(self, file, *args, **settings)
        saved.extend([file] if isinstance(file, Path) else [])
        if len(saved) == 6:  # the mask of the third
            file.write_bytes(file.read_bytes()[:40])
            raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _synth(out)
    left = _files(out)
    assert all(whole[name] == content for name, content in left.items() if not name.endswith(".csv"))
    assert "masks/000002.png" not in left
    assert whole["manifest.csv"].startswith(left["manifest.csv"])
    assert left["manifest.csv"].count(b"\n") == 3

    with (out / "manifest.csv").open("ab") as file:
        file.write(b"images/000002.png,mas")
    (out / "images" / "000000.png").unlink()
    monkeypatch.setattr(Image.Image, "save", save)
    assert _synth(out) == ExitCode.CLEAN
    assert _files(out) == whole

    monkeypatch.setattr("imgscan.commands.synth.forge", None)  # nothing is left to be made
    assert _synth(out) == ExitCode.CLEAN
    assert _files(out) == whole


def test_synth_by_two_processes_makes_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken photograph, which every process draws and passes over, is named once."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(PHOTOS.glob("*.jpg"))[:3]:
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / "cut.jpg").write_bytes((photos / path.name).read_bytes()[:2000])
    _synth(tmp_path / "one", 9, roots=[photos], kinds=[])
    capsys.readouterr()
    _synth(tmp_path / "two", 3, roots=[photos], kinds=[], jobs=2)
    _synth(tmp_path / "two", 9, roots=[photos], kinds=[], jobs=2)
    assert _files(tmp_path / "two") == _files(tmp_path / "one")
    said = capsys.readouterr().err
    assert "3 of 9 forgeries are there already" in said
    assert said.count("cut.jpg") <= 2, "once a call"
    assert "cut.jpg" in said


def test_what_fails_in_a_process_is_said_as_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the traceback of another process."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted(PHOTOS.glob("*.jpg"))[:2]):
        (photos / f"{number}.jpg").write_bytes(path.read_bytes()[:2000])
    for jobs in (1, 2):
        with pytest.raises(InputError, match=r"^none of 2 photographs can be read$"):
            _synth(tmp_path / f"out{jobs}", 4, roots=[photos], jobs=jobs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_synth_by_processes_goes_on_after_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Rows stand in the order of the numbers whatever process was first, and are of pairs that are complete."""
    call = ["data", "synth", "--data-root", PHOTOS, "--count", 1200, "--side", 64, "--kind", "enhancement", "--seed", 3]
    call += ["--jobs", 2]
    out = tmp_path / "out"
    command = [sys.executable, "-m", "imgscan", *map(str, call), "--out", str(out)]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's job in the background ignores it
    ) as process:
        rows = out / "manifest.csv"
        while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") > 5):
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # a terminal tells all processes of a job
        else:
            process.kill()
        said = process.communicate()[1]
    made = (out / "manifest.csv").read_bytes().count(b"\n") - 1
    assert 4 <= made < 1200
    if number == signal.SIGINT:
        assert process.returncode == ExitCode.INTERRUPTED
        assert "interrupted; the results so far are intact" in said
        assert "Traceback" not in said
        assert not list(out.rglob("*.new"))
    _synth(out, made + 6, jobs=2)
    _synth(tmp_path / "whole", made + 6)
    whole = _files(tmp_path / "whole")
    assert {name: content for name, content in _files(out).items() if name in whole} == whole, "what is further on has no row"


def test_synth_goes_on_with_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More forgeries of the same settings are added, others are refused, and so is what it has not made."""
    out = tmp_path / "made"
    _synth(tmp_path / "whole", 4)
    _synth(out, 2)
    before = _files(out)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_bytes(sorted(PHOTOS.glob("*.jpg"))[0].read_bytes())
    for changed, said in (
        ({"side": 72}, r"other settings \(side 64, now 72\)"),
        ({"seed": 4}, r"seed 3, now 4"),
        ({"kinds": []}, r"kinds \['enhancement'\], now \[\]"),
        ({"kinds": [], "families": "edit"}, r"families \[\], now \['edit'\]"),
        ({"roots": [photos]}, r"photographs \d+, now 1"),
        ({"count": 1}, r"holds 2 forgeries already, more than --count 1"),
    ):
        with pytest.raises(InputError, match=said):
            _synth(out, **{"count": 2} | changed)
    assert _files(out) == before
    capsys.readouterr()
    _synth(out, 4)
    assert "2 of 4 forgeries are there already" in capsys.readouterr().err
    assert _files(out) == _files(tmp_path / "whole")
    (out / "synth.toml").unlink()
    with pytest.raises(InputError, match=r"holds a data set already, and no synth\.toml"):
        _synth(out, 4)


def test_synth_keeps_as_many_photographs_as_bytes_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen of 50 megapixels would be 2.4 GB."""
    monkeypatch.setattr(photographs, "CACHE_BYTES", 1)
    photographs._cache.clear()
    _synth(tmp_path / "made", kinds=["splicing"])
    assert len(photographs._cache) == 1
    size = 768 * 768 * 3
    monkeypatch.setattr(photographs, "CACHE_BYTES", 3 * size)
    monkeypatch.setattr(photographs, "memory_bytes", lambda: 4 * 4 * size)
    for processes, kept in ((1, 3), (2, 2), (4, 1), (16, 1)):
        photographs._cache.clear()
        for path in sorted(PHOTOS.glob("*.jpg")):
            photographs.read_photo(path, processes)
        assert len(photographs._cache) == kept, "all processes together keep a quarter of the memory"


def test_synth_takes_no_forgeries_for_photographs(tmp_path: Path) -> None:
    """Those of an earlier call, which lie in the working directory by default; the masks beside them neither."""
    for path in sorted(PHOTOS.glob("*.jpg"))[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    call = ("data", "synth", "--data-root", tmp_path, "--count", 4, "--side", 64, "--out")
    assert run(*call, tmp_path / "first").returncode == ExitCode.CLEAN
    done = run(*call, tmp_path / "second")
    assert "passed over 8 pictures that imgscan data synth wrote" in done.stderr
    for name in ("images/000003.png", "masks/000003.png", "manifest.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert len(find_photos([tmp_path])) == 2
    with pytest.raises(InputError, match="only forgeries that imgscan data synth wrote"):
        find_photos([tmp_path / "first"])


def test_synth_leaves_nothing_where_no_photograph_can_be_read(tmp_path: Path) -> None:
    """So that the same call goes through once there are some."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    call = ("data", "synth", "--data-root", photos, "--count", 1, "--side", 64, "--out", tmp_path / "out")
    done = run(*call)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "none of 1 photographs can be opened" in done.stderr
    assert not (tmp_path / "out").exists()
