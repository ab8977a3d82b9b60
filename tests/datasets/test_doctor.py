"""A sound tree, and the same tree with one defect of each kind planted."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgscan.datasets import data_set
from imgscan.datasets.diagnosis import KINDS, Diagnosis
from imgscan.datasets.doctor import check, first_look
from imgscan.datasets.doubles import identical, leaked
from imgscan.datasets.entries import Entry
from imgscan.datasets.splits import DEFAULT
from imgscan.errors import InputError
from tests.datasets.test_published import FORGED, TREES, edgemask, make, mask, picture

COUNT = 12


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path, {f"images/{k:02d}.png": f"masks/{k:02d}.png" for k in range(COUNT)}, "white")
    return tmp_path


def found(diagnosis: Diagnosis) -> dict[str, list[str]]:
    return {finding.kind: [path.name for path in finding.files] for finding in diagnosis.findings}


def test_a_sound_folder(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    diagnosis = check(str(root), step=lambda done, total: seen.append((done, total)))
    assert diagnosis.findings == ()
    assert diagnosis.sound
    assert (diagnosis.forged, diagnosis.authentic) == (COUNT, 0)
    assert sum(diagnosis.splits.values()) == COUNT
    assert seen == [(k, COUNT) for k in range(1, COUNT + 1)]


def split_of(k: int) -> str:
    return DEFAULT.of(Entry(Path(f"{k:02d}.png"), None))


def plant_across(root: Path) -> list[str]:
    """The first picture that is in another split than number 0 becomes a copy of it."""
    other = next(k for k in range(COUNT) if split_of(k) != split_of(0))
    shutil.copy(root / "images/00.png", root / f"images/{other:02d}.png")
    return ["00.png", f"{other:02d}.png"]


def plant_duplicate(root: Path) -> list[str]:
    other = next(k for k in range(1, COUNT) if split_of(k) == split_of(0))
    shutil.copy(root / "images/00.png", root / f"images/{other:02d}.png")
    return ["00.png", f"{other:02d}.png"]


def plant_both_truths(root: Path) -> list[str]:
    (root / "authentic").mkdir()
    shutil.copy(root / "images/00.png", root / "authentic/00.png")
    return ["00.png", "00.png"]


def plant_polarity(root: Path) -> list[str]:
    for k in range(COUNT):
        mask(root / f"masks/{k:02d}.png", "black")
    return ["00.png"]


def planted(name: str, make_defect: Callable[[Path], object]) -> Callable[[Path], list[str]]:
    def plant(root: Path) -> list[str]:
        make_defect(root)
        return [name]

    return plant


def plant_shared(root: Path) -> list[str]:
    """A second picture of number 2's name, which nobody made a mask of."""
    picture(root / "images/02.jpg")
    return ["02.jpg", "02.png"]


def plant_nowhere(root: Path) -> list[str]:
    """A picture that was never fetched, as git-annex leaves it; it was no picture of the set at all."""
    (root / "images/04.png").unlink()
    (root / "images/04.png").symlink_to("../.git/annex/objects/none.png")
    return ["04.png"]


PLANTS: dict[str, Callable[[Path], list[str]]] = {
    "unpaired-image": planted("03.png", lambda root: (root / "masks/03.png").unlink()),
    "unused-image": planted("99.png", lambda root: picture(root / "images/more/99.png")),
    "unpaired-mask": planted("03.png", lambda root: (root / "images/03.png").unlink()),
    "unreadable-image": planted("04.png", lambda root: (root / "images/04.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")),
    "unreadable-mask": planted("04.png", lambda root: (root / "masks/04.png").write_bytes(b"")),
    "rotated-mask": planted("05.png", lambda root: mask(root / "masks/05.png", forged=FORGED.T)),
    "wrong-size": planted("06.png", lambda root: mask(root / "masks/06.png", forged=FORGED[:8])),
    "empty-mask": planted("07.png", lambda root: mask(root / "masks/07.png", forged=FORGED & False)),
    "full-mask": planted("08.png", lambda root: mask(root / "masks/08.png", forged=FORGED | True)),
    "faint-mask": planted("09.png", lambda root: Image.fromarray(FORGED.astype(np.uint8)).save(root / "masks/09.png")),
    "coloured-mask": planted("03.png", lambda root: edgemask(root / "masks/03.png")),
    "inverted-polarity": plant_polarity,
    "shared-mask": plant_shared,
    "mostly-forged": planted("02.png", lambda root: mask(root / "masks/02.png", "black")),
    "both-truths": plant_both_truths,
    "across-splits": plant_across,
    "duplicate": plant_duplicate,
}


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_defect_is_found_and_nothing_else(root: Path, kind: str) -> None:
    wanted = PLANTS[kind](root)
    diagnosis = check(str(root))
    assert found(diagnosis) == {kind: wanted}
    assert diagnosis.sound == (KINDS[kind][0] == "note")


def test_untouched_pictures_in_folders_of_their_own_are_named(root: Path) -> None:
    """authentic/ is read and what is below it is not: a set without untouched pictures would look like a choice."""
    picture(root / "authentic/flickr/a.jpg")
    picture(root / "real/b.jpg")
    assert found(check(str(root))) == {"unused-image": ["a.jpg", "b.jpg"]}


def test_masks_of_untouched_pictures_are_no_pictures_that_were_forgotten(tmp_path: Path) -> None:
    TREES["columbia"](tmp_path)
    mask(tmp_path / "4cam_auth/edgemask/canong3_02_sub_01_edgemask.jpg", "green")
    assert "unused-image" not in found(check("columbia", tmp_path))


@pytest.mark.parametrize(
    ("drawn", "forged", "said"),
    [
        ("white", FORGED, []),
        ("black", FORGED, ["most masks mark over half of the picture: the other polarity is meant"]),
        ("white", FORGED & False, ["masks of forged pictures that mark nothing: all that were looked at"]),
        (
            "any",
            FORGED,
            [
                "masks that mark nothing by their rule (white is above 127) but hold levels above 0, as 0 and 1 do: all that were "
                "looked at"
            ],
        ),
    ],
)
def test_a_first_look(tmp_path: Path, drawn: str, forged: np.ndarray, said: list[str]) -> None:
    files = [mask(tmp_path / f"{k:02d}.png", drawn, forged) for k in range(40)]
    entries = [Entry(tmp_path / f"{k:02d}.jpg", path) for k, path in enumerate(files)]
    assert first_look("list.txt", [*entries, Entry(tmp_path / "x.jpg", None)]) == said
    assert first_look("list.txt", [Entry(tmp_path / "x.jpg", None)]) == []


def test_a_first_look_at_a_benchmark_counts(tmp_path: Path) -> None:
    TREES["korus"](tmp_path)
    wanted = "counts that are not those of the literature: 2 forged, literature 220; 2 untouched, literature 220"
    assert first_look("korus", data_set("korus").entries(tmp_path)) == [wanted]
    TREES["defacto"](tmp_path / "d")
    assert first_look("defacto", data_set("defacto").entries(tmp_path / "d")) == []


def test_links_that_lead_nowhere_are_defects(root: Path) -> None:
    names = plant_nowhere(root)
    assert found(check(str(root))) == {"unreadable-image": names}
    (root / "masks/05.png").unlink()
    (root / "masks/05.png").symlink_to("05.png")
    assert found(check(str(root))) == {"unreadable-image": names, "unreadable-mask": ["05.png"]}


def test_a_folder_that_may_not_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path.iterdir

    def closed(self: Path) -> Iterator[Path]:
        if self.name == "masks":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(InputError, match=rf"{root}/masks: cannot be read: Permission denied"):
        check(str(root))


def test_doubles_that_may_not_be_read_are_nobodys(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_across(root)
    opened = Path.open

    def closed(self: Path, *args: Any, **settings: Any) -> Any:
        if self.name == "00.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *args, **settings)

    monkeypatch.setattr(Path, "open", closed)
    assert identical(sorted((root / "images").iterdir())) == []
    assert leaked([Entry(root / "images/00.png", None)], [Entry(path, None) for path in (root / "images").iterdir()]) == []


def test_every_kind_of_defect_is_planted_somewhere() -> None:
    scenes = {"across-sets", "one-photograph", "part-in-common"}  # test_scenes.py
    assert set(KINDS) == set(PLANTS) | scenes | {"known-bad", "counts", "counts-agree"}


def test_a_list_may_name_a_part_of_a_folder(root: Path) -> None:
    (root / "some.csv").write_text("image,mask\n" + "".join(f"images/{k:02d}.png,masks/{k:02d}.png\n" for k in range(5)))
    diagnosis = check(str(root / "some.csv"))
    assert diagnosis.sound
    assert diagnosis.forged == 5
    (root / "masks/03.png").unlink()
    assert found(check(str(root / "some.csv"))) == {"unpaired-image": ["03.png"]}


def test_a_list_may_name_a_picture_as_forged_and_as_untouched(root: Path) -> None:
    (root / "train.txt").write_text("images/00.png masks/00.png 1\nimages/01.png masks/01.png 1\nimages/00.png None 0\n")
    assert found(check(str(root / "train.txt"))) == {"both-truths": ["00.png"]}


def test_a_truncated_picture_is_unreadable(root: Path) -> None:
    content = (root / "images/02.png").read_bytes()
    (root / "images/02.png").write_bytes(content[: len(content) // 2])
    assert found(check(str(root))) == {"unreadable-image": ["02.png"]}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("casia-v1", "Sp_D_NRN_A_cha0011_sec0011_0542.jpg"),
        ("imd2020", "00030_fake.jpg"),
        ("casia", "Sp_D_NRN_A_cha0011_sec0011_0542.jpg"),
    ],
)
def test_known_bad_files(tmp_path: Path, name: str, bad: str) -> None:
    TREES[name](tmp_path)
    assert found(check(name, tmp_path))["known-bad"] == [bad]


@pytest.mark.parametrize("number", [41, 48, 55, 56, 57, 58, 59, 61, 95])
def test_known_bad_files_of_coverage_until_they_are_corrected(tmp_path: Path, number: int) -> None:
    pairs: dict[str, str | None] = {f"image/{number}t.tif": f"mask/{number}forged.tif", f"image/{number}.tif": None}
    make(tmp_path, pairs, "white", (f"mask/{number}copy.tif",))
    assert "known-bad" not in found(check("coverage", tmp_path))
    mask(tmp_path / f"mask/{number}forged.tif", forged=FORGED[:8])
    kinds = found(check("coverage", tmp_path))
    assert kinds["known-bad"] == [f"{number}t.tif"]
    assert kinds["wrong-size"] == [f"{number}forged.tif"]
    assert "unpaired-mask" not in kinds


def test_counts_against_the_literature(tmp_path: Path) -> None:
    pairs: dict[str, str | None] = {f"image/{k}t.tif": f"mask/{k}forged.tif" for k in range(1, 101)}
    make(tmp_path, pairs | {f"image/{k}.tif": None for k in range(1, 101)}, "white")
    diagnosis = check("coverage", tmp_path)
    assert diagnosis.sound
    assert [f.text for f in diagnosis.findings] == ["counts are those of the literature: 100 forged, 100 untouched"]
    (tmp_path / "image/7.tif").unlink()
    diagnosis = check("coverage", tmp_path)
    assert not diagnosis.sound
    assert diagnosis.findings[0].text.endswith("99 untouched, literature 100")


def test_original_masks_of_nist16_are_not_called_inverted(tmp_path: Path) -> None:
    TREES["nist16"](tmp_path)
    assert "inverted-polarity" not in found(check("nist16", tmp_path))
    shutil.rmtree(tmp_path / "reference")
    make(tmp_path, {f"Tp/{k}.png": f"Gt/{k}.png" for k in range(3)}, "black")  # converted, but not turned to white
    assert "inverted-polarity" in found(check("nist16", tmp_path))


def test_the_other_masks_of_columbia_are_no_strays(tmp_path: Path) -> None:
    TREES["columbia"](tmp_path)
    (tmp_path / "4cam_splc/edgemask/000000_edgemask.jpg").unlink()
    shutil.rmtree(tmp_path / "4cam_auth")
    for path in sorted((tmp_path / "4cam_splc/edgemask").iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem}_3.jpg"))
    assert list(found(check("columbia", tmp_path))) == ["counts"]


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columbia is not found"):
        check("columbia", tmp_path)


def test_identical_and_leaked(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "train/a.png"), picture(tmp_path / "train/b.png")
    copy = Path(shutil.copy(one, tmp_path / "copy.png"))
    same_size = tmp_path / "same-size.png"
    same_size.write_bytes(one.read_bytes()[:-1] + b"?")
    missing = tmp_path / "missing.png"
    assert identical([one, two, same_size, copy, missing]) == [[one, copy]]

    def entries(*paths: Path) -> list[Entry]:
        return [Entry(path, None) for path in paths]

    assert leaked(entries(one, one, two), entries(same_size, missing)) == []
    assert leaked(entries(one, one, two, missing), entries(same_size, copy)) == [(one, copy)]
    assert leaked(entries(two), entries(two)) == [(two, two)]
