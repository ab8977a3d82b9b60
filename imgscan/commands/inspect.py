"""`imgscan inspect`: what a file says of itself; no network looks at it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from imgscan.errors import ExitCode, InputError
from imgscan.metadata.facts import inspect
from imgscan.printable import printable, say


def inspect_command(paths: list[Path], *, as_json: bool) -> ExitCode:
    """Print each file's facts and remarks; 2 when one cannot be read, or not to its end."""
    code = ExitCode.CLEAN
    for number, path in enumerate(paths):
        try:
            facts = inspect(path)
        except InputError as error:
            say(f"imgscan: {error}")
            code = ExitCode.INCOMPLETE
            continue
        if facts.broken:
            code = ExitCode.INCOMPLETE
        if as_json:
            print(json.dumps(facts.rows | {"remarks": [asdict(one) for one in facts.remarks]}))
            continue
        print("\n" * bool(number), end="")
        for name, value in facts.rows.items():
            print(f"{name:<12} {printable(value)}")
        for remark in facts.remarks:
            print(f"{'! ' + remark.kind:<12} {printable(remark.text)}")
    return code
