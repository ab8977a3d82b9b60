import json
from pathlib import Path

import pytest

from imgscan.judge import FailOn
from imgscan.records import Skipped, Source
from imgscan.report.human import finding_text, printable, summary_text
from imgscan.report.jsonl import SCHEMA, JsonLines, Tally, read_lines, result_line, run_line, summary_line
from tests.test_store import assessed

SKIPPED = Skipped(Source(Path("x.jpg"), "x.jpg"), "broken picture: truncated")


def test_lines_are_run_results_summary(tmp_path: Path) -> None:
    tally = Tally()
    gate = FailOn(score=0.5)
    with JsonLines(tmp_path / "results.jsonl") as lines:
        lines.write(run_line(model="m"))
        for item in (assessed(), SKIPPED):
            lines.write(tally.add(result_line(item), gate))
        lines.write(summary_line(tally, complete=True, seconds=1.0, exit_code=2))
    run, result, skipped, summary = read_lines(tmp_path / "results.jsonl")
    assert run["type"] == "run"
    assert run["schema"] == SCHEMA
    assert (result["name"], result["flagged"], result["score"], result["mask"]) == ("a/b.jpg", True, 0.7, "masks/a/b.jpg.png")
    assert result["regions"] == [{"box": [20, 10, 60, 30], "area": 800, "strength": 0.7, "evidence": [], "twin": None}]
    assert (skipped["status"], skipped["reason"]) == ("skipped", "broken picture: truncated")
    assert summary == {
        "type": "summary",
        "complete": True,
        "pictures": 2,
        "flagged": 1,
        "reported": 1,
        "marked": 1,
        "clean": 0,
        "skipped": 1,
        "known": 0,
        "levels": {"none": 1},
        "seconds": 1.0,
        "exit_code": 2,
    }


def test_an_interrupted_file_keeps_its_lines(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), JsonLines(tmp_path / "r.jsonl") as lines:  # noqa: PT012
        lines.write({"a": 1})
        raise KeyboardInterrupt
    assert read_lines(tmp_path / "r.jsonl") == [{"a": 1}]


def test_any_file_name_is_valid_json_and_one_safe_line(tmp_path: Path) -> None:
    name = "new\nline \x1b[31m\udcff.jpg"
    with JsonLines(tmp_path / "r.jsonl") as lines:
        lines.write({**result_line(assessed(name)), "flagged": True})
    text = (tmp_path / "r.jsonl").read_bytes().decode("utf-8")
    assert text.count("\n") == 1
    assert json.loads(text)["name"] == name
    shown = finding_text(json.loads(text))
    assert "\n" not in shown
    assert "\x1b" not in shown


def test_printable_leaves_what_people_can_read() -> None:
    assert printable("Größe 5 (日本).jpg") == "Größe 5 (日本).jpg"
    assert printable("a\tb\x00") == "a\\tb\\x00"


def test_summary_counts() -> None:
    tally = Tally()
    tally.add(result_line(assessed()), FailOn(score=0.5))
    tally.add(result_line(assessed()), FailOn(score=0.9))
    tally.add(result_line(SKIPPED), FailOn())
    assert summary_text(tally, 2.0, "out") == "3 pictures: 1 flagged, 1 clean, 1 skipped; 1.50 pictures/s; results in out"
