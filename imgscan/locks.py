"""Locks of folders: one process at a time writes into an output folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgscan.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TRIES, PAUSE = 8, 0.5  # for the lock of a folder; seconds between two


def lock(folder: Path, who: str) -> int | None:
    """The folder, opened and locked for this process; None where that cannot be done (Windows, some network file systems).

    The system lets go of the lock when the process and its workers have ended, however they end; those of a scan that was killed
    take a second or two.

    Args:
        folder: has to be there.
        who: else may hold it, for the error: "scan".

    Raises:
        OutputError: another process holds it.
        OSError: it cannot be opened.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not left:
                os.close(descriptor)
                raise OutputError(f"--out {folder}: another {who} writes there; wait for it, or choose another folder") from error
            time.sleep(PAUSE)
        except OSError:
            os.close(descriptor)
            return None
        else:
            break
    return descriptor


def unlock(descriptor: int | None) -> None:
    """Let go of what `lock` gave."""
    if descriptor is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # workers may hold it open a little longer
        os.close(descriptor)


@contextmanager
def locked(folder: Path, who: str) -> Iterator[None]:
    """The folder locked within a block; raises as `lock`."""
    descriptor = lock(folder, who)
    try:
        yield
    finally:
        unlock(descriptor)
