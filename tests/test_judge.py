from pathlib import Path

import numpy as np
import pytest
import torch

from imgscan.errors import InputError
from imgscan.judge import FailOn, judge, least_score, level_of, parse_fail_on, parse_report_from, usual_score
from imgscan.operating_points import OperatingPoint
from imgscan.records import Clusters, Features, Finding, Level, Map, Mask, Picture, PictureFacts, Region, Remark, Source
from imgscan.segment import segment

POINTS = (OperatingPoint("possible", 0.3, 0.05, 100), OperatingPoint("likely", 0.6, 0.01, 100))


@pytest.mark.parametrize(
    ("score", "level"), [(0.0, "none"), (0.2999, "none"), (0.3, "possible"), (0.5999, "possible"), (0.6, "likely"), (1.0, "likely")]
)
def test_levels(score: float, level: str) -> None:
    assert level_of(score, POINTS) == level


def test_no_points_no_level_and_a_score_of_zero_is_never_a_finding() -> None:
    assert level_of(1.0, ()) == "none"
    assert level_of(0.0, (OperatingPoint("possible", 0.0, 0.05, 100),)) == "none"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, FailOn("possible")),
        ("likely", FailOn("likely")),
        ("never", FailOn()),
        ("0.83", FailOn(score=0.83)),
        ("0", FailOn(score=0)),
    ],
)
def test_fail_on(text: str | None, wanted: FailOn) -> None:
    assert parse_fail_on(text, POINTS, "m") == wanted


def test_fail_on_without_measured_points_is_never() -> None:
    assert parse_fail_on(None, (), "m") == FailOn()


def test_a_level_that_was_not_measured_is_reached_through_a_higher_one() -> None:
    likely = POINTS[1:]
    gate = parse_fail_on("possible", likely, "m")
    assert gate == FailOn("possible")
    assert least_score(gate, likely) == 0.6
    assert gate.reached(level_of(0.6, likely), 0.6, 0.1)
    assert not gate.reached(level_of(0.5, likely), 0.5, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("certain", "no measured operating point"),
        ("default", r"default: m has no measured operating point for it \(measured: possible, likely\); give a score"),
        ("posible", "did you mean possible"),
        ("1.5", "between 0 and 1"),
        ("nan", "between 0 and 1"),
    ],
)
def test_fail_on_errors_say_what_is_legal(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_fail_on(text, POINTS, "m")


def of(verdict: Finding) -> tuple[Level, float, float]:
    return verdict.level, verdict.score, verdict.area


def test_the_default_point_is_what_counts_and_no_level() -> None:
    points = (*POINTS, OperatingPoint("default", 0.45, 0.02, 100))
    assert parse_fail_on(None, points, "m") == parse_fail_on("default", points, "m") == FailOn(score=0.45)
    assert level_of(0.5, points) == "possible"
    assert usual_score(points) == 0.45
    assert usual_score(POINTS) == 0.3
    assert parse_report_from("possible", FailOn(score=0.45), points, "m") == FailOn("possible")
    assert parse_report_from(None, FailOn("likely"), points, "m") == FailOn("likely")
    assert parse_report_from(None, FailOn(area=0.1), points, "m") == FailOn(score=0.45, area=0.1), "where nothing fails, what would"
    assert parse_report_from("never", FailOn(), points, "m") == FailOn()
    with pytest.raises(InputError, match="is above --fail-on"):
        parse_report_from("likely", FailOn(score=0.45), points, "m")
    assert least_score(FailOn("likely"), points) == 0.6
    assert least_score(FailOn(), points) > 1


def finding(strengths: list[float], withheld: str | None = None, clusters: Clusters | None = None) -> Finding:
    regions = tuple(Region((0, 0, 4, 4), 16, s) for s in strengths)
    picture = Picture(Source(__file__, "x.jpg"), np.zeros((64, 64, 3), np.uint8), "ab", 5, "JPEG", 1, 90)  # type: ignore[arg-type]
    forged = np.zeros((64, 64), bool)
    forged[:4, :4] = bool(strengths)
    labels = np.zeros((8, 8), np.int32)
    mask = Mask(np.zeros((64, 64), np.float32), forged, regions, withheld=withheld)
    return judge(picture, mask, clusters or Clusters(labels, labels > 0, (1.0,), "hdbscan"), POINTS)


def test_the_strongest_region_is_the_score() -> None:
    verdict = finding([0.2, 0.7, 0.4])
    assert (verdict.score, verdict.level, verdict.area) == (0.7, "likely", round(16 / 4096, 6))
    assert FailOn("likely").reached(*of(verdict))
    assert FailOn(score=0.7).reached(*of(verdict))
    assert not FailOn(score=0.71).reached(*of(verdict))
    assert not FailOn().reached(*of(verdict))


@pytest.mark.parametrize(("probabilities", "there"), [([0.1, 0.2], 1), ([0.1, 0.9], 2), ([0.8, 0.9], 1)])
def test_clusters_are_those_that_have_cells(probabilities: list[float], there: int) -> None:
    """A mask head knows two groups, whether or not it finds anything."""
    cells = Map(torch.tensor([probabilities]), (8.0, 8.0))
    clusters = segment(Features(torch.ones(1, 1, 2), (8.0, 8.0), cells))
    assert finding([], clusters=clusters).clusters == there


def test_a_verdict_has_the_facts_of_its_picture_and_what_of_it_was_looked_at() -> None:
    rgb = np.zeros((64, 96, 3), np.uint8)
    source = Source(Path("p/x.jpg"), "x.jpg")
    picture = Picture(source, rgb, "ab", 5, "JPEG", 6, 90, (Remark("dates", "was"),), fingerprint="cd")
    labels = np.zeros((8, 12), np.int32)
    mask = Mask(np.ones((64, 96), np.float32), np.zeros((64, 96), bool), ())
    verdict = judge(picture, mask, Clusters(labels, labels > 0, (1.0,), "hdbscan"), POINTS, inside=(8, 0, 96, 64))
    facts = PictureFacts("x.jpg", str(source.path), "ab", 5, "JPEG", 96, 64, 6, 90, (Remark("dates", "was"),), "cd")
    assert (verdict.picture, verdict.grid, verdict.inside, verdict.area) == (facts, (8, 12), (8, 0, 96, 64), 0.0)


def test_why_nothing_was_judged_is_told() -> None:
    assert finding([]).withheld is None
    assert finding([], withheld="looks drawn").withheld == "looks drawn"


def test_nothing_marked_scores_zero_and_reaches_nothing() -> None:
    verdict = finding([])
    assert (verdict.score, verdict.level) == (0.0, "none")
    assert not FailOn(score=0.0).reached(*of(verdict))
    assert not FailOn("possible").reached(*of(verdict))


def test_what_is_reported_needs_the_same_area_as_what_fails() -> None:
    gate = FailOn("likely", area=0.25)
    assert parse_report_from("possible", gate, POINTS, "m") == FailOn("possible", area=0.25)
    assert parse_report_from("0.1", gate, POINTS, "m") == FailOn(score=0.1, area=0.25)


@pytest.mark.parametrize(("strength", "score", "level"), [(0.59996, 0.6, "likely"), (0.59994, 0.5999, "possible")])
def test_a_score_has_the_level_of_the_digits_that_are_shown(strength: float, score: float, level: str) -> None:
    verdict = finding([strength])
    assert (verdict.score, verdict.level) == (score, level)


def test_at_least_so_much_has_to_be_marked() -> None:
    gate = FailOn(score=0.5, area=0.25)
    assert gate.reached("none", 0.5, 0.25)
    assert not gate.reached("none", 0.5, 0.2499)
