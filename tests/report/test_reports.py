import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from imgscan.commands.scan_run import _tell
from imgscan.errors import ExitCode, InputError, OutputError
from imgscan.exits import exits
from imgscan.judge import FailOn
from imgscan.printable import printable
from imgscan.records import Skipped, Source
from imgscan.report.human import evidence_text, finding_text, passed_over_text, summary_text
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
        "withheld": 0,
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


def test_a_record_that_is_gone_at_the_end_is_named(tmp_path: Path) -> None:
    """Its folder was moved away, or emptied; what interrupts a scan is told before that."""
    path = tmp_path / "results.jsonl"
    with pytest.raises(OutputError, match=r"results\.jsonl\.new: is gone, something removed or moved it"), JsonLines(path):
        (tmp_path / "results.jsonl.new").unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=r"results\.jsonl: cannot be written: "), JsonLines(path):
        pass
    with pytest.raises(KeyboardInterrupt), JsonLines(path):
        raise KeyboardInterrupt


def test_what_an_interrupted_scan_wrote_does_not_replace_the_record_of_a_complete_one(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    whole, part = ({"type": "summary", "complete": complete} for complete in (True, False))
    with JsonLines(path) as lines:
        lines.write(whole)
    with pytest.raises(KeyboardInterrupt), JsonLines(path) as lines:  # noqa: PT012
        lines.write(part)
        raise KeyboardInterrupt
    assert (read_lines(path), read_lines(tmp_path / "results.previous.jsonl")) == ([part], [whole])


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


def test_no_error_reaches_the_terminal_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A name out of an archive may hold what sets a terminal's title or hides lines; errors name files too."""
    for error in (InputError("a\x1b]0;mine\x07\x9b2J.jpg: no such file"), ValueError("a\x1b[2J\nb")):

        def failing(error: Exception = error) -> ExitCode:
            raise error

        with pytest.raises(typer.Exit):
            exits(failing)()
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert said.removesuffix("\n").isprintable()
        assert "a\\x1b" in said


def test_no_name_is_a_command_of_githubs_runner(capsys: pytest.CaptureFixture[str]) -> None:
    """It looks for `##[` anywhere in a line, and on stderr too."""
    name = "x/###[stop-commands]q\n::error::.gif"
    assert printable(name) == printable(printable(name)) == "x/##\\x23[stop-commands]q\\n::error::.gif"
    _tell({"status": "skipped", "path": name, "reason": "broken ##[error]"}, quiet=False, options=SimpleNamespace())  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "##[" not in said
    assert said.count("\n") == 1


def test_summary_counts() -> None:
    tally = Tally()
    tally.add(result_line(assessed()), FailOn(score=0.5))
    assert summary_text(tally, 2.0, "out").startswith("1 picture: 1 flagged, 0 clean, 0 skipped; ")
    tally.add(result_line(assessed()), FailOn(score=0.9))
    tally.add(result_line(SKIPPED), FailOn())
    assert summary_text(tally, 2.0, "out") == "3 pictures: 1 flagged, 1 clean, 1 skipped; 1.50 pictures/s; results in out"
    assert ": 1 flagged, 1 scored, 1 skipped; " in summary_text(tally, 2.0, "out", told_apart=False)
    again = summary_text(tally, 2.0, "out", reused=2)
    assert again.endswith("; 2 of them from an earlier scan; 0.50 pictures/s; results in out"), "the pace of what was computed"


def test_what_is_reported_or_known_is_not_called_clean() -> None:
    tally = Tally()
    line = result_line(assessed())
    tally.add(line, FailOn(score=0.9), FailOn(score=0.5))
    tally.add({**line, "score": 0.0, "area": 0.0}, FailOn(score=0.9), FailOn(score=0.5))
    old = tally.add({**line, "sha256": "ef" * 32}, FailOn(score=0.5), known={"ef" * 32})
    assert (old["flagged"], old["reported"], old["known"]) == (False, False, True)
    wanted = "3 pictures: 0 flagged, 1 reported, 1 known from the baseline, 1 clean, 0 skipped; "
    assert summary_text(tally, 1.0, "out").startswith(wanted)
    assert tally.marked == 2, "also what is too weak to be flagged"
    clean = tally.add({**line, "score": 0.0, "sha256": "ef" * 32}, FailOn(score=0.5), known={"ef" * 32})
    assert (clean["known"], tally.known) == (False, 1), "what is in the baseline and clean today is clean"


def test_a_strength_has_four_digits_in_the_record() -> None:
    made = assessed()
    region = replace(made.finding.regions[0], strength=0.712345)
    line = result_line(replace(made, finding=replace(made.finding, regions=(region,))))
    assert line["regions"][0]["strength"] == 0.7123


def test_what_was_not_judged_is_neither_flagged_nor_clean() -> None:
    tally = Tally()
    line = tally.add(result_line(assessed()) | {"score": 0.0, "area": 0.0, "withheld": "looks drawn"}, FailOn(score=0.0))
    assert (line["flagged"], line["reported"]) == (False, False)
    assert (tally.withheld, tally.clean, tally.flagged, tally.pictures) == (1, 0, 0, 1)
    assert "0 flagged, 0 clean, 1 not judged (drawn or typeset, see --drawn), 0 skipped" in summary_text(tally, 1.0, "out")


def test_the_first_files_that_were_passed_over_are_named() -> None:
    said = "passed over, for only JPEG, PNG, TIFF, WebP and BMP are decoded: "
    assert passed_over_text(["a.gif", "b.gif", "c.gif"]) == f"{said}a.gif, b.gif, c.gif"
    assert passed_over_text(["a.gif", "b.gif", "c.gif", "d.gif"]) == f"{said}a.gif, b.gif, c.gif and 1 more"


def test_what_a_region_equals_in_words() -> None:
    """A part marked by itself, one inside a larger region, one that is not marked, and two parts that touch."""
    one = {"box": [0, 0, 10, 10], "evidence": ["copy"], "twin": [50, 50, 60, 60]}
    other = {"box": [40, 40, 80, 80], "evidence": ["pixels", "copy"], "twin": [0, 0, 10, 10]}
    assert evidence_text(one, [other, one]) == "equals region 1"
    assert evidence_text(other, [other, one]) == "traces in its pixels; equals region 2"
    assert evidence_text(one, [one]) == "equals what lies at 50, 50"
    both = {"box": [0, 0, 20, 10], "evidence": ["copy"], "twin": [10, 0, 20, 10]}
    assert evidence_text(both, [both]) == "holds both of two equal parts"
    inner = {"box": [10, 0, 20, 10], "evidence": ["copy"], "twin": [0, 0, 10, 10]}
    assert evidence_text(both, [both, inner]) == "equals region 2", "another one goes before itself"
    half = {"box": [50, 50, 55, 60], "evidence": ["pixels"], "twin": None}
    assert evidence_text(one, [one, half]) == "equals what lies at 50, 50", "half of it is not most of it"
    assert evidence_text({"box": [0, 0, 9, 9], "evidence": ["copy"], "twin": None}, []) == "there twice"
    assert evidence_text({"box": [0, 0, 9, 9]}, []) == "", "a record of an earlier version"
