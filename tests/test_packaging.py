"""What pip is told: whoever installs the wheel gets everything that the code imports, and the types."""

import ast
import re
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CALLED = {"PIL": "pillow", "sklearn": "scikit-learn"}  # where a package is not called as its module


def _imported() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "imgscan").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"imgscan"}


def test_every_package_that_is_imported_is_declared() -> None:
    declared = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    packages = {re.split(r"[<>=~! ]", one)[0] for one in declared}
    assert {CALLED.get(name, name) for name in _imported()} <= packages


def test_type_checkers_are_told_to_look_into_the_package() -> None:
    assert files("imgscan").joinpath("py.typed").is_file()
