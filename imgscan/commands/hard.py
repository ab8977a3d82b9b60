"""`imgscan data hard`: the training photographs that a model takes for forged most readily."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from imgscan import __version__
from imgscan.datasets.families import parse_families
from imgscan.datasets.hard import Judged, hardest, write_hard, write_windows
from imgscan.datasets.photos import find_photos
from imgscan.devices import choose_device
from imgscan.digests import digest_of
from imgscan.errors import ExitCode, InputError, OutputError
from imgscan.evaluation.contestants import of_scanner
from imgscan.find import can_be_made, find
from imgscan.pipeline import scan
from imgscan.printable import say
from imgscan.progress import bar
from imgscan.records import Skipped
from imgscan.scanner import build_scanner
from imgscan.weights import find_model, shape_of

# That lie in the folder for temporary files at once, 100 megabytes of 256 pixels a side; it may be memory, and a kill loses those
# that are not judged yet.
MOST_WINDOWS = 400


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

    What is judged is remembered in OUT.judged.jsonl: the same call goes on where it was cut short, and after it has come to its end
    another `share`, or more photographs, cost only what is new.  Other weights, windows or settings are judged anew.

    Raises:
        InputError: no photographs, or none that can be decoded, or a side that is no multiple of 8.
        ConfigError: an unknown family.
        OutputError: the list, or what is remembered, cannot be written.
    """
    histories = parse_families(families, "--families")
    if side % 8 or side < 64:
        raise InputError(f"--side {side}; wanted a multiple of 8, at least 64")
    if not can_be_made(out):
        raise OutputError(f"--out {out}: cannot be written; wanted a file in a folder that may be written to")
    photos = find_photos(roots)
    place = choose_device(device)
    chosen = find_model(model)
    scanner = build_scanner(chosen, device=place, jobs=jobs, everything=True, spares=True, accept_licence=accept_licence)
    whose = of_scanner(
        chosen.name, scanner, "+".join(card.sha256 for card in chosen.cards), [shape_of(card) for card in chosen.cards]
    )
    key = digest_of([__version__, whose.identity, windows, side, sorted(histories), seed])
    judged = Judged(out.with_name(f"{out.name}.judged.jsonl"), key)
    known = {number: mean for number, photo in enumerate(photos) if (mean := judged.mean(photo)) is not None}
    if known:
        say(f"imgscan: {len(known):,} of {len(photos):,} photographs are judged already, in {judged.path}")
    left = [number for number in range(len(photos)) if number not in known]
    skipped = 0
    step = max(1, MOST_WINDOWS // windows)
    with bar("searching", 2 * len(photos) * windows) as progress:
        progress.advance(by=2 * len(known) * windows)
        for first in range(0, len(left), step):
            with TemporaryDirectory(prefix="imgscan-") as folder:
                for number in left[first : first + step]:
                    try:
                        write_windows(photos[number], windows, side, histories, seed, Path(folder), str(number))
                    except InputError as error:
                        skipped += 1
                        say(f"imgscan: skipped {error}")
                    progress.advance(by=windows)
                scores: defaultdict[int, list[float]] = defaultdict(list)
                for result in scan(find([Path(folder)]), scanner):
                    progress.advance()
                    if isinstance(result, Skipped):
                        raise InputError(f"{result.source.path}: {result.reason}")
                    number = int(result.picture.source.path.name.split(".")[0])
                    scores[number].append(result.finding.score)
                    if len(scores[number]) == windows:
                        judged.add(photos[number], scores[number])
                        known[number] = sum(scores[number]) / windows
    means = [(photos[number], known[number]) for number in sorted(known)]
    if not means:
        raise InputError(f"none of the {len(photos)} photographs can be decoded")
    listed = hardest(means, share)
    if clear := sum(not score for _, score in listed):
        say(f"imgscan: {clear:,} of the {len(listed):,} listed are suspected nowhere (score 0); a smaller --share leaves them out")
    write_hard(out, listed)
    print(out)
    return ExitCode.INCOMPLETE if skipped else ExitCode.CLEAN
