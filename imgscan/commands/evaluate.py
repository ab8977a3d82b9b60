"""`imgscan evaluate`: models, weight-free detectors and other tools' masks against pictures with known truth."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from imgscan import __version__
from imgscan.datasets.doctor import check
from imgscan.detectors import DETECTORS
from imgscan.errors import ExitCode, InputError, OutputError
from imgscan.evaluation.attacks import find_attacks
from imgscan.evaluation.measure import (
    Contestant,
    Mean,
    PictureScores,
    SetScores,
    attacked,
    measure,
    of_detector,
    of_masks,
    of_scanner,
    read_set,
    summarise,
)
from imgscan.evaluation.pixel import PixelMetrics
from imgscan.evaluation.protocols import Protocol, find_protocol
from imgscan.progress import bar
from imgscan.records import Skipped
from imgscan.report.human import printable
from imgscan.scanner import build_scanner, choose_device, default_jobs
from imgscan.store import replacing
from imgscan.weights import find_model

UNATTACKED = "none"
SHORT = {
    "auc": "pixel AUC",
    "average_precision": "pixel AP",
    "f1": "F1",
    "best_f1": "best F1",
    "macro_f1": "macro F1",
    "iou": "IoU",
}
SHORT |= {"mcc": "MCC", "permute_f1": "permute F1", "best_permute_f1": "best permute F1", "flipped_auc": "flipped AUC"}


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line says."""

    models: list[str]
    data: list[str]
    roots: list[Path]
    masks: list[Path]
    protocol: str
    attacks: list[str]
    device: str
    jobs: int | None
    batch: int | None
    cluster: str | None
    grid: int | None
    side: int | None
    beyond: str | None
    as_json: bool
    csv: Path | None


def evaluate_command(options: EvaluateOptions) -> ExitCode:
    """Measure every contestant on every set; tables, or a JSON line per row, on stdout."""
    if not options.models and not options.masks:
        raise InputError("nothing to measure: give models, or --masks DIR of another tool")
    protocol = find_protocol(options.protocol)
    attacks = [UNATTACKED, *dict.fromkeys(name for text in options.attacks for name in find_attacks(text))]
    sets = {text: read_set(text, options.roots) for text in options.data}
    contestants = list(_contestants(options))
    for text in sets:
        _examine(text)
    found: dict[str, list[SetScores]] = {name: [] for name in attacks}
    pictures: list[tuple[str, str, str, PictureScores]] = []  # attack, model, set
    with bar("evaluating", sum(map(len, sets.values())) * len(contestants) * len(attacks)) as progress:
        for name in attacks:
            for text, entries in sets.items():
                with TemporaryDirectory() as folder:
                    seen = entries if name == UNATTACKED else attacked(entries, name, Path(folder))
                    for contestant in contestants:
                        if contestant.fixed and name != UNATTACKED:
                            continue
                        skipped: list[Skipped] = []

                        def step(one: Skipped | None, skipped: list[Skipped] = skipped) -> None:
                            progress.advance()
                            if one is not None:
                                skipped.append(one)
                                print(f"imgscan: skipped {printable(str(one.source.path))}: {one.reason}", file=sys.stderr)

                        rows = measure(contestant, seen, protocol, step, [str(entry.image) for entry in entries])
                        pictures += [(name, contestant.name, text, row) for row in rows]
                        scores = summarise(contestant, text, rows, len(skipped), protocol)
                        found[name].append(scores)
                        if options.as_json:
                            print(json.dumps(_line(scores, contestant, protocol, name)), flush=True)
    together = [_together(contestant, pictures, protocol) for contestant in contestants] if len(sets) > 1 else []
    if options.csv is not None:
        write_csv(options.csv, protocol, pictures)
    if not options.as_json:
        print(localization_table(found[UNATTACKED], protocol))
        for table in (untouched_table(found[UNATTACKED]), image_table([*found[UNATTACKED], *together])):
            if table:
                print("\n" + table)
        if len(attacks) > 1:
            print("\n" + attack_table(found, protocol))
    return ExitCode.INCOMPLETE if any(row.skipped for rows in found.values() for row in rows) else ExitCode.CLEAN


def _examine(text: str) -> None:
    """Say what is wrong with a folder of pictures and masks before hours are spent on it; such pictures are skipped later."""
    if not (Path(text) / "images").is_dir():
        return
    for finding in check(text).findings:
        if finding.severity == "error" and finding.kind not in ("unreadable-image", "across-splits"):
            files = ", ".join(printable(str(path)) for path in finding.files[:3])
            more = f" and {len(finding.files) - 3} more" if len(finding.files) > 3 else ""
            print(f"imgscan: {printable(text)}: {finding.text}: {files}{more}", file=sys.stderr)


def _together(contestant: Contestant, pictures: list[tuple[str, str, str, PictureScores]], protocol: Protocol) -> SetScores:
    """All sets as one, for the image level: many a folder has forged pictures only, or untouched ones."""
    rows = [row for attack, model, _, row in pictures if attack == UNATTACKED and model == contestant.name]
    return summarise(contestant, "all together", rows, 0, protocol)


def _contestants(options: EvaluateOptions) -> Iterator[Contestant]:
    """Models in the order given, then other tools' masks."""
    jobs = default_jobs() if options.jobs is None else options.jobs
    place = choose_device(options.device)
    chosen = [
        None if name in DETECTORS else find_model(name).with_clustering(options.cluster, options.grid) for name in options.models
    ]
    for name, model in zip(options.models, chosen, strict=True):
        if model is None:
            yield of_detector(name, jobs)
            continue
        scanner = build_scanner(model, device=place, batch=options.batch, jobs=jobs, side=options.side, beyond=options.beyond)
        yield of_scanner(model.name, scanner, "+".join(card.sha256 for card in model.cards))
    for folder in options.masks:
        yield of_masks(folder, jobs)


def _line(scores: SetScores, contestant: Contestant, protocol: Protocol, attack: str) -> dict[str, object]:
    """A row as JSON, with all that is needed to repeat it."""
    return {"version": __version__, "protocol": protocol.name, "attack": attack, "weights": contestant.weights} | asdict(scores)


def localization_table(rows: list[SetScores], protocol: Protocol) -> str:
    """The protocol's columns with 95 % intervals, and beside them what answering nothing or everything would score."""
    rows = [row for row in rows if row.forged]
    head = ["model", "data", "n", *(SHORT.get(column, column) for column in protocol.columns), "pooled F1"]
    body = [
        [
            *(row.model, row.data, str(row.forged)),
            *(_interval(row.columns[c]) for c in protocol.columns),
            _number(row.pooled.f1 if row.pooled else None),
        ]
        for row in rows
    ]
    for data in dict.fromkeys(row.data for row in rows):
        row = next(one for one in rows if one.data == data)
        for name, values in row.baselines.items():
            cells = [f"{values[c]:.3f}" if c in values else "-" for c in protocol.columns]
            body.append([name, data, str(row.forged), *cells, "-"])
    title = f"localization, protocol {protocol.name}: means over forged pictures [95 % bootstrap interval]"
    return f"{title}\n{_aligned([head, *body])}" if body else "localization: no forged pictures"


def untouched_table(rows: list[SetScores]) -> str:
    """False alarms; "" where no contestant saw an untouched picture."""
    body = [
        [row.model, row.data, str(one.pictures), f"{one.flagged:.3f}", f"{one.area:.4f}"] for row in rows if (one := row.untouched)
    ]
    head = ["model", "data", "n", "pictures marked", "area marked"]
    return "untouched pictures\n" + _aligned([head, *body]) if body else ""


def image_table(rows: list[SetScores]) -> str:
    """Image-level numbers with the leak score; "" where no set has both forged and untouched pictures."""
    body = []
    for row in rows:
        if row.image is None:
            continue
        points = "; ".join(
            f"{name} {point.threshold:g}: TPR {_number(point.tpr)} FPR {_number(point.fpr)}"
            for name, point in row.image.decisions.items()
        )
        counts = f"{row.image.forged}+{row.image.untouched}"
        body.append([row.model, row.data, counts, _number(row.image.auc), _number(row.image.average_precision)])
        body[-1] += [_number(row.leak), points or "-"]
    head = ["model", "data", "n", "AUC", "AP", "leak AUC", "operating points"]
    note = "(leak AUC: what container and JPEG quality alone would reach)"
    return f"image level {note}\n" + _aligned([head, *body]) if body else ""


def attack_table(found: dict[str, list[SetScores]], protocol: Protocol) -> str:
    """The protocol's first columns under every attack."""
    columns = [c for c in protocol.columns if c in ("auc", "f1", "macro_f1", "iou", "permute_f1", "flipped_auc")][:3]
    head = ["attack", "model", "data", "n", *(SHORT.get(column, column) for column in columns)]
    body = [
        [name, row.model, row.data, str(row.forged), *(_interval(row.columns[c]) for c in columns)]
        for name, rows in found.items()
        for row in rows
        if row.forged
    ]
    return "robustness\n" + _aligned([head, *body])


def write_csv(path: Path, protocol: Protocol, pictures: list[tuple[str, str, str, PictureScores]]) -> None:
    """A row per attack, model and picture, with every metric."""
    names = [one.name for one in fields(PixelMetrics)]
    try:
        with replacing(path) as new, new.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.writer(file)
            rows.writerow(["protocol", "attack", "model", "data", "picture", "forged_picture", "score", "area_marked", *names])
            for attack, model, data, row in pictures:
                values = [getattr(row.metrics, name) for name in names]
                facts = [protocol.name, attack, model, data, row.name, int(row.forged), row.strength, row.area, *values]
                rows.writerow(["" if value is None else value for value in facts])
    except OSError as error:
        raise OutputError(f"--csv {path}: cannot be written: {error.strerror or error}") from error


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(mean: Mean | None) -> str:
    if mean is None:
        return "-"
    return f"{mean.mean:.3f}" if mean.low is None else f"{mean.mean:.3f} [{mean.low:.2f} {mean.high:.2f}]"


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip() for line in lines)
