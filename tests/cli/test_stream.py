"""`imgscan scan --files-from -` as a worker: what is written to it is scanned as it comes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgscan.errors import ExitCode
from tests.cli.test_ci import noisy
from tests.cli.test_cli import IMGSCAN
from tests.processes import run


@contextmanager
def worker(*args: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    flags = ["--files-from", "-", "-m", "noi1", "--fail-on", "0", "--out", "o", *map(str, args)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*IMGSCAN, "scan", *flags], text=True, cwd=cwd, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def send(process: subprocess.Popen[str], *names: str) -> None:
    assert process.stdin is not None
    process.stdin.write("".join(f"{name}\n" for name in names))
    process.stdin.flush()


def until(there: Callable[[], bool]) -> None:
    for _ in range(1200):
        if there():
            return
        time.sleep(0.1)
    raise AssertionError("it has not come within two minutes")


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def of_pictures(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["type"] == "result"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A working directory with five pictures that noi1 marks, the last of which is a copy of the first, and a broken one."""
    for seed, name in enumerate(("a", "b", "c", "d")):
        noisy(tmp_path / f"{name}.jpg", 2 * seed)
    shutil.copy(tmp_path / "a.jpg", tmp_path / "e.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:500])
    return tmp_path


def test_pictures_are_scanned_as_they_come(pictures: Path) -> None:
    """One at a time, and several at once; twice named is scanned once, what is gone is skipped, and the end ends as ever."""
    so_far = pictures / "o/results.jsonl.new"
    with worker(cwd=pictures) as process:
        send(process, "a.jpg")
        until(lambda: len(of_pictures(so_far)) == 1)
        assert process.stdout is not None
        assert of_pictures(so_far)[0]["flagged"]
        assert "a.jpg" in process.stdout.readline(), "a finding is told at once"
        assert (pictures / "o/masks/a.jpg.png").exists()
        send(process, "b.jpg", "a.jpg", "gone", "c.jpg", "o/masks/a.jpg.png")
        until(lambda: len(of_pictures(so_far)) == 4)
        assert not (pictures / "o/results.jsonl").exists()
        send(process, "d.jpg", "e.jpg")
        rest, said = process.communicate()
    assert process.returncode == ExitCode.INCOMPLETE, said
    assert [line.split()[-1] for line in rest.splitlines()] == ["b.jpg", "c.jpg", "d.jpg", "e.jpg"]
    assert "skipped gone: cannot be read: No such file" in said
    assert "6 pictures: 5 flagged, 0 clean, 1 skipped" in said
    (*_, summary) = lines(pictures / "o/results.jsonl")
    assert (summary["complete"], summary["pictures"], summary["exit_code"]) == (True, 6, 2)
    assert [{one["name"] for one in group["pictures"]} for group in summary["alike"]] == [{"a.jpg", "e.jpg"}], "of two rounds"
    assert (pictures / "o/report.html").exists()


def test_a_slow_list_gives_the_record_of_a_file(pictures: Path) -> None:
    names = ["b.jpg", "broken.jpg", "a.jpg", "e.jpg"]
    (pictures / "list").write_text("\n".join(names))
    whole = run(
        "scan", "--files-from", "list", "-m", "noi1", "--fail-on", "0", "--max-unreadable", "1", "--out", "whole", cwd=pictures
    )
    with worker("--max-unreadable", "1", cwd=pictures) as process:
        for number, name in enumerate(names):
            send(process, name)
            until(lambda wanted=number + 1: len(of_pictures(pictures / "o/results.jsonl.new")) == wanted)  # type: ignore[misc]
        out, _ = process.communicate()
    assert process.returncode == whole.returncode == ExitCode.FINDINGS
    assert out == whole.stdout
    assert of_pictures(pictures / "o/results.jsonl") == of_pictures(pictures / "whole/results.jsonl")
    (*_, slow), (*_, fast) = lines(pictures / "o/results.jsonl"), lines(pictures / "whole/results.jsonl")
    assert {**slow, "seconds": 0} == {**fast, "seconds": 0}


def test_what_was_found_before_is_taken_in_every_round(pictures: Path) -> None:
    run("scan", "a.jpg", "c.jpg", "-m", "noi1", "--fail-on", "0", "--out", "o", cwd=pictures)
    shutil.move(pictures / "c.jpg", pictures / "moved.jpg")
    with worker(cwd=pictures) as process:
        send(process, "b.jpg")
        until(lambda: len(of_pictures(pictures / "o/results.jsonl.new")) == 1)
        send(process, "a.jpg", "moved.jpg")
        _, said = process.communicate()
    assert process.returncode == ExitCode.FINDINGS
    assert "3 pictures: 3 flagged, 0 clean, 0 skipped; 2 of them from an earlier scan" in said


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
def test_a_worker_that_waits_can_be_ended(pictures: Path) -> None:
    with worker(cwd=pictures) as process:
        send(process, "a.jpg")
        until(lambda: len(of_pictures(pictures / "o/results.jsonl.new")) == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == ExitCode.TERMINATED
        assert process.stderr is not None
        assert "the results so far are intact" in process.stderr.read()
    found = lines(pictures / "o/results.jsonl")
    assert [line["name"] for line in found if line["type"] == "result"] == ["a.jpg"]
    assert found[-1]["complete"] is False


def test_a_wrong_path_in_a_list_that_is_there_at_once_is_refused(pictures: Path) -> None:
    """As in the action of GitHub: a folder that is not there must not pass for one without findings."""
    args = [*IMGSCAN, "scan", "--files-from", "-", "-m", "noi1", "--allow-unreadable", "--out", "o"]
    done = subprocess.run(args, input="a.jpg\nfotos\n", capture_output=True, text=True, cwd=pictures, check=False)
    assert done.returncode == ExitCode.INCOMPLETE
    assert "fotos: no such file or folder" in done.stderr
    assert not (pictures / "o").exists()
