"""`imgscan bench`: what it costs on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from imgscan import bench
from imgscan.completion import PARTS
from imgscan.devices import choose_device
from imgscan.errors import ExitCode, InputError, unknown
from imgscan.evaluation.tables import Shown, show
from imgscan.find import can_be_made, find
from imgscan.licences import check_usable
from imgscan.printable import say
from imgscan.records import Source
from imgscan.scanner import build_scanner
from imgscan.store import replacing
from imgscan.weights import find_model

OF_PICTURES = ("scan", "bf16", "training")
OF_A_MODEL = ("scan", "bf16", "memory")
SIZES = ((1024, 128), (4096, 128), (4096, 288), (16_384, 256), (65_536, 288))
MEMORY_COUNTS = (300, 3000)


def bench_command(
    parts: list[str],
    *,
    model: str,
    paths: list[Path],
    pictures: int,
    most: int,
    device: str,
    jobs: int | None,
    accept_licence: bool,
    out: Path | None,
) -> ExitCode:
    """Run the parts asked for, print a table, and write JSON where wanted.

    What a part will need is looked at before the first of them, for they take minutes each; where one fails or is interrupted all
    the same, what was measured until then is printed.
    """
    for part in parts:
        if part not in PARTS:
            raise InputError(unknown("part of bench", part, PARTS))
    asked = parts or list(PARTS)
    if not {*asked}.isdisjoint(OF_A_MODEL):
        check_usable(find_model(model).cards, accept_licence)
    if paths and {*asked}.isdisjoint(OF_PICTURES):
        raise InputError(f"--data: {', '.join(asked)} measures none of your pictures; wanted {', '.join(OF_PICTURES)}")
    given = find(paths) if paths else []
    if paths and not given:
        raise InputError(f"no pictures in {', '.join(map(str, paths))}")
    if out is not None and not can_be_made(out):
        raise InputError(f"-o {out}: cannot be written there; wanted a file in a folder of yours")
    place = choose_device(device)
    lines: list[bench.Timed] = []
    try:
        for part in asked:
            say(f"imgscan: measuring {part}")
            if part == "clusterings":
                measured: Iterable[bench.Timed] = bench.clusterings([size for size in SIZES if size[0] <= most], place)
            elif part == "official":
                measured = bench.official(place)
            elif part == "memory":
                measured = bench.memory(MEMORY_COUNTS, model, device, jobs, accept_licence)
            else:
                with TemporaryDirectory() as folder:
                    (Path(folder) / "made-up").mkdir()
                    sources = given or bench.pictures(Path(folder) / "made-up", pictures)
                    measured = _with_pictures(part, sources, Path(folder) / "out", model, place, jobs, accept_licence)
            for line in measured:
                lines.append(line)
    finally:
        _print(lines)
    if out is not None:
        with replacing(out) as new:
            new.write_text(bench.as_json(lines, model), "utf-8")
    return ExitCode.CLEAN


def _with_pictures(
    part: str, sources: Sequence[Source], out: Path, model: str, place: torch.device, jobs: int | None, accept_licence: bool
) -> list[bench.Timed]:
    """One of OF_PICTURES."""
    if part == "training":
        return bench.training([source.path for source in sources], place, jobs=jobs)
    # As `imgscan scan` builds it: networks are not asked about what is not judged.
    scanner = build_scanner(find_model(model), device=place, jobs=jobs, spares=True, accept_licence=accept_licence)
    if part == "scan":
        return bench.whole_scan(sources, scanner, out)
    return bench.bf16_masks(sources, (replace(scanner, amp=True), replace(scanner, amp=False)))


def _print(lines: Sequence[bench.Timed]) -> None:
    """The table on stdout, where there is something to say."""
    body = [
        [line.what, line.size, f"{line.seconds:.3f}", "-" if line.ratio is None else f"{line.ratio:.2f}", line.against, line.note]
        for line in lines
    ]
    if body:
        show(Shown("on this machine", ["what", "size", "seconds", "ratio", "against", "note"], body))
