"""`imgscan bench`: what it costs on this machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from imgscan import bench
from imgscan.devices import choose_device
from imgscan.errors import ExitCode, InputError, unknown
from imgscan.evaluation.tables import Shown, show
from imgscan.find import find
from imgscan.scanner import build_scanner
from imgscan.store import replacing
from imgscan.weights import find_model

PARTS = ("clusterings", "scan", "bf16", "official", "training", "memory")
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
    """Run the parts asked for, print a table, and write JSON where wanted."""
    for part in parts:
        if part not in PARTS:
            raise InputError(unknown("part of bench", part, PARTS))
    place = choose_device(device)
    lines: list[bench.Timed] = []
    for part in parts or PARTS:
        print(f"imgscan: measuring {part}", file=sys.stderr)
        if part == "clusterings":
            lines += bench.clusterings([size for size in SIZES if size[0] <= most], place)
        elif part == "official":
            lines += bench.official(place)
        elif part == "memory":
            lines += bench.memory(MEMORY_COUNTS, model, device, jobs, accept_licence)
        else:
            with TemporaryDirectory() as folder:
                (Path(folder) / "made-up").mkdir()
                sources = find(paths) if paths else bench.pictures(Path(folder) / "made-up", pictures)
                if not sources:
                    raise InputError(f"no pictures in {', '.join(map(str, paths))}")
                if part == "training":
                    lines += bench.training([source.path for source in sources], place, jobs=jobs)
                    continue
                scanner = build_scanner(find_model(model), device=place, jobs=jobs, accept_licence=accept_licence)
                if part == "scan":
                    lines += bench.whole_scan(sources, scanner, Path(folder) / "out")
                else:
                    lines += bench.bf16_masks(sources, (replace(scanner, amp=True), replace(scanner, amp=False)))
    body = [
        [line.what, line.size, f"{line.seconds:.3f}", "-" if line.ratio is None else f"{line.ratio:.2f}", line.against, line.note]
        for line in lines
    ]
    show(Shown("on this machine", ["what", "size", "seconds", "ratio", "against", "note"], body))
    if out is not None:
        with replacing(out) as new:
            new.write_text(bench.as_json(lines), "utf-8")
    return ExitCode.CLEAN
