"""Operating points of cards: what is read, refused, and worked out for cards that do not say it."""

from pathlib import Path

import pytest

from imgscan.errors import WeightsError
from imgscan.operating_points import OperatingPoint, interval_of, operating_points
from imgscan.weights import find_model

TABLE = {"level": "default", "score": 0.8, "false_alarms": 0.0167, "pictures": 60}


def test_an_interval_is_read_as_it_stands() -> None:
    (point,) = operating_points({"operating_points": [TABLE | {"interval": [0, 0.09]}]}, Path("card.toml"))
    assert point.interval == (0, 0.09)
    assert point.with_interval() is point


@pytest.mark.parametrize("wrong", [[0.1], [0.1, 0.2, 0.3], [0.2, 0.1], [-0.1, 0.1], [0.5, 1.5]])
def test_what_is_no_interval_is_refused(wrong: list[float]) -> None:
    with pytest.raises(WeightsError, match=r"card\.toml: \[operating_points\]: interval is .*; wanted \[low, high\]"):
        operating_points({"operating_points": [TABLE | {"interval": wrong}]}, Path("card.toml"))
    with pytest.raises(WeightsError, match="entry 2 of interval"):
        operating_points({"operating_points": [TABLE | {"interval": [0.1, "x"]}]}, Path("card.toml"))


@pytest.mark.parametrize("wrong", [{"score": 1.2}, {"false_alarms": -0.1}, {"as_is": 1.5}, {"pictures": -1}, {"photographs": -1}])
def test_what_is_no_score_share_or_count_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(WeightsError, match=rf"card\.toml: \[operating_points\]: {next(iter(wrong))} is"):
        operating_points({"operating_points": [TABLE | wrong]}, Path("card.toml"))


def test_a_level_is_there_once_for_each_clustering() -> None:
    clustered = TABLE | {"cluster": "hdbscan"}
    assert len(operating_points({"operating_points": [TABLE, clustered]}, Path("card.toml"))) == 2
    for one, named in ((TABLE, "'default'"), (clustered, "'default' with cluster 'hdbscan'")):
        with pytest.raises(WeightsError, match=f"two .* have the level {named}; remove"):
            operating_points({"operating_points": [one, one]}, Path("card.toml"))


def test_a_card_without_one_is_given_that_of_its_pictures_as_they_are() -> None:
    plain = OperatingPoint("default", 0.8, false_alarms=0.0, pictures=60)
    assert plain.with_interval().interval == (0.0, 0.0596), "1 - 0.025^(1/60)"
    two = OperatingPoint("default", 0.8, false_alarms=0.0333, pictures=60)  # 1.998 of 60
    assert two.with_interval().interval == interval_of(2, 60)
    copies = OperatingPoint("default", 0.8, false_alarms=0.0162, pictures=480, as_is=0.0, photographs=60)
    assert copies.with_interval().interval == (0.0, 0.0596), "not of 480"
    for unknown in (
        OperatingPoint("default", 0.8, 0.01, pictures=20_000),  # four digits leave two counts to choose from
        OperatingPoint("default", 0.8, 0.01, pictures=0),
        OperatingPoint("default", 0.8, 0.01, pictures=80, photographs=10),
    ):
        assert unknown.with_interval().interval is None


def test_cards_that_ship_say_how_many_photographs_they_were_measured_on() -> None:
    points = find_model("focal-fusion+copy-move+adq").points
    assert points
    for point in points:
        assert point.with_interval().interval is not None
