"""Photographs that two splits, or two sets, have: saved again, altered, cut in two; and what the doctor says of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.alike import partners
from imgscan.alike.pictures import Known, known_of
from imgscan.commands.data import check_command
from imgscan.datasets import doctor
from imgscan.datasets.doctor import check
from imgscan.datasets.entries import Entry
from imgscan.datasets.scenes import known_in, shared
from imgscan.datasets.splits import DEFAULT, KeptAside
from imgscan.errors import ExitCode, InputError
from tests.alike.test_groups import line
from tests.datasets.test_doctor import found
from tests.processes import run


@pytest.fixture(scope="module")
def shots(photos: list[np.ndarray]) -> list[Image.Image]:
    """Four photographs, small."""
    return [Image.fromarray(one).resize((192, 192), Image.Resampling.BOX) for one in photos]


def altered(shot: Image.Image, other: Image.Image) -> Image.Image:
    """With a part of another photograph in it."""
    made = shot.copy()
    made.paste(other.crop((60, 60, 110, 110)), (100, 40))
    return made


def store(path: Path, shot: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shot.save(path, **({"quality": 80} if path.suffix == ".jpg" else {}))
    return path


def told(diagnosis: doctor.Diagnosis) -> dict[str, dict[str, str]]:
    """By kind what is said of each file, folders left out."""
    return {
        one.kind: {path.name: text.replace(f"{path.parents[1]}/", "") for path, text in zip(one.files, one.remarks, strict=True)}
        for one in diagnosis.findings
        if one.remarks
    }


def test_what_is_known_of_a_picture_is_what_a_scan_knows(tmp_path: Path, shots: list[Image.Image]) -> None:
    framed = Image.new("RGB", (320, 320), (250, 250, 250))
    framed.paste(shots[0], (64, 64))
    exif = shots[1].getexif()
    exif[0x0112] = 6
    shots[1].save(tmp_path / "aside.jpg", exif=exif)
    page = np.full((256, 256, 3), 255, np.uint8)
    page[::9, ::5] = 0
    for name, shot in (("framed.png", framed), ("page.png", Image.fromarray(page)), ("plain.png", Image.new("RGB", (200, 90)))):
        store(tmp_path / name, shot)
    for path in sorted(tmp_path.iterdir()):
        one = known_in(path, "val")
        scanned = known_of(line(path) | {"name": str(path)}, "val")
        assert one == scanned, path.name
    assert known_in(tmp_path / "framed.png").inside is not None
    assert known_in(tmp_path / "page.png").fingerprint is None
    assert known_in(store(tmp_path / "tiny.png", shots[0].resize((60, 70)))).fingerprint is None
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken.png: cannot be decoded"):
        known_in(tmp_path / "broken.png")


def test_a_photograph_is_told_once_of_every_later_side(tmp_path: Path, shots: list[Image.Image]) -> None:
    """Of a the test split has a mirrored copy, of b the validation split two and the test split one, of c there are two in train,
    and d is nowhere else."""
    a, b, c, d = shots
    stored = {
        "train": {"a.png": a, "c.png": c, "c.jpg": c},
        "val": {"b.png": b, "b.jpg": b},
        "test": {"a.jpg": a.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "half.jpg": b.resize((96, 96)), "d.jpg": altered(d, b)},
    }
    paths = {name: [store(tmp_path / name / file, shot) for file, shot in files.items()] for name, files in stored.items()}
    given = [known_in(path, "train") for path in paths["train"]]
    sides = {name: [known_in(path) for path in paths[name]] for name in ("val", "test")}
    seen = {(one.kind, one.picture.name): one.text for one in shared(given, sides)}
    assert seen == {
        ("one-photograph", "a.jpg"): f"the same photograph as {tmp_path}/train/a.png of train",
        ("one-photograph", "half.jpg"): f"the same photograph as {tmp_path}/val/b.png of val",
    }
    assert list(shared(given, {})) == list(shared([], {"test": sides["val"]})) == []


def names_of(split: str) -> list[str]:
    """Stems that the rule for folders puts into a split."""
    return [f"{k:02d}" for k in range(200) if DEFAULT.of(Entry(Path(f"{k:02d}.png"), None)) == split]


def test_the_doctor_holds_the_splits_of_a_set_against_each_other(tmp_path: Path, shots: list[Image.Image]) -> None:
    """A forgery made from a training picture is measured; what is the same to the byte has a kind of its own."""
    a, b, c, _ = shots
    mask = np.zeros((192, 192), np.uint8)
    mask[40:90, 100:150] = 255
    train, val, test = (names_of(split) for split in ("train", "val", "test"))
    for name, shot in ((train[0], a), (train[1], b), (test[0], altered(a, c)), (val[0], c), (train[2], altered(b, c))):
        store(tmp_path / "images" / f"{name}.png", shot)
    (tmp_path / "images" / f"{val[1]}.png").write_bytes((tmp_path / "images" / f"{train[1]}.png").read_bytes())
    for path in sorted((tmp_path / "images").iterdir()):
        store(tmp_path / "masks" / path.name, Image.fromarray(mask))
    diagnosis = check(str(tmp_path))
    assert told(diagnosis) == {"one-photograph": {f"{test[0]}.png": f"the same photograph as images/{train[0]}.png of train"}}
    assert set(found(diagnosis)) == {"across-splits", "one-photograph"}
    assert set(found(check(str(tmp_path), scenes=False))) == {"across-splits"}
    assert [one.severity for one in diagnosis.findings] == ["error", "warning"]


def test_against_other_sets_its_own_splits_do_not_matter(tmp_path: Path, shots: list[Image.Image]) -> None:
    a, b, c, d = shots
    train, val, kept = tmp_path / "train", tmp_path / "val", tmp_path / "kept"
    for name, shot in (("a.png", a), ("b.png", b), ("b2.jpg", b), ("c.png", c)):
        store(train / name, shot)
    store(val / "a.jpg", a.resize((150, 150)))
    store(val / "d.png", d)
    (kept / "sub").mkdir(parents=True)
    os.link(train / "c.png", kept / "sub" / "other.png")
    (kept / "broken.png").write_bytes(b"no picture")
    diagnosis = check(str(train), against=[str(val), str(kept)])
    assert told(diagnosis) == {
        "across-sets": {"c.png": f"the same bytes as kept/sub/other.png of {kept}".replace(f"{tmp_path}/", "")},
        "one-photograph": {"a.png": "the same photograph as val/a.jpg of val"},
    }
    assert found(diagnosis)["unreadable-image"] == ["broken.png"]
    assert (diagnosis.authentic, sum(diagnosis.splits.values())) == (4, 4)
    assert told(check(str(val), against=[str(train)]))["one-photograph"] == {"a.jpg": "the same photograph as train/a.png of train"}
    # A set that holds the other one shares all of it, whatever that shows.
    assert told(check(str(train), against=[str(train)]))["across-sets"] == dict.fromkeys(
        ("a.png", "b.png", "b2.jpg", "c.png"), "is in train"
    )


def test_parts_are_looked_for_where_it_is_asked(tmp_path: Path, shots: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part of a picture that has no more in common with the other side; real ones are in tests/alike/test_partners.py."""
    for name, shot in (("a.png", shots[0]), ("b.png", shots[1]), ("c.jpg", shots[2])):
        store(tmp_path / "val" / name, shot)
    store(tmp_path / "train" / "c.png", shots[2])
    store(tmp_path / "train" / "d.png", shots[3])

    def parts_in_common(pictures: Sequence[Known], earlier: Sequence[Known], groups: object, **settings: Any) -> list[Any]:
        assert settings["jobs"] == 3
        assert settings["sides"] == {one.path: Path(one.path).parent.name for one in (*pictures, *earlier)}
        _, b, c = pictures
        return [
            {
                "pictures": [{**one.as_line(), "box": [0, 8, 96, 96], "area": 0.2} for one in pair],
                "mirrored": True,
                "turned": 0,
            }
            for pair in ((b, earlier[1]), (c, earlier[1]), (b, earlier[0]))
        ]

    monkeypatch.setattr(partners, "parts_in_common", parts_in_common)
    monkeypatch.chdir(tmp_path)
    assert "part-in-common" not in found(check("val", against=["train"]))
    diagnosis = check("val", against=["train"], parts=True, jobs=3)
    assert told(diagnosis) == {
        "one-photograph": {"c.jpg": "the same photograph as train/c.png of train"},
        "part-in-common": {"b.png": "96 x 88 pixels at 0, 8 are in train/d.png of train too, as 96 x 88 pixels at 0, 8, mirrored"},
    }
    assert not diagnosis.sound


def test_a_folder_of_photographs_has_the_splits_that_training_gives_it(tmp_path: Path, shots: list[Image.Image]) -> None:
    rule = KeptAside()
    names = [f"{k:02d}.jpg" for k in range(60)]
    kept = next(name for name in names if rule.of(Entry(Path(name), None)) == "val")
    assert int(hashlib.sha256(kept.encode()).hexdigest(), 16) % 10 == 0
    other = next(name for name in names if name != kept and rule.of(Entry(Path(name), None)) == "train")
    store(tmp_path / "shots" / kept, shots[0])
    store(tmp_path / "shots" / other, shots[0].resize((160, 160)))
    diagnosis = check(str(tmp_path / "shots"))
    assert diagnosis.splits == {"train": 1, "val": 1}
    assert told(diagnosis) == {"one-photograph": {kept: f"the same photograph as shots/{other} of train"}}
    (tmp_path / "masks").mkdir()
    (tmp_path / "shots").rename(tmp_path / "images")
    store(tmp_path / "masks" / "x.png", shots[0])
    with pytest.raises(InputError, match="has not the folders images/, masks/ with pictures"):
        check(str(tmp_path / "images"))


def test_the_command_names_all_where_it_is_asked(
    tmp_path: Path, shots: list[Image.Image], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(7):
        store(tmp_path / "val" / f"{k}.jpg", shots[0].resize((150 + k, 150)))
    store(tmp_path / "train" / "a.png", shots[0])
    call = ("data", "check", "val", "--against", "train")
    done = run(*call, cwd=tmp_path)
    assert done.returncode == ExitCode.FINDINGS, done.stderr
    assert "warning  one-photograph     7 pictures of a photograph" in done.stdout
    assert "         val/0.jpg: the same photograph as train/a.png of train\n" in done.stdout
    assert "         and 2 more\n" in done.stdout
    assert "val/6.jpg" not in done.stdout
    monkeypatch.chdir(tmp_path)
    assert check_command("val", None, against=["train"], verbose=True) == ExitCode.FINDINGS
    assert "         val/6.jpg: the same photograph as train/a.png of train\nverdict: " in capsys.readouterr().out
