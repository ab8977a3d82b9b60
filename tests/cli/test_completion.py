"""What the shell offers: the names that are there, without a network being loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from imgscan import completion
from imgscan.datasets import DATASETS
from imgscan.datasets.forge import KINDS
from imgscan.detectors import DETECTORS
from imgscan.evaluation.protocols import PROTOCOLS
from imgscan.export import KINDS as EXPORTS
from imgscan.judge import DEFAULT, NEVER
from imgscan.prepare import InputPlan
from imgscan.records import LEVELS
from imgscan.report.formats import FORMATS


def test_names_are_those_of_the_tables() -> None:
    assert set(completion.DETECTORS) == set(DETECTORS)
    assert set(completion.FORMATS) == set(FORMATS)
    assert set(completion.PROTOCOLS) == set(PROTOCOLS)
    assert set(completion.LEVELS) == {*LEVELS[1:], DEFAULT, NEVER}
    assert set(completion.KINDS) == set(KINDS)
    assert set(completion.EXPORTS) == set(EXPORTS)
    assert set(completion.BEYOND) == set(get_args(get_type_hints(InputPlan)["beyond"]))
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
        ("imgscan models export ncl --format t", ["torchscript"]),
        ("imgscan models import focal-h", ["focal-hrnet"]),
        ("imgscan data synth --kind r", ["removal"]),
        ("imgscan data export --format f", ["focal", "forensichub"]),
        ("imgscan data export --split t", ["train", "test"]),
        ("imgscan bench cl", ["clusterings"]),
        ("imgscan evaluate --compat o", ["official"]),
        ("imgscan evaluate --beyond sh", ["shrink"]),
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


@pytest.mark.parametrize("command", ["scan", "evaluate", "train focal", "models export"])
def test_fish_gets_a_flag_a_line(command: str) -> None:
    """However narrow the terminal: each line is an offer, and a help text that goes on in the next would be one of its own."""
    asked = {
        "_IMGSCAN_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": f"imgscan {command} --",
        "COLUMNS": "60",
    }
    done = subprocess.run(
        [sys.executable, "-m", "imgscan"], capture_output=True, text=True, env={**os.environ, **asked}, check=False
    )
    offered = done.stdout.splitlines()
    assert "--accept-licence" in [line.partition("\t")[0] for line in offered]
    assert all(line.startswith("--") and "\t" in line for line in offered)
