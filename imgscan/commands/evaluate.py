"""`imgscan evaluate`: models against folders with masks, and against untouched pictures."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from imgscan.errors import ExitCode
from imgscan.evaluation.measure import ELA, FolderScores, measure, read_pairs
from imgscan.progress import bar
from imgscan.records import Skipped
from imgscan.report.human import printable
from imgscan.scanner import build_scanner, choose_device, default_jobs
from imgscan.weights import find_model


def evaluate_command(
    models: list[str],
    *,
    data: list[Path],
    device: str,
    jobs: int | None,
    batch: int | None,
    cluster: str | None,
    grid: int | None,
    side: int | None,
    beyond: str | None,
    as_json: bool,
) -> ExitCode:
    """Measure every model on every folder; a table, or a JSON line per row, on stdout."""
    totals = [len(read_pairs(root)) for root in data]
    chosen = [None if name == ELA else find_model(name).with_clustering(cluster, grid) for name in models]
    place = choose_device(device)
    rows: list[FolderScores] = []
    with bar("evaluating", sum(totals) * len(models)) as progress:

        def step(skipped: Skipped | None) -> None:
            progress.advance()
            if skipped is not None:
                print(f"imgscan: skipped {printable(str(skipped.source.path))}: {skipped.reason}", file=sys.stderr)

        for model in chosen:
            scanner = None
            if model is not None:
                scanner = build_scanner(model, device=place, batch=batch, jobs=jobs, side=side, beyond=beyond)
            for root in data:
                rows.append(measure(model.name if model else ELA, scanner, root, default_jobs() if jobs is None else jobs, step))
                if as_json:
                    print(json.dumps(asdict(rows[-1])), flush=True)
    if not as_json:
        print(table(rows))
    return ExitCode.INCOMPLETE if any(row.skipped for row in rows) else ExitCode.CLEAN


def table(rows: list[FolderScores]) -> str:
    """Rows as aligned text; a dash where a metric is undefined."""
    head = ["model", "data", "n", "pixel AUC", "F1", "macro F1", "IoU", "pictures marked", "area marked"]
    body = [
        [row.model, row.folder, str(row.pictures)]
        + ["-" if v is None else f"{v:.3f}" for v in (row.auc, row.f1, row.macro_f1, row.iou, row.marked, row.area)]
        for row in rows
    ]
    widths = [max(len(line[k]) for line in [head, *body]) for k in range(len(head))]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip() for line in [head, *body])
