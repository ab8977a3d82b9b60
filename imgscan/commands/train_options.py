"""What the command line of a training says, and what follows from it and a recipe alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgscan.datasets import DATASETS, SYNTH
from imgscan.datasets.resolve import parse
from imgscan.errors import ConfigError, unknown
from imgscan.training.recipe import Recipe, parse_setting, recipes_folder, with_settings

# method -> recipe without --size: the paper's own
DEFAULT_SIZES = {"focal": "official-hrnet", "cfl-net": "official", "ncl": "paper"}


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says."""

    method: str
    size: str | None
    data: str | None  # None: synth, or with --resume what the checkpoint says
    roots: list[Path]
    validation: list[Path]
    out: Path
    minutes: float | None
    epochs: int | None
    settings: list[str]
    resume: bool
    compat: str | None
    device: str
    profile: int | None
    init: str | None = None
    accept_licence: bool = False


def find_recipe(method: str, size: str | None = None) -> Path:
    """focal, compact-hrnet -> train/focal-hrnet.compact.toml; ncl, small -> train/ncl.small.toml; without a size the paper's own.

    ConfigError: what there is.
    """
    size = size or DEFAULT_SIZES[method]
    known = {}
    for path in sorted(recipes_folder().glob(f"{method}*.toml")):
        network, variant = path.stem.split(".")
        known[f"{variant}-{network.removeprefix('focal-')}" if method == "focal" else variant] = path
    if size not in known:
        raise ConfigError(unknown(f"recipe size of {method}", size, known))
    return known[size]


def with_options(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with --epochs and every --set."""
    for text in options.settings:
        setting = parse_setting(text)
        for plain, other in (("steps", "epochs"), ("validate_every", "validations")):  # which it would not count beside
            if plain in setting.get("train", {}):
                setting["train"] = {other: 0, **setting["train"]}
        recipe = with_settings(recipe, setting, f"--set {text}")
    if options.init is not None:
        recipe = with_settings(recipe, {"model": {"init": options.init}}, "--init")
    if options.epochs is not None:
        recipe = with_settings(recipe, {"train": {"epochs": options.epochs}}, "--epochs")
    return recipe


def anywhere(data: str) -> str:
    """--data as it can be said from any folder: names of sets stay, folders and lists become whole paths."""
    parts = []
    for name, times in parse(data):
        here = name not in (*DATASETS, SYNTH) and os.path.exists(name)  # noqa: PTH110 - Path.exists may raise
        parts.append((str(Path(name).resolve()) if here else name) + (f"*{times}" if times > 1 else ""))
    return "+".join(parts)


def same_data(options: TrainOptions, before: dict[str, Any], file: Path) -> TrainOptions:
    """The options with what --resume need not repeat; ConfigError when the data is another."""
    if options.data is not None and anywhere(options.data) != anywhere(before["data"]):
        raise ConfigError(f"--data {options.data}: {file} was trained on {before['data']}; another data set needs another --out")
    return replace(
        options,
        data=before["data"],
        roots=options.roots or [Path(root) for root in before["roots"]],
        validation=options.validation or [Path(root) for root in before["validation"]],
    )


def same_network(recipe: Recipe, options: TrainOptions, file: Path) -> Recipe:
    """The checkpoint's recipe with the settings of this call; the network must stay the one it was."""
    if recipe.method != options.method:
        raise ConfigError(f"{file} holds a {recipe.model.network}; resume it with imgscan train {recipe.method}")
    changed = with_options(recipe, options)
    if changed.train.optimizer != recipe.train.optimizer:
        raise ConfigError(f"--set train.optimizer: {file} holds the state of {recipe.train.optimizer}; another needs another --out")
    if changed.train.seed != recipe.train.seed:
        raise ConfigError(f"--set train.seed: {file} was begun with {recipe.train.seed}; another seed needs another --out")
    if changed.train.head_lr_mult != recipe.train.head_lr_mult:
        raise ConfigError(
            f"--set train.head_lr_mult: {file} holds the state of other groups of weights; another needs another --out"
        )
    if changed.model.init != recipe.model.init:
        raise ConfigError(f"--init: {file} goes on from its own weights; other ones need another --out")
    if changed.model != recipe.model:
        raise ConfigError(
            f"--set model.*: {file} holds a {recipe.model.network} {recipe.model.size}; another network needs another --out"
        )
    return changed
