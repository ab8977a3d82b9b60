"""`imgscan calibrate`: thresholds for wanted false-alarm rates, measured on the user's own untouched pictures."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from imgscan.errors import ExitCode, InputError
from imgscan.find import find
from imgscan.pipeline import scan
from imgscan.progress import bar
from imgscan.records import Skipped
from imgscan.report.human import printable
from imgscan.scanner import build_scanner, choose_device
from imgscan.weights import find_model

LEVEL_RATES = {"possible": 0.05, "likely": 0.01, "certain": 0.001}  # level -> share of untouched pictures that may reach it


def threshold(scores: list[float], rate: float) -> float | None:
    """A score, to 4 digits, that at most `rate` of the untouched pictures reach.

    It lies in the middle between the highest score that has to stay under it and the next one above: right on a picture's own score
    the last digit of the arithmetic, which differs between machines, would decide about that picture.

    None when there are fewer than 1 / rate pictures: a rate that one picture already exceeds cannot be measured.
    """
    if len(scores) * rate < 1:
        return None
    allowed = math.floor(len(scores) * rate)
    falling = sorted(scores, reverse=True)
    under = falling[allowed]
    above = next((score for score in reversed(falling[:allowed]) if score > under), 1.0)
    return max(round((under + above) / 2, 4), math.floor(under * 10_000 + 1) / 10_000)


def calibrate_command(
    model: str, *, pristine: list[Path], device: str, jobs: int | None, batch: int | None, accept_licence: bool
) -> ExitCode:
    """Print [[operating_points]] for a weights card; a level that the sample is too small for is named on stderr."""
    sources = find(pristine)
    if not sources:
        raise InputError(f"no pictures in {', '.join(map(str, pristine))}; wanted untouched pictures")
    chosen = find_model(model)
    scanner = build_scanner(
        chosen, device=choose_device(device), batch=batch, jobs=jobs, everything=True, accept_licence=accept_licence
    )
    scores, skipped = [], 0
    with bar("calibrating", len(sources)) as progress:
        for result in scan(sources, scanner):
            progress.advance()
            if isinstance(result, Skipped):
                skipped += 1
                print(f"imgscan: skipped {printable(str(result.source.path))}: {result.reason}", file=sys.stderr)
            else:
                scores.append(result.finding.score)
    for level, rate in LEVEL_RATES.items():
        score = threshold(scores, rate)
        if score is None:
            print(
                f"imgscan: {level}: {len(scores)} pictures cannot show a rate of {rate:g}; wanted at least {round(1 / rate)}",
                file=sys.stderr,
            )
            continue
        measured = sum(s > 0 and s >= score for s in scores) / len(scores)
        print(
            f'\n[[operating_points]]\nlevel = "{level}"\nscore = {score}\nfalse_alarms = {measured:.4f}\npictures = {len(scores)}'
        )
    return ExitCode.INCOMPLETE if skipped else ExitCode.CLEAN
