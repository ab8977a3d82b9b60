"""How many processor cores this process may use.  No torch here."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that it is allowed on, where the system says so, else all; at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
