"""The HTML report in a real headless browser; skipped where there is none."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.report import html
from imgscan.report.record import to_record
from tests.report.test_formats import FOUND, RUN, SUMMARY, assessed

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "overlays").mkdir()
    lines = [RUN, assessed("clean <b>.png", score=0.2)]
    for number in range(3):
        name = f"{number}.png"
        for path, level in ((tmp_path / name, 90), (tmp_path / "overlays" / f"{name}.jpg", 200)):
            Image.fromarray(np.full((200, 400, 3), level, np.uint8)).save(path)
        files = {"sha256": tmp_path / name, "overlay_sha256": tmp_path / "overlays" / f"{name}.jpg"}
        digests = {key: hashlib.sha256(file.read_bytes()).hexdigest() for key, file in files.items()}
        facts = {"name": name, "path": str(tmp_path / name), "overlay": f"overlays/{name}.jpg", "score": 0.9 - number / 10}
        lines.append({**FOUND, **facts, **digests})
    path = tmp_path / "report.html"
    path.write_text(html.render(replace(to_record([*lines, SUMMARY]), folder=tmp_path)), "utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(path.as_uri())
        yield driver
        assert driver.get_log("browser") == [], "no error, no warning"
    finally:
        driver.quit()


def shown(page: Any) -> list[str]:
    rows = page.find_elements("css selector", "#t tbody tr")
    return [row.find_element("css selector", "td").text for row in rows if row.is_displayed()]


def test_sort_filter_and_slider(page: Any) -> None:
    assert shown(page) == ["0.png", "1.png", "2.png", "clean <b>.png"], "by falling score"
    by_name = page.find_element("css selector", "#t th button")
    by_name.click()
    assert shown(page) == ["clean <b>.png", "2.png", "1.png", "0.png"]
    by_name.click()
    assert shown(page) == ["0.png", "1.png", "2.png", "clean <b>.png"]
    words = page.find_element("id", "q")
    words.send_keys("CLEAN")
    assert shown(page) == ["clean <b>.png"]
    assert page.find_element("id", "n").text == "1 of 4 pictures"
    words.clear()
    words.send_keys("png")
    page.find_element("id", "only").click()
    assert len(shown(page)) == 3
    slider = page.find_element("css selector", "#f2 input[type=range]")
    page.execute_script("arguments[0].value = 60; arguments[0].dispatchEvent(new Event('input'))", slider)
    assert page.find_element("css selector", "#f2 .over").value_of_css_property("clip-path") == "inset(0px 40% 0px 0px)"


def test_a_decision_by_keyboard_is_there_after_a_reload_and_is_saved(page: Any) -> None:
    """The three pictures of the page are the same: they are decided together."""
    page.execute_script(
        "URL.createObjectURL = (blob) => { blob.text().then((text) => { window.written = text; }); return '#'; };"
        "HTMLAnchorElement.prototype.click = () => {};"
    )
    page.find_element("id", "next").click()
    page.switch_to.active_element.send_keys("\ue012")  # left, from undecided
    assert page.find_element("id", "decided").text == "3 of 3 findings decided"
    note = page.find_element("css selector", "#f1 .note input")
    note.send_keys("a lamp")
    page.find_element("id", "save").click()
    line = json.loads(page.execute_async_script("const done = arguments[0]; setTimeout(() => done(window.written), 100)"))
    assert (line["decision"], line["note"], line["path"].endswith("0.png")) == ("unsure", "a lamp", True)
    page.refresh()
    assert page.find_element("css selector", "#f2 .note input").get_attribute("value") == "a lamp"
    assert page.find_element("css selector", "#f2 input[value=unsure]").is_selected()
    page.find_element("id", "undecided").click()
    assert shown(page) == []


def test_pictures_are_embedded_and_boxes_lie_where_they_should(page: Any) -> None:
    pictures = page.find_elements("css selector", "#f1 img")
    assert [page.execute_script("return arguments[0].naturalWidth", one) for one in pictures] == [400, 400]
    whole, box = (page.find_element("css selector", place).rect for place in ("#f1 .stack", "#f1 i"))
    assert (box["x"] - whole["x"]) / whole["width"] == pytest.approx(10 / 400, abs=0.005)
    assert box["width"] / whole["width"] == pytest.approx(100 / 400, abs=0.005)
    assert box["height"] / whole["height"] == pytest.approx(40 / 200, abs=0.01)
