"""What the shell offers: the names that are there, without a network being loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from imgscan import completion
from imgscan.cluster import CLUSTERINGS
from imgscan.datasets import DATASETS
from imgscan.detectors import DETECTORS
from imgscan.evaluation.protocols import PROTOCOLS
from imgscan.judge import DEFAULT, NEVER
from imgscan.records import LEVELS
from imgscan.report.formats import FORMATS


def test_names_are_those_of_the_tables() -> None:
    assert set(completion.DETECTORS) == set(DETECTORS)
    assert set(completion.CLUSTERINGS) == set(CLUSTERINGS)
    assert set(completion.FORMATS) == set(FORMATS)
    assert set(completion.PROTOCOLS) == set(PROTOCOLS)
    assert set(completion.LEVELS) == {*LEVELS[1:], DEFAULT, NEVER}
    assert completion.data_sets("") == [*DATASETS, "synth"]


def test_a_fusion_is_completed_part_by_part() -> None:
    assert completion.models("focal-hr") == ["focal-hrnet", "focal-hrnet@open"]
    assert completion.models("focal-hrnet+noi1+focal-v") == ["focal-hrnet+noi1+focal-vit", "focal-hrnet+noi1+focal-vit@open"]
    assert completion.models("x") == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("imgscan scan --model focal-f", ["focal-fusion"]),
        ("imgscan scan --format s", ["sarif"]),
        ("imgscan scan --cluster b", ["bisecting", "birch"]),
        ("imgscan scan --fail-on l", ["likely"]),
        ("imgscan evaluate --data casia-v", ["casia-v1", "casia-v2"]),
        ("imgscan train ncl --data im", ["imd2020"]),
        ("imgscan evaluate --table cfl-net-", ["cfl-net-1", "cfl-net-2", "cfl-net-3"]),
        ("imgscan models show el", ["ela"]),
    ],
)
def test_bash_gets_names_without_torch(words: str, offered: list[str]) -> None:
    code = (
        "import sys\nfrom imgscan.cli import app\ntry:\n    app(prog_name='imgscan')\n"
        "finally:\n    assert 'torch' not in sys.modules\n"
    )
    asked = {"_IMGSCAN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}, check=False)
    assert done.stdout.split() == offered, done.stderr
    assert not done.stderr
