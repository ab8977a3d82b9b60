"""Weights and their cards: what is known of a set of weights without importing torch; networks.py makes networks of them.

`NAME@TAG` picks a card `NAME.TAG.toml` of the first folder of places.py that has one; without a tag the card marked
`default = true`; `NAME@path/to/file` takes a card (.toml), a .safetensors with its card beside it, or the folder of a training.
`a+b` names several networks to fuse.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imgscan.card_keys import COMBINATION, COMPATS, check_card, check_combination, check_types
from imgscan.cluster_names import GRID, HEAD, METHOD, NO_GRID, check_clustering
from imgscan.errors import InputError, WeightsError, unknown
from imgscan.operating_points import OperatingPoint, operating_points
from imgscan.places import Place, places
from imgscan.typed import Section, settings

ALIASES = {
    "focal-fusion": "focal-hrnet+focal-vit",
    "ensemble": "focal-hrnet+focal-vit+focal-traces",
}
# The released code lists the ViT first, and its first network sets the grid: 64 x 64 cells of 256 + 32 channels.
OFFICIAL_ALIASES = {"focal-fusion": "focal-vit+focal-hrnet"}


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
    commercial: bool | None = None  # whether its licence allows commercial use; None: not stated

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.tag}"

    @property
    def has_head(self) -> bool:
        """Whether the network answers with a mask: CFL-Net and NCL always, FOCAL's extractors where their size has a head."""
        return not self.network.startswith("focal-") or bool(self.backbone.get("head", False))

    def as_released(self, compat: str) -> Card:
        """The card with the settings of the authors' released code, its table [compat.NAME]; they were not measured by imgscan.

        Raises:
            WeightsError: the card has no such table.
        """
        tables = self.data.get("compat", {}).get(compat)
        if tables is None:
            raise WeightsError(
                f"--compat {compat}: {self.full_name} is not of the authors' release; it is for weights that "
                f"imgscan models import has written, as {self.name}@official"
            )
        return replace(self, points=(), data=self.data | tables)

    def section(self, name: str, kind: type[Section]) -> Section:
        """A table of the card as a settings record; WeightsError as `settings`."""
        return self.check(name, kind, self.data.get(name, {}))

    def check(self, name: str, kind: type[Section], table: dict[str, Any]) -> Section:
        """The same for a table that was put together from a card and flags."""
        return settings(name, kind, table, f"weights card {self.path}")


@dataclass(frozen=True)
class Model:
    """What `--model` names: one card, or several to fuse."""

    name: str  # as the user may type it again: focal-hrnet@open+focal-vit@open
    cards: tuple[Card, ...]  # none where all parts are detectors
    measured: tuple[OperatingPoint, ...]  # of this very combination; empty: never measured
    settings: dict[str, Any]  # clustering and localize tables of this combination
    path: Path | None = None  # of the combination's own card
    detectors: tuple[str, ...] = ()  # of detectors.DETECTORS; they need no weights
    finders: tuple[str, ...] = ()  # that add to what the others say, in their table's order; alone one is like any other detector
    compat: str | None = None  # whose released code is followed: "official", or None
    asked: str | None = None  # the clustering in place of the card's own

    @property
    def paths(self) -> list[Path]:
        """The cards that were read, that of the combination first."""
        return [*([self.path] if self.path else []), *(card.path for card in self.cards)]

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """The thresholds that hold for how this model decides; those that name the card's own clustering where others are not."""
        names = self.asked, self.asked or self._clustering["method"]
        exact, named = (tuple(point for point in self.measured if point.cluster == name) for name in names)
        return exact or named

    @property
    def _clustering(self) -> dict[str, Any]:
        return {"method": METHOD, "grid": GRID, **self.settings.get("clustering", {})}

    @property
    def clusters(self) -> bool:
        """Whether anything can be clustered: FOCAL's networks can, and features that are fused.  All else answers with a map
        of its own."""
        return len(self.cards) + len(self.detectors) > 1 or any(card.network.startswith("focal-") for card in self.cards)

    def with_clustering(self, method: str | None, grid: int | None) -> Model:
        """The model with another clustering, and the operating points that were measured with that; with another grid none were.

        Raises:
            InputError: an unknown method; the model follows a released code, which has its own; a grid where mask heads decide;
                nothing is clustered.
        """
        check_clustering(method)
        if self.compat is not None and (method is not None or grid is not None):
            raise InputError(f"--compat {self.compat}: the released code clusters in its own way; leave --cluster and --grid out")
        wanted = {k: v for k, v in (("method", method), ("grid", grid)) if v is not None}
        if wanted and not self.clusters:
            raise InputError(f"{self.name} answers with a map of its own, and nothing is clustered; leave --cluster and --grid out")
        new = self._clustering | wanted
        if grid is not None and new["method"] == HEAD:
            raise InputError(NO_GRID)
        if new == self._clustering:
            return self
        measured = self.measured if new["grid"] == self._clustering["grid"] else ()
        return replace(self, measured=measured, asked=new["method"], settings=self.settings | {"clustering": new})


def read_card(path: Path) -> Card:
    """Read one card; WeightsError says what is missing, of another type than it must be, or unknown."""
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise WeightsError(f"weights card {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"weights card {path}: not TOML: {error}") from error
    check_card(data, path)
    return Card(
        name=data["name"],
        tag=data["tag"],
        network=data["network"],
        path=path,
        file=path.parent / data["file"],
        sha256=data["sha256"].lower(),
        licence=data["licence"],
        backbone=data["backbone"],
        points=operating_points(data, path),
        data=data,
        commercial=data.get("commercial"),
    )


def shape_of(card: Card) -> dict[str, Any]:
    """The network that a card describes.  The same weights in another one may fit, and answer otherwise."""
    return {"network": card.network, "backbone": card.backbone}


@dataclass(frozen=True)
class Installed:
    """A card that was found in one of the places."""

    place: Place
    path: Path
    full_name: str  # as on the card, or by its file's name where the card does not say
    card: Card | None  # None: it cannot be read
    problem: str  # why not; empty where it can
    hidden: bool  # an earlier place has weights of the same name and tag


def _tables() -> Iterator[tuple[Place, Path, dict[str, Any]]]:
    """Every card's file in every place, in the order of the search; {} for one that is no TOML.

    Raises:
        ConfigError: a folder of IMGSCAN_WEIGHTS may not be looked into.
    """
    for place in places():
        for path in place.cards():
            data: dict[str, Any] = {}
            with suppress(OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
                data = tomllib.loads(path.read_text("utf-8-sig"))
            yield place, path, data


def installed() -> list[Installed]:
    """Every set of weights in every place, also hidden and broken ones; combinations (fusions) are not among them."""
    found: list[Installed] = []
    seen: set[str] = set()
    for place, path, data in _tables():
        if "fuses" in data:
            continue
        name, _, tag = path.stem.partition(".")
        full_name = f"{data.get('name', name)}@{data.get('tag', tag)}"
        try:
            card, problem = read_card(path), ""
        except WeightsError as error:
            card, problem = None, str(error)
        found.append(Installed(place, path, full_name, card, problem, hidden=full_name in seen))
        seen.add(full_name)
    return found


def cards() -> list[Card]:
    """The cards that can be named, in the order of the search; combinations (fusions) are not among them."""
    return [one.card for one in installed() if one.card is not None and not one.hidden]


def find_model(text: str, compat: str | None = None) -> Model:
    """The model a user names.

    Args:
        text: focal-fusion, focal-hrnet, focal-hrnet@open, focal-hrnet@run/weights.safetensors, a+b, ela, focal-hrnet+noi1,
            focal-fusion+copy-move, ...
        compat: "official": with the settings of the authors' released code; None: with those of imgscan.

    Raises:
        WeightsError: an unknown name or tag (with the near miss), a card that cannot be read, a detector without features
            beside others, or with `compat` weights that are not of a release.
    """
    from imgscan.detectors import DETECTORS

    if compat is not None and compat not in COMPATS:
        raise InputError(f"--compat: {unknown('release', compat, COMPATS)}")
    parts = [part for named in split_model(text) for part in _expanded(named, compat)]
    detectors = tuple(part for part in parts if part in DETECTORS)
    finders = tuple(name for name, one in DETECTORS.items() if one.adds and name in detectors)
    if finders and len(parts) > len(finders):
        return _with_finders("+".join(part for part in parts if part not in finders), finders, compat)
    mute = [part for part in detectors if DETECTORS[part].features is None]
    if mute and len(parts) > 1:
        able = ", ".join(name for name, one in DETECTORS.items() if one.features is not None)
        raise WeightsError(f"model {text!r}: {mute[0]} has no features to fuse; use it alone, or one of {able}")
    found = tuple(_find_card(part) for part in parts if part not in DETECTORS)
    name = "+".join([*(card.full_name for card in found), *detectors])
    if compat is not None:
        return _as_released(name, found, detectors, compat)
    if len(parts) == 1:
        return Model(name, found, found[0].points, found[0].data) if found else Model(name, (), (), {}, detectors=detectors)
    if (combination := None if detectors else _combination(found)) is not None:
        return Model(name, found, *combination)
    settings = found[0].data if found else {}
    if settings.get("clustering", {}).get("method") == HEAD and (detectors or not all(card.has_head for card in found)):
        settings = settings | {"clustering": settings["clustering"] | {"method": "hdbscan"}}  # not all have a head to speak with
    return Model(name, found, (), settings, detectors=detectors)


def split_model(text: str, folder: Path | None = None) -> list[str]:
    """What a + separates; a path that is there may have some in it.

    Args:
        text: as for find_model.
        folder: that relative paths of cards are from, which then are whole, ~ being the home folder; None: they stay as they are.
    """
    pieces, parts = text.split("+"), []
    while pieces:
        for count in range(len(pieces), 0, -1):
            name, at, tag = "+".join(pieces[:count]).partition("@")
            if folder is not None and _is_path(tag):
                tag = str(folder / Path(tag).expanduser())
            # Path.exists raises where it may not look.
            if count == 1 or ("+" not in name and _is_path(tag) and os.path.exists(tag)):  # noqa: PTH110
                break
        parts.append(f"{name}{at}{tag}")
        del pieces[:count]
    return parts


def _expanded(text: str, compat: str | None) -> list[str]:
    """The parts of an alias; focal-fusion@open: the tag goes to every part."""
    alias, at, tag = text.partition("@")
    if alias not in ALIASES:
        return [text]
    if compat is not None and alias not in OFFICIAL_ALIASES:
        raise WeightsError(f"--compat {compat}: no release is an {alias}; wanted {', '.join(OFFICIAL_ALIASES)} or one network")
    return [part + at + tag for part in (ALIASES if compat is None else OFFICIAL_ALIASES)[alias].split("+")]


def _combination(
    found: tuple[Card, ...], finders: tuple[str, ...] = ()
) -> tuple[tuple[OperatingPoint, ...], dict[str, Any], Path] | None:
    """The card of a combination: its thresholds, its tables and its file; None: there is none.

    Raises:
        WeightsError: it has unknown keys or other types, or an earlier file of its name cannot be read, which would go before it.
    """
    broken: dict[str, Path] = {}
    for _, path, data in _tables():
        if not data:
            broken.setdefault(path.name, path)
        if data.get("fuses") != [card.full_name for card in found]:
            continue
        check_combination(data, path)  # also of another combination: what it is for may be what is misspelt
        if data.get("finders", []) == list(finders):
            if path.name in broken:
                read_card(broken[path.name])
            check_types(data, COMBINATION, path)
            wanted = {card.full_name: card.sha256 for card in found}
            # Measured with other weights than those installed: its settings hold, its thresholds do not.
            return operating_points(data, path) if data.get("weights") == wanted else (), data, path
    return None


def _with_finders(text: str, finders: tuple[str, ...], compat: str | None) -> Model:
    """A model and detectors that add to what it says; with the model's own settings, where the whole has no card."""
    if compat is not None:
        raise WeightsError(f"--compat {compat}: {finders[0]} needs no weights and has no release; leave --compat out")
    model = find_model(text)
    name = "+".join([model.name, *finders])
    if (combination := _combination(model.cards, finders)) is not None:
        return Model(name, model.cards, *combination, finders=finders)
    return replace(model, name=name, measured=(), finders=finders)


def _as_released(name: str, found: tuple[Card, ...], detectors: tuple[str, ...], compat: str) -> Model:
    """The model with the settings of the released code; only what that code has: networks, and only FOCAL's fused."""
    if detectors:
        raise WeightsError(f"--compat {compat}: {detectors[0]} needs no weights and has no release; leave --compat out")
    released = tuple(card.as_released(compat) for card in found)
    alone = [card.full_name for card in released if "fuse" not in card.data]
    if len(released) > 1 and alone:
        raise WeightsError(f"--compat {compat}: the released code of {alone[0]} fuses nothing; scan with it alone")
    return Model(name, released, (), released[0].data, compat=compat)


def _find_card(text: str) -> Card:
    name, at, tag = text.partition("@")
    if at and _is_path(tag):
        card = read_card(_card_of(Path(tag)))
        if card.network != name and card.name != name:
            raise WeightsError(f"{tag}: weights of {card.network}, not of {name}; use {card.network}@{tag}")
        return card
    there = [one for one in installed() if not one.hidden]
    named = [one.card for one in there if one.card is not None and one.card.name == name]
    if tagged := next((card for card in named if (card.tag == tag if at else card.data.get("default"))), None):
        return tagged
    for one in there:
        if one.card is None and (one.full_name == text if at else one.full_name.startswith(f"{name}@")):
            raise WeightsError(one.problem)
    from imgscan.releases.table import RELEASES

    if at and name in RELEASES and tag == RELEASES[name].tag:
        source = f"get {RELEASES[name].file} from {RELEASES[name].url}"
        raise WeightsError(f"no weights {text!r} here; {source}, then: imgscan models import {name} FILE")
    if not named:
        from imgscan.detectors import DETECTORS

        names = {one.card.name for one in there if one.card is not None}
        raise WeightsError(unknown("model", text, [*ALIASES, *sorted(names), *DETECTORS]))
    tags = ", ".join(card.full_name for card in named)
    meant = f"did you mean {name}@./{tag}? " if at and os.path.exists(tag) else ""  # noqa: PTH110 - as above
    raise WeightsError(f"no weights {text!r}; {meant}there are: {tags}, and {name}@path/to/file.safetensors")


def _is_path(tag: str) -> bool:
    """Whether what stands behind an @ is no tag."""
    return "/" in tag or tag.endswith((".toml", ".safetensors"))


def _card_of(path: Path) -> Path:
    """The card that a path means: itself, that beside the weights, or that in the folder of a training."""
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where it may not look
        return path / "weights.toml"
    if path.suffix not in (".toml", ".safetensors"):
        raise WeightsError(f"{path}: wanted .toml or .safetensors, or a folder with weights.toml; see imgscan models import")
    return path.with_suffix(".toml")


def check_side(model: Model, side: int | None) -> None:
    """InputError when --side is given, which says how much a network sees at once, and the model has no network."""
    if side is not None and not model.cards:
        raise InputError(f"--side {side}: {model.name} has no network that could see more or less at once")
