"""What a damaged record does: every line is held against its schema, and no format stumbles over what is let through."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from imgscan.errors import InputError
from imgscan.report.check import complaint
from imgscan.report.formats import FORMATS, write_report
from imgscan.report.record import read_record, to_record
from imgscan.report.schema import ASSESSED, RUN, SKIPPED, SUMMARY
from imgscan.report.verify import verify
from tests.report.test_formats import FOUND, LINES, REGIONS, assessed
from tests.report.test_formats import RUN as RUN_LINE
from tests.report.test_formats import SKIPPED as SKIPPED_LINE
from tests.report.test_formats import SUMMARY as SUMMARY_LINE

VALUES: tuple[Any, ...] = (None, "text", 7, 2.0, -1.5, [], {}, [None], [1, 2, 3, 4], True, "\ud800")


def damaged(line: dict[str, Any], values: tuple[Any, ...] = VALUES) -> Iterator[dict[str, Any]]:
    """A line with one field gone or of another kind."""
    for name in line:
        if name == "type":
            continue
        yield {key: value for key, value in line.items() if key != name}
        yield from ({**line, name: value} for value in values)


@pytest.mark.parametrize(
    ("line", "schema"), [(RUN_LINE, RUN), (FOUND, ASSESSED), (SKIPPED_LINE, SKIPPED), (SUMMARY_LINE, SUMMARY)], ids=lambda _: ""
)
def test_it_finds_what_a_validator_of_json_schema_finds(line: dict[str, Any], schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    cases = [line, *damaged(line)]
    assert len({validator.is_valid(one) for one in cases}) == 2, "some are valid, some are not"
    for one in cases:
        assert (complaint(one, schema) == "") == validator.is_valid(one), one


def test_every_format_reads_a_damaged_record_or_refuses_it(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    refused = 0
    lines = [RUN_LINE, FOUND, SKIPPED_LINE, SUMMARY_LINE]
    for at, line in enumerate(lines):
        for one in damaged(line, (None, 7, "\ud800")):
            path.write_text("".join(json.dumps(each) + "\n" for each in (*lines[:at], one, *lines[at + 1 :])))
            try:
                record = read_record(path)
            except InputError:
                refused += 1
                continue
            for form in FORMATS.values():
                form.render(replace(record, folder=None)).encode("utf-8", "backslashreplace")
            list(verify(replace(record, folder=None, results=())))
    assert refused > 100


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (assessed("a.jpg", score=1.5), "line 2: score is 1.5; wanted number from 0 to 1"),
        (assessed("a.jpg", level="sure"), "line 2: level is 'sure'; wanted none or possible or likely or certain"),
        (assessed("a.jpg", regions=[{"box": [1, 2, 3]}]), "line 2: lacks regions[0].area, regions[0].strength"),
        (
            assessed("a.jpg", regions=[{**REGIONS[0], "twin": [1]}]),
            "regions[0].twin is [1]; wanted array or null of at least 4",
        ),
        (assessed("a.jpg", sha256="AB"), "line 2: sha256 is 'AB'; wanted string like ^[0-9a-f]{64}$"),
        (assessed("a.jpg", sha256="A" * 38), f"sha256 is '{'A' * 38}'; wanted"),
        (assessed("a.jpg", sha256="A" * 39), f"sha256 is '{'A' * 39}...; wanted"),
        ({"type": "result", "status": "assessed", "name": "a.jpg"}, "line 2: lacks path, sha256, bytes"),
        ({**SUMMARY_LINE, "exit_code": None}, "line 2: exit_code is None; wanted integer"),
        ({**RUN_LINE}, "has two run lines"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: dict[str, Any], message: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(RUN_LINE) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(InputError) as refused:
        read_record(path)
    assert message in str(refused.value)


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(RUN_LINE) + "\n" + json.dumps(assessed("a.jpg", score=float("nan"))) + "\n")
    with pytest.raises(InputError, match="line 2 is not JSON"):
        read_record(path)


def test_an_editors_mark_and_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    lines = [RUN_LINE, assessed("a\u2028b.jpg"), SUMMARY_LINE]
    path.write_bytes(b"\xef\xbb\xbf" + "".join(json.dumps(line, ensure_ascii=False) + "\r\n" for line in lines).encode())
    assert replace(read_record(path), folder=None) == to_record(lines)


def test_records_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Before there was --report-from, and before pictures were withheld."""
    gone = {"reported", "known", "remarks", "mask_sha256", "overlay_sha256", "report_from", "licences", "key", "marked", "withheld"}
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k not in gone}) + "\n" for line in LINES))
    assert len(read_record(path).results) == len(LINES) - 2


@pytest.mark.parametrize("name", FORMATS)
def test_names_as_windows_may_have_them_break_no_format(name: str, tmp_path: Path) -> None:
    """An unpaired surrogate, which is no byte of POSIX."""
    odd = "z\ud800.jpg"
    lines = [{**RUN_LINE, "model": odd, "passed_over": [odd]}, {**FOUND, "name": odd, "path": odd, "mask": odd, "overlay": odd}]
    lines += [{**SKIPPED_LINE, "name": odd, "path": odd, "reason": odd}, SUMMARY_LINE]
    for suffix in FORMATS[name].suffixes:
        write_report(to_record(lines), tmp_path / f"r{suffix}")
        (tmp_path / f"r{suffix}").read_text("utf-8")
    FORMATS[name].render(to_record(lines)).encode("utf-8", "backslashreplace")


def test_what_junit_says_of_weights_is_xml() -> None:
    """Whose file may be called anything."""
    text = FORMATS["junit"].render(to_record([{**RUN_LINE, "model": "ncl@a\x01\udcff.toml"}, SUMMARY_LINE]))
    (model,) = [one.get("value") for one in ElementTree.fromstring(text).iter("property") if one.get("name") == "model"]
    assert model == "ncl@a\\x01\\udcff.toml"
