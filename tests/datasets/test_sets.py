"""Folders that are given as untouched pictures and are something else: a set that only its name reads, or a part of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgscan.datasets.doctor import check
from imgscan.datasets.names import forgery_of, names_forgeries, rule_of_mask
from imgscan.datasets.sets import read_set
from imgscan.errors import InputError
from tests.datasets.test_published import TREES, make, picture


@pytest.mark.parametrize("name", [name for name in TREES if name not in ("casia", "imd2020", "ffpp")])
@pytest.mark.parametrize("above", ["", "unpacked"])
def test_a_published_set_is_not_untouched_and_its_name_is_told(tmp_path: Path, name: str, above: str) -> None:
    TREES[name](tmp_path / above)
    with pytest.raises(InputError, match=rf"; wanted --data {name} --data-root {tmp_path}"):
        read_set(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "part", "said"),
    [
        ("columbia", "4cam_splc", "has edgemask/"),
        ("casia-v2", "CASIA2.0_revised/Tp", "called as forgeries or masks of CASIA are"),
        ("casia-v1", "Tp/Sp", "called as forgeries or masks of CASIA are"),
        ("coverage", "image", "called as forgeries or masks of Coverage are"),
        ("nist16", "probe", "has reference/ beside it, as folders of forgeries have"),
        ("dso-1", "DSO-1", "called as forgeries or masks of DSO-1 are"),
        ("dso-1", "DSO-1-Fake-Images-Masks", "called as forgeries or masks of DSO-1 are"),
        ("korus", "Nikon_D90/tampered-realistic", "is called as folders of forgeries or masks are"),
        ("korus", "Nikon_D90", "has ground-truth/"),
        ("autosplice", "Forged_JPEG100", "is called as folders of forgeries or masks are"),
        ("cocoglide", "fake", "called as forgeries or masks of CocoGlide are"),
        ("misd", "Sp", "called as forgeries or masks of CASIA are"),
        ("sp-coco", "sp_images", "called as forgeries or masks of tampCOCO are"),
        ("defacto", "splicing_1_img", "is called as folders of forgeries or masks are"),
    ],
)
def test_a_part_of_a_published_set_is_not_untouched_and_the_whole_is_told(tmp_path: Path, name: str, part: str, said: str) -> None:
    TREES[name](tmp_path)
    with pytest.raises(InputError, match=rf"{said}; wanted --data {name} --data-root {tmp_path}"):
        read_set(str(tmp_path / part))


@pytest.mark.parametrize(
    "part", ["4cam_auth", "Au", "world", "pristine", "real", "Authentic", "original_images", "photos", "untampered", "not-forged"]
)
def test_untouched_pictures_by_the_names_they_have(tmp_path: Path, part: str) -> None:
    picture(tmp_path / part / "Au_nat_0001.jpg")
    picture(tmp_path / part / "2" / "3.tif")
    (tmp_path / part / "._Au_nat_0001.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / part / "Thumbs.db").write_bytes(b"\xd0\xcf")
    found = {entry.image.name: entry.mask for entry in read_set(str(tmp_path / part))}
    assert found == {"Au_nat_0001.jpg": None, "3.tif": None}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["001_F.png", "001_O.png", "001_B.png"], "has 001_F, which is called as forgeries or masks of CoMoFoD"),
        (["001_F_JC1.jpg", "001_O_JC1.jpg"], "has 001_F_JC1, which"),
        (["forged_images/TP_C01_001_copy.png"], "has forged_images/"),
        (
            ["all/TP_C01_001_copy.png", "all/TP_C01_001_gt.png"],
            "has all/TP_C01_001_copy, which is called as forgeries or masks of GRIP",
        ),
        (["CRW_4853_scale.jpg", "CRW_4853tamp1.jpg"], "has CRW_4853tamp1, which is called as forgeries or masks of MICC"),
        (["ColorFakeImages/a.jpg", "ColorRealImages/b.jpg"], "has ColorFakeImages/"),
        (["Sp/Sp_D_CND_A_pla0005_pla0023_0281.jpg", "Au/Au_ani_0001.jpg"], "has Sp/Sp_D_CND_A_pla0005_pla0023_0281, which"),
    ],
)
def test_sets_that_imgscan_has_no_name_for(tmp_path: Path, files: list[str], said: str) -> None:
    for name in files:
        picture(tmp_path / name)
    with pytest.raises(InputError, match=rf"{said}.* a list \(\.csv with the columns image and mask\)"):
        read_set(str(tmp_path))


def test_a_plain_tree_that_is_a_published_set_tells_its_name(tmp_path: Path) -> None:
    """DSO-1 as scripts rename it: images/ has the untouched pictures, too, and in masks/ black is forged."""
    TREES["dso-1"](tmp_path)
    (tmp_path / "DSO-1").rename(tmp_path / "images")
    (tmp_path / "DSO-1-Fake-Images-Masks").rename(tmp_path / "masks")
    with pytest.raises(
        InputError, match=rf"normal-01.png: no mask .* \(1 such pictures\); wanted --data dso-1 --data-root {tmp_path}"
    ):
        read_set(str(tmp_path))


def test_a_plain_tree_that_lacks_a_mask_is_no_published_set(tmp_path: Path) -> None:
    make(tmp_path, {f"images/{k}.jpg": f"masks/{k}.png" for k in range(20)}, "white")
    (tmp_path / "masks/7.png").unlink()
    with pytest.raises(InputError, match=r"images/7.jpg: no mask with this stem, or _gt, .* in .*masks \(1 such pictures\)$"):
        read_set(str(tmp_path))


def test_a_folder_to_check_or_to_train_on_that_is_a_published_set(tmp_path: Path) -> None:
    TREES["korus"](tmp_path)
    for folder in (tmp_path, tmp_path / "Nikon_D90"):
        with pytest.raises(
            InputError, match=rf"{folder} has not the folders .*; it has pictures of the data set korus, whose root is {tmp_path}$"
        ):
            check(str(folder))


def test_a_set_that_is_looked_for_within_itself(tmp_path: Path) -> None:
    TREES["columbia"](tmp_path)
    with pytest.raises(InputError, match=rf"; it is in {tmp_path}: --data-root {tmp_path}$"):
        read_set("columbia", [tmp_path / "4cam_splc"])


def test_a_set_without_a_test_split_says_how_it_can_be_measured(tmp_path: Path) -> None:
    TREES["casia-v2"](tmp_path)
    with pytest.raises(InputError, match="for a list of all of it: imgscan data export casia-v2 --split all"):
        read_set("casia-v2", [tmp_path])


def test_masks_beside_forgeries_of_imd2020(tmp_path: Path) -> None:
    make(tmp_path, {"t/x_0.jpg": "t/x_0_mask.png", "t/t_orig.jpg": None}, "white")
    with pytest.raises(InputError, match=rf"a mask beside its picture; wanted --data imd2020 --data-root {tmp_path}$"):
        read_set(str(tmp_path))


def test_names() -> None:
    assert [forgery_of(stem) for stem in ("Tp_D_NRN_S_N_ani00001_nat00002_1", "1t", "001_F", "IMG_0001", "stamp12")] == [
        "CASIA"
    ] + [""] * 4
    assert forgery_of("1t", {"1"}) == "Coverage"
    assert forgery_of("front_f", {"front_o"}) == ""
    assert not names_forgeries("4cam_auth")
    assert not names_forgeries("http")
    assert names_forgeries("CASIA2.0_Groundtruth")
    assert rule_of_mask(Path("a/x_edgemask.JPG"), "any") == "green"
    assert rule_of_mask(Path("a/NC2016_0001.png"), "any") == "any"
