"""A home for weights: safetensors and a card in the user's data folder, both or neither."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from imgscan import __version__
from imgscan.digests import file_sha256
from imgscan.errors import InputError, OutputError, WeightsError, unknown
from imgscan.models import NETWORKS
from imgscan.models.resnet import ResidualTrunk
from imgscan.networks import load_network, save_state
from imgscan.places import user_folder
from imgscan.releases.convert import Converted, convert, is_sams
from imgscan.releases.read import StateFile, read_state
from imgscan.releases.table import REFUSED, RELEASES, Release
from imgscan.toml import to_toml
from imgscan.weights import Card, installed, read_card

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Imported:
    """What an import has done, to be told."""

    card: Card
    used: int  # tensors
    remarks: tuple[str, ...]  # what was left out and why, what was added, what to know


def import_weights(name: str, path: Path, *, tag: str | None = None, force: bool = False, accept: bool = False) -> Imported:
    """Read, check and keep a file of weights.

    Args:
        name: of RELEASES, or a network, with the card of a training.
        path: the released file, or that card (.toml, or .safetensors with the card beside it).
        tag: None: official, or that of the training's card.
        force: replace weights of that name and tag in the user's folder.
        accept: note on the card that its licence is accepted.

    Raises:
        WeightsError: not importable, not what it is said to be, damaged, or already there.
        OutputError: the folder cannot be written; nothing is left there.
    """
    if name in REFUSED and not _has_card(path):
        raise WeightsError(f"{name} cannot be imported: {REFUSED[name]}")
    if _has_card(path):
        return _import_training(name, path, tag, force, accept)
    if name not in RELEASES:
        known = [*RELEASES, *(one for one in NETWORKS if one not in RELEASES)]
        if name in NETWORKS:
            raise WeightsError(f"{name} has no release; to keep your own training, give its card: {path.with_suffix('.toml')}")
        raise WeightsError(unknown("release", name, known))
    state = read_state(path)
    release, remarks = RELEASES[name], []
    if name == "focal-vit" and is_sams(state.tensors):
        if tag is None:
            name, release = "sam-vit-l", RELEASES["sam-vit-l"]
            remarks.append("its keys are those of Segment Anything's own checkpoint, not of FOCAL's: it finds no forgeries")
        else:
            remarks.append("its keys are also those of Segment Anything's own checkpoint; if it is that, it finds no forgeries")
    chosen = release.tag if tag is None else tag
    _free(name, chosen, force)
    converted = convert(state, release, wanted_by(release))
    remarks = [*_remarks(state, release, converted), *remarks]
    return Imported(
        _keep(_card(name, chosen, state, release, converted, accept), converted.tensors), len(converted.tensors), tuple(remarks)
    )


def wanted_by(release: Release) -> dict[str, Tensor]:
    """Every key a release has to fill, with its shape and dtype; on the meta device, so that it takes no memory."""
    with torch.device("meta"):
        if not release.size:
            return dict(ResidualTrunk(release.network).state_dict())
        module = NETWORKS[release.network]
        return dict(module.build(module.SIZES[release.size]).state_dict())


def _has_card(path: Path) -> bool:
    return path.suffix == ".toml" or (path.suffix == ".safetensors" and path.with_suffix(".toml").is_file())


def _free(name: str, tag: str, force: bool) -> None:
    """Refuse a tag that no model could be named with, or that is taken."""
    if not _TAG.fullmatch(tag) or tag.endswith((".toml", ".safetensors")):
        raise InputError(f"--tag {tag!r}: wanted letters, digits, '.', '_' and '-', as in --tag official")
    for one in installed():
        if one.full_name == f"{name}@{tag}" and not one.hidden:
            if one.place.what == "packaged":
                raise InputError(f"--tag {tag}: {one.full_name} ships with imgscan; choose another tag")
            if one.path.resolve() != (user_folder() / f"{name}.{tag}.toml").resolve():  # it would go before what is written
                raise InputError(f"{one.full_name} is there already, {one.path}; choose another --tag, or remove that card")
            if not force:
                raise InputError(f"{one.full_name} is there already, {one.path}; choose another --tag, or replace it with --force")


def _remarks(state: StateFile, release: Release, converted: Converted) -> list[str]:
    said = [
        f"left out: {count} tensors of {beginning.rstrip('.')}, {release.unused[beginning]}"
        for beginning, count in converted.left_out.items()
    ]
    if state.beside:
        said.append(f"left out: {', '.join(state.beside)}, beside the weights in the file")
    if converted.counters:
        said.append(f"{converted.counters} counters of batch norm are not in the file: zeros, which nothing reads")
    return said


def _card(name: str, tag: str, state: StateFile, release: Release, converted: Converted, accept: bool) -> dict[str, Any]:
    """The card of a release, but for the hash of the file that is still to be written."""
    backbone: dict[str, Any] = {}
    features: dict[str, Any] = {}
    if release.size:
        module = NETWORKS[release.network]
        size = asdict(module.SIZES[release.size]) | dict(release.backbone)
        backbone = {key: list(value) if isinstance(value, tuple) else value for key, value in size.items()}
        with torch.device("meta"):
            network = module.build(module.SIZES[release.size])
        features = {"features": {"dim": network.size.dim, "stride": network.stride}}
    table: dict[str, Any] = {
        "name": name,
        "tag": tag,
        "network": release.network,
        "size": release.size,
        "file": "",
        "sha256": "",
        "bytes": 0,
        "licence": release.licence,
        "commercial": release.commercial,
        "default": False,
        "bf16": False,
        "use": release.use,
    }
    if accept and not release.commercial:
        table["accepted"] = f"{datetime.now(UTC):%Y-%m-%d}"
    table |= {"backbone": backbone}
    table |= {"input": dict(release.input)} if release.input else {}
    table |= features
    table |= {key: dict(value) for key, value in release.settings.items()}
    if release.use == "scan":
        released = {"input": {**release.input, "resampler": "opencv"}} | {key: dict(value) for key, value in release.compat.items()}
        table["compat"] = {"official": released}
    table["source"] = {
        "title": release.title,
        "url": release.url,
        "file": state.path.name,
        "sha256": file_sha256(state.path),
        "bytes": state.path.stat().st_size,
        "imported": f"{datetime.now(UTC):%Y-%m-%d}",
        "imgscan": __version__,
        "tensors": len(converted.tensors),
        "left_out": _remarks(state, release, converted),
    }
    return table


def _import_training(name: str, path: Path, tag: str | None, force: bool, accept: bool) -> Imported:
    """A copy of weights that imgscan wrote, whole or not at all."""
    old = read_card(path if path.suffix == ".toml" else path.with_suffix(".toml"))
    if name not in (old.name, old.network):
        raise WeightsError(
            f"weights card {old.path}: of {old.network}, not of {name}; try: imgscan models import {old.network} {path}"
        )
    chosen = old.tag if tag is None else tag
    _free(name, chosen, force)
    state = {key: value.contiguous() for key, value in load_network(old).state_dict().items()}
    bad = next((key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())), None)
    if bad is not None:
        raise WeightsError(f"weights {old.file}: {bad} holds NaN or infinity; its training had failed")
    table = old.data | {"name": name, "tag": chosen, "default": False}
    if accept and old.commercial is False:
        table["accepted"] = f"{datetime.now(UTC):%Y-%m-%d}"
    return Imported(_keep(table, old.file), len(state), ())


def _keep(table: dict[str, Any], weights: dict[str, Tensor] | Path) -> Card:
    """Write both files under temporary names and move them into place, the card last: without it nobody finds the weights."""
    folder = user_folder()
    stem = f"{table['name']}.{table['tag']}"
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".import-", dir=folder))
        file, card = staging / f"{stem}.safetensors", staging / f"{stem}.toml"
        if isinstance(weights, Path):
            shutil.copyfile(weights, file)
        else:
            save_state(weights, file, {"format": "pt"})
        table = table | {"file": file.name, "sha256": file_sha256(file), "bytes": file.stat().st_size}
        card.write_text(to_toml(table), "utf-8", errors="replace")
        read_card(card)  # what is kept can be read
        file.replace(folder / file.name)
        card.replace(folder / card.name)
    except (OSError, SafetensorError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise OutputError(f"weights folder {folder}: cannot be written: {said}; nothing was imported") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return read_card(folder / f"{stem}.toml")
