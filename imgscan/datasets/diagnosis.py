"""What can be wrong with a data set, in words, and what the doctor found of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgscan.datasets.splits import Split

Severity = Literal["error", "warning", "note"]

# Kind -> severity and what it means.  An error spoils a training or a measurement, a warning is to be looked at, a note is no
# defect.
KINDS: dict[str, tuple[Severity, str]] = {
    "unpaired-image": ("error", "forged pictures without their mask"),
    "unreadable-image": ("error", "pictures that cannot be decoded"),
    "unreadable-mask": ("error", "masks that cannot be decoded"),
    "rotated-mask": ("error", "masks rotated by 90 degrees"),
    "wrong-size": ("error", "masks of another size than their picture"),
    "inverted-polarity": ("error", "most masks mark over half of the picture: the other polarity is meant"),
    "both-truths": ("error", "the same file as forged and as untouched"),
    "across-splits": ("error", "the same file in two splits"),
    "across-sets": ("error", "files that a set which --against names has, too"),
    "one-photograph": ("warning", "pictures of a photograph that another split or set has: saved again, scaled, cropped, altered"),
    "part-in-common": ("warning", "pictures that have a part in common with one of another split or set"),
    "known-bad": ("warning", "files known to be bad"),
    "unused-image": ("warning", "pictures in the set's folders or below that are not taken"),
    "unpaired-mask": ("warning", "files in a folder of masks that belong to no picture"),
    "shared-mask": ("warning", "pictures of one name but for the suffix, which have one mask between them"),
    "empty-mask": ("warning", "masks of forged pictures that mark nothing"),
    "full-mask": ("warning", "masks that mark the whole picture"),
    "faint-mask": ("warning", "masks that mark nothing by their rule (white is above 127) but hold levels above 0, as 0 and 1 do"),
    "coloured-mask": ("warning", "masks in colours, which count by how bright they are; look whether that is what they mean"),
    "counts": ("warning", "counts that are not those of the literature"),
    "mostly-forged": ("note", "masks that mark over half of their picture; look whether they are in the other polarity"),
    "duplicate": ("note", "the same file twice within a split"),
    "counts-agree": ("note", "counts are those of the literature"),
}


@dataclass(frozen=True)
class Finding:
    """One kind of defect and the files that have it."""

    kind: str  # a name of KINDS
    text: str
    files: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()  # one for each of the files, or none

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS[self.kind][0]


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found; the worst comes first."""

    name: str
    forged: int
    authentic: int
    splits: dict[Split, int]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(finding.severity == "note" for finding in self.findings)
