"""What the page "imgscan in CI" and the files beside it promise, run where it can be run."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.main import get_command

from imgscan import DEFAULT_MODEL
from imgscan.cli import app
from imgscan.errors import ExitCode

ROOT = Path(__file__).parents[2]
FLAGS = {name for param in get_command(app).commands["scan"].params for name in param.opts}


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment where `imgscan` is this one."""
    script = tmp_path / "bin" / "imgscan"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imgscan "$@"\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def noisy(path: Path, seed: int) -> None:
    """A picture that `noi1` marks."""
    pixels = np.random.default_rng(seed).normal(128, 4, (256, 256, 3))
    pixels[64:160, 64:160] += np.random.default_rng(seed + 1).normal(0, 40, (96, 96, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def test_the_shell_snippet_lets_known_findings_pass_and_new_ones_fail(tmp_path: Path, shell: dict[str, str]) -> None:
    page = (ROOT / "man" / "ci.md").read_text("utf-8")
    (snippet,) = re.findall(r"<!-- run -->\n```bash\n(.*?)```", page, re.DOTALL)
    first, then = snippet.replace("imgscan scan", "imgscan scan --model noi1 --fail-on 0.5").split("\n\n")
    noisy(tmp_path / "pictures" / "old.png", 0)
    subprocess.run(["bash", "-euo", "pipefail", "-c", first], cwd=tmp_path, env=shell, check=True)
    assert subprocess.run(["bash", "-c", then], cwd=tmp_path, env=shell, check=False).returncode == ExitCode.CLEAN
    noisy(tmp_path / "pictures" / "new.png", 7)
    assert subprocess.run(["bash", "-c", then], cwd=tmp_path, env=shell, check=False).returncode == ExitCode.FINDINGS
    assert 'failures="1"' in (tmp_path / "imgscan.junit.xml").read_text()
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_action_passes_inputs_on_untouched_and_ends_as_imgscan_ends(tmp_path: Path, shell: dict[str, str]) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    clear, _, step = action["runs"]["steps"]
    assert not any("${{" in one["run"] for one in (clear, step)), "inputs reach the scripts as environment only"
    noisy(tmp_path / "a $(touch owned) `x`" / "p.png", 0)
    noisy(tmp_path / "skip" / "q.png", 3)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    inputs = {name: one["default"] for name, one in action["inputs"].items()}
    inputs |= {
        "paths": "a $(touch owned) `x`\nskip/q.png\nbroken.jpg",
        "model": "noi1",
        "fail-on": "0.5",
        "exclude": "q.*\n",
        "max-unreadable": "50%",
    }
    written = [tmp_path / output["value"].replace("${{ inputs.out }}", "imgscan-out") for output in action["outputs"].values()]

    def run(step: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        given = {name: inputs[re.findall(r"inputs\.([a-z-]+)", text)[0]] for name, text in step["env"].items()}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]  # as the runner starts it
        return subprocess.run(command, cwd=tmp_path, env={**shell, **given}, capture_output=True, text=True, check=False)

    done = run(step)
    assert done.returncode == ExitCode.FINDINGS, done.stderr
    assert done.stdout.startswith("::warning file=a $(touch owned) `x`/p.png,line=1"), done.stdout
    assert [line.partition(",")[0] for line in done.stdout.splitlines()[1:]] == ["::warning file=broken.jpg"]
    assert not (tmp_path / "owned").exists()
    assert all(path.exists() for path in written)
    assert run(clear).returncode == 0
    assert not any(path.exists() for path in written), "or they would be uploaded for a run that fails before it scans"


def test_the_thresholds_that_the_page_speaks_of_are_those_of_a_scan() -> None:
    page = " ".join((ROOT / "man" / "ci.md").read_text("utf-8").split())
    assert re.findall(r"imgscan (?:models show|calibrate) ([^ `]+)", page) == [DEFAULT_MODEL] * 2


def test_hooks_and_pages_use_flags_that_are_there() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert [hook["language"] for hook in hooks] == ["python", "system"]
    page = (ROOT / "man" / "ci.md").read_text("utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        yaml.safe_load(block)
    commands = [hook["entry"] for hook in hooks] + re.findall(r"imgscan scan [^\n`#]*", page)
    for command in commands:
        assert {word for word in command.split() if word.startswith("-") and word != "-"} <= FLAGS, command  # -: standard input
