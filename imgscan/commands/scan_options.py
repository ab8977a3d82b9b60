"""What the command line of a scan says, and what follows from it and the model alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from imgscan.baseline import Baseline
from imgscan.find import Filter
from imgscan.judge import FailOn, parse_fail_on, parse_report_from
from imgscan.unreadable import MostUnreadable
from imgscan.weights import Model


@dataclass(frozen=True)
class ScanOptions:
    """What the command line says."""

    paths: list[Path]
    files_from: str | None
    zero: bool
    chosen: Filter
    model: str
    out: Path
    device: str
    jobs: int | None
    batch: int | None
    side: int | None
    cluster: str | None
    grid: str | None
    cluster_seconds: float
    compat: str | None
    accept_licence: bool
    fail_on: str | None
    report_from: str | None
    least_area: float
    drawn: bool
    baseline: Path | None
    earlier: list[Path]
    parts: bool
    exit_zero: bool
    allow_unreadable: bool
    max_unreadable: str | None
    features: bool
    verbose: bool
    outputs: list[Path]
    output_format: str | None
    only_paths: bool
    print0: bool
    force: bool


@dataclass(frozen=True)
class Gates:
    """What fails the scan, and what is reported."""

    fail_on: FailOn
    report_from: FailOn
    unreadable: MostUnreadable  # more make the scan incomplete
    baseline: Baseline  # what does not fail again


def gates_of(options: ScanOptions, model: Model, unreadable: MostUnreadable, baseline: Baseline) -> Gates:
    """InputError for a level or a score that the model does not have."""
    fail_on = replace(parse_fail_on(options.fail_on, model.points, model.name), area=options.least_area)
    report_from = parse_report_from(options.report_from, fail_on, model.points, model.name)
    return Gates(fail_on, report_from, unreadable, baseline)


def measured_sides(options: ScanOptions, model: Model) -> list[int]:
    """What tiles and whole pictures measured at most when the thresholds were, where --side asks for something else; else none."""
    if options.side is None or not model.points:
        return []
    plans = [card.data["input"] for card in model.cards]
    sides = {plan["side"] for plan in plans} | {plan["whole"] for plan in plans if "whole" in plan}
    return sorted(sides) if sides - {options.side} else []
