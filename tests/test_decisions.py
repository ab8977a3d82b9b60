"""decisions.jsonl: what is read and what is refused, and what becomes of it in records, reports and baselines."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from PIL import Image

from imgscan.baseline import Baseline, read_baseline
from imgscan.commands.calibrate import calibrate_command
from imgscan.commands.report import report_command
from imgscan.decisions import DECISIONS, Decisions, are_decisions, decisions_of, read_decisions, remarks, reviewed
from imgscan.errors import InputError
from imgscan.judge import FailOn
from imgscan.report.formats import FORMATS
from imgscan.report.jsonl import Tally
from imgscan.report.record import Record, to_record
from imgscan.report.schema import schema
from tests.report.test_formats import FOUND, NASTY, RUN, SUMMARY, WEAK, assessed, official_sarif_schema

NOTE = "ünsere [Lampe] <b>{0}\u2028 & so"


def decided(digit: str = "a", decision: str = "false alarm", **changes: Any) -> dict[str, Any]:
    facts = {"path": f"p/{digit}.jpg", "sha256": digit * 64, "decision": decision, "note": "", "time": "2026-11-30T15:00:00Z"}
    return {"type": "decision", "schema": "imgscan.decisions/1", **facts, "version": "0.1.0", "run": RUN["key"], **changes}


def made_of(*lines: Any) -> Decisions:
    return decisions_of("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), Path("d.jsonl"))


def record() -> Record:
    """A flagged picture, one that is only reported, a clean one."""
    lines = [FOUND | {"sha256": "a" * 64}, WEAK | {"sha256": "b" * 64}, assessed("clean.png", sha256="c" * 64)]
    return to_record([RUN, *lines, SUMMARY])


def test_the_latest_decision_about_a_picture_counts() -> None:
    later = decided("a", "confirmed", time="2026-11-30T17:00:00+01:00")  # 16:00 UTC
    latest = decided("a", "unsure", time="2026-11-30T16:30:00Z")
    made = made_of(later, latest, decided("a"), decided("b"), decided("b", note="the same, twice"))
    assert [(one.sha256[0], one.decision) for one in made.latest.values()] == [("a", "unsure"), ("b", "false alarm")]
    assert [one.decision for one in made.overruled] == ["false alarm", "confirmed"]
    assert [one.note for one in made.false_alarms] == ["the same, twice"], "of equal times the later line"
    (said,) = remarks(made)
    assert said.startswith("2 decisions are (the first is named) overruled by a later one: p/a.jpg, false alarm (")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "d.jsonl: holds no decision; wanted a decisions.jsonl, as the page of a scan saves it"),
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 is no decision"),
        (RUN, "line 1 is no decision"),
        (decided(schema="imgscan.decisions/2"), "its schema is 'imgscan.decisions/2'; this imgscan reads imgscan.decisions/1"),
        (decided(decision="false_alarm"), "unknown decision 'false_alarm'; did you mean false alarm"),
        (decided(decision=""), "unknown decision ''; known: confirmed, false alarm, unsure"),
        (decided(desicion="unsure"), "unknown key 'desicion'; did you mean decision"),
        ({name: fact for name, fact in decided().items() if name not in ("note", "run")}, "line 1 lacks note, run"),
        (decided(note=None), "note is None; wanted a text"),
        (decided(note="\ud83d"), "note is .*; wanted a text"),
        (decided(sha256="AB" * 32), "sha256 is 'ABAB.*; wanted 64 hexadecimal digits"),
        (decided(sha256="a" * 65), "sha256 is 'aaaa.*; wanted 64 hexadecimal digits"),
        (decided(time="yesterday"), "time is 'yesterday'; wanted one with its zone"),
        (decided(time="2026-11-30T15:00:00"), "wanted one with its zone"),
    ],
)
def test_what_is_no_decision_is_refused(line: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made_of(line)
    if line:
        with pytest.raises(InputError, match="line 2"):
            made_of(decided("b"), line)


def test_a_record_says_what_was_decided_about_its_pictures(tmp_path: Path) -> None:
    made = made_of(decided("a"), decided("c", "confirmed"), " ", decided("d", run="another"), decided("b", "unsure", run="another"))
    found = reviewed(record(), made)
    assert [line["review"]["decision"] for line in found.results] == ["false alarm", "unsure", "confirmed"]
    assert [line["name"] for line in found.dismissed] == [FOUND["name"]]
    elsewhere, other = remarks(made, found)
    assert elsewhere == "1 decision is about a picture that this record does not have: p/d.jpg"
    assert other.startswith("1 decision is made on the page of a scan with other weights or settings")
    again = reviewed(found, made_of(decided("a", "confirmed"))).results[0]["review"]["decision"]
    assert again == "confirmed", "of equal times the one that is added"
    older = made_of(decided("a", "confirmed", time="2026-01-01T00:00:00Z"))
    assert reviewed(found, older) == found, "the later one is there already"
    for line in found.results:
        jsonschema.validate(line, schema(), jsonschema.Draft202012Validator)
    assert schema()["oneOf"][1]["properties"]["review"]["properties"]["decision"]["enum"] == list(DECISIONS)


def test_a_false_alarm_is_no_failure_of_junit() -> None:
    suite = ElementTree.fromstring(FORMATS["junit"].render(reviewed(record(), made_of(decided("a", note=NOTE)))))[0]
    assert (suite.get("failures"), suite.get("skipped"), suite.get("tests")) == ("0", "1", "3")
    (skipped,) = suite.findall("testcase/skipped")
    assert (skipped.get("message") or "").startswith("false alarm: ünsere [Lampe] <b>{0}\\u2028 & so (possible ")
    held = ElementTree.fromstring(FORMATS["junit"].render(reviewed(record(), made_of(decided("a", "confirmed")))))[0]
    assert held.get("failures") == "1"
    assert "decided by a reviewer: confirmed" in (held.findtext("testcase/failure") or "")
    weak = ElementTree.fromstring(FORMATS["junit"].render(reviewed(record(), made_of(decided("b")))))[0]
    assert (weak.get("failures"), weak.get("skipped")) == ("1", "0"), "what is only reported was no failure"
    assert len(weak.findall("testcase/failure")) == 1
    assert weak.find("testcase/skipped") is None


@pytest.mark.filterwarnings("ignore")  # the schema package's dependencies'
def test_a_false_alarm_is_suppressed_in_sarif_with_its_reason() -> None:
    document = json.loads(FORMATS["sarif"].render(reviewed(record(), made_of(decided("a", note=NOTE), decided("c")))))
    flagged, weak = document["runs"][0]["results"]
    (one,) = flagged["suppressions"]
    assert (one["kind"], one["status"], one["justification"]) == ("external", "accepted", NOTE.replace("\u2028", "\\u2028"))
    assert weak["suppressions"] == [], "of some results alone it would not be known"
    validator = jsonschema.Draft7Validator(official_sarif_schema())
    assert [error.message for error in validator.iter_errors(document)] == []
    (held, _) = json.loads(FORMATS["sarif"].render(reviewed(record(), made_of(decided("a", "confirmed")))))["runs"][0]["results"]
    assert (held["suppressions"], held["properties"]["review"]["decision"]) == ([], "confirmed")
    assert "suppressions" not in FORMATS["sarif"].render(record())


def test_csv_text_and_annotations_name_the_decision() -> None:
    found = reviewed(record(), made_of(decided("a", note="=1+1"), decided("c", "confirmed")))
    rows = list(csv.DictReader(FORMATS["csv"].render(found).splitlines()))
    assert [row["decision"] for row in rows] == ["false alarm", "", "confirmed"]
    assert (rows[0]["decision_note"], rows[0]["decision_time"]) == ("'=1+1", "2026-11-30T15:00:00Z")
    assert list(rows[0])[-5:] == ["decision", "decision_note", "decision_time", "panels", "parts"]
    text = FORMATS["human"].render(found)
    assert "a/b, 50%.jpg  (false alarm: =1+1)\n" in text
    assert "1 of 3 pictures flagged, 1 more reported, 1 of these a false alarm by decision, 0 not assessed" in text
    assert FORMATS["github"].render(found).startswith("::notice file=photos/a/b%2C 50%25.jpg")
    assert FORMATS["github"].render(record()).startswith("::warning ")
    both = FORMATS["human"].render(reviewed(record(), made_of(decided("a"), decided("b"))))
    assert "1 more reported, 2 of these false alarms by decision, " in both


@pytest.mark.parametrize("name", FORMATS)
def test_no_note_breaks_a_format(name: str) -> None:
    text = FORMATS[name].render(reviewed(record(), made_of(decided("a", note=NASTY), decided("b", "unsure", note=NASTY))))
    if name in ("json", "sarif"):
        json.loads(text)
    elif name == "junit":
        assert len(ElementTree.fromstring(text)[0].findall("testcase")) == 3
    elif name == "github":
        assert len(text.split("\n")) == 2 + 2 + 1, "findings, passed over, licence"
    elif name == "human":
        assert len(text.split("\n")) == 2 + 1 + 2 + 1
    elif name == "html":
        assert "<b>'" not in text.split("<script>")[0]
        text.encode()


def test_false_alarms_are_a_baseline_and_what_was_confirmed_is_not(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    lines = [decided("a"), decided("b", "confirmed"), decided("c", "unsure"), decided("d"), decided("d", "confirmed")]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    baseline = read_baseline(file)
    assert baseline.known == {"a" * 64}
    tally = Tally()
    gate = FailOn(score=0.5)
    added = [
        tally.add({**FOUND, "sha256": digit * 64}, gate, gate, baseline.known, baseline.reviews) for digit in ("a", "b", "c", "e")
    ]
    assert [line["flagged"] for line in added] == [False, True, True, True]
    assert [line.get("review", {}).get("decision") for line in added] == ["false alarm", "confirmed", "unsure", None]
    assert (tally.known, tally.flagged) == (1, 3)
    assert "overruled" in baseline.remarks[0]
    file.write_text(json.dumps(decided()) + '\n{"type": "decision"}\n')
    with pytest.raises(InputError, match=r"--baseline: .*decisions\.jsonl: line 2: its schema is None"):
        read_baseline(file)
    file.write_text(FORMATS["jsonl"].render(record()))
    assert read_baseline(file).known == {"a" * 64, "b" * 64}, "a record still is one"
    file.rename(tmp_path / "results.jsonl")
    assert read_baseline(tmp_path).known == {"a" * 64, "b" * 64}, "in the folder of a scan"
    assert read_baseline(None) == Baseline()


def test_what_a_file_is_its_first_line_says() -> None:
    decision, run = json.dumps(decided()), json.dumps(RUN)
    assert are_decisions(decision)
    assert are_decisions(f"\nwhat is this\n[]\n{{}}\n{decision}\n{run}")
    assert not are_decisions(f"{run}\n{decision}")
    assert not are_decisions("")


def test_report_takes_decisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, file = tmp_path / "results.jsonl", tmp_path / "decisions.jsonl"
    results.write_text(FORMATS["jsonl"].render(record()))
    file.write_text(json.dumps(decided("a")) + "\n" + json.dumps(decided("e")) + "\n")
    again = tmp_path / "again.jsonl"
    how: dict[str, Any] = {"name": None, "as_schema": False, "decisions": file}
    report_command(results, outputs=[again, tmp_path / "r.csv"], **how)
    assert "decisions.jsonl: 1 decision is about a picture that this record does not have: p/e.jpg" in capsys.readouterr().err
    report_command(again, outputs=[], name="csv", as_schema=False)
    assert capsys.readouterr().out.splitlines() == (tmp_path / "r.csv").read_text().splitlines(), "they stay with the record"
    with pytest.raises(InputError, match="is the file of --decisions"):
        report_command(results, outputs=[file], **how)
    with pytest.raises(InputError, match="--decisions out"):
        report_command(results, outputs=[], only_verify=True, **how)
    with pytest.raises(InputError, match=r"--decisions: .*results\.jsonl: line 1 is no decision"):
        report_command(results, outputs=[], name=None, as_schema=False, decisions=results)
    assert len(read_decisions(file).latest) == 2


def test_calibration_leaves_out_what_is_not_cleared_and_adds_false_alarms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six pictures of noise in the sample, of which one is confirmed and one unsure, and four false alarms: one in the sample, one
    elsewhere, one altered since, one gone."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    (tmp_path / "other").mkdir()
    places = [*(tmp_path / "in" / f"{number}.png" for number in range(6)), *(tmp_path / "other" / f"{n}.png" for n in range(3))]
    for place in places:
        Image.fromarray(rng.integers(0, 255, (96, 96, 3), np.uint8)).save(place)
    words = {0: "confirmed", 1: "unsure", 2: "false alarm", 6: "false alarm", 7: "false alarm", 8: "false alarm"}
    digests = {number: hashlib.sha256(places[number].read_bytes()).hexdigest() for number in words}
    lines = [decided(decision=word, sha256=digests[number], path=str(places[number])) for number, word in words.items()]
    file, table = tmp_path / "decisions.jsonl", tmp_path / "scores.csv"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    places[7].write_bytes(places[0].read_bytes())
    places[8].unlink()
    how: dict[str, Any] = {"copies": False, "device": "cpu", "jobs": 0, "batch": None, "side": None, "accept_licence": False}
    calibrate_command(["ela"], pristine=[tmp_path / "in"], csv_file=table, false_alarms=0.5, decisions=file, **how)
    shown = capsys.readouterr()
    assert "left out 2 of 6 pictures, confirmed or unsure" in shown.err
    assert f"left out 2 of its false alarms, what lies at their paths, from here, has not their SHA-256: {places[7]}" in shown.err
    assert "# of 1 decided false alarms" in shown.out
    assert "pictures = 4\n" in shown.out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["picture"], row["form"]) for row in rows] == [
        *((str(place), "as they are") for place in places[2:6]),
        (str(places[6]), "decided"),
    ]
    with pytest.raises(InputError, match="no pictures in"):
        calibrate_command(["ela"], pristine=[places[0]], csv_file=None, decisions=file, **how)
