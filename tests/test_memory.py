"""How much memory there is, as containers see it."""

import os
from pathlib import Path

import pytest

from imgscan import memory


@pytest.mark.parametrize(("limit", "wanted"), [("max\n", None), ("123456789\n", 123456789), (f"{1 << 62}\n", None), ("", None)])
def test_a_container_may_use_less_than_the_machine_has(
    limit: str, wanted: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(memory, "LIMITS", (tmp_path / "memory.max", tmp_path / "no such file"))
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.memory_bytes.__wrapped__() == (wanted or whole)
