"""The rim: what a command answers when its streams cannot be written, or a signal comes where Python drops exceptions."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from imgscan.errors import ExitCode
from imgscan.exits import exits

FULL = Path("/dev/full")
SCRIPT = """
import os, sys
import imgscan.exits as rim
def command():
    rim.say("heard by nobody")
    {told}
    sys.stderr.flush()  # as multiprocessing does before it starts a process
    print("found")
    return rim.ExitCode.FINDINGS
try:
    rim.exits(command)()
except rim.typer.Exit as end:
    sys.exit(end.exit_code)
"""


def answer(
    told: str = "", *, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE, unbuffered: str = ""
) -> tuple[int, str]:
    """Exit code and standard output of a command."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(told=told)],
        stdout=stdout,
        stderr=stderr,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    return done.returncode, done.stdout or ""


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_log_that_cannot_be_written_changes_no_answer(unbuffered: str) -> None:
    """Python's own answer would be 120, without what was found."""
    with FULL.open("w") as full:
        assert answer(stderr=full.fileno(), unbuffered=unbuffered) == (ExitCode.FINDINGS, "found\n")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of files")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_report_that_is_cut_short_is_not_taken_for_whole(unbuffered: str, tmp_path: Path) -> None:
    """With PYTHONUNBUFFERED Python drops without a word what the first call did not write."""
    told = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); sys.stdout.write('x' * 90000); return 0"
    with (tmp_path / "page").open("w") as page:
        assert answer(told, stdout=page.fileno(), unbuffered=unbuffered)[0] == ExitCode.INCOMPLETE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_what_takes_no_more_is_no_internal_error(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> ExitCode:
        raise OSError(number, os.strerror(number))

    with pytest.raises(typer.Exit) as ended:
        exits(failing)()
    assert ended.value.exit_code == ExitCode.INCOMPLETE
    told = f"imgscan: standard output or a file cannot be written: {os.strerror(number).lower()}\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a.jpg"), "too many files are open (ulimit -n says how many may be)"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no further process or thread can be started (ulimit -u, "),
        (RuntimeError("can't start new thread"), "no further process or thread can be started (ulimit -u, "),
        (MemoryError(), "memory is full, or ulimit -v allows no more; "),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory is full, or "),
        (KeyError("x"), "internal error: KeyError: 'x' (IMGSCAN_TRACEBACK=1 shows where)"),
    ],
)
def test_what_the_machine_has_too_little_of_is_named(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A container's limit of processes, files or memory is no fault of imgscan's, and the way out is fewer --jobs."""

    def failing() -> ExitCode:
        raise error

    with pytest.raises(typer.Exit) as ended:
        exits(failing)()
    assert ended.value.exit_code == ExitCode.INCOMPLETE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"imgscan: {told}")
    assert line.endswith("; fewer --jobs need less") != isinstance(error, KeyError)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes there block")
def test_a_reader_that_is_slow_gets_everything() -> None:
    """What starts imgscan may have set the pipe not to block (node, ssh): the report was cut short where it was full, and so was a
    picture on standard input that had not come yet."""
    ours, theirs = os.pipe()
    read, write = os.pipe()
    for one in (theirs, read):
        os.set_blocking(one, False)
    command = [sys.executable, "-c", SCRIPT.format(told="sys.stdout.write(sys.stdin.buffer.read().decode() * 500_000)")]
    with subprocess.Popen(command, stdin=read, stdout=theirs, stderr=subprocess.PIPE, text=True) as process:
        os.close(theirs)
        os.close(read)
        assert process.stderr is not None
        assert process.stderr.readline() == "heard by nobody\n"  # and then the pipe is filled before anybody reads it
        time.sleep(0.1)
        os.write(write, b"x")
        os.close(write)
        with open(ours) as pipe:  # noqa: PTH123 - a descriptor
            assert pipe.read() == "x" * 500_000 + "found\n"
        assert (process.wait(), process.stderr.read()) == (ExitCode.FINDINGS, "")


class Deaf:
    """It is sent a signal when it is deleted."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.skipif(sys.platform == "win32", reason="has no timers of this kind")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_where_python_drops_exceptions_comes_again(number: int) -> None:
    """After a SIGTERM that was lost nothing but a SIGKILL ended a scan that goes on for ever."""
    kept = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)}

    def command() -> ExitCode:
        deaf = Deaf(number)
        del deaf
        time.sleep(2)
        return ExitCode.CLEAN

    try:
        signal.signal(number, signal.default_int_handler)  # a shell's job in the background ignores SIGINT
        with pytest.raises((typer.Exit, SystemExit)) as ended:
            exits(command)()
    finally:
        for one, handler in kept.items():
            signal.signal(one, handler)
    wanted = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
    assert getattr(ended.value, "exit_code", getattr(ended.value, "code", None)) == wanted
