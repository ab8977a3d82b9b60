"""The man pages are what the command definitions say now, and roff takes them without a word."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from imgscan.cli import app
from imgscan.manpages import _text, pages

MAN = Path(__file__).parents[1] / "man"
PROSE = tomllib.loads((MAN / "prose.toml").read_text("utf-8"))


def test_pages_are_those_of_the_commands() -> None:
    made = pages(PROSE)
    assert sorted(made) == sorted(path.name for path in MAN.glob("*.1")), "a page too many or too few"
    for name, text in made.items():
        assert (MAN / name).read_text("utf-8") == text, f"{name} is old: python -m imgscan.manpages man"
    assert {f"{name}.1" for name in PROSE} == set(made)


def test_every_page_is_installed() -> None:
    project = tomllib.loads((MAN.parent / "pyproject.toml").read_text("utf-8"))
    installed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert installed == {f"man/{path.name}": f"share/man/man1/{path.name}" for path in MAN.glob("*.1")}


def test_readme_shows_the_help_as_it_is() -> None:
    shown = (MAN.parent / "README.md").read_text("utf-8").split("<!-- help -->\n```\n$ imgscan --help\n")[1].split("\n```")[0]
    asked = [sys.executable, "-m", "imgscan", "--help"]
    made = subprocess.run(asked, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}, check=True).stdout
    assert made.rstrip() == shown


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")
@pytest.mark.parametrize("path", sorted(MAN.glob("*.1")), ids=lambda path: path.name)
def test_groff_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_every_example_uses_flags_that_are_there() -> None:
    commands = get_command(app).commands
    examples = [
        line.strip() for page in PROSE.values() for line in page.get("EXAMPLES", "").splitlines() if line.startswith("    ")
    ]
    seen = 0
    for line in examples:
        for part in line.split("|"):
            words = shlex.split(part.split("-m imgscan ")[-1].removeprefix(" ").removeprefix("imgscan "))
            if "imgscan" not in part or words[0] not in commands:
                continue
            command = commands[words[0]]
            if hasattr(command, "commands"):
                command = command.commands[words[1]]
            known = {name for param in command.params for name in param.opts}
            assert {word for word in words if re.fullmatch("--?[a-z0-9][a-z-]*", word)} <= known, line
            seen += 1
    assert seen >= 12


def _every_command() -> list[tuple[str, Any]]:
    """Page -> command, with those below a command."""
    return [
        (f"imgscan-{name}.1", one)
        for name, command in get_command(app).commands.items()
        for one in [*getattr(command, "commands", {}).values(), *([] if hasattr(command, "commands") else [command])]
    ]


def test_pages_say_what_the_help_says() -> None:
    made = pages(PROSE)
    required = 0
    for page, command in _every_command():
        for line in filter(None, (command.help or "").split("\n")):
            assert _text(line).rstrip(".") in made[page], page
        for param in command.params:
            if param.required and param.opts[0].startswith("-"):
                assert f"{_text(param.help)} (required)\n" in made[page]
                required += 1
    assert required >= 3
    assert made["imgscan-data.1"].count("(default: 0)") == 2, "the seeds"
    for page in made.values():
        assert "(default: )" not in page
        assert "......" not in page


def test_roff_is_escaped() -> None:
    assert _text(".x -a \\ y") == "\\&.x \\-a \\e y"
    assert _text("'x") == "\\&'x"
