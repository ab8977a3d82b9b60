"""What reports say of pictures that have a part in common."""

import csv
import io
from typing import Any

import jsonschema
import pytest

from imgscan.report.formats import FORMATS
from imgscan.report.parts import part_text, part_texts, parts_of, parts_text, parts_texts
from imgscan.report.record import Record, to_record
from imgscan.report.schema import schema
from tests.report.test_formats import NASTY, RUN, SUMMARY, assessed


def part(one: str = "a.png", other: str = "b.png", **facts: Any) -> dict[str, Any]:
    sides = [
        {"name": name, "path": f"photos/{name}", "sha256": "ab" * 32, "box": box, "area": area}
        for name, box, area in ((one, [10, 20, 110, 60], 0.1), (other, [0, 5, 50, 25], 0.95))
    ]
    return {"pictures": sides, "score": 0.97, "mirrored": False, "turned": 0, **facts}


def of(*parts: dict[str, Any]) -> Record:
    return to_record([RUN, assessed("a.png"), SUMMARY | {"parts": list(parts)}])


def test_what_a_part_is_in_words() -> None:
    assert part_text(part()) == "100 x 40 pixels at 10, 20 are in b.png too, as nearly all of it, 50 x 20 pixels at 0, 5"
    assert part_text(part(mirrored=True, turned=90)).endswith("at 0, 5, mirrored, turned by 90 degrees")
    old = part()
    old["pictures"][1] |= {"record": "claims", "width": 60, "height": 30, "orientation": 1}
    assert " are in b.png of claims too" in part_text(old)
    assert part_texts([part("\x1b[1m.png")]) == [f"\\x1b[1m.png: {part_text(part())}"]


def test_the_sentence_names_each_pair_once_and_counts_the_others() -> None:
    assert parts_text([]) == ""
    assert parts_text([part(), part()]) == "pictures with a part in common: a.png and b.png"
    many = [part(f"{number}.png") for number in range(9)]
    assert parts_text(many[:4]).endswith("2.png and b.png; and 1 more pair")
    assert parts_text(many).endswith("2.png and b.png; and 6 more pairs")
    assert parts_texts(of(part(), part()), each=False) == ["imgscan: pictures with a part in common: a.png and b.png"]
    assert len(parts_texts(of(part(), part()), each=True)) == 3
    assert parts_texts(of(), each=True) == []
    assert parts_of(to_record([RUN, SUMMARY])) == parts_of(to_record([RUN])) == []


def test_the_schema_wants_two_pictures_and_their_boxes() -> None:
    checked = jsonschema.Draft202012Validator(schema())
    checked.validate(SUMMARY | {"parts": [part()]})
    for wrong in (part(turned=360), part() | {"pictures": part()["pictures"][:1]}, {"pictures": part()["pictures"]}):
        with pytest.raises(jsonschema.ValidationError):
            checked.validate(SUMMARY | {"parts": [wrong]})


def test_csv_has_the_box_and_the_other_picture_of_each_part() -> None:
    old = part("b.png", "a.png")
    old["pictures"][1] |= {"record": "claims", "path": "photos/c.png", "width": 60, "height": 30, "orientation": 1}
    record = to_record([RUN, *map(assessed, ("a.png", "b.png", "c.png")), SUMMARY | {"parts": [part(), old]}])
    rows = {row["name"]: row["parts"] for row in csv.DictReader(io.StringIO(FORMATS["csv"].render(record), newline=""))}
    assert rows == {"a.png": "10 20 110 60 b.png", "b.png": "0 5 50 25 a.png; 10 20 110 60 a.png of claims", "c.png": ""}
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"].render(of()), newline=""))
    assert row["parts"] == ""


def test_page_and_text_name_them_whatever_they_are_called() -> None:
    page = FORMATS["html"].render(of(part(NASTY)))
    assert "Parts in common" in page
    assert "<script>alert" not in page
    assert "Parts in common" not in FORMATS["html"].render(of())
    assert part_texts([part()])[0] in FORMATS["human"].render(of(part()))
