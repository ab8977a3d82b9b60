"""Judge: from a mask to a verdict, by the operating points of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgscan.errors import InputError, unknown
from imgscan.records import LEVELS, Clusters, Finding, Level, Mask, Picture, PictureFacts
from imgscan.weights import OperatingPoint

NEVER = "never"


@dataclass(frozen=True)
class FailOn:
    """What counts as a finding for the exit code: a level, a score, or nothing; and how much must be marked."""

    level: Level | None = None
    score: float | None = None
    area: float = 0.0  # least share of the picture, 0..1

    def reached(self, finding: Finding) -> bool:
        if finding.area < self.area:
            return False
        if self.score is not None:
            return finding.score > 0 and finding.score >= self.score
        return self.level is not None and LEVELS.index(finding.level) >= LEVELS.index(self.level)


def parse_fail_on(text: str | None, points: Sequence[OperatingPoint], model: str) -> FailOn:
    """--fail-on: possible, likely, certain, never, or a score between 0 and 1.

    Without the flag: the lowest level that was measured for the model, or never when none was.

    Raises:
        InputError: no such level, a score outside 0..1, or a level that nobody measured for this model.
    """
    if text is None:
        return FailOn(level=min((_level(p) for p in points), key=LEVELS.index)) if points else FailOn()
    if text == NEVER:
        return FailOn()
    for level in LEVELS[1:]:
        if text == level:
            # A level is reached through its own point or a higher one; with neither it could never fire.
            if not any(LEVELS.index(_level(p)) >= LEVELS.index(level) for p in points):
                offered = ", ".join(p.level for p in points) or "none"
                raise InputError(
                    f"--fail-on {level}: {model} has no measured operating point for it (measured: {offered}); "
                    "give a score between 0 and 1, or never"
                )
            return FailOn(level=level)
    try:
        score = float(text)
    except ValueError:
        raise InputError(f"--fail-on: {unknown('level', text, (*LEVELS[1:], NEVER))}, or a score between 0 and 1") from None
    if not 0 <= score <= 1:
        raise InputError(f"--fail-on {text}: wanted a score between 0 and 1")
    return FailOn(score=score)


def _level(point: OperatingPoint) -> Level:
    for level in LEVELS[1:]:
        if point.level == level:
            return level
    raise InputError(f"operating point of level {point.level!r} in the weights card; known: {', '.join(LEVELS[1:])}")


def level_of(score: float, points: Sequence[OperatingPoint]) -> Level:
    """The highest level whose measured threshold the score reaches; "none" for a score of 0 or under all of them."""
    reached = [_level(p) for p in points if score > 0 and score >= p.score]
    return max(reached, key=LEVELS.index, default="none")


def judge(picture: Picture, mask: Mask, clusters: Clusters, points: Sequence[OperatingPoint]) -> Finding:
    """The verdict on one picture: its score is the strength of its strongest region."""
    score = max((region.strength for region in mask.regions), default=0.0)
    return Finding(
        picture=PictureFacts(
            name=picture.source.name,
            path=str(picture.source.path),
            sha256=picture.sha256,
            bytes=picture.bytes,
            format=picture.format,
            width=picture.width,
            height=picture.height,
            orientation=picture.orientation,
            jpeg_quality=picture.jpeg_quality,
        ),
        score=score,
        level=level_of(score, points),
        area=float(mask.forged.mean()),
        regions=mask.regions,
        clusters=len(clusters.persistence),
        method=clusters.method,
        grid=(int(clusters.labels.shape[0]), int(clusters.labels.shape[1])),
    )
