"""The exceptions of imgscan, one tree.

    ImgscanError                what went wrong, with which file, what would be legal; the text is what the user reads
    |- InputError               a path, a flag, a picture or a folder of the user's
    |  `- ConfigError           a setting in a file, a recipe or an environment variable
    |- WeightsError             weights or their card: missing, altered, or of another network
    |- OutputError              something that could not be written
    `- WorkerError              a worker process that died

The rim (exits.py) turns each of them into one line on stderr and an exit code; nothing else of imgscan raises on purpose.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """What `imgscan` answers to its caller; 2 outranks 1."""

    CLEAN = 0  # complete, nothing at or above --fail-on
    FINDINGS = 1  # complete, with findings
    INCOMPLETE = 2  # usage, configuration, weights, an unreadable picture, an internal error
    HUNG_UP = 129  # SIGHUP, as when the terminal is closed; results so far are intact
    INTERRUPTED = 130  # SIGINT; results so far are intact
    TERMINATED = 143  # SIGTERM; results so far are intact
    BROKEN_PIPE = 141  # the reader of stdout went away


EXIT_STATUS = """Exit status: 0 complete and nothing at or above --fail-on; 1 complete, with findings; 2 not complete (usage,
configuration, weights, an unreadable picture, an internal error; 2 outranks 1); 129, 130 and 143 interrupted, results so far
are intact; 141 the reader of stdout went away."""
BY_SIGNAL = {"SIGHUP": ExitCode.HUNG_UP, "SIGINT": ExitCode.INTERRUPTED, "SIGTERM": ExitCode.TERMINATED}
"""What a command answers that one of these signals ended."""
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
"""Of an OSError: no room on a disk, in a user's share of it, or in the largest file that is allowed."""
HANG_UP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # Windows has none


def exit_code_of(error: BaseException) -> ExitCode:
    """What a command that ended with this exception answers."""
    if isinstance(error, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, SystemExit):
        return next((code for code in BY_SIGNAL.values() if code == error.code), ExitCode.INCOMPLETE)
    return ExitCode.INCOMPLETE


class ImgscanError(Exception):
    """Base of everything imgscan raises on purpose; `str(error)` is one line for the user."""


class InputError(ImgscanError):
    """A path, a flag, a picture or a folder of the user's cannot be used."""


class ConfigError(InputError):
    """A setting in a file, a recipe or an environment variable is unknown or has an illegal value."""


class WeightsError(ImgscanError):
    """Weights or their card are missing, altered, or belong to another network."""


class OutputError(ImgscanError):
    """Something could not be written."""


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The line for a name that is not in a table: what it is, the near miss, and what would be legal."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {what} {name!r}; {hint}known: {', '.join(names)}"


class WorkerError(ImgscanError):
    """A worker process that died."""
