"""Answers on the pictures that ship: how far two are apart, and what is recorded."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imgscan import extract, frame
from imgscan.answers import EXACT, ROUNDED, Answer, Answers, Distance, _log_odds, ask, decided_otherwise, distance
from imgscan.answers_file import NAME, Recorded, read_answers, write_answers
from imgscan.answers_pictures import CLUSTERED, pictures
from imgscan.cluster import CLUSTERINGS
from imgscan.errors import InputError
from imgscan.judge import DEFAULT
from imgscan.weights import find_model

SHIPPED = Path(__file__).parents[1] / "weights" / "answers"


def packed(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode()


def answer(score: float = 0.9, columns: int = 20, probability: float = 0.5) -> Answer:
    """Of 40 x 32 pixels; what is marked are whole columns."""
    mask = np.zeros((40, 32), bool)
    mask[:, :columns] = True
    return Answer(
        "likely", score, score, False, (40, 32), packed(np.packbits(mask)), packed(np.full(2, probability * 65535, "<u2"))
    )


def answers(one: Answer) -> Answers:
    return Answers({"a@open": "0" * 64}, {"likely": 0.9}, {"localize.peak": 0.005}, {"a.png": one})


def between(was: Answer, now: Answer) -> Distance:
    return distance(answers(was), answers(now), ROUNDED)


def test_equal_answers_are_at_no_distance() -> None:
    assert between(answer(), answer()) == Distance(score=0.0, iou=1.0, drifted=())


def test_a_score_may_differ_by_a_factor_in_its_odds() -> None:
    """0.9 are odds of 9; e^0.25 = 1.284 times less are 7.009, 0.8751."""
    assert not between(answer(0.9), answer(0.8752)).drifted
    (said,) = between(answer(0.9), answer(0.875)).drifted
    assert said == "a.png: score 0.8750, recorded 0.9000 (0.8751 to 0.9204 would do)"
    assert between(answer(0.9), answer(0.875)).score == pytest.approx(0.025)


def test_the_last_digit_of_a_score_does_not_count_where_odds_are_large() -> None:
    """0.9989 and 0.9990 differ by 0.095 nats, and by one step of the four digits."""
    assert not distance(answers(answer(0.999)), answers(answer(0.9989)), EXACT).drifted
    assert distance(answers(answer(0.999)), answers(answer(0.9987)), EXACT).drifted


def test_masks_are_compared_by_their_intersection_over_union() -> None:
    """20 and 19 columns: 0.95, less than 0.97."""
    found = between(answer(columns=20), answer(columns=19))
    assert found.iou == pytest.approx(0.95)
    assert found.drifted == ("a.png: IoU of the mask with the recorded one 0.950 (0.97 would do)",)
    assert between(answer(columns=0), answer(columns=0)).iou == 1
    assert between(answer(columns=0), answer(columns=1)).iou == 0


def test_what_is_too_weak_to_be_marked_counts_too() -> None:
    weak = replace(answer(), score=0.0, strongest=0.4, level="none")
    (said,) = between(weak, replace(weak, strongest=0.6)).drifted
    assert said.startswith("a.png: strongest region 0.6000, recorded 0.4000 (0.3418 to 0.4612")
    (said,) = between(weak, replace(answer(probability=0.53), score=0.0, strongest=0.4, level="none")).drifted
    assert said == "a.png: probability of a part off by 0.0300 (0.02 would do)"


def test_a_level_and_what_is_not_judged_count() -> None:
    assert between(answer(), replace(answer(), level="certain")).drifted == ("a.png: level certain, recorded likely",)
    (said,) = between(answer(), replace(answer(), withheld=True)).drifted
    assert said == "a.png: 32 x 40 pixels, not judged, for it looks drawn, recorded 32 x 40 pixels, judged"
    (said,) = between(answer(), replace(answer(), size=(32, 40))).drifted
    assert said == "a.png: 40 x 32 pixels, judged, recorded 32 x 40 pixels, judged"


def test_what_decides_is_compared_as_far_as_it_was_recorded() -> None:
    was = answers(answer())
    now = Answers({"a@open": "f" * 64}, {"certain": 0.95}, {"localize.peak": 0.01, "localize.new": 1}, was.pictures)
    assert decided_otherwise(was, now) == [
        "weights a@open: ffffffffffff..., recorded 000000000000...",
        "threshold likely: gone, recorded 0.9",
        "setting localize.peak: 0.01, recorded 0.005",
    ]
    assert decided_otherwise(was, was) == []


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    recorded = Recorded({"imgscan": "1"}, {}, {})
    write_answers(tmp_path / "new" / "a.json", recorded)
    assert read_answers(tmp_path / "new" / "a.json") == recorded
    shipped = read_answers(SHIPPED / NAME)
    write_answers(tmp_path / "b.json", shipped)
    assert (tmp_path / "b.json").read_bytes() == (SHIPPED / NAME).read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{", "", "not JSON"),
        ("imgscan.answers/1", "imgscan.answers/9", "no answers of the schema imgscan.answers/1"),
        ('"mask"', '"musk"', "damaged"),
        ('"score": 0.', '"score": "0.', "not JSON"),
        ('"score": 0.0', '"score": true', "damaged (score is True; wanted a finite number)"),
        ('"size": [208, 224]', '"size": [208, 225]', "damaged (a mask and a map of"),
        ('"drawn.png"', '"other.png"', "damaged (answers about other pictures than were shown)"),
    ],
)
def test_a_damaged_file_says_what_is_wanted(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = (SHIPPED / NAME).read_text()
    assert old in text
    (tmp_path / "a.json").write_text(text.replace(old, new, 1))
    with pytest.raises(
        InputError, match=r"a\.json: .*wanted a file that imgscan models verify --answers --record has written"
    ) as error:
        read_answers(tmp_path / "a.json")
    assert said in str(error.value)


def test_no_answer_that_ships_is_near_a_threshold() -> None:
    """Another processor's rounding must not change a level: nothing lies within twice of what bf16 was measured to change:
    0.054 nats, and 0.023 of clusters."""
    for name, one in read_answers(SHIPPED / NAME).models.items():
        for picture, said in one.pictures.items():
            _, clustered, method = picture.partition(" --cluster ")
            suffix = f" with --cluster {method}" if clustered else ""
            lines = {level.removesuffix(suffix): score for level, score in one.thresholds.items() if level.endswith(suffix)}
            for level, score in lines.items():
                if "--cluster" in level:
                    continue
                counts = level == DEFAULT or said.score  # below the default nothing is marked, and no level asked
                margin = abs(_log_odds(said.score or said.strongest) - _log_odds(score))
                assert not counts or margin > (0.046 if clustered else 0.108), (name, picture, level)


def test_a_part_that_was_looked_at_counts() -> None:
    within = replace(answer(), inside=(8, 0, 32, 40))
    assert not between(within, within).drifted
    (said,) = between(within, answer()).drifted
    assert said == "a.png: 32 x 40 pixels, judged, recorded 8 0 32 40 of 32 x 40 pixels, judged"


def test_what_is_no_longer_asked_is_named() -> None:
    was = replace(answers(answer()), pictures={"a.png": answer(), "a.png --cluster hdbscan": answer()})
    assert distance(was, answers(answer()), EXACT).drifted == ("a.png --cluster hdbscan: not asked, for there are no thresholds",)


def test_what_is_asked_goes_through_tiles_frames_and_clusters() -> None:
    shown = {one.source.name: one for one in pictures()}
    assert shown["tall"].rgb.shape == (832, 160, 3), "more than the 768 pixels that cards show at once"
    assert shown["framed"].inside == (16, 24, 139, 147)
    assert set(CLUSTERED) < set(shown)
    for name, one in read_answers(SHIPPED / NAME).models.items():
        asked = {picture for picture in one.pictures if "--cluster" in picture}
        wanted = any("--cluster hdbscan" in level for level in one.thresholds)
        assert asked == ({f"{picture} --cluster hdbscan" for picture in CLUSTERED} if wanted else set()), name


def test_another_way_of_tiling_of_cutting_frames_and_of_clustering_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the small pictures went through them: only what does is named."""
    model = find_model("focal-vit@open")
    recorded = read_answers(SHIPPED / NAME).models[model.name]

    def drifted(picture: str) -> tuple[str, ...]:
        shown = [one for one in pictures() if one.source.name == picture]
        now = ask(model, shown, torch.device("cpu"), exactly=True)["float32"]
        was = replace(recorded, pictures={name: recorded.pictures[name] for name in now.pictures})
        return distance(was, now, EXACT).drifted

    with monkeypatch.context() as patched:
        patched.setattr(extract, "_ramp", torch.ones)  # tiles count as much at their border as in their middle
        (said,) = drifted("tall")
        assert said.startswith("tall: ")
    with monkeypatch.context() as patched:
        patched.setattr(frame, "BLURRED", 10)
        (said,) = drifted("framed")
        assert said == "framed: 24 32 131 139 of 171 x 176 pixels, judged, recorded 16 24 139 147 of 171 x 176 pixels, judged"
    with monkeypatch.context() as patched:
        patched.setitem(CLUSTERINGS, "hdbscan", CLUSTERINGS["kmeans"])
        (said,) = drifted("lossless.webp")
        assert said.startswith("lossless.webp --cluster hdbscan: ")


def test_what_ships_is_small_and_is_what_was_recorded() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir() if path.name != NAME) < 60_000
    shown = read_answers(SHIPPED / NAME).shown
    assert {one.source.name: one.sha256 for one in pictures()} == {name: one.sha256 for name, one in shown.items()}
    assert {one.withheld for one in next(iter(read_answers(SHIPPED / NAME).models.values())).pictures.values()} == {True, False}
