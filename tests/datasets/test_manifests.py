from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgscan.datasets.entries import read_entry
from imgscan.datasets.manifests import read_manifest, read_text_array
from imgscan.errors import InputError
from tests.datasets.test_published import FORGED, edgemask, make, mask, picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with three pictures and two masks, and an empty folder for lists."""
    make(tmp_path / "data", {"img/a.jpg": "gt/a.png", "img/b 1.jpg": "gt folder/b 1.png", "img/c.jpg": None}, "white")
    (tmp_path / "lists").mkdir()
    return tmp_path / "data"


def names(entries: Any, root: Path) -> list[tuple[str, str | None]]:
    return [(e.image.relative_to(root).as_posix(), e.mask and e.mask.relative_to(root).as_posix()) for e in entries]


PAIRS = [("img/a.jpg", "gt/a.png"), ("img/b 1.jpg", "gt folder/b 1.png"), ("img/c.jpg", None)]


def test_imdlbenco_json_with_absolute_paths(root: Path) -> None:
    data = [[str(root / image), str(root / mask) if mask else "Negative"] for image, mask in PAIRS]
    (root / "../lists/x.json").write_text(json.dumps(data))
    found = read_manifest(root / "../lists/x.json")
    assert names(found, root) == PAIRS
    assert {e.source for e in found} == {"x"}
    assert {e.rule for e in found} == {"white"}


def test_forensichub_json(root: Path) -> None:
    data = [{"path": image, "mask": mask or "Negative", "label": int(mask is not None)} for image, mask in PAIRS]
    (root / "x.json").write_text(json.dumps(data))
    assert names(read_manifest(root / "x.json"), root) == PAIRS
    (root / "y.json").write_text(json.dumps([{"path": "img/a.jpg", "label": 1}]))
    with pytest.raises(InputError, match="label 1 and no mask"):
        read_manifest(root / "y.json")


def test_imdlbenco_lists_of_sets(root: Path) -> None:
    make(root / "set", {"Tp/p.jpg": "Gt/p.png"}, "white")
    (root / "inner.json").write_text(json.dumps([["img/a.jpg", "gt/a.png"]]))
    (root / "outer.json").write_text(json.dumps([["ManiDataset", str(root / "set")], ["JsonDataset", str(root / "inner.json")]]))
    wanted = [("set/Tp/p.jpg", "set/Gt/p.png"), ("img/a.jpg", "gt/a.png")]
    assert names(read_manifest(root / "outer.json"), root) == wanted
    (root / "tests.json").write_text(json.dumps({"first": str(root / "set"), "second": str(root / "inner.json")}))
    assert names(read_manifest(root / "tests.json"), root) == wanted


def test_cat_net_text_below_a_root(root: Path) -> None:
    lines = ["img/a.jpg,gt/a.png,jpg/a.jpg", "img/b 1.jpg,gt folder/b 1.png,jpg/b.jpg,2", "img/c.jpg,None,jpg/c.jpg"]
    (root / "../lists/x.txt").write_text("\n".join(lines) + "\n\n")
    found = read_manifest(root / "../lists/x.txt", [root.parent / "elsewhere", root])
    assert names(found, root) == PAIRS
    assert {e.rule for e in found} == {"any"}


def test_mvss_text_with_blanks_in_names(root: Path) -> None:
    (root / "x.txt").write_text("img/a.jpg gt/a.png 1\nimg/b 1.jpg gt folder/b 1.png 3\nimg/c.jpg None 0\n")
    assert names(read_manifest(root / "x.txt"), root) == PAIRS


def test_lists_of_pictures_alone(root: Path) -> None:
    """CFLNet's IMD2020 names say where the mask is, compRAISE's pictures are untouched."""
    picture(root / "t/u_0.jpg")
    mask(root / "t/u_0_mask.png")
    (root / "x.txt").write_text("t/u_0.jpg\nimg/c.jpg\n")
    assert names(read_manifest(root / "x.txt"), root) == [("t/u_0.jpg", "t/u_0_mask.png"), ("img/c.jpg", None)]


@pytest.mark.parametrize("name", ["x.txt", "x.json", "x.csv"])
def test_the_mark_that_windows_puts_first_is_no_part_of_a_name(root: Path, name: str) -> None:
    text = {"x.txt": "img/a.jpg gt/a.png 1\n", "x.json": '[["img/a.jpg", "gt/a.png"]]', "x.csv": "image,mask\nimg/a.jpg,gt/a.png\n"}
    (root / name).write_text(text[name], encoding="utf-8-sig")
    assert names(read_manifest(root / name), root) == PAIRS[:1]


def test_csv(root: Path) -> None:
    (root / "manifest.csv").write_text("image,mask,kind\nimg/a.jpg,gt/a.png,splicing\nimg/c.jpg,,\n")
    assert names(read_manifest(root / "manifest.csv"), root) == [PAIRS[0], PAIRS[2]]


def test_csv_as_people_and_spreadsheets_write_it(root: Path) -> None:
    """Blanks behind commas, in the header too, and rows of commas alone; these were another column, and pictures called ""."""
    (root / "list.csv").write_bytes(b'image, mask , note\r\nimg/a.jpg , gt/a.png,\r\n"img/c.jpg", ,"x, y"\r\n,,\r\n')
    assert names(read_manifest(root / "list.csv"), root) == [PAIRS[0], PAIRS[2]]


@pytest.mark.parametrize("kind", [np.str_, object])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_focal_npy_plain_and_pickled(root: Path, kind: type, protocol: int) -> None:
    rows = np.array([(image, mask or "") for image, mask in PAIRS], dtype=kind)
    path = root / "x_3.npy"
    save(path, rows, protocol)
    assert names(read_manifest(path), root) == PAIRS
    assert read_text_array(path).shape == (3, 2)


def save(path: Path, array: Any, protocol: int, header: np.ndarray | None = None) -> None:
    """As numpy.save does, with a protocol of choice and, perhaps, the header of another array."""
    like = array if header is None else header
    if like.dtype != object:
        np.save(path, like)
        return
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(like))
        pickle.dump(array, file, protocol=protocol)


class Harm:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("inside", [True, False])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, protocol: int, inside: bool) -> None:
    rows = np.empty((1, 2), object)
    rows[:] = "a.jpg"
    harm: Any = Harm(tmp_path / "harmed")
    if inside:
        rows[0, 1] = harm
    save(tmp_path / "x.npy", rows if inside else harm, protocol, header=rows)
    with pytest.raises(InputError, match=r"asks for (posix|nt|os)\.mkdir; .*nothing of it was run"):
        read_manifest(tmp_path / "x.npy")
    assert not (tmp_path / "harmed").exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)  # the file is dangerous indeed: numpy's own reader runs it
    assert (tmp_path / "harmed").exists()


def test_npy_of_something_else(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match="array of float64; wanted text"):
        read_manifest(tmp_path / "numbers.npy")
    np.save(tmp_path / "flat.npy", np.array(["a.jpg"]))
    with pytest.raises(InputError, match=r"shape \(1,\); wanted n x 2"):
        read_manifest(tmp_path / "flat.npy")
    mixed = np.array([["a.jpg", 3]], dtype=object)
    np.save(tmp_path / "mixed.npy", mixed)
    with pytest.raises(InputError, match="wanted text"):
        read_manifest(tmp_path / "mixed.npy")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"not a \.npy array"):
        read_manifest(tmp_path / "broken.npy")


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[["only one"]]')
    with pytest.raises(InputError, match="item 0 is"):
        read_manifest(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_manifest(tmp_path / "b.json")
    (tmp_path / "c.txt").write_text("img/none.jpg,None,x\n")
    with pytest.raises(InputError, match=r"none of its 1 pictures is found, img/none\.jpg"):
        read_manifest(tmp_path / "c.txt", [tmp_path / "root"])
    (tmp_path / "d.txt").write_text("nonsense\n")
    with pytest.raises(InputError, match="line 1 is 'nonsense'"):
        read_manifest(tmp_path / "d.txt")
    (tmp_path / "e.txt").write_text("\n")
    with pytest.raises(InputError, match="empty list"):
        read_manifest(tmp_path / "e.txt")
    with pytest.raises(InputError, match="unknown kind of list"):
        read_manifest(tmp_path / "f.yaml")
    (tmp_path / "g.txt").write_bytes("img/Grün.jpg,None,x\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"not UTF-8 text: .* at byte 6"):
        read_manifest(tmp_path / "g.txt")
    (tmp_path / "h.json").write_text('[["JsonDataset", "h.json"]]')
    with pytest.raises(InputError, match="a list that names itself"):
        read_manifest(tmp_path / "h.json")
    (tmp_path / "i.csv").write_text("mask,image\nonly-a-mask.png\n")
    with pytest.raises(InputError, match="line 2 has fewer fields"):
        read_manifest(tmp_path / "i.csv")
    for content, said in (
        ("image,mask\n,a.png\n", "line 2 names no image"),
        ("image;mask\na.png;b.png\n", "columns image;mask; wanted image and mask, separated by commas"),
        (f"image,mask\n{'a' * 200_000},\n", "line 2: not CSV: field larger than field limit"),
        (f"image,mask\n{'a' * 300}.png,\n", "none of its 1 pictures is found"),
    ):
        (tmp_path / "j.csv").write_text(content)
        with pytest.raises(InputError, match=said):
            read_manifest(tmp_path / "j.csv")
    (tmp_path / "k.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="not JSON: maximum recursion depth"):
        read_manifest(tmp_path / "k.json")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", '[{"path": "img/a.jpg", "label": "1"}]'),
        ("x.json", '[{"path": "img/a.jpg", "label": true, "mask": "Negative"}]'),
        ("x.txt", "img/c.jpg None 0\nimg/a.jpg None 2\n"),
    ],
)
def test_a_forgery_without_a_mask_does_not_pass_for_untouched(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(InputError, match=r"img/a\.jpg, has label \w+ and no mask"):
        read_manifest(root / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.txt", "img/a.jpg,gt/a.png\n,gt/a.png\n"),
        ("x.json", '[["img/a.jpg", "gt/a.png"], ["", "Negative"]]'),
        ("y.json", '[{"path": "img/a.jpg", "label": 0}, {"path": " ", "label": 0}]'),
    ],
)
def test_an_entry_without_a_name_is_not_the_folder(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(InputError, match="entry 2 of 2 names no picture"):
        read_manifest(root / name)


def test_names_may_hold_commas_backslashes_and_what_ends_lines_elsewhere(root: Path) -> None:
    odd = ["a,b.jpg", "back\\slash.jpg", "next\x85line.jpg", "para\u2029graph.jpg"]
    for name in odd:
        picture(root / name)
    (root / "x.txt").write_text("".join(f"{name} None 0\n" for name in odd), "utf-8")
    assert [entry.image.name for entry in read_manifest(root / "x.txt")] == odd
    (root / "y.txt").write_text("img\\a.jpg,gt\\a.png\n")
    assert names(read_manifest(root / "y.txt"), root) == PAIRS[:1], "a list of Windows"


def test_one_picture_of_forensichub_is_a_list_of_one(root: Path) -> None:
    (root / "x.json").write_text('{"path": "img/a.jpg", "mask": "gt/a.png"}')
    assert names(read_manifest(root / "x.json"), root) == PAIRS[:1]


@pytest.mark.parametrize(
    ("where", "drawn"),
    [
        ("4cam_splc/edgemask/canong3_canonxt_sub_01_edgemask.png", "green"),
        ("4cam_splc/edgemask/plain_edgemask.bmp", "white"),
        ("reference/splice/mask/NC2016_2490.png", "black"),
        ("reference/manipulation/mask/NC2016_0022.png", "black"),
        ("DSO-1-Fake-Images-Masks/splicing-99.png", "black"),
        ("Sony_A57/ground-truth/DPP0012.PNG", "any"),
        ("mask/NC2016_2490.png", "white"),
    ],
)
@pytest.mark.parametrize("line", ["probe/x.jpg,{0}", "probe/x.jpg,{0},0jpg/x.jpg", "./probe/x.jpg ./{0} 1"])
def test_masks_of_published_sets_are_read_by_their_own_rule(root: Path, where: str, drawn: str, line: str) -> None:
    """TruFor's, CAT-Net's and MVSS-Net's lists name them as they were published, whatever rule the lists' own tools have."""
    picture(root / "probe/x.jpg")
    edgemask(root / where) if drawn == "green" else mask(root / where, drawn)
    (root / "x.txt").write_text(f"{line.format(where)}\n")
    (entry,) = read_manifest(root / "x.txt")
    assert (read_entry(entry)[1] == FORGED).all()


def test_several_masks_of_one_picture_are_one_truth(root: Path) -> None:
    """CAT-Net's NC16_splice.txt has probe/NC2016_0596.jpg twice, once for each part that was pasted in."""
    mask(root / "gt/a2.png", forged=np.roll(FORGED, 6, 0))
    (root / "x.txt").write_text("img/a.jpg,gt/a.png\nimg/c.jpg,None\nimg/a.jpg,gt/a2.png\nimg/c.jpg,None\n")
    found = read_manifest(root / "x.txt")
    assert [entry.image.name for entry in found] == ["a.jpg", "c.jpg", "c.jpg"]
    assert (read_entry(found[0])[1] == FORGED | np.roll(FORGED, 6, 0)).all()


def test_a_picture_is_not_its_own_mask(root: Path) -> None:
    """TruFor's DSO-1_fake.txt: `splicing-99.png,splicing-99.png`, of two folders; every picture would be forged as a whole."""
    (root / "img/x.txt").write_text("a.jpg,a.jpg\n")
    with pytest.raises(InputError, match=r"entry 1 names a\.jpg as picture and as mask"):
        read_manifest(root / "img/x.txt")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "VIPP_fake.txt",
            "img/a.jpg,gt/a.png\nimg/c.jpg,None\n",
            "line 2, img/c.jpg, has label 'fake' by the list's name and no mask",
        ),
        ("FR_valid_list.txt", "IMG_0010626_IMG_0004077.jpg\n", "called as forgeries of FantasticReality are and has no mask"),
        (
            "x.json",
            '[["img/a.jpg", "gt/a.png"], ["Tp/Tp_S_NNN_S_N_nat1_nat1_1.jpg", "Negative"]]',
            "entry 2, Tp/Tp_S.* of CASIA are",
        ),
        ("x.csv", "image,mask\nimg/a.jpg,gt/a.png\nDSO-1\\splicing-99.png,\n", "entry 2, .* of DSO-1 are and has no mask"),
    ],
)
def test_forgeries_without_masks_in_lists_of_forgeries_alone(root: Path, name: str, text: str, said: str) -> None:
    picture(root / "IMG_0010626_IMG_0004077.jpg")
    (root / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_manifest(root / name)
    (root / "fake_and_real.txt").write_text("img/a.jpg,gt/a.png\nimg/c.jpg,None\n")
    assert [entry.mask is None for entry in read_manifest(root / "fake_and_real.txt")] == [False, True]
