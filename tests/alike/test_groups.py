"""Which pictures of a batch are one photograph: real files, in every way they are reused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.alike.batch import Batch
from imgscan.alike.groups import Group, alike, as_lines
from imgscan.alike.match import View
from imgscan.alike.pictures import earlier_in, known_of
from imgscan.decode import decode
from imgscan.errors import InputError
from imgscan.records import Picture, Source
from imgscan.resume import FILE
from tests.cli.test_cli import run


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
