"""The data that ships beside the code: weights/ and train/ of the checkout (editable install) or of the installed package."""

from __future__ import annotations

from pathlib import Path


def packaged(name: str) -> Path | None:
    """The folder `name` of the checkout, or `_name` of the wheel, where it holds TOML files; None: neither is there."""
    here = Path(__file__).parent
    return next((folder for folder in (here / f"_{name}", here.parent / name) if any(folder.glob("*.toml"))), None)
