"""`imgscan data list|check`: the data sets by name, and the doctor; torch is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgscan.datasets import DATASETS, data_set
from imgscan.datasets.diagnosis import Diagnosis
from imgscan.datasets.doctor import check
from imgscan.datasets.forge import KINDS
from imgscan.errors import ExitCode
from imgscan.printable import printable
from imgscan.progress import bar

SHOWN = 5  # files named for each kind of defect


def list_command() -> ExitCode:
    """Every set: counts, licence, where to get it, its folders, splits, what to know."""
    for name in DATASETS:
        info = data_set(name).INFO
        counts = f"{_counts(info.forged)} forged, {_counts(info.authentic)} untouched"
        print(f"{name}\t{info.title}\n\t{counts}\n\tlicence: {info.licence}\n\tfrom: {info.where}")
        print(f"\tfolders: {info.layout}")
        print(f"\tsplit: {info.splits.describe()}")
        if info.remark:
            print(f"\tnote: {info.remark}")
    print(
        f"synth\tforgeries made on the fly from your own photographs: {', '.join(KINDS)}\n\tendless\n\tlicence: your photographs'"
    )
    print("\tfrom: --data-root DIR; to disk: imgscan data synth")
    print("\nA set is its folders, in a folder below --data-root that is called like it, or in --data-root itself.")
    print("Also: a folder with images/ and masks/ (or Tp/ and Gt/); lists of IMDLBenCo, ForensicHub, CAT-Net, MVSS-Net, FOCAL,")
    print("CFLNet; imgscan data export writes such lists.")
    return ExitCode.CLEAN


def _counts(known: tuple[int, ...]) -> str:
    return " or ".join(f"{count:,}" for count in known) if known else "?"


def check_command(
    name: str,
    root: Path | None,
    *,
    against: Sequence[str] = (),
    parts: bool = False,
    jobs: int | None = None,
    verbose: bool = False,
) -> ExitCode:
    """Examine a set and print every finding and the verdict; 0 sound, 1 defects found, 2 it cannot be checked."""
    if parts and jobs is None:
        from imgscan.scanner import default_jobs

        jobs = default_jobs()
    with bar("checking", 100) as progress:
        diagnosis = check(
            name,
            root,
            lambda done, total: progress.advance(by=100 * done // total - 100 * (done - 1) // total),
            against=against,
            parts=parts,
            jobs=jobs or 0,
            tell=lambda done, of: progress.advance(f"{done} of {of} held against others", 0),
        )
    print(diagnosis_text(diagnosis, None if verbose else SHOWN))
    return ExitCode.CLEAN if diagnosis.sound else ExitCode.FINDINGS


def diagnosis_text(diagnosis: Diagnosis, most: int | None = SHOWN) -> str:
    """A diagnosis as lines: counts, findings with so many of their files (None: all), verdict."""
    splits = ", ".join(f"{count:,} {name}" for name, count in diagnosis.splits.items())
    lines = [f"{printable(diagnosis.name)}: {diagnosis.forged:,} forged, {diagnosis.authentic:,} untouched; splits: {splits}"]
    for finding in diagnosis.findings:
        number = f"{len(finding.files):,} " if finding.files else ""
        lines.append(f"{finding.severity:<8} {finding.kind:<18} {number}{printable(finding.text)}")
        told = finding.remarks or ("",) * len(finding.files)
        named = [printable(str(path)) + (f": {text}" if text else "") for path, text in zip(finding.files, told, strict=True)]
        lines += [f"         {one}" for one in named[:most]]
        if most is not None and len(named) > most:
            lines.append(f"         and {len(named) - most:,} more")
    count = {severity: sum(f.severity == severity for f in diagnosis.findings) for severity in ("error", "warning")}
    verdict = "sound" if diagnosis.sound else f"defects found: {count['error']} kinds of error, {count['warning']} of warning"
    return "\n".join([*lines, f"verdict: {verdict}"])
