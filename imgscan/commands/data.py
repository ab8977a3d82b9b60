"""`imgscan data`: the data sets by name, the doctor, and forgeries written to disk; torch is not imported."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from imgscan.datasets import DATASETS, data_set
from imgscan.datasets.doctor import Diagnosis, check
from imgscan.datasets.entries import read_rgb
from imgscan.datasets.families import Families, forge_as, parse_families
from imgscan.datasets.forge import KINDS, Rgb, forge
from imgscan.datasets.trees import MADE, is_picture, without_made
from imgscan.errors import ExitCode, InputError, OutputError, unknown
from imgscan.find import find
from imgscan.printable import printable, say
from imgscan.progress import bar

SHOWN = 5  # files named for each kind of defect


def list_command() -> ExitCode:
    """Every set: counts, splits, licence, where to get it, what to know."""
    for name in DATASETS:
        info = data_set(name).INFO
        counts = f"{_counts(info.forged)} forged, {_counts(info.authentic)} untouched"
        print(f"{name}\t{info.title}\n\t{counts}\n\tlicence: {info.licence}\n\tfrom: {info.where}")
        print(f"\tsplit: {info.splits.describe()}")
        if info.remark:
            print(f"\tnote: {info.remark}")
    print(
        f"synth\tforgeries made on the fly from your own photographs: {', '.join(KINDS)}\n\tendless\n\tlicence: your photographs'"
    )
    print("\tfrom: --data-root DIR; to disk: imgscan data synth")
    print("\nAlso: a folder with images/ and masks/ (or Tp/ and Gt/); lists of IMDLBenCo, ForensicHub, CAT-Net, MVSS-Net, FOCAL.")
    return ExitCode.CLEAN


def _counts(known: tuple[int, ...]) -> str:
    return " or ".join(f"{count:,}" for count in known) if known else "?"


def check_command(name: str, root: Path | None) -> ExitCode:
    """Examine a set and print every finding and the verdict; 0 sound, 1 defects found, 2 it cannot be checked."""
    with bar("checking", 100) as progress:
        diagnosis = check(name, root, lambda done, total: progress.advance(by=100 * done // total - 100 * (done - 1) // total))
    print(diagnosis_text(diagnosis))
    return ExitCode.CLEAN if diagnosis.sound else ExitCode.FINDINGS


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """A diagnosis as lines: counts, findings with their first files, verdict."""
    splits = ", ".join(f"{count:,} {name}" for name, count in diagnosis.splits.items())
    lines = [f"{printable(diagnosis.name)}: {diagnosis.forged:,} forged, {diagnosis.authentic:,} untouched; splits: {splits}"]
    for finding in diagnosis.findings:
        number = f"{len(finding.files):,} " if finding.files else ""
        lines.append(f"{finding.severity:<8} {finding.kind:<18} {number}{printable(finding.text)}")
        lines += [f"         {printable(str(path))}" for path in finding.files[:SHOWN]]
        if len(finding.files) > SHOWN:
            lines.append(f"         and {len(finding.files) - SHOWN:,} more")
    count = {severity: sum(f.severity == severity for f in diagnosis.findings) for severity in ("error", "warning")}
    verdict = "sound" if diagnosis.sound else f"defects found: {count['error']} kinds of error, {count['warning']} of warning"
    return "\n".join([*lines, f"verdict: {verdict}"])


def synth_command(*, roots: list[Path], count: int, side: int, kinds: list[str], families: str, seed: int, out: Path) -> ExitCode:
    """Write `count` forgeries as images/ and masks/ (PNG, white is forged) and manifest.csv.

    Number i is a pure function of (seed, i) and the photographs; the same call writes the same files.

    Raises:
        InputError: no photographs, an unknown kind, kinds beside families, a side that is no multiple of 8, or an output folder
            that is in use.
        ConfigError: an unknown family.
        OutputError: the folder cannot be written.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"--kind: {unknown('kind of forgery', kind, KINDS)}")
    if kinds and families:
        raise InputError("--kind and --families do not go together: with families the kind is drawn")
    chosen = parse_families(families, "--families")
    if side % 8 or side < 64:
        raise InputError(f"--side {side}; wanted a multiple of 8, at least 64")
    if not roots:
        raise InputError("forgeries need pristine photographs: give --data-root DIR (repeatable)")
    if (out / "images").exists() or (out / "manifest.csv").exists():
        raise InputError(f"--out {out} holds a data set already; choose another folder")
    found = [source.path for source in find(roots) if is_picture(source.path)]
    photos = without_made(found)
    if len(photos) < len(found):
        say(f"imgscan: passed over {len(found) - len(photos):,} pictures that imgscan data synth wrote")
    if not photos:
        raise InputError(f"{', '.join(str(root) for root in roots)}: no pictures; wanted .jpg, .png, .tif, .webp or .bmp files")
    try:
        _write(photos, count, side, kinds, chosen, seed, out)
    except OSError as error:
        raise OutputError(f"--out {out} cannot be written: {error}") from error
    print(out / "manifest.csv")
    return ExitCode.CLEAN


def _write(photos: list[Path], count: int, side: int, kinds: list[str], families: Families, seed: int, out: Path) -> None:
    read = lru_cache(maxsize=16)(read_rgb)
    areas = np.array([_area(path) for path in photos])
    if not areas.any():
        raise InputError(f"none of {len(photos)} photographs can be opened, {photos[0]} for one; wanted pristine pictures")
    edges = np.cumsum(areas)
    for name in ("images", "masks"):
        (out / name).mkdir(parents=True)
    with bar("forging", count) as progress, (out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(MADE)
        for number in range(count):
            rng = np.random.default_rng((seed, number))

            def photo(rng: np.random.Generator = rng) -> Rgb:
                while areas.any():
                    place = min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(photos) - 1)
                    if not areas[place]:
                        continue
                    try:
                        return read(photos[place])
                    except InputError as error:  # another one is drawn, as in training
                        areas[place] = 0
                        say(f"imgscan: passed over {error}")
                raise InputError(f"none of {len(photos)} photographs can be read")

            if families:
                made = forge_as(photo, side, rng, families)
            else:
                made = forge(photo, side, rng, kinds[int(rng.integers(len(kinds)))] if kinds else None)
            stem = f"{number:06d}.png"
            Image.fromarray(made.rgb).save(out / "images" / stem)
            forged = made.labels > 0
            Image.fromarray(forged.astype(np.uint8) * 255).save(out / "masks" / stem)
            table.writerow([f"images/{stem}", f"masks/{stem}", made.kind, f"{forged.mean():.4f}", seed, number])
            progress.advance()


def _area(path: Path) -> int:
    """Pixels of a picture, from its header; a photograph is drawn in proportion, so that many small ones do not crowd out few."""
    try:
        with Image.open(path) as picture:
            return picture.width * picture.height
    except Exception as error:  # Pillow raises nearly anything on broken files
        say(f"imgscan: passed over {path}: cannot be opened: {error}")
        return 0
