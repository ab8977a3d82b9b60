"""The man pages, from the command definitions and the prose in man/prose.toml.

    python -m imgscan.manpages man

writes them; they are committed and ship to share/man/man1, and a test compares them with what this makes.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from imgscan import __version__
from imgscan.cli import app

VALUES = {"Path": "PATH", "int": "N", "float": "NUMBER", "str": "TEXT"}  # how a value of that type is called
OTHERS = ("help", "install_completion", "show_completion")  # options of Typer, the same everywhere


def pages(prose: dict[str, dict[str, str]]) -> dict[str, str]:
    """File name -> roff, for imgscan and each of its commands.

    Args:
        prose: page -> section -> text, of man/prose.toml.

    Raises:
        KeyError: a page without prose.
    """
    root = get_command(app)
    made = {"imgscan.1": _page("imgscan", root, prose["imgscan"])}
    for name, command in sorted(root.commands.items()):  # type: ignore[attr-defined]
        made[f"imgscan-{name}.1"] = _page(f"imgscan-{name}", command, prose[f"imgscan-{name}"])
    return made


def _page(name: str, command: Any, prose: dict[str, str]) -> str:
    words = name.replace("-", " ", 1)
    summary = (command.help or "").split("\n")[0].rstrip(".")
    subcommands = dict(sorted(getattr(command, "commands", {}).items()))
    lines = [f'.TH {name.upper()} 1 "" "imgscan {__version__}" "User Commands"', ".SH NAME", f"{_text(name)} \\- {_text(summary)}"]
    lines.append(".SH SYNOPSIS")
    for one, its in subcommands.items() if subcommands else [("", command)]:
        lines += [f".B {_text(f'{words} {one}'.strip())}", _text(_synopsis(its)), ".br"]
    if "DESCRIPTION" in prose:
        lines += [".SH DESCRIPTION", *_paragraphs(prose["DESCRIPTION"])]
    if subcommands:
        lines.append(".SH COMMANDS")
        told: list[list[str]] = []
        for one, its in subcommands.items():
            said = its.help or "" if name != "imgscan" else (its.help or "").split("\n")[0]  # the others have a page
            lines += [".SS " + _text(f"{words} {one}"), *_paragraphs(said)]
            options = [] if name == "imgscan" else list(_options(its))
            if options and options in told:
                lines += [".PP", "The options are those above."]
            else:
                lines += options
                told.append(options)
    else:
        lines += [".SH OPTIONS", *_options(command)]
    for title, text in prose.items():
        if title != "DESCRIPTION":
            lines += [f".SH {title}", *_paragraphs(text)]
    return "\n".join(lines) + "\n"


def _synopsis(command: Any) -> str:
    arguments = [param for param in command.params if not _is_option(param)]
    shown = " ".join(map(_argument, arguments))
    return f"[OPTIONS] {shown}".strip() if not getattr(command, "commands", None) else "COMMAND [OPTIONS]"


def _argument(param: Any) -> str:
    """NAME, NAME... where several may be given, in brackets where none must be."""
    name = f"{param.metavar or param.name.upper()}{'...' if param.nargs == -1 else ''}"
    return name if param.required else f"[{name}]"


def _is_option(param: Any) -> bool:
    return bool(param.opts[0].startswith("-"))


def _options(command: Any) -> Iterator[str]:
    """.TP entries of arguments and options, in the order of the definition."""
    for param in command.params:
        if param.name in OTHERS or getattr(param, "hidden", False):
            continue
        flag = getattr(param, "is_flag", False)
        value = "" if flag or not _is_option(param) else f" {param.metavar or _value(param)}"
        shown = ", ".join(sorted(param.opts, key=len)) if _is_option(param) else _argument(param)
        default = param.default
        given = not (default is None or default in ("", (), [])) and not flag
        said = f" (default: {default})" if given else " (required)" if param.required and _is_option(param) else ""
        yield from (".TP", f".B {_text(shown + value)}", _text(f"{param.help or ''}{said}"))


def _value(param: Any) -> str:
    """What stands for the value: PATH, N, NUMBER or TEXT."""
    annotation = str(param.type_descriptor.annotation)
    return next((name for kind, name in VALUES.items() if kind in annotation), "TEXT")


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs as roff; lines that start with four spaces as typed."""
    for block in text.strip("\n").split("\n\n"):
        if block.startswith("    "):
            yield from (".PP", ".nf", ".RS", *(_text(line[4:]) for line in block.split("\n")), ".RE", ".fi")
        else:
            yield from (".PP", *(_text(line) for line in block.split("\n")))


def _text(text: str) -> str:
    """Text as roff shows it: no escapes, no line that is a request, every hyphen as typed."""
    shown = " ".join(text.split()) if not text.startswith(" ") else text
    shown = shown.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown


def main(folder: Path) -> None:
    """Write the pages into a folder that holds prose.toml."""
    prose = tomllib.loads((folder / "prose.toml").read_text("utf-8"))
    for name, text in pages(prose).items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
