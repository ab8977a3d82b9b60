"""Weights and their cards: what is known of a set of weights without importing torch, and how it becomes a network.

`NAME@TAG` picks a card `weights/NAME.TAG.toml`; without a tag the card marked `default = true`; `NAME@path/to/file` takes a card
(.toml) or a .safetensors with its card beside it.  `a+b` names several networks to fuse.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imgscan.errors import InputError, WeightsError, unknown
from imgscan.packaged import packaged

if TYPE_CHECKING:
    from torch import Tensor, nn

ALIASES = {"focal-fusion": "focal-hrnet+focal-vit"}
Section = TypeVar("Section")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with what was measured of it."""

    level: str  # possible, likely or certain
    score: float  # pictures at or above it are findings of that level
    false_alarms: float  # measured share of untouched pictures at or above it
    pictures: int  # how many untouched pictures that is measured on


@dataclass(frozen=True)
class Card:
    """A weights card; `data` holds every table of the file, for `models show` and the records."""

    name: str  # focal-hrnet
    tag: str  # open
    network: str  # a name of models.NETWORKS
    path: Path  # of the card
    file: Path  # of the safetensors
    sha256: str  # of that file
    licence: str
    backbone: dict[str, Any]  # the fields of the network's size
    points: tuple[OperatingPoint, ...]
    data: dict[str, Any] = field(repr=False)

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.tag}"

    def section(self, name: str, kind: type[Section]) -> Section:
        """A table of the card as a settings record; WeightsError for a key that record does not have."""
        return self.check(name, kind, self.data.get(name, {}))

    def check(self, name: str, kind: type[Section], table: dict[str, Any]) -> Section:
        """The same for a table that was put together from a card and flags."""
        return settings(name, kind, table, f"weights card {self.path}")


def settings(name: str, kind: type[Section], table: dict[str, Any], origin: str) -> Section:
    """A table as a settings record; WeightsError, which names the origin, for a key that the record does not have."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise WeightsError(f"{origin}: {unknown(f'key in [{name}]', key, known)}")
    try:
        return kind(**table)
    except TypeError as error:
        raise WeightsError(f"{origin}: [{name}] is incomplete: {error}") from error


@dataclass(frozen=True)
class Model:
    """What `--model` names: one card, or several to fuse."""

    name: str  # as the user may type it again: focal-hrnet@open+focal-vit@open
    cards: tuple[Card, ...]  # none where all parts are detectors
    points: tuple[OperatingPoint, ...]  # of this very combination; empty: never measured
    settings: dict[str, Any]  # clustering and localize tables of this combination
    path: Path | None = None  # of the combination's own card
    detectors: tuple[str, ...] = ()  # of detectors.DETECTORS; they need no weights

    def with_clustering(self, method: str | None, grid: int | None) -> Model:
        """The model with another clustering; the operating points go, for they were measured with the card's own."""
        old = self.settings.get("clustering", {})
        new = old | {k: v for k, v in (("method", method), ("grid", grid)) if v is not None}
        if new == old or (method is None and old.get("method") == "head"):  # a mask head has no grid
            return self
        return replace(self, points=(), settings=self.settings | {"clustering": new})


def weights_folder() -> Path:
    """weights/ of the checkout or of the installed package; WeightsError when neither is there."""
    folder = packaged("weights")
    if folder is None:
        raise WeightsError("the weights cards that ship with imgscan are not there; reinstall imgscan")
    return folder


def read_card(path: Path) -> Card:
    """Read one card; WeightsError says what is missing."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WeightsError(f"weights card {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"weights card {path}: not TOML: {error}") from error
    missing = [k for k in ("name", "tag", "network", "file", "sha256", "licence", "backbone") if k not in data]
    if missing:
        raise WeightsError(f"weights card {path}: lacks {', '.join(missing)}")
    return Card(
        name=data["name"],
        tag=data["tag"],
        network=data["network"],
        path=path,
        file=path.parent / data["file"],
        sha256=data["sha256"],
        licence=data["licence"],
        backbone=data["backbone"],
        points=_points(data, path),
        data=data,
    )


def _points(data: dict[str, Any], path: Path) -> tuple[OperatingPoint, ...]:
    try:
        return tuple(OperatingPoint(**point) for point in data.get("operating_points", ()))
    except TypeError as error:
        raise WeightsError(f"weights card {path}: an operating point is incomplete: {error}") from error


def cards() -> list[Card]:
    """The cards that ship, by name and tag; combinations (fusions) are not among them."""
    found = [p for p in sorted(weights_folder().glob("*.toml")) if "fuses" not in tomllib.loads(p.read_text("utf-8"))]
    return [read_card(p) for p in found]


def find_model(text: str) -> Model:
    """The model a user names.

    Args:
        text: focal-fusion, focal-hrnet, focal-hrnet@open, focal-hrnet@run/weights.safetensors, a+b, ela, focal-hrnet+noi1, ...

    Raises:
        WeightsError: an unknown name or tag (with the near miss), a card that cannot be read, or a detector without features
            beside others.
    """
    from imgscan.detectors import DETECTORS

    alias, at, tag = text.partition("@")
    if alias in ALIASES:  # focal-fusion@open: the tag goes to every part
        text = "+".join(part + at + tag for part in ALIASES[alias].split("+"))
    parts = text.split("+")
    detectors = tuple(part for part in parts if part in DETECTORS)
    mute = [part for part in detectors if DETECTORS[part].features is None]
    if mute and len(parts) > 1:
        able = ", ".join(name for name, one in DETECTORS.items() if one.features is not None)
        raise WeightsError(f"model {text!r}: {mute[0]} has no features to fuse; use it alone, or one of {able}")
    found = tuple(_find_card(part) for part in parts if part not in DETECTORS)
    name = "+".join([*(card.full_name for card in found), *detectors])
    if len(parts) == 1:
        return Model(name, found, found[0].points, found[0].data) if found else Model(name, (), (), {}, detectors=detectors)
    for path in [] if detectors else sorted(weights_folder().glob("*.toml")):
        data = tomllib.loads(path.read_text("utf-8"))
        if data.get("fuses") == [card.full_name for card in found]:
            wanted = {card.full_name: card.sha256 for card in found}
            # Measured with other weights than those installed: its settings hold, its thresholds do not.
            return Model(name, found, _points(data, path) if data.get("weights") == wanted else (), data, path)
    settings = found[0].data if found else {}
    if settings.get("clustering", {}).get("method") == "head" and (detectors or not all(c.backbone.get("head") for c in found)):
        settings = settings | {"clustering": settings["clustering"] | {"method": "hdbscan"}}  # not all have a head to speak with
    return Model(name, found, (), settings, detectors=detectors)


def _find_card(text: str) -> Card:
    name, at, tag = text.partition("@")
    if at and (tag.endswith((".toml", ".safetensors")) or "/" in tag):
        path = Path(tag)
        card = read_card(path if path.suffix == ".toml" else path.with_suffix(".toml"))
        if card.network != name and card.name != name:
            raise WeightsError(f"{path}: weights of {card.network}, not of {name}; use {card.network}@{tag}")
        return card
    shipped = cards()
    names = {card.name for card in shipped}
    if name not in names:
        from imgscan.detectors import DETECTORS

        raise WeightsError(unknown("model", text, [*ALIASES, *sorted(names), *DETECTORS]))
    tagged = [card for card in shipped if card.name == name and (card.tag == tag if at else card.data.get("default"))]
    if not tagged:
        tags = [f"{card.name}@{card.tag}" for card in shipped if card.name == name]
        raise WeightsError(f"no weights {text!r}; there are: {', '.join(tags)}, and {name}@path/to/file.safetensors")
    return tagged[0]


def file_sha256(path: Path) -> str:
    """64 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, as float32 where they are floats."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"weights {path}: cannot be read: {error}") from error
    return {k: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for k, v in state.items()}


def load_network(card: Card) -> nn.Module:
    """The network of a card with its weights, in eval mode on the CPU.

    Raises:
        WeightsError: the file is missing, is not the one the card describes, or does not fit key for key and shape for shape.
    """
    from imgscan.models import NETWORKS

    if not card.file.is_file():
        raise WeightsError(f"weights of {card.full_name}: {card.file} is missing; the card {card.path} names it")
    digest = file_sha256(card.file)
    if digest != card.sha256:
        raise WeightsError(
            f"weights {card.file}: sha256 is {digest[:12]}..., the card says {card.sha256[:12]}...; the file was altered"
        )
    if card.network not in NETWORKS:
        raise WeightsError(f"weights card {card.path}: {unknown('network', card.network, NETWORKS)}")
    module = NETWORKS[card.network]
    table = {k: tuple(v) if isinstance(v, list) else v for k, v in card.backbone.items()}
    try:
        network: nn.Module = module.build(module.Size(**table))
    except (TypeError, KeyError, InputError) as error:
        raise WeightsError(f"weights card {card.path}: [backbone] does not describe a {card.network}: {error}") from error
    state = load_state(card.file)
    wanted = network.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    shapes = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    if missing or extra or shapes:
        problem = f"{len(missing)} keys missing, {len(extra)} unknown, {len(shapes)} of another shape"
        first = (missing + extra + shapes)[0]
        raise WeightsError(f"weights {card.file}: not those of the network on the card ({problem}; first {first})")
    network.load_state_dict(state)
    return network.eval()
