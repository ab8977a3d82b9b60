"""Which pictures of a batch are one photograph: real files, in every way they are reused."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.alike.batch import Batch
from imgscan.alike.compare import Compared
from imgscan.alike.groups import Group, _in_pixels, alike, as_lines
from imgscan.alike.match import View
from imgscan.alike.pictures import Known, earlier_in, known_of, read
from imgscan.decode import decode
from imgscan.errors import InputError
from imgscan.records import Picture, Source
from imgscan.resume import FILE
from tests.processes import run
from tests.report.test_formats import RUN, SKIPPED, SUMMARY, assessed


def line(path: Path) -> dict[str, Any]:
    """What a result line has of a file, as far as it matters here."""
    made = decode(Source(path, path.name))
    if not isinstance(made, Picture):
        return {"status": "skipped", "name": path.name, "path": str(path), "reason": made.reason}
    facts = {name: getattr(made, name) for name in ("sha256", "width", "height", "orientation", "inside", "fingerprint")}
    return {"status": "assessed", "name": path.name, "path": str(path), **facts}


def groups(folder: Path, earlier: Path | None = None) -> list[Group]:
    pictures, others = (
        [one for one in (known_of(line(path), record) for path in sorted(where.iterdir()) if where) if one is not None]
        for where, record in ((folder, None), (earlier or folder, "claims"))
    )
    return alike(pictures, others if earlier else ())


@pytest.fixture
def batch(tmp_path: Path, photos: list[np.ndarray]) -> Path:
    """Two photographs, four more versions of the first, and what says nothing."""
    folder = tmp_path / "batch"
    folder.mkdir()
    first = Image.fromarray(photos[0])
    first.save(folder / "a.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    first.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((300, 300)).save(folder / "c.jpg", quality=60)
    first.transpose(Image.Transpose.ROTATE_90).save(folder / "d.jpg", quality=80)
    altered = first.copy()
    altered.paste(Image.fromarray(photos[1]).crop((0, 0, 150, 100)), (500, 300))
    altered = altered.transpose(Image.Transpose.ROTATE_90)
    exif = altered.getexif()
    exif[0x0112] = 6  # upright again
    altered.save(folder / "e.jpg", quality=90, exif=exif)
    Image.fromarray(photos[2]).save(folder / "f.jpg")
    for name, colour in (("white", 255), ("grey", 128)):
        Image.new("L", (300, 300), colour).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    return folder


def test_every_form_of_a_photograph_is_named_with_what_was_done_to_it(batch: Path, photos: list[np.ndarray]) -> None:
    (group,) = groups(batch)
    said = {member.picture.name: (member.kind, member.view) for member in group}
    assert group[0].picture.name == "a.png"
    assert said == {
        "a.png": (None, View()),
        "b.png": ("identical", View()),
        "c.jpg": ("same", View(mirrored=True)),
        "d.jpg": ("same", View(turned=90)),
        "e.jpg": ("differs", View()),
    }
    (box,) = next(member.differs for member in group if member.picture.name == "e.jpg")
    # As stored it lies on its side: what was at left 500, top 300 begins at left 300, and ends below at the other side's 500.
    width = photos[0].shape[1]
    assert np.allclose(box, (300, width - 650, 400, width - 500), atol=36)


def test_a_batch_without_copies_has_no_groups(tmp_path: Path, photos: list[np.ndarray]) -> None:
    for number, pixels in enumerate(photos):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    assert groups(tmp_path) == []
    assert alike([]) == []


def test_a_photograph_of_an_earlier_scan_is_known_again_and_theirs_alone_are_nobodys(batch: Path, photos: list[np.ndarray]) -> None:
    new = batch.parent / "new"
    new.mkdir()
    Image.fromarray(photos[2]).resize((400, 400)).save(new / "later.jpg")
    Image.fromarray(photos[3]).save(new / "other.jpg")
    (group,) = groups(new, batch)
    assert [(member.picture.name, member.picture.record, member.kind) for member in group] == [
        ("f.jpg", "claims", None),
        ("later.jpg", None, "same"),
    ]


def test_what_is_gone_is_known_by_its_fingerprint_alone(batch: Path) -> None:
    pictures = [known_of(line(batch / name)) for name in ("a.png", "c.jpg")]
    (batch / "a.png").unlink()
    (group,) = alike([one for one in pictures if one is not None])
    assert [member.kind for member in group] == [None, "unseen"]
    (batch / "a.png").write_bytes(b"another file at its path")
    assert [member.kind for member in alike([one for one in pictures if one is not None])[0]] == [None, "unseen"]


BASE = int("0123456789abcdef" * 4, 16)


def gone(name: str, bits: int = 0, side: int = 100, **facts: Any) -> Known:
    """A picture whose file is gone, and so many bits of its fingerprint changed, the lowest of every word but the first."""
    changed = sum(1 << 64 * (bit % 3) + bit // 3 for bit in range(bits))
    return Known(name, f"gone/{name}", f"{name:0>64}", f"{BASE ^ changed:064x}", side, side, **facts)


@pytest.mark.parametrize(("bits", "kinds"), [(48, [None, "unseen"]), (49, [])])
def test_what_is_gone_has_to_be_nearer(bits: int, kinds: list[str | None]) -> None:
    found = alike([gone("a"), gone("b", bits)])
    assert [member.kind for group in found for member in group] == kinds


def test_the_largest_picture_comes_first_and_of_equal_ones_the_first() -> None:
    """What is like the first one is said to be, though another one led to it; 20 bits, 10 and 10."""
    (group,) = alike([gone("a"), gone("b", 20, side=200), gone("c", 10, side=200)])
    assert [(member.picture.name, member.like and member.like.name) for member in group] == [("b", None), ("c", "b"), ("a", "b")]


def test_what_has_too_little_of_the_first_is_like_what_led_to_it() -> None:
    """60 bits from the first, which for pictures that are gone is too far, and 30 from the second."""
    (group,) = alike([gone("a", side=200), gone("b", 30), gone("c", 60)])
    assert [(member.picture.name, member.like and member.like.name) for member in group] == [("a", None), ("b", "a"), ("c", "b")]


def test_pictures_of_earlier_scans_are_held_against_those_of_the_batch_alone() -> None:
    """One of the batch has no fingerprint; of the earlier ones one is near, and the other near that one but too far."""
    pictures = [Known("plain", "gone/plain", "f" * 64, None, 9, 9), gone("a")]
    earlier = [gone("b", 40, record="before"), gone("c", 80, record="before")]
    (group,) = alike(pictures, earlier)
    assert [member.picture.name for member in group] == ["a", "b"]
    assert alike([], earlier) == []


def test_a_file_with_the_same_bytes_in_an_earlier_scan_is_named(batch: Path) -> None:
    mine = known_of(line(batch / "f.jpg"))
    assert mine is not None
    theirs = replace(mine, path="elsewhere/g.jpg", name="g.jpg", record="before")
    (group,) = alike([mine], [replace(mine, record="before"), theirs])
    assert [(member.picture.name, member.picture.record, member.kind) for member in group] == [
        ("f.jpg", None, None),
        ("g.jpg", "before", "identical"),
    ]


def test_every_pair_that_is_looked_at_is_told() -> None:
    told: list[tuple[int, int]] = []
    alike([gone("a"), gone("b", 5), gone("c", 12)], tell=lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_how_a_smaller_picture_that_comes_first_has_to_be_turned(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """The larger one, which comes later, was turned against the clock."""
    first = Image.fromarray(photos[0])
    first.resize((300, 300)).save(tmp_path / "a.png")
    first.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.png")
    (group,) = groups(tmp_path)
    assert [(member.picture.name, member.kind, member.view) for member in group] == [
        ("b.png", None, View()),
        ("a.png", "same", View(turned=270)),
    ]


def test_what_differs_within_a_frame_is_named_by_pixels_of_the_file(tmp_path: Path, photos: list[np.ndarray]) -> None:
    """384 pixels of a photograph, framed to the left and above, with a part of another one; and as it was."""
    whole = Image.fromarray(photos[0]).resize((384, 384))
    whole.resize((300, 300)).save(tmp_path / "whole.png")
    whole.paste(Image.fromarray(photos[1]).crop((0, 0, 96, 64)), (160, 240))
    framed = Image.new("RGB", (440, 424), "white")
    framed.paste(whole, (56, 40))
    framed.save(tmp_path / "framed.png")
    (group,) = groups(tmp_path)
    assert [(member.picture.name, member.kind) for member in group] == [("framed.png", None), ("whole.png", "differs")]
    (box,) = group[1].differs
    assert np.allclose(np.multiply(box, 384 / 300), (160, 240, 256, 304), atol=18)


def test_where_a_cell_of_what_was_compared_lies_in_the_file() -> None:
    """10 x 20 cells of what is within a frame of 200 x 100 pixels; and of a picture that is stored on its side."""
    differs = np.zeros((10, 20), bool)
    differs[0, 0] = True
    framed = Known("a", "a", "0" * 64, None, 260, 150, inside=(40, 30, 240, 130))
    assert _in_pixels(Compared(differs), framed) == ((40, 30, 50, 40),)
    stored = Known("a", "a", "0" * 64, None, 100, 200, orientation=6)  # its first row is the right side as it is looked at
    assert _in_pixels(Compared(differs), stored) == ((0, 190, 10, 200),)


def test_a_pipe_is_not_waited_for_and_an_impossible_name_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was opened"))
    for path in (str(tmp_path / "pipe"), "a\0b", str(tmp_path / "none")):
        assert read(Known("a", path, "0" * 64, None, 9, 9)) is None


def test_a_record_without_fingerprints_cannot_be_held_against(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for facts, told in (({}, False), ({"fingerprint": None}, True)):
        path.write_text("".join(json.dumps(one) + "\n" for one in (RUN, assessed("a.jpg", **facts), SKIPPED, SUMMARY)))
        if told:
            assert [(one.name, one.record) for one in earlier_in([tmp_path])] == [("a.jpg", str(tmp_path))]
        else:
            with pytest.raises(InputError, match="is of a version without fingerprints; scan again into it"):
                earlier_in([tmp_path])


def test_a_file_that_was_scanned_before_is_not_its_own_copy(batch: Path) -> None:
    known = known_of(line(batch / "f.jpg"), "before")
    assert known is not None
    found = Batch([known])
    found.add(line(batch / "f.jpg"))
    found.add(line(batch / "broken.jpg"))
    found.finish([])
    assert found.alike == []


def test_a_group_as_the_record_has_it(batch: Path) -> None:
    pictures = [known_of(line(batch / name)) for name in ("a.png", "b.png")]
    (group,) = as_lines(alike([one for one in pictures if one is not None]))
    first, second = group["pictures"]
    assert (first["name"], "like" in first, "kind" in first) == ("a.png", False, False)
    assert (second["like"], second["kind"], second["mirrored"], second["turned"], second["differs"]) == (
        0,
        "identical",
        False,
        0,
        [],
    )


def test_a_scan_says_it_keeps_it_and_adds_fingerprints_to_what_was_found_without(batch: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ["--model", "ela", "--no-features", "--allow-unreadable", "--out", out, "--jobs", "0"]
    first = run("scan", batch, *flags)
    assert "the same photograph more than once: a.png = b.png = " in first.stderr
    lines = [json.loads(row) for row in (out / "results.jsonl").read_text().splitlines()]
    (group,) = lines[-1]["alike"]
    assert {one["name"] for one in group["pictures"]} == {"a.png", "b.png", "c.jpg", "d.jpg", "e.jpg"}
    old = [{key: value for key, value in one.items() if key not in ("fingerprint", "alike")} for one in lines]
    (out / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in old))
    with pytest.raises(InputError, match="without fingerprints; scan again"):
        earlier_in([out])
    again = run("scan", batch, *flags, "-v")
    assert "8 of them from an earlier scan" in again.stderr
    assert "b.png: the same bytes as a.png" in again.stderr
    assert [json.loads(row).get("fingerprint") for row in (out / "results.jsonl").read_text().splitlines()] == [
        one.get("fingerprint") for one in lines
    ]
    assert not (out / FILE).exists()
    assert len(earlier_in([out, out / "results.jsonl"])) == 16
    with pytest.raises(InputError, match="--earlier: "):
        earlier_in([batch])
