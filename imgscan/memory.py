"""How much memory this machine, or this container, has.  No torch here."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

UNKNOWN = 8_000_000_000  # bytes that are taken for what there is where the system does not say
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # of a container: cgroups 2 and 1


@cache
def memory_bytes() -> int:
    """Bytes of memory: what the machine has, or less where a container may use no more."""
    there = [UNKNOWN]
    with suppress(AttributeError, ValueError, OSError):  # no such call, or no such name
        there = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in LIMITS:
        with suppress(OSError, ValueError):  # no cgroups, or "max"
            there.append(int(path.read_text()))
    return min(there)
