"""`imgscan data list|check`: the data sets by name, and the doctor; torch is not imported."""

from __future__ import annotations

from pathlib import Path

from imgscan.datasets import DATASETS, data_set
from imgscan.datasets.doctor import Diagnosis, check
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
