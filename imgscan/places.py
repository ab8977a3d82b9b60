"""Where weights are looked for, in this order; the working directory and the scanned folders are never among them.

    IMGSCAN_WEIGHTS    folders of the user's choice, separated as in PATH
    user data folder   where `imgscan models import` writes
    packaged           what ships with imgscan

An explicit path, NAME@path/to/file, goes before all of them and is resolved by weights.py.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from imgscan.errors import ConfigError, WeightsError
from imgscan.packaged import packaged

VARIABLE = "IMGSCAN_WEIGHTS"


@dataclass(frozen=True)
class Place:
    """A folder of weights cards."""

    what: str  # how it is called in lists: IMGSCAN_WEIGHTS, user or packaged
    folder: Path  # absolute; need not exist

    def cards(self) -> list[Path]:
        """Its cards' files by name; none of the user's folder where nobody may look, as where HOME is another user's (sudo, a
        container's --user).

        Raises:
            ConfigError: a folder of IMGSCAN_WEIGHTS may not be looked into, and other weights would take the place of its own.
        """
        try:
            files = sorted(self.folder.iterdir())
        except PermissionError as error:
            if self.what == VARIABLE:
                raise ConfigError(f"{VARIABLE}: {self.folder}: cannot be read: {error.strerror}") from error
            return []
        except OSError:
            return []
        return [path for path in files if path.suffix == ".toml"]


def user_folder() -> Path:
    """The user's data folder for weights, as the platform has it; it need not exist.

    XDG_DATA_HOME or ~/.local/share on Linux (a relative XDG_DATA_HOME is ignored, as its specification wants), %LOCALAPPDATA% on
    Windows, ~/Library/Application Support on macOS; then imgscan/weights.
    """
    home = Path.home()
    if sys.platform == "win32":
        base = _absolute("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = _absolute("XDG_DATA_HOME") or home / ".local" / "share"
    return base / "imgscan" / "weights"


def _absolute(variable: str) -> Path | None:
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None


def chosen_folders() -> list[Path]:
    """The folders of IMGSCAN_WEIGHTS.

    Raises:
        ConfigError: one of them is relative.  It would mean another folder wherever imgscan is called, even the scanned one.
    """
    found = []
    for text in os.environ.get(VARIABLE, "").split(os.pathsep):
        if not text.strip():
            continue
        if not Path(text).is_absolute():
            raise ConfigError(f"{VARIABLE}: {text!r} is relative; wanted absolute folders, separated by {os.pathsep!r}")
        found.append(Path(text))
    return found


def weights_folder() -> Path:
    """weights/ of the checkout or of the installed package; WeightsError when neither is there."""
    folder = packaged("weights")
    if folder is None:
        raise WeightsError("the weights cards that ship with imgscan are not there; reinstall imgscan")
    return folder


def places() -> list[Place]:
    """Every folder that is searched by name, in order."""
    chosen = [Place(VARIABLE, folder) for folder in chosen_folders()]
    return [*chosen, Place("user", user_folder()), Place("packaged", weights_folder())]
