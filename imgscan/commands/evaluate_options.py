"""What the command line of a measurement says, with --table and without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgscan.cluster_names import check_clustering
from imgscan.devices import choose_device
from imgscan.evaluation.contestants import ModelOptions
from imgscan.scanner import default_jobs, parse_grid


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line says."""

    models: list[str]
    data: list[str]
    roots: list[Path]
    masks: list[Path]
    protocol: str
    attacks: list[str]
    out: Path
    force: bool
    figures: bool
    device: str
    jobs: int | None
    batch: int | None
    cluster: str | None
    grid: str | None
    cluster_seconds: float
    compat: str | None
    accept_licence: bool
    side: int | None
    beyond: str | None
    as_json: bool
    csv: Path | None

    def __post_init__(self) -> None:
        check_clustering(self.cluster)  # else one with nothing to cluster would take any word


def model_options(options: EvaluateOptions) -> ModelOptions:
    """How the models are built."""
    return ModelOptions(
        device=choose_device(options.device),
        jobs=default_jobs() if options.jobs is None else options.jobs,
        batch=options.batch,
        cluster=options.cluster,
        grid=parse_grid(options.grid),
        cluster_seconds=options.cluster_seconds,
        compat=options.compat,
        accept_licence=options.accept_licence,
        side=options.side,
        beyond=options.beyond,
    )
