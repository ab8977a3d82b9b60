"""Settings of the scan and where each comes from: flag > IMGSCAN_* > imgscan.toml or [tool.imgscan] > default.  No torch here.

A key is a flag's long name without the dashes: `fail-on = "likely"`, `exclude = ["thumbs"]`, IMGSCAN_FAIL_ON=likely.  Files and
variables are for `imgscan scan`; the other commands take only what describes the machine (MACHINE), for a measurement must not
change with the folder it is started in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from imgscan.errors import ConfigError, ImgscanError, WeightsError, unknown

FILES = ("imgscan.toml", "pyproject.toml")  # looked for in a folder, in this order, and in the folders above it
PREFIX = "IMGSCAN_"
MACHINE = frozenset({"device", "jobs", "batch"})  # what other commands than scan take
# Flags that are of one call: what is asked once, what would change the meaning of stdin and stdout for a script.
OF_ONE_CALL = frozenset(
    {"help", "config", "no_config", "show_settings", "force", "zero", "files_from", "only_paths", "print0", "accept_licence"}
)
# Variables that are no settings.
OTHERS = frozenset({"TRACEBACK", "WEIGHTS", "ACCEPT_LICENCE", "WRITE_GOLDEN"})
WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Setting(NamedTuple):
    """A value of one flag that was not given as a flag."""

    value: Any  # str, bool, or a list of str: as a command line would say it
    origin: str  # IMGSCAN_FAIL_ON, or the file


def keys(command: Any) -> dict[str, Any]:
    """Key -> parameter, of a command's flags that can be configured; a key has underscores."""
    found = {}
    for param in command.params:
        long = [opt for opt in param.opts if opt.startswith("--")]
        if long and param.name not in OF_ONE_CALL:
            found[max(long, key=len)[2:].replace("-", "_")] = param
    return found


def read_settings(
    known: Mapping[str, Any], *, file: Path | None, files: bool, folder: Path, environment: Mapping[str, str]
) -> dict[str, Setting]:
    """What variables and a configuration file say, by key; a variable goes before the file.

    Args:
        known: from `keys`.
        file: of --config, in place of the search; None: search.
        files: False: no file at all (--no-config).
        folder: where the search begins.
        environment: os.environ.

    Raises:
        ConfigError: a file that cannot be read, an unknown key or variable (with the near miss), a value of the wrong type.
    """
    settings = {}
    if files:
        path, table = _read(file) if file is not None else _search(folder)
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in known:
                raise ConfigError(f"{path}: {unknown('key', key, (one.replace('_', '-') for one in known))}")
            if name in settings:
                raise ConfigError(f"{path}: {name.replace('_', '-')} and {name} are the same key; wanted one of them")
            settings[name] = Setting(_from_toml(known[name], value, f"{path}: {key}", path.parent), str(path))
    for variable, text in sorted(environment.items()):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in OTHERS:
            continue
        if name.lower() not in known:
            legal = [PREFIX + one.upper() for one in (*known, *OTHERS - {"WRITE_GOLDEN"})]
            raise ConfigError(unknown("variable", variable, legal))
        if text:  # an empty variable is one that is not set, as a CI system's unset input is
            settings[name.lower()] = Setting(_from_text(known[name.lower()], text, variable), variable)
    return settings


def _search(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The nearest file that has settings, from the folder upward; no settings where there is none."""
    for here in (folder, *folder.parents):
        for name in FILES:
            path = here / name
            # A link to nowhere has settings that somebody counts on; pyproject.toml is mostly not about imgscan.
            if path.is_file() or (name != "pyproject.toml" and path.is_symlink() and not path.exists()):
                data = _toml(path)
                if name != "pyproject.toml":
                    return path, data
                tool = data.get("tool")
                if isinstance(tool, dict) and "imgscan" in tool:
                    return path, _table(tool["imgscan"], path)
    return folder, {}


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """The settings of a named file; of any pyproject.toml its [tool.imgscan]."""
    data = _toml(path)
    if path.name == "pyproject.toml":
        tool = data.get("tool")
        data = _table(tool.get("imgscan", {}) if isinstance(tool, dict) else {}, path)
    return path, data


def _table(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: tool.imgscan is {value!r}; wanted a table [tool.imgscan]")
    return value


def _toml(path: Path) -> dict[str, Any]:
    import tomllib  # not for --help

    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # editors on Windows begin a file with a mark
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error} (--no-config scans without it)") from error


def _from_toml(param: Any, value: Any, where: str, folder: Path) -> Any:
    """A TOML value as a command line would say it; relative paths are from the file's folder."""
    if param.is_flag:
        if not isinstance(value, bool):
            raise ConfigError(f"{where} is {value!r}; wanted true or false")
        return value
    parts = value if param.multiple and isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, (str, int, float)):
            wanted = "text, or a list of texts" if param.multiple else "text or a number"
            raise ConfigError(f"{where} is {part!r}; wanted {wanted}")
    said = [str(folder / _path(str(part), where)) if _is_path(param) else str(part) for part in parts]
    if param.name == "model":
        from imgscan.weights import split_model  # not for --help

        said = ["+".join(split_model(text, folder)) for text in said]
    return said if param.multiple else said[0]


def _path(text: str, where: str) -> Path:
    """A path as a shell would hand it over: ~ is the home folder, and nothing is no path, least of all the file's folder."""
    if not text:
        raise ConfigError(f"{where} is empty; wanted a path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ConfigError(f"{where} is {text!r}: {error}") from error


def _from_text(param: Any, text: str, variable: str) -> Any:
    """A variable's text as a command line would say it: lists are split as PATH is."""
    if param.is_flag:
        if text.lower() not in WORDS:
            raise ConfigError(f"{variable} is {text!r}; wanted one of {', '.join(WORDS)}")
        return WORDS[text.lower()]
    parts = [part for part in text.split(os.pathsep) if part] if param.multiple else [text]
    if _is_path(param):
        parts = [str(_path(part, variable)) for part in parts]
    return parts if param.multiple else parts[0]


def _is_path(param: Any) -> bool:
    """Whether a flag takes a file or folder."""
    return "Path" in str(param.type_descriptor.annotation)


def configure(ctx: Any, *, file: Path | None, files: bool) -> None:
    """Put the settings under the flags of this call: they become its defaults, and `ctx.meta` remembers where each is from.

    Raises:
        ConfigError: see read_settings; or a value that the flag would not take either.
    """
    known = keys(ctx.find_root().command.commands["scan"])
    settings = read_settings(known, file=file, files=files, folder=Path.cwd(), environment=os.environ)
    own = {param.name: param for param in ctx.command.params}
    ctx.default_map, ctx.meta[__name__] = {}, {}
    for key, setting in settings.items():
        param = own.get(known[key].name)
        if param is None or (ctx.info_name != "scan" and key not in MACHINE):
            continue
        try:
            param.process_value(ctx, setting.value)
        except Exception as error:  # the exceptions of the command line's parser, which say it for a flag
            message = getattr(error, "message", str(error))
            raise ConfigError(f"{setting.origin}: {key.replace('_', '-')}: {message}") from error
        ctx.default_map[param.name] = setting.value
        ctx.meta[__name__][param.name] = setting.origin


def came_from_configuration(ctx: Any, name: str) -> bool:
    """Whether a flag has its value from a file or a variable, not from the command line."""
    return name in ctx.meta.get(__name__, {}) and ctx.get_parameter_source(name).name == "DEFAULT_MAP"


def weaker_of(ctx: Any, one: str, other: str) -> str | None:
    """Which of two flags has its value from where less counts: a flag goes before a variable, that before a file; None: neither."""

    def rank(name: str) -> int:
        if not came_from_configuration(ctx, name):
            return 2
        return int(ctx.meta[__name__][name] in os.environ)

    if rank(one) == rank(other):
        return None
    return min(one, other, key=rank)


def blamed(ctx: Any, error: ImgscanError) -> ImgscanError:
    """An error about a flag, with the file or the variable that the flag's value came from, for nobody may have typed it."""
    flag = str(error).partition(" ")[0].rstrip(":")
    for param in ctx.command.params:
        if flag in param.opts and came_from_configuration(ctx, param.name):
            return type(error)(f"{ctx.meta[__name__][param.name]}: {error}")
    if isinstance(error, WeightsError) and came_from_configuration(ctx, "model"):
        return WeightsError(f"{ctx.meta[__name__]['model']}: model: {error}")
    return error


def show(ctx: Any) -> Iterator[str]:
    """--show-settings: a line per setting with its origin; as it stands, an imgscan.toml."""
    origins = ctx.meta.get(__name__, {})
    rows = []
    for key, param in keys(ctx.command).items():
        value, source = ctx.params[param.name], ctx.get_parameter_source(param.name).name
        origin = {"COMMANDLINE": "flag", "DEFAULT_MAP": origins.get(param.name, "")}.get(source, "default")
        unset = value is None
        said = f"{key.replace('_', '-')} = {'' if unset else _toml_value(value)}".rstrip()
        rows.append((f"# {said} not set" if unset else said, origin))
    width = max(len(said) for said, _ in rows)
    return (f"{said:<{width}}  # {origin}" for said, origin in rows)


def _toml_value(value: Any) -> str:
    """A value as TOML; JSON's texts, numbers, booleans and lists are TOML's too."""
    import json

    return json.dumps(value, default=str, ensure_ascii=False)
