"""A recipe: every setting of a training run, as data.  A file in train/ holds only what differs from the defaults here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from imgscan.errors import ConfigError, unknown


@dataclass(frozen=True)
class ModelSection:
    network: str = "focal-hrnet"  # a name of models.NETWORKS
    size: str = "official"  # a name of that network's SIZES
    init: str = ""  # safetensors to start from; empty: from scratch


@dataclass(frozen=True)
class DataSection:
    side: int = 256  # pixels a side of a training picture
    untouched: float = 0.0  # share of training pictures that nobody forged; they count only with loss.floor
    workers: int = 1  # loader processes
    validation: int = 96  # forgeries made from the validation photographs, the same ones every time


@dataclass(frozen=True)
class LossSection:
    temperature: float = 0.1  # FOCAL's released code; the paper gives none
    both_ways: bool = False  # forged parts as queries too; not in the paper
    max_keys: int = 1000
    floor: float = -1.0  # cosine above which untouched pictures are held together; -1: they are skipped, as in the paper


@dataclass(frozen=True)
class TrainSection:
    steps: int = 100_000  # at most; the learning rate falls to zero over these
    batch: int = 4
    rate: float = 1e-4  # Adam, paper section 4.1
    warmup: int = 0  # steps of linear rise
    schedule: str = "constant"  # constant, or cosine: to zero at `steps`
    ema: float = 0.0  # decay of the averaged weights that are shipped; 0: none
    clip: float = 0.0  # largest gradient norm; 0: none
    amp: bool = True  # bf16 autocast
    seed: int = 666666  # the released code's
    log_every: int = 50  # steps
    validate_every: int = 1000  # steps
    save_minutes: float = 5.0  # between checkpoints


@dataclass(frozen=True)
class Recipe:
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    loss: LossSection = field(default_factory=LossSection)
    train: TrainSection = field(default_factory=TrainSection)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        return asdict(self)


def with_settings(recipe: Recipe, settings: dict[str, dict[str, Any]], origin: str) -> Recipe:
    """The recipe with some settings replaced.

    Args:
        recipe: what holds where `settings` is silent.
        settings: section -> key -> value.
        origin: named in the error, a file or a flag.

    Raises:
        ConfigError: a section or key that does not exist (with the near miss), or a value of another type.
    """
    for section, values in settings.items():
        if section not in {f.name for f in fields(recipe)}:
            raise ConfigError(f"{origin}: {unknown('section', section, (f.name for f in fields(recipe)))}")
        if not isinstance(values, dict):
            raise ConfigError(f"{origin}: {section} is a value; wanted a table [{section}]")
        old = getattr(recipe, section)
        known = {f.name: type(getattr(old, f.name)) for f in fields(old)}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(f"{origin}: {unknown(f'setting in [{section}]', key, known)}")
            wanted = known[key]
            if wanted is float and type(value) is int:
                values = {**values, key: float(value)}
            elif type(value) is not wanted:
                raise ConfigError(f"{origin}: {section}.{key} is {value!r}; wanted a {wanted.__name__}")
            if (section, key) in _LEGAL and not _LEGAL[section, key][0](values[key]):
                raise ConfigError(f"{origin}: {section}.{key} is {values[key]!r}; wanted {_LEGAL[section, key][1]}")
        recipe = replace(recipe, **{section: replace(old, **values)})
    return recipe


def _at_least(lowest: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value >= lowest, f"at least {lowest}"


# What a value must be beyond its type.
_LEGAL: dict[tuple[str, str], tuple[Callable[[Any], bool], str]] = {
    ("data", "workers"): _at_least(0),
    ("data", "untouched"): (lambda value: 0 <= value < 1, "a share from 0 up to 1"),
    ("loss", "temperature"): (lambda value: value > 0, "more than 0"),
    ("loss", "max_keys"): _at_least(2),
    ("train", "steps"): _at_least(1),
    ("train", "batch"): _at_least(1),
    ("train", "rate"): (lambda value: value > 0, "more than 0"),
    ("train", "schedule"): (lambda value: value in ("constant", "cosine"), "constant or cosine"),
    ("train", "ema"): (lambda value: 0 <= value < 1, "a decay from 0 up to 1"),
    ("train", "log_every"): _at_least(1),
    ("train", "validate_every"): _at_least(1),
}


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file: TOML tables [model], [data], [loss], [train]."""
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"recipe {path}: {error.strerror or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {path}: not TOML: {error}") from error
    return with_settings(Recipe(), settings, str(path))


def parse_setting(text: str) -> dict[str, dict[str, Any]]:
    """`section.key=value` of --set -> nested dict; the value is read as TOML, or as text where it is not TOML."""
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise ConfigError(f"--set {text!r}: wanted section.key=value, as in --set train.rate=0.001")
    try:
        parsed: Any = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return {section: {key: parsed}}
