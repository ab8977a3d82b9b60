"""A recipe: every setting of a training run, as data.  A file in train/ holds only what differs from the defaults here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from imgscan.errors import ConfigError, unknown
from imgscan.packaged import packaged
from imgscan.typed import misfit


@dataclass(frozen=True)
class ModelSection:
    network: str = "focal-hrnet"  # a name of models.NETWORKS
    size: str = "official"  # a name of that network's SIZES
    init: str = ""  # weights to start from, a file or NAME@TAG; empty: from scratch; a mask head they lack starts from scratch
    frozen: str = ""  # a part of the network, as trunk, that stays as `init` has it, batch norm included; empty: none


@dataclass(frozen=True)
class DataSection:
    side: int = 256  # pixels a side of a training picture
    sides: str = ""  # of training pictures in place of that, in turn by forward passes, as 256+512; empty: all of `side`
    fit: str = "crop"  # how a picture of a data set gets that size; crop: native pixels, a window; resize: aspect ignored
    augment: str = "none"  # a name of datasets.augment.AUGMENTATIONS
    families: str = ""  # of synthetic forgeries, joined by +: names of datasets.families.FAMILIES, or all; empty: the plain maker
    untouched: float = 0.0  # share of synthetic training pictures that nobody forged
    hard: str = ""  # a list of photographs that half of these are made from, as imgscan data hard writes it; empty: none
    authentic: bool = False  # also train on the untouched pictures of a data set
    epoch: int = 10_000  # pictures in an epoch of synth, which has no end
    workers: int = 1  # loader processes
    validation: int = 96  # most pictures to validate on, the same ones every time
    unreadable: int = 20  # pictures that may be skipped as unreadable or without their mask before the run ends

    @property
    def turns(self) -> tuple[int, ...]:
        """Sides of the pictures of one forward pass after the other."""
        return tuple(int(part) for part in self.sides.split("+")) if self.sides else (self.side,)


@dataclass(frozen=True)
class LossSection:
    temperature: float = 0.1  # FOCAL's and CFL-Net's released code; the papers of FOCAL and NCL give none
    max_keys: int = 1000  # pixels drawn per class and picture (FOCAL, NCL)
    contrast: str = "info-nce++"  # FOCAL: a name of losses.CONTRASTS; CFL-Net: released computes Eq. 2 as the released code does
    whole_batch: bool = False  # FOCAL: one contrast over all pictures of a batch (the paper's Table 3)
    both_ways: bool = False  # FOCAL: forged parts as queries too; not in the paper
    floor: float = -1.0  # FOCAL: cosine above which untouched pictures are held together; -1: they are skipped, as in the paper
    contour: str = "ignore"  # FOCAL: cells on it; middle: a cell is what its middle is, as the released code
    weight: float = 1.0  # of the contrast beside the cross-entropy (CFL-Net, NCL, FOCAL with a head); 0: no contrast
    forged: float = 0.5  # CFL-Net: weight of forged pixels in the cross-entropy; pristine ones weigh the rest
    dice: float = 0.5  # FOCAL with a head: weight of 1 - dice, over the forged pictures
    picture: float = 0.0  # with a mask head: weight of the cross-entropy of pictures, by the mean of their highest logits; ours
    patch: int = 4  # CFL-Net: pixels a side of a patch of its contrast
    window: int = 0  # NCL: pixels a side, odd, whose kinds make a cell one of the contour, as 7, conv1's field; 0: the cell's own
    mu: float = 0.0  # NCL: weight of the contour in the pivot-consistent loss; 0: plain cross-entropy


@dataclass(frozen=True)
class TrainSection:
    steps: int = 100_000  # at most; the learning rate schedules run over these
    epochs: int = 0  # in place of steps, where not 0
    batch: int = 4  # pictures per process and forward pass
    accumulate: int = 1  # forward passes per step
    optimizer: str = "adam"  # adam or sgd
    rate: float = 1e-4
    head_lr_mult: float = 1.0  # times the rate, behind the trunk: 10 is usual where that starts from ImageNet (DeepLab)
    momentum: float = 0.9  # sgd
    decay: float = 0.0  # weight decay
    warmup: int = 0  # steps of linear rise
    schedule: str = "constant"  # a name of schedule.SCHEDULES, or plateau
    every: int = 20  # step: epochs between two falls; plateau: validations without improvement before a fall
    factor: float = 0.8  # step, plateau: of each fall
    power: float = 0.9  # poly
    ema: float = 0.0  # decay of the averaged weights that are written in the end; 0: none
    clip: float = 0.0  # largest gradient norm; 0: none
    precision: str = "auto"  # bf16, fp16 (with loss scaling), float32; auto: bf16 where the device computes in it, else float32
    compile: bool = False  # torch.compile
    sync_bn: bool = False  # batch norm over all processes (GPUs only)
    keep: str = "last"  # which weights are written in the end: last, or best on the validation split
    patience: int = 0  # validations without improvement before the run ends early; 0: never
    seed: int = 666666  # FOCAL's released code's
    log_every: int = 50  # steps
    validate_every: int = 1000  # steps
    validations: int = 0  # per epoch, in place of validate_every, where not 0
    save_minutes: float = 5.0  # between checkpoints
    previews: int = 4  # validation pictures whose predictions are drawn at every validation


@dataclass(frozen=True)
class Recipe:
    model: ModelSection = field(default_factory=ModelSection)
    data: DataSection = field(default_factory=DataSection)
    loss: LossSection = field(default_factory=LossSection)
    train: TrainSection = field(default_factory=TrainSection)

    @property
    def method(self) -> str:
        """focal, cfl-net or ncl: the paper whose loss trains this network."""
        return "focal" if self.model.network.startswith("focal-") else self.model.network

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
            if known[key] is str and type(value) is int:  # data.sides=256
                values = {**values, key: str(value)}
            elif problem := misfit(f"{section}.{key}", value, known[key]):
                raise ConfigError(f"{origin}: {problem}")
            elif known[key] is float:  # from a whole number
                values = {**values, key: float(value)}
            if (section, key) in _LEGAL and not _LEGAL[section, key][0](values[key]):
                raise ConfigError(f"{origin}: {section}.{key} is {values[key]!r}; wanted {_LEGAL[section, key][1]}")
        recipe = replace(recipe, **{section: replace(old, **values)})
    return recipe


Rule = tuple[Callable[[Any], bool], str]


def _at_least(lowest: int) -> Rule:
    return lambda value: value >= lowest, f"at least {lowest}"


def _one_of(*names: str) -> Rule:
    return lambda value: value in names, f"one of {', '.join(names)}"


def _is_side(text: str) -> bool:
    return text.isdecimal() and int(text) >= 64 and int(text) % 8 == 0


_POSITIVE: Rule = (lambda value: value > 0, "more than 0")
_SHARE: Rule = (lambda value: 0 <= value < 1, "from 0 up to, but not, 1")

# What a value must be beyond its type.
_LEGAL: dict[tuple[str, str], Rule] = {
    ("data", "side"): (lambda value: _is_side(str(value)), "a multiple of 8, at least 64"),
    ("data", "sides"): (lambda text: not text or all(map(_is_side, text.split("+"))), "multiples of 8, from 64 on, joined by +"),
    ("data", "fit"): _one_of("crop", "resize"),
    ("data", "augment"): _one_of("none", "flip", "focal"),
    ("data", "untouched"): _SHARE,
    ("data", "epoch"): _at_least(1),
    ("data", "workers"): _at_least(0),
    ("data", "validation"): _at_least(1),
    ("data", "unreadable"): _at_least(0),
    ("loss", "temperature"): _POSITIVE,
    ("loss", "max_keys"): _at_least(2),
    ("loss", "forged"): (lambda value: 0 < value < 1, "between 0 and 1"),
    ("loss", "mu"): _SHARE,
    ("loss", "dice"): _at_least(0),
    ("loss", "picture"): _at_least(0),
    ("loss", "patch"): _at_least(1),
    ("loss", "window"): (lambda value: value == 0 or (value > 0 and value % 2 == 1), "0 or an odd number"),
    ("loss", "contour"): _one_of("ignore", "middle"),
    ("loss", "weight"): _at_least(0),
    ("train", "warmup"): _at_least(0),
    ("train", "patience"): _at_least(0),
    ("train", "previews"): _at_least(0),
    # Times the forward passes of a step, on all devices, it has to fit into 64 bits: a generator of torch takes no more.
    ("train", "seed"): (lambda value: 0 <= value < 2**48, "from 0 up to, but not, 2^48"),
    ("train", "clip"): _at_least(0),
    ("train", "validations"): _at_least(0),
    ("train", "steps"): _at_least(1),
    ("train", "epochs"): _at_least(0),
    ("train", "batch"): _at_least(1),
    ("train", "accumulate"): _at_least(1),
    ("train", "optimizer"): _one_of("adam", "sgd"),
    ("train", "rate"): _POSITIVE,
    ("train", "head_lr_mult"): _POSITIVE,
    ("train", "momentum"): _SHARE,
    ("train", "decay"): _at_least(0),
    ("train", "schedule"): _one_of("constant", "cosine", "step", "poly", "plateau"),
    ("train", "every"): _at_least(1),
    ("train", "power"): _POSITIVE,
    ("train", "save_minutes"): _at_least(0),
    ("train", "factor"): (lambda value: 0 < value < 1, "between 0 and 1"),
    ("train", "ema"): _SHARE,
    ("train", "precision"): _one_of("auto", "bf16", "fp16", "float32"),
    ("train", "keep"): _one_of("last", "best"),
    ("train", "log_every"): _at_least(1),
    ("train", "validate_every"): _at_least(1),
}


def recipes_folder() -> Path:
    """train/ of the checkout or of the installed package; ConfigError when neither is there."""
    folder = packaged("train")
    if folder is None:
        raise ConfigError("the recipes that ship with imgscan are not there; reinstall imgscan")
    return folder


def read_recipe(path: Path, compat: str | None = None) -> Recipe:
    """Read a recipe file: TOML tables [model], [data], [loss], [train], and [compat.NAME.*] with what NAME changes.

    Args:
        path: of the file.
        compat: "official": what the authors' released code does differently from their paper; None: the paper.

    Raises:
        ConfigError: no such file, not TOML, unknown settings, or a recipe without that [compat.NAME].
    """
    try:
        settings = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: not TOML: {error}") from error
    compats = settings.pop("compat", {})
    if problem := misfit("compat", compats, dict[str, dict[str, Any]]):
        raise ConfigError(f"recipe {path}: {problem}")
    recipe = with_settings(Recipe(), settings, str(path))
    if compat is None:
        return recipe
    if compat not in compats:
        there = ", ".join(compats) or "none: there is nothing in it to change; leave --compat out"
        raise ConfigError(f"--compat {compat}: recipe {path.name} has {there}")
    return with_settings(recipe, compats[compat], str(path))


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
