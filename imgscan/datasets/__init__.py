"""Data sets: entries (a picture and its mask), where they come from, how they are split, and what is wrong with them.

`DATASETS` is the one list of published sets; each module of `published` describes one and reads its published layout.  SYNTH
(synth.py) has no module there: its pictures are made on the fly.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from imgscan.datasets.info import PublishedSet
from imgscan.errors import InputError, unknown

# Name -> module of imgscan.datasets.published; nothing is imported before it is asked for.
DATASETS: dict[str, str] = {
    "casia": "casia",
    "casia-v1": "casia_v1",
    "casia-v2": "casia_v2",
    "nist16": "nist16",
    "columbia": "columbia",
    "coverage": "coverage",
    "defacto": "defacto",
    "imd2020": "imd2020",
    "misd": "misd",
    "ffpp": "ffpp",
    "sp-coco": "sp_coco",
    "cm-coco": "cm_coco",
    "cm-raise": "cm_raise",
    "cm-c-raise": "cm_c_raise",
    "dso-1": "dso_1",
    "korus": "korus",
    "autosplice": "autosplice",
    "cocoglide": "cocoglide",
}
SYNTH = "synth"
"""What --data and a weights card call forgeries made on the fly."""


def data_set(name: str) -> PublishedSet:
    """The module of a set; InputError names the near miss."""
    if name not in DATASETS:
        raise InputError(unknown("data set", name, DATASETS))
    return cast(PublishedSet, import_module(f"imgscan.datasets.published.{DATASETS[name]}"))
