"""Where a training starts: weights of imgscan, of a release, or of ImageNet and Segment Anything for a part of the network."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imgscan.digests import file_sha256
from imgscan.errors import ConfigError, WeightsError
from imgscan.licences import check_licences
from imgscan.models import NETWORKS
from imgscan.releases.convert import convert, looks_like, recognise
from imgscan.releases.read import StateFile, read_state
from imgscan.releases.table import RELEASES
from imgscan.training.recipe import ModelSection
from imgscan.weights import Card, find_model, read_card

MASK_HEAD = "head."  # what the keys of a FOCAL extractor's mask head begin with


@dataclass(frozen=True)
class Start:
    """The file to start from."""

    path: Path
    card: Card | None  # None: a file without one


def find_start(text: str, accept_licence: bool = False) -> Start:
    """What `--init` names: a file, or weights by name.

    Args:
        text: FILE.pth, FILE.safetensors, the card of one, or NAME@TAG as for scan --model.
        accept_licence: whether the user accepts weights without commercial use.

    Raises:
        WeightsError: no such file and no such weights, several of them, an altered file, or a licence that wants accepting.
    """
    path = Path(text)
    if path.is_file() and path.suffix != ".toml":
        return Start(path, _card_beside(path))
    if "@" not in text and not path.is_file() and (path.suffix or len(path.parts) > 1):
        raise WeightsError(f"--init {text}: no such file; wanted a .pth or .safetensors, or weights by name as sam-vit-l@official")
    cards = (read_card(path),) if path.is_file() else find_model(text).cards
    if len(cards) != 1:
        raise WeightsError(f"--init {text}: names {len(cards)} sets of weights; wanted one")
    card = cards[0]
    check_licences(cards, accept_licence)
    if not card.file.is_file() or file_sha256(card.file) != card.sha256:
        raise WeightsError(f"weights {card.file}: missing, or not the file that {card.path} describes")
    return Start(card.file, card)


def _card_beside(file: Path) -> Card | None:
    """The card that a training or an import left beside a file."""
    path = file.with_suffix(".toml")
    if file.suffix != ".safetensors" or not path.is_file():
        return None
    with suppress(WeightsError):  # a recipe, or something else of that name
        card = read_card(path)
        return card if card.file == file else None
    return None


def initialise(model: nn.Module, section: ModelSection) -> None:
    """Fill a fresh network, or the part of it that the file is for, in place; strict in every key of that part.

    Args:
        model: as built from the section.
        section: of the recipe; `init` is what find_start takes, whose licence was asked about before.

    Raises:
        WeightsError: the file is not for this network.
        ConfigError: it is for another size of it.
    """
    start = find_start(section.init, accept_licence=True)
    state = read_state(start.path)
    own = model.state_dict()
    headless = {key for key in own if not key.startswith(MASK_HEAD)}
    if set(state.tensors) in (set(own), headless):  # of imgscan's own trainings, or imported; a head they lack stays as it is
        _check_shapes(state, model, section)
        _check_order(start, state, model, section)
        model.load_state_dict({**own, **state.tensors})
        return
    name = recognise(state.tensors)
    release = None if name is None else RELEASES[name]
    if start.card is not None and (
        start.card.network == section.network or release is None or section.network not in release.starts
    ):
        raise ConfigError(f"--init {section.init}: {_unlike(start.card, state, own, section)}")
    if release is None or section.network not in release.starts:
        able = ", ".join(one.title for one in RELEASES.values() if section.network in one.starts) or "weights of its own"
        raise WeightsError(f"--init {section.init}: looks like {looks_like(state.tensors)}; {section.network} starts from {able}")
    inside = release.starts[section.network]
    if not inside:
        _check_order(start, state, model, section)
    trunk = getattr(getattr(model, "size", None), "trunk", None)
    if inside and trunk != release.network:
        raise ConfigError(
            f"--init {section.init}: looks like {looks_like(state.tensors)}; {section.network} of size {section.size} has a {trunk}"
        )
    part = model.get_submodule(inside) if inside else model
    prefix = f"{inside}." if inside else ""
    fitted = convert(
        state, replace(release, part=prefix or release.part), {prefix + key: one for key, one in part.state_dict().items()}
    )
    part.load_state_dict({key.removeprefix(prefix): one for key, one in fitted.tensors.items()})


def _unlike(card: Card, state: StateFile, own: Mapping[str, Tensor], section: ModelSection) -> str:
    """Why weights that were found by their card do not fit a network."""
    wanted = f"{section.network} of size {section.size}"
    if card.network != section.network:
        return f"{card.full_name} is a {card.network}; wanted weights of {wanted}"
    more, fewer = sorted(set(state.tensors) - set(own)), sorted(set(own) - set(state.tensors))
    said = [f"has {more[0]}, which {wanted} does not"] if more else []
    said += [f"lacks its {fewer[0]}"] if fewer else []
    its = card.data.get("size")
    size = f"size {its}" if its and its != section.size else "another size"
    return f"{card.full_name} is of {size}: it {' and '.join(said)} (--size)"


def _check_order(start: Start, state: StateFile, model: nn.Module, section: ModelSection) -> None:
    """The order of colours that weights were trained in does not show in them, but on the card, or by whom they are."""
    size: Any = getattr(model, "size", None)
    order = getattr(size, "channel_order", None)
    name = recognise(state.tensors) if start.path.suffix != ".safetensors" else None  # imgscan's own have the same keys
    if start.card is not None:
        theirs = start.card.backbone.get("channel_order", order)
    else:
        theirs = order if name is None else RELEASES[name].backbone.get("channel_order", order)
    if theirs == order:
        return
    alike = replace(size, channel_order=theirs)
    fitting = next(
        (f"; wanted --set model.size={name}" for name, one in NETWORKS[section.network].SIZES.items() if one == alike), ""
    )
    raise ConfigError(
        f"--init {section.init}: trained on colours in the order {theirs}, "
        f"{section.network} of size {section.size} sees {order}{fitting}"
    )


def _check_shapes(state: StateFile, model: nn.Module, section: ModelSection) -> None:
    for key, one in model.state_dict().items():
        if key in state.tensors and state.tensors[key].shape != one.shape:
            raise ConfigError(
                f"--init {section.init}: {key} is {tuple(state.tensors[key].shape)}, wanted {tuple(one.shape)}; it is of another "
                f"size than {section.network} {section.size}"
            )
