"""Judge: from a mask to a verdict, by the operating points of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imgscan.errors import InputError, unknown
from imgscan.operating_points import OperatingPoint
from imgscan.records import LEVELS, Box, Clusters, Finding, Level, Mask, Picture, PictureFacts

NEVER = "never"
SCORE_DIGITS = 4  # of a picture's score, everywhere
DEFAULT = "default"  # the operating point, beside those of the levels, that counts where nobody names another


@dataclass(frozen=True)
class FailOn:
    """What counts as a finding for the exit code: a level, a score, or nothing; and how much must be marked."""

    level: Level | None = None
    score: float | None = None
    area: float = 0.0  # least share of the picture, 0..1

    def reached(self, level: Level, score: float, area: float) -> bool:
        """Whether a picture of this level, score and marked share is one."""
        if area < self.area:
            return False
        if self.score is not None:
            return score > 0 and score >= self.score
        return self.level is not None and LEVELS.index(level) >= LEVELS.index(self.level)


def parse_fail_on(text: str | None, points: Sequence[OperatingPoint], model: str, flag: str = "--fail-on") -> FailOn:
    """--fail-on and --report-from: possible, likely, certain, default, never, or a score between 0 and 1.

    Without the flag: the model's default operating point; its lowest level where it has none; never when nothing was measured.

    Raises:
        InputError: no such level, a score outside 0..1, or a level, or default, that nobody measured for this model.
    """
    usual = next((point for point in points if point.level == DEFAULT), None)
    points = levels(points)
    if text in (None, DEFAULT) and usual is not None:
        return FailOn(score=usual.score)
    if text is None:
        return FailOn(level=min((_level(p) for p in points), key=LEVELS.index)) if points else FailOn()
    if text == NEVER:
        return FailOn()
    for level in LEVELS[1:]:
        # A level is reached through its own point or a higher one; with neither it could never fire.
        if text == level and any(LEVELS.index(_level(p)) >= LEVELS.index(level) for p in points):
            return FailOn(level=level)
    if text in (*LEVELS[1:], DEFAULT):
        offered = ", ".join(p.level for p in points) or "none"
        raise InputError(
            f"{flag} {text}: {model} has no measured operating point for it (measured: {offered}); "
            "give a score between 0 and 1, or never"
        )
    try:
        score = float(text)
    except ValueError:
        raise InputError(f"{flag}: {unknown('level', text, (*LEVELS[1:], DEFAULT, NEVER))}, or a score between 0 and 1") from None
    if not 0 <= score <= 1:
        raise InputError(f"{flag} {text}: wanted a score between 0 and 1")
    return FailOn(score=score)


def parse_report_from(text: str | None, fail_on: FailOn, points: Sequence[OperatingPoint], model: str) -> FailOn:
    """--report-from: what is reported though it may not fail; by default what fails, and what would by default where nothing may.

    Raises:
        InputError: as parse_fail_on; or findings would fail and not be reported.
    """
    if text is None and fail_on != FailOn(area=fail_on.area):
        return fail_on
    start = replace(parse_fail_on(text, points, model, "--report-from"), area=fail_on.area)
    if least_score(start, points) > least_score(fail_on, points):
        raise InputError(f"--report-from {text}: is above --fail-on; what fails has to be reported, wanted the same or less")
    return start


def least_score(gate: FailOn, points: Sequence[OperatingPoint]) -> float:
    """The least score that reaches it; 2: none does."""
    if gate.score is not None:
        return gate.score
    if gate.level is None:
        return 2.0
    return min(point.score for point in levels(points) if LEVELS.index(_level(point)) >= LEVELS.index(gate.level))


def levels(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Those of the levels."""
    return [point for point in points if point.level != DEFAULT]


def usual_score(points: Sequence[OperatingPoint]) -> float:
    """From where on regions are marked where nobody asks for weaker ones: the default point, or the lowest level."""
    return next((point.score for point in points if point.level == DEFAULT), min(point.score for point in points))


def _level(point: OperatingPoint) -> Level:
    for level in LEVELS[1:]:
        if point.level == level:
            return level
    raise InputError(f"operating point of level {point.level!r} in the weights card; known: {', '.join(LEVELS[1:])}")


def level_of(score: float, points: Sequence[OperatingPoint]) -> Level:
    """The highest level whose measured threshold the score reaches; "none" for a score of 0 or under all of them."""
    reached = [_level(p) for p in levels(points) if score > 0 and score >= p.score]
    return max(reached, key=LEVELS.index, default="none")


def judge(
    picture: Picture,
    mask: Mask,
    clusters: Clusters | None,
    points: Sequence[OperatingPoint],
    inside: Box | None = None,
    panels: tuple[Box, ...] = (),
) -> Finding:
    """The verdict on one picture: its score is the strength of its strongest region.

    Args:
        picture, mask: what it is about.
        clusters: of its features; None: there are none, for no network was asked.
        points: of the model, its levels.
        inside: the part that was looked at; None: all.
        panels: what of it was judged each on its own; (): all together.
    """
    # As a report shows it, so that nobody sees 0.8300 that did not reach 0.83.
    score = round(max((region.strength for region in mask.regions), default=0.0), SCORE_DIGITS)
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
            remarks=picture.remarks,
            fingerprint=picture.fingerprint,
        ),
        score=score,
        level=level_of(score, points),
        area=round(float(mask.forged.mean()), 6),
        regions=mask.regions,
        clusters=0 if clusters is None else len(np.unique(clusters.labels)),
        method="none" if clusters is None else clusters.method,
        grid=(0, 0) if clusters is None else (int(clusters.labels.shape[0]), int(clusters.labels.shape[1])),
        withheld=mask.withheld,
        inside=inside,
        panels=panels,
    )
