"""A model ready to run: its networks on their device, and every setting that decides a result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn

from imgscan.cluster import CLUSTERINGS, ClusterSettings
from imgscan.cluster.cost import affordable_grid
from imgscan.cluster.hierarchical import MOST_GRID
from imgscan.cluster_names import HEAD, NO_GRID
from imgscan.cores import cores
from imgscan.detectors import DETECTORS
from imgscan.devices import bf16_is_fast, end_if_failed, in_short, out_of_memory
from imgscan.errors import InputError, WeightsError, WorkerError, unknown
from imgscan.fuse import FuseSettings
from imgscan.judge import usual_score
from imgscan.licences import check_usable
from imgscan.localize import LocalizeSettings
from imgscan.networks import load_network
from imgscan.operating_points import OperatingPoint
from imgscan.prepare import InputPlan
from imgscan.records import Evidence, Picture, Timings
from imgscan.shared import Shared
from imgscan.typed import settings
from imgscan.weights import Card, Model

REVISION = 8
"""It rises when the same weights and settings answer otherwise than before; then nothing that is remembered is taken."""
AUTO = "auto"
MOST_JOBS = 8  # by default: each holds the activations of a forward pass, or a batch of decoded pictures
GPU_BATCH = 32  # by default, halved when it does not fit into memory; on the CPU a picture at a time is as fast


@dataclass(frozen=True)
class Scanner:
    """Networks on their device, and every setting that decides a result."""

    networks: tuple[nn.Module, ...]
    plans: tuple[InputPlan, ...]  # one per network
    clustering: ClusterSettings
    localizing: LocalizeSettings
    points: tuple[OperatingPoint, ...]
    device: torch.device
    batch: int = 1  # most tiles in one forward pass
    jobs: int = 0  # worker processes; see scan
    amp: bool = True  # bf16 autocast
    detectors: tuple[str, ...] = ()  # weight-free ones, of detectors.DETECTORS
    finders: tuple[str, ...] = ()  # weight-free ones that add to what the others say
    fusing: FuseSettings = field(default_factory=FuseSettings)
    heads: bool = False  # the mask heads decide, nothing is clustered
    spares: bool = False  # networks are not asked about pictures that are not judged
    timings: Timings = field(default_factory=Timings)
    shared: Shared | None = None  # with scanners that are asked about the same pictures, on the CPU

    def judges(self, picture: Picture) -> bool:
        """Whether a picture is judged: it does not look drawn."""
        return self.localizing.judges(picture.drawn)

    @property
    def within(self) -> bool:
        """Whether a picture is seen without its frame; not where the authors' code decides how it is seen."""
        return all(plan.mode == "native" for plan in self.plans)

    @property
    def divides(self) -> bool:
        """Whether the panels of a collage are judged each on its own; not by what alone looks for copies, also across panels."""
        return self.within and all(DETECTORS[name].find is None for name in self.detectors)

    @property
    def speaks(self) -> Evidence:
        """What it is evidence of when the features alone mark a region: those of a detector that stands alone, or of pixels."""
        return DETECTORS[self.detectors[0]].evidence if self.detectors and not self.networks else "pixels"


def default_jobs() -> int:
    """A worker process a core that this process may use, at most MOST_JOBS."""
    return min(MOST_JOBS, cores())


def _plan(card: Card, side: int | None, beyond: str | None) -> InputPlan:
    """[input] of a card, with the longest side and the treatment of larger pictures changed; only native networks can."""
    table = dict(card.data.get("input", {}))
    if side is not None or beyond is not None:
        if table.get("mode") != "native":
            raise InputError(
                f"{card.full_name} always sees {table.get('side')} x {table.get('side')} pixels; no other size fits it"
            )
        if beyond not in (None, "tile", "shrink", "both"):
            raise InputError(f"--beyond {beyond}: wanted tile, shrink or both")
        table |= {k: v for k, v in (("side", side), ("whole", side), ("beyond", beyond)) if v is not None}
    plan = card.check("input", InputPlan, table)
    if plan.mode == "native" and plan.beyond != "shrink" and plan.side < plan.overlap + plan.multiple:
        origin = f"weights card {card.path}: [input] side {plan.side}" if side is None else f"--side {side}"
        raise InputError(
            f"{origin}: tiles of {card.full_name} overlap by {plan.overlap} pixels; wanted at least {plan.overlap + plan.multiple}"
        )
    return plan


def _seen_once(plan: InputPlan) -> InputPlan:
    """Without the overview of a large picture, of which only mask heads say something."""
    return replace(plan, beyond="tile" if plan.beyond == "both" else plan.beyond)


def parse_grid(text: str | None) -> int | None:
    """--grid: None (as the card says), AUTO as 0, or a number of cells from 8 to 256; InputError for anything else."""
    if text is None:
        return None
    if text == AUTO:
        return 0
    if not text.isdecimal() or not 8 <= int(text) <= 256:
        raise InputError(f"--grid {text}: wanted a number of cells from 8 to 256, or {AUTO}")
    return int(text)


def with_clustering(model: Model, method: str | None, grid: int | None, seconds: float, device: torch.device) -> Model:
    """The model with --cluster and --grid; a grid of 0 is the finest that is clustered within `seconds` a picture here."""
    if grid != 0 or not model.clusters:
        return model.with_clustering(method, grid)
    chosen = model.with_clustering(method, None)
    plain = _clustering(chosen, model.name)
    if plain.method == HEAD:
        raise InputError(NO_GRID)
    dim = sum(card.data.get("features", {}).get("dim", 64) for card in model.cards) or 4
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers
    try:
        return chosen.with_clustering(None, affordable_grid(plain, dim, device, seconds))
    finally:
        torch.set_num_threads(threads)


def _clustering(model: Model, origin: str) -> ClusterSettings:
    """[clustering] of a model; WeightsError, with the origin, as `settings` and for a method that there is not."""
    chosen = settings("clustering", ClusterSettings, model.settings.get("clustering", {}), origin)
    if chosen.method not in (HEAD, *CLUSTERINGS):
        raise WeightsError(f"{origin}: {unknown('method in [clustering]', chosen.method, (HEAD, *CLUSTERINGS))}")
    return chosen


def build_scanner(
    model: Model,
    *,
    device: torch.device,
    batch: int | None = None,
    jobs: int | None = None,
    amp: bool | None = None,
    everything: bool = False,
    side: int | None = None,
    beyond: str | None = None,
    weakest: float | None = None,
    drawn: bool = False,
    spares: bool = False,
    accept_licence: bool = False,
    shared: Shared | None = None,
) -> Scanner:
    """Load the weights of a model and put its cards' settings together; None leaves a setting to the card,
    `batch` and `jobs` to the device and the number of cores.

    What is weaker than the model's usual operating point (beside a copy that is marked: than `likely`) is not marked, unless
    `everything` is asked for (calibration has to see it), nothing was measured for this model, or `weakest`, which somebody wants
    to see, is lower.  With `drawn` pictures that look drawn by a program are judged as if they were photographs; with `spares` no
    network is asked about those that are not judged.

    Scanners with the same `shared` share what they have in common.

    Raises:
        WeightsError, InputError: see load_network, Card.section and check_usable.
        WorkerError: the device has no room for a network.
    """
    check_usable(model.cards, accept_licence)
    origin = f"weights card {model.path or (model.cards[0].path if model.cards else model.name)}"
    clustering = _clustering(model, origin)
    if clustering.method == "hierarchical" and clustering.grid > MOST_GRID:
        raise InputError(
            f"--grid {clustering.grid}: hierarchical takes at most {MOST_GRID} cells a side; it holds all pairs of them"
        )
    localizing = settings("localize", LocalizeSettings, model.settings.get("localize", {}), origin)
    if drawn:
        localizing = replace(localizing, drawn=LocalizeSettings.drawn)
    if model.points and not everything:
        usual = usual_score(model.points)
        if weakest is None or weakest >= usual:
            likely = next((point.score for point in model.points if point.level == "likely"), usual)
            localizing = replace(localizing, strength=usual, beside=likely)
        else:  # what somebody wants to see is shown, whatever else the picture has
            localizing = replace(localizing, strength=weakest)
    if amp is None:  # the released code computes in float32
        amp = model.compat is None and bf16_is_fast(device) and all(card.data.get("bf16", False) for card in model.cards)
    mute = [card.full_name for card in model.cards if not card.has_head] + list(model.detectors)
    if clustering.method == HEAD and mute:
        raise InputError(f"--cluster {HEAD}: {mute[0]} has no mask head; wanted one of {', '.join(CLUSTERINGS)}")
    known = shared or Shared()
    heads = clustering.method == HEAD or not model.clusters
    plans = tuple(_plan(card, side, beyond) for card in model.cards)
    return Scanner(
        networks=tuple(known.load((card.path, model.compat, device), partial(_network, card, device)) for card in model.cards),
        plans=plans if heads else tuple(_seen_once(plan) for plan in plans),
        clustering=clustering,
        localizing=localizing,
        points=model.points,
        device=device,
        batch=batch or (1 if device.type == "cpu" else GPU_BATCH),
        jobs=default_jobs() if jobs is None else jobs,
        amp=amp,
        detectors=model.detectors,
        finders=model.finders,
        fusing=settings("fuse", FuseSettings, model.settings.get("fuse", {}), origin),
        heads=heads,
        spares=spares,
        shared=shared if device.type == "cpu" else None,
    )


def _network(card: Card, device: torch.device) -> nn.Module:
    """The network of a card on its device; WorkerError where that has no room for it, as where other programs hold its memory."""
    network = load_network(card)
    try:
        return network.to(device).to(memory_format=torch.channels_last)
    except RuntimeError as error:
        if not out_of_memory(error):
            end_if_failed(device, error)
            raise
        raise WorkerError(
            f"{card.full_name} does not fit into the memory of {device} ({in_short(error)}); "
            "wait for what else uses it, or choose another --device"
        ) from error
