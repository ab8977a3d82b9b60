"""`imgscan data hard`: the training photographs that a model takes for forged most readily."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from imgscan.datasets.families import parse_families
from imgscan.datasets.hard import hardest, write_hard, write_windows
from imgscan.datasets.synth import find_photos
from imgscan.devices import choose_device
from imgscan.errors import ExitCode, InputError, OutputError
from imgscan.find import can_be_made, find
from imgscan.pipeline import scan
from imgscan.printable import say
from imgscan.progress import bar
from imgscan.records import Skipped
from imgscan.scanner import build_scanner
from imgscan.weights import find_model

MOST_WINDOWS = 2000  # that lie in the folder for temporary files at once, half a gigabyte of 256 pixels a side; it may be memory


def hard_command(
    model: str,
    *,
    roots: list[Path],
    windows: int,
    share: float,
    side: int,
    families: str,
    seed: int,
    device: str,
    jobs: int | None,
    accept_licence: bool,
    out: Path,
) -> ExitCode:
    """Score untouched windows of every photograph and write the list of those with the highest mean; broken ones are named.

    Raises:
        InputError: no photographs, or none that can be decoded, or a side that is no multiple of 8.
        ConfigError: an unknown family.
        OutputError: the list cannot be written.
    """
    chosen = parse_families(families, "--families")
    if side % 8 or side < 64:
        raise InputError(f"--side {side}; wanted a multiple of 8, at least 64")
    if not can_be_made(out):
        raise OutputError(f"--out {out}: cannot be written; wanted a file in a folder that may be written to")
    photos = find_photos(roots)
    place = choose_device(device)
    scanner = build_scanner(find_model(model), device=place, jobs=jobs, everything=True, spares=True, accept_licence=accept_licence)
    scores: defaultdict[int, list[float]] = defaultdict(list)
    skipped = 0
    step = max(1, MOST_WINDOWS // windows)
    with bar("searching", 2 * len(photos) * windows) as progress:
        for first in range(0, len(photos), step):
            with TemporaryDirectory(prefix="imgscan-") as folder:
                for number, photo in enumerate(photos[first : first + step], first):
                    try:
                        write_windows(photo, windows, side, chosen, seed, Path(folder), str(number))
                    except InputError as error:
                        skipped += 1
                        say(f"imgscan: skipped {error}")
                    progress.advance(by=windows)
                for result in scan(find([Path(folder)]), scanner):
                    progress.advance()
                    if isinstance(result, Skipped):
                        raise InputError(f"{result.source.path}: {result.reason}")
                    scores[int(result.picture.source.path.name.split(".")[0])].append(result.finding.score)
    means = [(photos[number], sum(some) / len(some)) for number, some in scores.items()]
    if not means:
        raise InputError(f"none of the {len(photos)} photographs can be decoded")
    listed = hardest(means, share)
    if clear := sum(not score for _, score in listed):
        say(f"imgscan: {clear:,} of the {len(listed):,} listed are suspected nowhere (score 0); a smaller --share leaves them out")
    write_hard(out, listed)
    print(out)
    return ExitCode.INCOMPLETE if skipped else ExitCode.CLEAN
