"""What the shell offers behind a flag.  Nothing heavy is imported: people press Tab twice.

Names of what is heavy to import stand here a second time; tests hold them to their tables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

DETECTORS = ("ela", "noi1", "cfa1", "noi2", "noi5", "copy-move", "adq")
FORMATS = ("human", "json", "jsonl", "csv", "sarif", "junit", "github", "html")
PROTOCOLS = ("native", "focal", "focal-256", "cfl-net", "ncl", "trufor", "imdlbenco")
LEVELS = ("possible", "likely", "certain", "default", "never")
DEVICES = ("auto", "cpu", "cuda", "mps")
BEYOND = ("tile", "shrink", "both")
PARTS = ("clusterings", "scan", "bf16", "official", "training", "memory")
KINDS = ("splicing", "copy-move", "removal", "enhancement")
LISTS = ("cat-net", "cfl-net", "csv", "focal", "forensichub", "imdlbenco", "mvss-net")
SPLITS = ("train", "val", "test", "all")
EXPORTS = ("safetensors", "onnx", "torchscript")

if "_IMGSCAN_COMPLETE" in os.environ:  # a shell asks: Rich must not fold the help texts, for fish takes every line for an offer
    os.environ["COLUMNS"] = "10000"


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """A completer for fixed names."""
    fixed = list(names)

    def complete(incomplete: str) -> list[str]:
        return _starting(incomplete, fixed)

    return complete


def models(incomplete: str) -> list[str]:
    """Models with and without their tags; behind a + the next one."""
    from imgscan.weights import ALIASES, cards

    names = [*ALIASES, *DETECTORS]
    for card in cards():
        names += [card.name, card.full_name]
    before, plus, last = incomplete.rpartition("+")
    return [before + plus + name for name in _starting(last, sorted(set(names)))]


def data_sets(incomplete: str) -> list[str]:
    """Data sets by name, and synth; behind a + the next one."""
    from imgscan.datasets import DATASETS, SYNTH

    before, plus, last = incomplete.rpartition("+")
    return [before + plus + name for name in _starting(last, [*DATASETS, SYNTH])]


def tables(incomplete: str) -> list[str]:
    """The papers' tables and the grids."""
    from imgscan.evaluation.papers import grid_names, table_names

    return _starting(incomplete, [*table_names(), *grid_names()])


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
