"""`imgscan calibrate`: thresholds for wanted false-alarm rates, measured on the user's own untouched pictures."""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from imgscan.datasets.resaved import COPIES, copy_form, resaved
from imgscan.devices import choose_device
from imgscan.errors import ExitCode, InputError
from imgscan.find import find
from imgscan.judge import DEFAULT
from imgscan.pipeline import scan
from imgscan.progress import bar
from imgscan.records import Skipped, Source
from imgscan.report.human import printable
from imgscan.scanner import build_scanner
from imgscan.weights import check_side, find_model

AS_IS = "as they are"  # pictures that are no copies
# level -> share of untouched pictures that may reach it; `default` is what counts where nobody names another
LEVEL_RATES = {"possible": 0.05, DEFAULT: 0.02, "likely": 0.01, "certain": 0.001}


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
    model: str,
    *,
    pristine: list[Path],
    copies: bool,
    device: str,
    jobs: int | None,
    batch: int | None,
    side: int | None,
    accept_licence: bool,
) -> ExitCode:
    """Print [[operating_points]] for a weights card; a level that the sample is too small for is named on stderr.

    With `copies` the pictures count in the forms of datasets.resaved too: smaller, and saved once more.
    """
    sources = find(pristine)
    if not sources:
        raise InputError(f"no pictures in {', '.join(map(str, pristine))}; wanted untouched pictures")
    chosen = find_model(model)
    check_side(chosen, side)
    scanner = build_scanner(
        chosen, device=choose_device(device), batch=batch, jobs=jobs, side=side, everything=True, accept_licence=accept_licence
    )
    scores: list[float] = []
    forms: dict[str, list[float]] = {}
    skipped = 0
    photographs = len(sources)
    with TemporaryDirectory(prefix="imgscan-") as folder, bar("calibrating", photographs * (1 + copies * len(COPIES))) as progress:
        if copies:
            sources += _copies(sources, Path(folder))
        for result in scan(sources, scanner):
            progress.advance()
            if isinstance(result, Skipped):
                skipped += 1
                print(f"imgscan: skipped {printable(str(result.source.path))}: {result.reason}", file=sys.stderr)
            else:
                scores.append(result.finding.score)
                file = result.picture.source.path
                form = copy_form(file) if Path(folder) in file.parents else AS_IS
                forms.setdefault(form, []).append(result.finding.score)
    if copies:
        print(f"# {len(scores)} pictures: {photographs} photographs and {len(COPIES)} copies of each ({', '.join(COPIES)})")
    for level, rate in LEVEL_RATES.items():
        score = threshold(scores, rate)
        if score is None:
            print(
                f"imgscan: {level}: {len(scores)} pictures cannot show a rate of {rate:g}; wanted at least {round(1 / rate)}",
                file=sys.stderr,
            )
            continue
        reached = {form: sum(s > 0 and s >= score for s in some) for form, some in forms.items()}
        measured = sum(reached.values()) / len(scores)
        print()
        if copies:
            print("# " + ", ".join(f"{form}: {reached[form]} of {len(forms[form])}" for form in (AS_IS, *COPIES) if form in forms))
        print(f'[[operating_points]]\nlevel = "{level}"\nscore = {score}\nfalse_alarms = {measured:.4f}\npictures = {len(scores)}')
    return ExitCode.INCOMPLETE if skipped else ExitCode.CLEAN


def _copies(sources: list[Source], folder: Path) -> list[Source]:
    """The copies of every picture that can be opened; the scan of the original names those that cannot."""
    made: list[Path] = []
    for number, source in enumerate(sources):
        with suppress(OSError):
            made += resaved(source.path, folder, str(number))
    return [Source(path, path.name) for path in made]
