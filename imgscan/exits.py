"""The rim of every command: exceptions, signals and streams become one line on stderr and an exit code.  No torch here."""

from __future__ import annotations

import errno
import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, ParamSpec

import typer

from imgscan.errors import BY_SIGNAL, FULL, HANG_UP, ExitCode, ImgscanError
from imgscan.printable import say

P = ParamSpec("P")
SOON = 0.02  # seconds after which a signal comes again that came where nobody would hear of it


def exits(command: Callable[P, ExitCode]) -> Callable[P, None]:
    """Turn what a command returns or raises into the exit code, at one place."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, _terminate)
        for number in HANG_UP:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, _hang_up)
        _terminals[:] = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
        interrupted: list[int] = []

        def interrupt(number: int, frame: FrameType | None) -> None:
            if _comes_again(number, frame):
                return
            interrupted.append(number)
            raise KeyboardInterrupt

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell lets what runs in the background ignore it
            signal.signal(signal.SIGINT, interrupt)
        _open_streams()
        try:
            code = command(*args, **kwargs)
            sys.stdout.flush()
        except ImgscanError as error:
            say(f"imgscan: {error}")
            code = ExitCode.INCOMPLETE
        except BrokenPipeError:
            _drop_stdout()  # nobody reads it any more
            code = ExitCode.BROKEN_PIPE
        except OSError as error:
            code = _unwritable(error) if error.errno in FULL else _internal(error)
        except KeyboardInterrupt:
            code = _interrupted()
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        except SystemExit as error:
            if error.code in BY_SIGNAL.values():
                say("imgscan: terminated; the results so far are intact")
            raise
        except typer.Exit:
            raise
        except Exception as error:
            # An import that Ctrl-C cut short can end in any error: numpy and scipy import more when they are asked for it.
            code = _interrupted() if interrupted else _internal(error)
        processes = os.environ.get("WORLD_SIZE", "")
        if processes.isdecimal() and int(processes) > 1:  # others than torchrun set it, too
            _leave_at_once(int(code))
        raise typer.Exit(int(code))

    return wrapped


def _interrupted() -> ExitCode:
    say("imgscan: interrupted; the results so far are intact")
    return ExitCode.INTERRUPTED


def _unwritable(error: OSError) -> ExitCode:
    """No more can be written: to standard output, or to another file, for the error does not name it."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    say(f"imgscan: standard output or a file cannot be written: {(error.strerror or str(error)).lower()}")
    return ExitCode.INCOMPLETE


def _drop_stdout() -> None:
    """Point standard output at nothing, so that Python's exit does not raise once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal(error: Exception) -> ExitCode:
    """Say what nobody foresaw, or what there is too little of."""
    if os.environ.get("IMGSCAN_TRACEBACK"):
        traceback.print_exc()
    if lacking := _lacking(error):
        say(f"imgscan: {lacking}; fewer --jobs need less")
        return ExitCode.INCOMPLETE
    say(f"imgscan: internal error: {type(error).__name__}: {error} (IMGSCAN_TRACEBACK=1 shows where)")
    return ExitCode.INCOMPLETE


def _lacking(error: Exception) -> str:
    """What of this machine, or of what it allows, is used up; "": nothing."""
    no_memory = "can't allocate memory", "failed to map segment"  # torch, and who loads its libraries, say it only in words
    number, text = getattr(error, "errno", None), str(error)
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open (ulimit -n says how many may be)"
    if number == errno.EAGAIN or "can't start new thread" in text:
        return "no further process or thread can be started (ulimit -u, or the container, says how many there may be)"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in text for words in no_memory):
        return "memory is full, or ulimit -v allows no more"
    return ""


def _leave_at_once(code: int) -> NoReturn:
    """End a process of torchrun without Python's and torch's cleaning up.

    One time in twenty gloo's threads abort it there ("terminate called without an active exception"), and torchrun calls a run
    that is finished failed.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _open_streams() -> None:
    """Streams that every print can use: a closed one goes nowhere, so does a terminal from when on it is closed, and a name outside
    the encoding is shown as escapes.

    A standard input that is closed is empty.
    """
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - open as long as the process
    for name in ("stdin", "stdout", "stderr"):
        with suppress(OSError, AttributeError):  # closed, of a test that has no descriptor, or Windows
            os.set_blocking(getattr(sys, name).fileno(), True)  # or what a slow reader or writer (node, ssh) leaves is cut short
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
            if (kind := _kind_of(stream, name)) is not None:
                raw = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
                lasting = io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=True)
                setattr(sys, name, lasting)


def _kind_of(stream: Any, name: str) -> type[io.FileIO] | None:
    """What has to stand below a stream in place of what Python has there; None: nothing else."""
    if os.name == "posix" and stream.isatty():
        return _Terminal
    plain = isinstance(stream.buffer, io.FileIO)  # PYTHONUNBUFFERED: what one call did not write, Python drops without a word
    if name == "stderr" and (plain or isinstance(getattr(stream.buffer, "raw", None), io.FileIO)) and stream.fileno() == 2:
        return _Unheard
    return io.FileIO if plain else None


class _Unheard(io.FileIO):
    """Standard error, which may lie on a full disk: what it does not take is lost, and nothing else.

    Without this Python keeps it, starting a process flushes it and fails, and Python's own exit code, 120, takes the place of ours.
    """

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


class _Terminal(io.FileIO):
    """A terminal that may be closed while something runs on that its SIGHUP does not reach (nohup, disown)."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            leave_terminal()
            return memoryview(data).nbytes


def _comes_again(number: int, frame: FrameType | None) -> bool:
    """Whether a signal came where Python drops what is raised, in a __del__ or for a weak reference; then it comes again soon.

    Otherwise it would be lost, and after a SIGTERM that was lost all further ones are ignored.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        return False
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or Path(code.co_filename).name in ("weakref.py", "_weakrefset.py"):
            signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
            signal.setitimer(signal.ITIMER_REAL, SOON)
            return True
        frame = frame.f_back
    return False


def _terminate(number: int, frame: FrameType | None) -> None:
    if _comes_again(number, frame):
        return
    for one in (*HANG_UP, signal.SIGTERM):  # once is enough: cleaning up must not be interrupted
        signal.signal(one, signal.SIG_IGN)
    if hasattr(signal, "SIGCHLD"):  # where all processes of a group get the signal, torch would raise for the end of its workers
        signal.signal(signal.SIGCHLD, lambda *_: None)
    raise SystemExit(int(BY_SIGNAL[signal.Signals(number).name]))


def _hang_up(number: int, frame: FrameType | None) -> None:
    leave_terminal()
    _terminate(number, frame)


_terminals: list[int] = []  # of standard output and error those that were one when the command began; of a closed one nobody knows


def leave_terminal() -> None:
    """What is told from now on goes nowhere: it must not fail, as it would on a terminal that was closed."""
    for descriptor in _terminals:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
