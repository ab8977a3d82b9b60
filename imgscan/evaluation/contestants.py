"""Who answers: models, the union or intersection of several, and other tools' predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from imgscan.datasets import DATASETS, SYNTH
from imgscan.datasets.entries import size_complaint
from imgscan.datasets.resolve import parse
from imgscan.digests import digest_of
from imgscan.errors import InputError
from imgscan.evaluation.pixel import BoolMap
from imgscan.evaluation.seeds import recipe_digest
from imgscan.find import real
from imgscan.fuse import FuseSettings
from imgscan.judge import SCORE_DIGITS
from imgscan.pipeline import examine
from imgscan.pixels import is_deep
from imgscan.records import Assessed, Features, Picture, Skipped
from imgscan.scanner import REVISION, Scanner, build_scanner, with_clustering
from imgscan.shared import Shared
from imgscan.weights import Card, find_model, shape_of

PREDICTIONS = 50  # files of a folder whose scale is looked at
SET_OPERATIONS: dict[str, Literal["union", "intersection"]] = {"|": "union", "&": "intersection"}


@dataclass(frozen=True)
class Answer:
    """What a contestant says of one picture."""

    score: npt.NDArray[np.float32]  # H x W, higher is more likely forged
    mask: BoolMap | None  # H x W; None: the protocol's threshold on the score decides
    strength: float | None  # the picture's own score, also where it is too weak for a mask; None: it has none
    features: Features | None = None  # what was clustered
    probable: bool = False  # whether scores are probabilities, and no distances of clusters or levels of a detector


Answers = Callable[[Sequence[Picture]], Iterator[Answer | Skipped]]  # one per picture, in order


@dataclass(frozen=True)
class Contestant:
    """Anything that can be measured."""

    name: str
    answers: Answers
    thresholds: Mapping[str, float] = field(default_factory=dict)  # operating points of its card
    weights: str = ""  # hash; "": it has none
    identity: str = ""  # hash of all that decides its answers besides the picture; "": unknown, so that nothing may be reused
    fixed: bool = False  # True: its answers are files, made for the pictures as they were; no attack can be tried on it
    trained_on: frozenset[Path] = frozenset()  # folders and lists that its cards name as training data, as far as they are here
    cards: tuple[Card, ...] = ()  # of its weights
    clusters: bool = False  # whether there is something to cluster, so that another clustering can be asked for
    networks: bool = False  # whether there are any, so that --side and --beyond say something
    kind: str = ""  # hash of how its weights were trained, whatever the seed, and of all else it decides by; "": nobody knows


@dataclass(frozen=True)
class _ByScanner:
    scanner: Scanner

    @property
    def probable(self) -> bool:
        return self.scanner.heads and bool(self.scanner.networks)

    def __call__(self, pictures: Sequence[Picture]) -> Iterator[Answer | Skipped]:
        for one in examine(pictures, self.scanner):
            if isinstance(one, Assessed):
                strength = round(one.mask.strongest, SCORE_DIGITS)
                yield Answer(one.mask.probability, one.mask.forged, strength, one.features, self.probable)
            else:
                yield one


def of_scanner(name: str, scanner: Scanner, weights: str, networks: Sequence[Mapping[str, Any]] = ()) -> Contestant:
    """A model, run as `imgscan scan` runs it; `networks`: what its cards say of their shape (`weights.shape_of`)."""
    decides = {
        "revision": REVISION,
        "weights": weights,
        "networks": networks,
        "detectors": scanner.detectors,
        "plans": [asdict(plan) for plan in scanner.plans],
        "clustering": asdict(scanner.clustering),
        "localizing": asdict(scanner.localizing),
        "amp": scanner.amp,
    }
    if scanner.finders:
        decides["finders"] = scanner.finders
    if scanner.fusing != FuseSettings():  # what was measured before there was a choice is remembered without it
        decides["fusing"] = asdict(scanner.fusing)
    return Contestant(
        name,
        _ByScanner(scanner),
        thresholds={point.level: point.score for point in scanner.points},
        weights=weights,
        identity=digest_of(decides),
    )


@dataclass(frozen=True)
class _Combined:
    parts: tuple[Contestant, ...]
    operation: Literal["union", "intersection"]

    def __call__(self, pictures: Sequence[Picture]) -> Iterator[Answer | Skipped]:
        union = self.operation == "union"
        masks, scores, choice = (np.logical_or, np.maximum, max) if union else (np.logical_and, np.minimum, min)
        for answers in zip(*(part.answers(pictures) for part in self.parts), strict=True):
            failed = [one for one in answers if isinstance(one, Skipped)]
            if failed:
                yield failed[0]
                continue
            good = [one for one in answers if isinstance(one, Answer)]
            score, mask = good[0].score, good[0].mask
            for one in good[1:]:
                score = scores(score, one.score)
                mask = None if mask is None or one.mask is None else masks(mask, one.mask)
            strengths = [one.strength for one in good if one.strength is not None]
            strength = choice(strengths) if len(strengths) == len(good) else None
            yield Answer(score, mask, strength, probable=all(one.probable for one in good))


def combined(name: str, parts: Sequence[Contestant], operation: Literal["union", "intersection"]) -> Contestant:
    """Masks joined or intersected after each model decided by itself (FOCAL, Fig. 7); scores, of pixels and of pictures, by
    maximum or minimum.

    It has no operating points: those of its parts were not measured for it.
    """
    known = all(part.identity for part in parts)
    return Contestant(
        name,
        _Combined(tuple(parts), operation),
        weights="+".join(part.weights for part in parts),
        trained_on=frozenset(path for part in parts for path in part.trained_on),
        cards=tuple(card for part in parts for card in part.cards),
        clusters=any(part.clusters for part in parts),
        networks=any(part.networks for part in parts),
        kind=digest_of([operation, *(part.kind for part in parts)]) if all(part.kind for part in parts) else "",
        identity=digest_of({"operation": operation, "parts": [part.identity for part in parts]}) if known else "",
    )


@dataclass(frozen=True)
class _FromFiles:
    folder: Path
    ambiguous: frozenset[str]
    alike: frozenset[str]

    def __call__(self, pictures: Sequence[Picture]) -> Iterator[Answer | Skipped]:
        return (_read_prediction(picture, self) for picture in pictures)


def of_masks(folder: Path, ambiguous: Collection[str] = (), alike: Collection[str] = ()) -> Contestant:
    """Another tool's predictions: for a/b.jpg a file a/b.jpg.png, a/b.jpg.npz (its first array), a/b.png or a/b.npz in the folder;
    where only one picture has that name also one of b alone; where a/b.png is a picture too, only a/b.jpg.png or a/b.jpg.npz.

    PNG levels, 0 to 255 or to 65,535, are probabilities 0..1, as are the floats of an npz; the protocol's threshold decides.

    Args:
        folder: of the predictions.
        ambiguous: stems that several pictures have, in one folder or in several.
        alike: names less their suffix that several pictures in one folder have.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"--masks {folder}: is not a folder; wanted a folder of PNG or npz maps named after the pictures")
    return Contestant(f"masks:{folder}", _FromFiles(folder, frozenset(ambiguous), frozenset(alike)), fixed=True)


def _read_prediction(picture: Picture, files: _FromFiles) -> Answer | Skipped:
    """The map of one picture; a Skipped says what was looked for, or what is wrong with it."""
    name, folder = Path(picture.source.name), files.folder
    bare = [] if name.stem in files.ambiguous else [Path(name.name)]
    names = [f"{stem}{end}" for one in [name, *bare] for stem in (one, one.with_suffix("")) for end in (".png", ".npz")]
    if str(name.with_suffix("")) in files.alike:
        names = names[:2]
    path = next((folder / one for one in names if (folder / one).is_file()), None)
    if path is None:
        return Skipped(picture.source, f"no prediction in {folder}: looked for {', '.join(dict.fromkeys(names))}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if not arrays.files:
                    return Skipped(picture.source, f"prediction {path} holds no array")
                score = np.asarray(arrays[arrays.files[0]], np.float32)
            if score.ndim != 2:
                return Skipped(picture.source, f"prediction {path} has the shape {score.shape}; wanted height x width")
        else:
            with Image.open(path) as file:
                score = _levels(file)
    except Exception as error:  # decoders raise nearly anything on broken files
        return Skipped(picture.source, f"prediction {path} cannot be read: {error}")
    if score.shape != (picture.height, picture.width):
        return Skipped(picture.source, size_complaint(picture.source.path, (picture.height, picture.width), path, score.shape))
    if not (float(score.min()) >= 0 and float(score.max()) <= 1):  # also refuses NaN
        return Skipped(picture.source, f"prediction {path} holds {score.min():g} to {score.max():g}; wanted probabilities, 0 to 1")
    return Answer(score, None, float(score.max()))


def faint_predictions(folder: Path) -> str:
    """A word on masks that were stored on another scale than probabilities are, by the first PREDICTIONS files; "": none was.

    Such are 0 and 1, 0 and 255 of 65,535, and the dark colour of a palette, as segmentation tools write classes: (128, 0, 0) is 38.
    """
    looked = faint = 0
    for path in islice(sorted(folder.rglob("*.png")), PREDICTIONS):
        with suppress(Exception), Image.open(path) as file:  # what is wrong with a file is said with its picture
            deep = is_deep(file)
            levels = np.unique(np.asarray(file if deep else file.convert("L"))).tolist()
            looked += 1
            mask = len(levels) == 2 and levels[0] == 0 and levels[1] < (32768 if deep else 128)
            faint += mask or levels == [1] or (deep and levels == [255])
    if not faint:
        return ""
    return (
        f"--masks {folder}: {faint} of the first {looked} predictions hold nothing but 0 and one level below half of white, as 0 "
        "and 1 or a palette's colour; they count as probabilities below 0.5. Store masks with white as 255 (16 bits: 65,535)"
    )


def _levels(file: Image.Image) -> npt.NDArray[np.float32]:
    """A map stored as a picture, 0..1 where white is 1: of 8 bits, of 16 (Pillow's mode I;16, or I), or of floats."""
    if not is_deep(file):
        return np.asarray(file.convert("L"), np.float32) / np.float32(255)
    return np.asarray(file, np.float32) / np.float32(1 if file.mode == "F" else 65535)


@dataclass(frozen=True)
class ModelOptions:
    """How models are built; the flags of `imgscan evaluate`."""

    device: torch.device
    jobs: int
    batch: int | None = None
    cluster: str | None = None
    grid: int | None = None  # see scanner.parse_grid
    cluster_seconds: float = 1.0
    side: int | None = None
    beyond: str | None = None
    compat: str | None = None
    accept_licence: bool = False
    shared: Shared = field(default_factory=Shared)  # by all models that are built with these options


def of_model(text: str, options: ModelOptions) -> Contestant:
    """A model as for scan --model, or several joined by | (union of their masks) or & (intersection).

    Raises:
        WeightsError: see find_model.
        InputError: | and & together.
    """
    used = [sign for sign in SET_OPERATIONS if sign in text]
    if len(used) > 1:
        raise InputError(f"model {text!r}: | and & together; wanted one of them")
    if used:
        parts = [of_model(part.strip(), options) for part in text.split(used[0])]
        return combined(used[0].join(part.name for part in parts), parts, SET_OPERATIONS[used[0]])
    model = find_model(text, options.compat)
    if model.clusters:  # --cluster is for those of several models that have something to cluster
        model = with_clustering(model, options.cluster, options.grid, options.cluster_seconds, options.device)
    scanner = build_scanner(
        model,
        device=options.device,
        batch=options.batch,
        jobs=options.jobs,
        side=options.side,
        beyond=options.beyond,
        accept_licence=options.accept_licence,
        shared=options.shared,
    )
    digests = "+".join(card.sha256 for card in model.cards)
    contestant = of_scanner(model.name, scanner, digests, [shape_of(card) for card in model.cards])
    trained_on = frozenset(path for card in model.cards for path in _trained_on(card))
    recipes = [recipe_digest(card) for card in model.cards]
    kind = digest_of([recipes, scanner.detectors, scanner.finders, asdict(scanner.clustering)]) if all(recipes) else ""
    return replace(
        contestant, trained_on=trained_on, cards=model.cards, clusters=model.clusters, networks=bool(model.cards), kind=kind
    )


def training_sets(card: Card) -> list[str]:
    """The names of the data sets, folders and lists that its weights were trained on."""
    data = card.data.get("training", {}).get("data")
    try:
        return [name for name, _ in parse(data)] if isinstance(data, str) else []
    except InputError:  # a path of another machine may look like anything
        return []


def _trained_on(card: Card) -> list[Path]:
    """The folders and lists among its training data that are here."""
    # Path.exists raises where it may not look.
    names = training_sets(card)
    return [real(Path(name)) for name in names if name not in (*DATASETS, SYNTH) and os.path.exists(name)]  # noqa: PTH110
