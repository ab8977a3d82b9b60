"""What reports say of pictures that are one photograph."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from imgscan.report.alike import alike_text, alike_texts, groups_of, kind_text, member_texts, numbers
from imgscan.report.formats import FORMATS
from imgscan.report.record import Record, to_record
from imgscan.report.schema import schema
from tests.report.test_formats import NASTY, RUN, SUMMARY, assessed


def member(name: str, kind: str | None = None, like: int = 0, **facts: Any) -> dict[str, Any]:
    line = {"name": name, "path": f"photos/{name}", "sha256": "ab" * 32}
    if kind is None:
        return line | facts
    return {**line, "like": like, "kind": kind, "mirrored": False, "turned": 0, "differs": [], **facts}


GROUP = [
    member("a.jpg"),
    member("b.jpg", "identical"),
    member("c.jpg", "same", mirrored=True, turned=90),
    member("d.jpg", "differs", like=2, differs=[[10, 20, 110, 60]]),
    member("old.jpg", "unseen", record="claims", width=400, height=200, orientation=1),
]


def of(*groups: list[dict[str, Any]]) -> Record:
    lines = [assessed(one["name"]) for group in groups for one in group if "record" not in one]
    return to_record([RUN, *lines, SUMMARY | {"alike": [{"pictures": group} for group in groups]}])


def test_what_a_picture_is_in_words() -> None:
    assert [kind_text(one, GROUP) for one in GROUP[1:]] == [
        "the same bytes as a.jpg",
        "the same photograph as a.jpg, mirrored, turned by 90 degrees",
        "the same photograph as c.jpg, but for 100 x 40 pixels at 10, 20",
        "by its fingerprint the same photograph as a.jpg; one of them could not be read to look closer",
    ]
    for count, more in ((3, ""), (4, "; 1 more place"), (5, "; 2 more places")):
        many = member("e.jpg", "differs", differs=[[0, 0, 5, 5]] * count)
        assert kind_text(many, GROUP).endswith(f"but for {'; '.join(['5 x 5 pixels at 0, 0'] * 3)}{more}")


def test_the_sentence_names_some_and_counts_the_others() -> None:
    assert alike_text([]) == ""
    pair = [member("x.png"), member("y.png", "differs", differs=[[0, 0, 5, 5]])]
    assert alike_text([pair]) == "the same photograph more than once: x.png = y.png (a part differs)"
    assert alike_text([GROUP, pair]).startswith("the same photograph more than once: a.jpg = b.jpg = c.jpg = 2 more; x.png = y.png")
    assert alike_text([pair] * 3).endswith("; x.png = y.png (a part differs)")
    assert alike_text([pair] * 4).endswith("; and 1 more group")
    assert alike_text([pair] * 5).endswith("; and 2 more groups")
    assert alike_text([pair] * 9).endswith("; and 6 more groups")
    assert alike_texts(of(pair), each=False) == [f"imgscan: {alike_text([pair])}"]
    assert len(alike_texts(of(GROUP, pair), each=True)) == 1 + 4 + 1
    assert alike_texts(to_record([RUN, SUMMARY]), each=True) == [], "a record of an earlier version"
    assert alike_texts(to_record([RUN]), each=True) == [], "a scan that was cut"


def test_every_kind_is_of_the_schema() -> None:
    record = of(GROUP)
    jsonschema.validate(record.summary, schema(), jsonschema.Draft202012Validator)
    wrong = SUMMARY | {"alike": [{"pictures": [GROUP[0], GROUP[1] | {"kind": "alike"}]}]}
    for line in (wrong, SUMMARY | {"alike": [{"pictures": GROUP[:1]}]}, assessed("x.jpg", fingerprint="12")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(line, schema(), jsonschema.Draft202012Validator)
    for told in ("ab" * 32, None):
        jsonschema.validate(assessed("x.jpg", fingerprint=told), schema(), jsonschema.Draft202012Validator)


def test_csv_has_the_number_of_the_group_and_the_text_a_line_each() -> None:
    record = of([member("x.png"), member("y.png", "same")], GROUP)
    rows = {row["name"]: row["alike"] for row in csv.DictReader(FORMATS["csv"].render(record).splitlines())}
    assert rows == {"x.png": "1", "y.png": "1", "a.jpg": "2", "b.jpg": "2", "c.jpg": "2", "d.jpg": "2"}
    assert numbers(record)["photos/d.jpg"] == 2
    assert "photos/old.jpg" not in numbers(record), "is no picture of this scan"
    assert set(member_texts(groups_of(record))) <= set(FORMATS["human"].render(record).splitlines())


def test_the_page_shows_them_side_by_side_with_what_differs_framed(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.full((200, 400, 3), 90, np.uint8)).save(path)
    here = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    group = [member("x.png") | here, member("y.png", "differs", differs=[[100, 50, 300, 150]]) | here]
    lines = [assessed(one["name"]) | here for one in group]
    page = FORMATS["html"].render(to_record([RUN, *lines, SUMMARY | {"alike": [{"pictures": group}]}]))
    _, section = page.split("<h2>The same photograph more than once</h2>")
    assert section.count("src='data:image/jpeg;base64,") == 2
    assert section.count("<i style='left:25.00%;top:25.00%;width:50.00%;height:50.00%'></i>") == 1
    assert "y.png</b><br>the same photograph as x.png, but for 200 x 100 pixels at 100, 50" in section
    gone = FORMATS["html"].render(of(GROUP))
    assert "<figcaption><b>old.jpg of claims</b>" in gone
    assert "<figure><div" not in gone.split("more than once</h2>")[1], "nothing is shown of what has another hash"
    assert "more than once" not in FORMATS["html"].render(to_record([RUN, SUMMARY | {"alike": []}]))


@pytest.mark.parametrize("name", FORMATS)
def test_no_name_breaks_a_format(name: str) -> None:
    text = FORMATS[name].render(of([member(NASTY), member(f"{NASTY}2", "same", record=NASTY, width=1, height=1, orientation=1)]))
    text.encode("utf-8", "surrogateescape")
    if name == "html":
        assert "<b>'" not in text.split("<script>")[0]
    if name in ("html", "human"):
        assert "\x01" not in text
