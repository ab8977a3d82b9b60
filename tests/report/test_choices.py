"""Deciding on the page: what is in it, and its script in node with as much of a browser as it needs (page.mjs); test_browser.py has
the real one."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from imgscan.decisions import decisions_of, reviewed
from imgscan.report import html
from imgscan.report.record import Record, to_record
from tests.report.test_formats import FOUND, RUN, SUMMARY, assessed

NODE = shutil.which("node")
FILE = Path("decisions.jsonl")
VOID = ("meta", "input", "img", "br")
NAMES = ["a \U0001f600 <b>'\".jpg", "b.jpg", "c\udcff.jpg"]  # the last: a byte that is no UTF-8


def three() -> Record:
    """Three findings, by falling score, and a clean picture."""
    facts = [{"name": name, "path": f"p/{name}", "sha256": f"{number}a" * 32} for number, name in enumerate(NAMES)]
    found = [{**FOUND, **one, "score": 0.9 - number / 10} for number, one in enumerate(facts)]
    return to_record([RUN, *found, assessed("clean.jpg", sha256="ff" * 32), SUMMARY])


class Tree(HTMLParser):
    """A page as [tag, attributes, children]."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[list[Any]] = [["#document", {}, []]]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = [tag, {name: value or "" for name, value in attrs}, []]
        self.open[-1][2].append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag, "what is opened is closed"

    def handle_data(self, data: str) -> None:
        self.open[-1][2].append(data)


def in_page(record: Record, *steps: tuple[Any, ...], storage: dict[str, str] | None) -> dict[str, Any]:
    """What the page shows and has saved after the steps of a reviewer."""
    if NODE is None:
        pytest.skip("no node")
    text = html.render(record)
    tree = Tree(text).open[0]
    script = re.search("<script>(.*)</script>", text, re.S)
    assert script is not None
    asked = json.dumps({"html": tree, "script": script[1], "steps": steps, "storage": storage})
    done = subprocess.run([NODE, Path(__file__).with_name("page.mjs")], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_what_is_decided_is_kept_and_saved_as_a_file_that_is_read() -> None:
    steps = [("decide", 1, "false alarm"), ("note", 1, 'the lamp "here"'), ("decide", 3, "confirmed"), ("click", "save")]
    shown = in_page(three(), *steps, storage={})
    assert [decision for _, decision in shown["rows"]] == ["false alarm", "", "confirmed", ""]
    assert (shown["count"], shown["lost"], shown["stays"]) == ("2 of 3 findings decided", "", False)
    made = decisions_of(shown["saved"], FILE)
    first, last = made.latest.values()
    assert (first.path, first.sha256, first.decision, first.note) == (f"p/{NAMES[0]}", "0a" * 32, "false alarm", 'the lamp "here"')
    assert (first.version, first.run, last.path) == (RUN["version"], RUN["key"], f"p/{NAMES[2]}")
    again = in_page(three(), ("click", "save"), storage=shown["storage"])
    assert again["chosen"] == ["false alarm", "", "confirmed"], "the page was closed and opened again"
    assert again["saved"] == shown["saved"]
    assert (
        in_page(to_record([RUN | {"key": "of another run"}, *three().results, SUMMARY]), storage=shown["storage"])["chosen"]
        == [""] * 3
    )


def test_a_browser_that_keeps_nothing_says_so_and_saves_all_the_same() -> None:
    shown = in_page(three(), ("decide", 2, "unsure"), storage=None)
    assert shown["lost"].startswith("This browser keeps no decisions")
    assert shown["stays"], "it asks before what is decided is lost"
    saved = in_page(three(), ("decide", 2, "unsure"), ("click", "save"), storage=None)
    assert [one.decision for one in decisions_of(saved["saved"], FILE).latest.values()] == ["unsure"]
    assert not saved["stays"]


def test_the_filter_leaves_the_undecided() -> None:
    shown = in_page(three(), ("decide", 1, "confirmed"), ("check", "undecided", True), storage={})
    assert [name for name, _ in shown["rows"]] == ["b.jpg", "c\\udcff.jpg"], "nor what is no finding"
    assert shown["sections"] == ["f2", "f3"]
    stays = in_page(three(), ("check", "undecided", True), ("decide", 1, "confirmed"), storage={})
    assert stays["sections"] == ["f1", "f2", "f3"], "a note may follow"


def test_on_to_the_next_undecided() -> None:
    assert in_page(three(), ("click", "next"), storage={})["focus"] == "f1"
    assert in_page(three(), ("click", "next"), ("click", "next"), storage={})["focus"] == "f2"
    shown = in_page(three(), ("decide", 1, "unsure"), ("decide", 3, "unsure"), ("click", "next"), storage={})
    assert (shown["focus"], shown["disabled"]) == ("f2", [])
    hidden = in_page(three(), ("type", "q", "clean"), ("click", "next"), storage={})
    assert (hidden["focus"], hidden["sections"]) == ("f1", ["f1", "f2", "f3"]), "out of a filter that hides all of them"
    every = in_page(three(), *[("decide", number, "unsure") for number in (1, 2, 3)], storage={})
    assert every["disabled"] == ["next"]
    assert in_page(three(), storage={})["disabled"] == ["save"]


def test_a_page_made_with_decisions_has_them_and_the_later_one_counts() -> None:
    saved = in_page(three(), ("decide", 1, "false alarm"), ("note", 1, "'<i>"), ("click", "save"), storage={})["saved"]
    record = reviewed(three(), decisions_of(saved, FILE))
    text = html.render(record)
    assert "Decided by a reviewer: false alarm: &#x27;&lt;i&gt;</p>" in text, "also without JavaScript"
    assert "<i>'" not in text
    assert "3 of 4 pictures flagged, 1 of these a false alarm by decision" in text
    shown = in_page(record, ("click", "save"), storage={})
    assert (shown["chosen"], shown["notes"], shown["saved"]) == (["false alarm", "", ""], ["'<i>", "", ""], saved)
    taken_back = in_page(record, ("decide", 1, ""), storage={})
    assert taken_back["disabled"] == ["save"]
    assert in_page(record, storage=taken_back["storage"])["chosen"] == ["", "", ""], "in the browser, later"
    old = {name: re.sub('"time":"[^"]*"', '"time":"2020-01-01T00:00:00Z"', text) for name, text in taken_back["storage"].items()}
    assert in_page(record, storage=old)["chosen"] == ["false alarm", "", ""], "in the file, later"


def test_what_lies_in_the_storage_of_a_browser_may_be_anything() -> None:
    for nonsense in ("", "{", "null", "[]", '{"decision": 1}', '{"decision": "unsure", "note": "", "time": "soon"}'):
        shown = in_page(three(), storage={f"imgscan {RUN['key']} {'0a' * 32}": nonsense})
        assert (shown["chosen"], shown["lost"]) == ([""] * 3, "")


def test_copies_of_a_picture_are_decided_together() -> None:
    twice = [{**FOUND, "name": f"{number}.jpg", "path": f"{number}.jpg"} for number in range(2)]
    shown = in_page(to_record([RUN, *twice, SUMMARY]), ("decide", 2, "unsure"), ("click", "save"), storage={})
    assert shown["chosen"] == ["unsure", "unsure"]
    assert len(shown["saved"].splitlines()) == 1


def test_without_findings_there_is_nothing_to_decide() -> None:
    shown = in_page(to_record([RUN, assessed("clean.jpg"), SUMMARY]), storage={})
    assert (shown.get("count"), shown["rows"]) == (None, [["clean.jpg", ""]])
