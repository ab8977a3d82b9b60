"""Which pictures of a batch have a part in common: files, groups, earlier scans, and a scan that is asked for it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.alike.groups import alike
from imgscan.alike.partners import _chosen, parts_in_common
from imgscan.alike.pictures import Known, known_of
from imgscan.alike.votes import Candidate
from tests.alike.test_groups import line
from tests.processes import run


def known(folder: Path, record: str | None = None) -> list[Known]:
    return [one for one in (known_of(line(path), record) for path in sorted(folder.iterdir())) if one is not None]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, photos: list[np.ndarray]) -> Path:
    """a.png gave a part to b.jpg, which lies on its side in its file; c.jpg is b's ground; d.png has nothing of them; again.jpg is
    a.png once more."""
    folder = tmp_path_factory.mktemp("batch")
    one, two, three = (Image.fromarray(pixels[:420, :520]) for pixels in photos[:3])
    one.save(folder / "a.png")
    one.save(folder / "again.jpg", quality=80)
    two.save(folder / "c.jpg", quality=92)
    two.paste(one.crop((180, 120, 360, 300)), (60, 200))
    exif = two.getexif()
    exif[0x0112] = 6
    two.transpose(Image.Transpose.ROTATE_90).save(folder / "b.jpg", quality=85, exif=exif)
    three.save(folder / "d.png")
    (folder / "page.txt").write_text("no picture")
    return folder


def named(parts: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    return {tuple(one["name"] for one in part["pictures"]) for part in parts}


def test_a_part_is_named_once_with_boxes_of_the_files_as_they_are_stored(batch: Path) -> None:
    pictures = known(batch)
    groups = alike(pictures)
    assert [[member.picture.name for member in group] for group in groups] == [["a.png", "again.jpg"], ["b.jpg", "c.jpg"]]
    (part,) = parts_in_common(pictures, groups=groups)
    assert named([part]) == {("a.png", "b.jpg")}
    one, other = part["pictures"]
    np.testing.assert_allclose(one["box"], (180, 120, 360, 300), atol=14)
    # As stored it lies on its side: what was 60..240 from the left is as far from below.
    np.testing.assert_allclose(other["box"], (200, 520 - 240, 380, 520 - 60), atol=14)
    assert (part["mirrored"], part["turned"]) == (False, 270)
    assert 0.09 < one["area"] < 0.17
    assert "record" not in one


def test_without_groups_also_what_is_one_photograph_has_parts_in_common(batch: Path) -> None:
    assert {("a.png", "again.jpg"), ("a.png", "b.jpg"), ("b.jpg", "c.jpg")} <= named(parts_in_common(known(batch)))


def test_a_giver_in_an_earlier_scan_is_found_as_long_as_its_file_is_there(batch: Path, tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "d.png"):
        (tmp_path / name).write_bytes((batch / name).read_bytes())
    new, old = known(tmp_path)[1:2], [one for one in known(tmp_path, "claims") if one.name != "b.jpg"]
    (part,) = parts_in_common(new, old)
    assert [(one["name"], one.get("record"), one.get("width")) for one in part["pictures"]] == [
        ("b.jpg", None, None),
        ("a.png", "claims", 520),
    ]
    assert parts_in_common([], old) == []
    (tmp_path / "a.png").write_bytes(b"another file at its path")
    assert parts_in_common(new, old) == []


def test_of_two_sides_every_picture_is_held_against_those_of_the_other(batch: Path) -> None:
    """Also the second of one photograph, for who asks wants to know all; what pictures of one side have in common is left out."""
    pictures = [one for one in known(batch) if one.name != "d.png"]
    sides = {one.path: "train" if one.name in ("b.jpg", "c.jpg") else "test" for one in pictures}
    assert named(parts_in_common(pictures, groups=alike(pictures), sides=sides)) == {("a.png", "b.jpg"), ("again.jpg", "b.jpg")}


def test_of_each_picture_so_many_are_looked_at_and_none_of_its_own_group() -> None:
    pairs = [Candidate(0, other, 50 - other) for other in range(1, 30)]
    assert [pair.other for pair in _chosen(pairs, [None] * 30)] == list(range(1, 17))
    assert _chosen([Candidate(0, 1, 9)], [4, 4]) == []
    assert _chosen([Candidate(0, 1, 9)], [4, 5]) == [Candidate(0, 1, 9)]


def test_a_scan_that_is_asked_says_it_and_keeps_it(batch: Path, tmp_path: Path) -> None:
    flags = ["--model", "ela", "--no-features", "--out", tmp_path / "out", "--jobs", "2"]
    plain = run("scan", batch, *flags)
    assert "in common" not in plain.stderr
    assert "parts" not in json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[-1])
    asked = run("scan", batch, *flags, "--parts", "-v")
    assert "pictures with a part in common: a.png and b.jpg\n" in asked.stderr
    assert "imgscan: a.png: " in asked.stderr
    assert named(json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[-1])["parts"]) == {("a.png", "b.jpg")}
    assert asked.returncode == plain.returncode
    assert "Parts in common" in (tmp_path / "out" / "report.html").read_text()
