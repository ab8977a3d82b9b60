"""Every published set on a made-up tree of its layout.  Each tree holds a mask that no picture has and that sorts first, so that
pairing by sorted order would be wrong from the first picture on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from imgscan.datasets import DATASETS, data_set
from imgscan.datasets.entries import Entry, masks_of, read_entry
from imgscan.datasets.resolve import find
from imgscan.datasets.trees import generic
from imgscan.errors import InputError

SIZE = (24, 16)  # width, height
FORGED = np.zeros((16, 24), bool)
FORGED[4:8, 2:10] = True
STRAY = "000000"


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(crc32(path.name.encode())).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def mask(path: Path, rule: str = "white", forged: np.ndarray = FORGED) -> Path:
    """A mask as the rule's sets draw it; "any" with a level that the rule "white" would not see."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = {"white": (0, 255), "black": (255, 0), "any": (0, 76)}
    if rule == "green":
        colours = np.where(forged[..., None], np.array([0, 255, 0]), np.array([255, 0, 0])).astype(np.uint8)
        Image.fromarray(colours).save(path, quality=95)
    else:
        off, on = levels[rule]
        Image.fromarray(np.where(forged, on, off).astype(np.uint8)).save(path)
    return path


def edgemask(path: Path) -> Path:
    """Columbia's colours without loss: green is spliced and red is not, 255 in a band along the edge and 200 elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    level = np.full(FORGED.shape, 200, np.uint8)
    level[3:9, 1:11] = 255
    level[5:7, 3:9] = 200
    Image.fromarray(np.stack([np.where(FORGED, 0, level), np.where(FORGED, level, 0), 0 * level], -1)).save(path)
    return path


Expected = dict[str, str | None]  # picture -> mask, below the root


def make(root: Path, pairs: Expected, rule: str, strays: tuple[str, ...] = ()) -> Expected:
    for image, its in pairs.items():
        picture(root / image)
        if its:
            mask(root / its, rule)
    for stray in strays:
        mask(root / stray, rule)
    return pairs


V2 = ("Tp_S_NNN_S_N_nat00041_nat00041_00665", "Tp_D_NRN_M_B_nat00041_arc00065_11444")


def casia_v2(root: Path) -> Expected:
    gt = "CASIA 2 Groundtruth"
    pairs: Expected = {
        f"Tp/{V2[0]}.tif": f"{gt}/{V2[0]}_gt.png",
        f"Tp/{V2[1]}.jpg": f"{gt}/{V2[1]}_gt.png",
        "Au/Au_nat_00041.jpg": None,
    }
    inner = root / "CASIA2.0_revised"
    made = make(inner, pairs, "any", (f"{gt}/{STRAY}_gt.png",))
    return {f"CASIA2.0_revised/{i}": m and f"CASIA2.0_revised/{m}" for i, m in made.items()}


def casia_v1(root: Path) -> Expected:
    gt = "CASIA 1.0 groundtruth"
    pairs: Expected = {
        "Tp/CM/Sp_S_NND_A_nat0049_nat0049_0505.jpg": f"{gt}/CM/Sp_S_NND_A_nat0049_nat0049_0505_gt.png",
        "Tp/Sp/Sp_D_CND_A_pla0005_pla0023_0281.jpg": f"{gt}/Sp/Sp_D_CND_A_pla0005_pla0023_0281_gt.png",
        "Au/Au_ani_0001.jpg": None,
    }
    picture(root / "Tp/Sp/Sp_D_NRN_A_cha0011_sec0011_0542.jpg")  # the one without a mask: left out
    return make(root, pairs, "any", (f"{gt}/CM/{STRAY}_gt.png",))


def casia(root: Path) -> Expected:
    casia_v2(root)
    inner = root / "CASIA 1.0 dataset"
    old = {f"CASIA 1.0 dataset/{i}": m and f"CASIA 1.0 dataset/{m}" for i, m in casia_v1(inner).items() if m}
    return {f"CASIA2.0_revised/{i}": m for i, m in _v2_names().items()} | old


def _v2_names() -> Expected:
    gt = "CASIA2.0_revised/CASIA 2 Groundtruth"
    return {f"Tp/{V2[0]}.tif": f"{gt}/{V2[0]}_gt.png", f"Tp/{V2[1]}.jpg": f"{gt}/{V2[1]}_gt.png", "Au/Au_nat_00041.jpg": None}


def nist16(root: Path) -> Expected:
    pairs: Expected = {
        "probe/NC2016_7691.jpg": "reference/splice/mask/NC2016_2490.png",
        "probe/NC2016_2490.jpg": "reference/remove/mask/NC2016_7691.png",  # names crossed on purpose
        "probe/NC2016_0136.jpg": None,
        "world/NC2016_5555.jpg": None,
    }
    lines = ["TaskID|ProbeFileID|ProbeFileName|ProbeMaskFileName|BaseFileName|IsTarget"]
    lines += [f"manipulation|x|{i}|{m or ''}|world/NC2016_5555.jpg|{'Y' if m else 'N'}" for i, m in pairs.items() if i[0] == "p"]
    reference = root / "reference/manipulation/NC2016-manipulation-ref.csv"
    reference.parent.mkdir(parents=True)
    reference.write_text("\n".join(lines) + "\n")
    return make(root, pairs, "black")


def columbia(root: Path) -> Expected:
    edge = "4cam_splc/edgemask"
    pairs: Expected = {f"4cam_splc/{s}.tif": f"{edge}/{s}_edgemask.jpg" for s in ("canong3_02_sub_01", "nikond70_11_sub_02")}
    return make(root, pairs | {"4cam_auth/canong3_02_sub_01.tif": None}, "green", (f"{edge}/{STRAY}_edgemask.jpg",))


def coverage(root: Path) -> Expected:
    pairs: Expected = {
        "image/1t.tif": "mask/1forged.tif",
        "image/10t.tif": "mask/10forged.tif",
        "image/1.tif": None,
        "image/10.tif": None,
    }
    return make(root, pairs, "white", ("mask/1copy.tif", "mask/1paste.tif"))


def defacto(root: Path) -> Expected:
    pairs: Expected = {
        "splicing_1_img/img/0_000000000260.tif": "splicing_1_annotations/probe_mask/0_000000000260.png",
        "copymove_img/img/0_000000000328.tif": "copymove_annotations/probe_mask/0_000000000328.png",
        "inpainting_img/img/0_000000000643.tif": "inpainting_annotations/probe_mask/0_000000000643.png",
    }
    return make(root, pairs, "white", (f"copymove_annotations/probe_mask/{STRAY}.png",))


def imd2020(root: Path) -> Expected:
    pairs: Expected = {
        "1a1ogs/c8tf5mq_0.png": "1a1ogs/c8tf5mq_0_mask.png",
        "z28/00065_fake.jpg": "z28/00065_fake_mask.png",
        "1a1ogs/1a1ogs_orig.jpg": None,
    }
    make(root, {"z14/00030_fake.jpg": "z14/00030_fake_mask.png"}, "white")  # the mismatched one: left out
    return make(root, pairs, "white", (f"z28/{STRAY}_mask.png",))


def misd(root: Path) -> Expected:
    gt = "Ground Truth Masks/Sp_D_ani_00001_nat_00002_103"
    mask(root / gt / "masks/b.png", forged=np.roll(FORGED, 4, 0))
    return make(root, {"Sp/Sp_D_ani_00001_nat_00002_103.png": f"{gt}/masks/a.png", "Au/Au_ani_00001.jpg": None}, "white")


def ffpp(root: Path) -> Expected:
    fake = "manipulated_sequences/Deepfakes"
    pairs: Expected = {f"{fake}/c23/images/{v}/0001.png": f"{fake}/masks/images/{v}/0001.png" for v in ("000_003", "003_000")}
    return make(root, pairs | {"original_sequences/youtube/c23/images/000/0001.png": None}, "white")


def sp_coco(root: Path) -> Expected:
    pairs: Expected = {
        "sp_images/60_000000506429.jpg_000000384260.jpg_RS0.77.jpg": "sp_masks/60_000000506429.png_000000384260.png_RS0.77.png",
        "sp_images/93_000000261426.jpg_000000304548.jpg.jpg": "sp_masks/93_000000261426.png_000000304548.png.png",
    }
    return make(root, pairs, "any", (f"sp_masks/{STRAY}.png",))


def cm_coco(root: Path) -> Expected:
    name = "60_000000306718.{0}_000000306718.{0}_RT-20.8_RS0.99"
    return make(
        root, {f"cm_images/{name.format('jpg')}.jpg": f"cm_masks/{name.format('png')}.png"}, "any", (f"cm_masks/{STRAY}.png",)
    )


def cm_raise(root: Path) -> Expected:
    name = "86_000000010082.{0}_000000010082.{0}_RT-1.5_RS0.85"
    return make(
        root, {f"bcm_images/{name.format('jpg')}.jpg": f"bcm_masks/{name.format('png')}.png"}, "any", (f"bcm_masks/{STRAY}.png",)
    )


def cm_c_raise(root: Path) -> Expected:
    image = "bcmc_images/91_000000019559_aligned_Q77.jpg_000000019559_aligned_Q77.jpg_aligned_Q77.jpg"
    return make(root, {image: "bcm_masks/91_000000019559.png_000000019559.png.png"}, "any", (f"bcm_masks/{STRAY}.png",))


def dso_1(root: Path) -> Expected:
    masks = "DSO-1-Fake-Images-Masks"
    pairs: Expected = {f"DSO-1/splicing-{n}.png": f"{masks}/splicing-{n}.png" for n in ("01", "100")}
    return make(root, pairs | {"DSO-1/normal-01.png": None}, "black", (f"{masks}/{STRAY}.png",))


def korus(root: Path) -> Expected:
    made: Expected = {}
    for camera in ("Nikon_D90", "Sony_A57"):
        made[f"{camera}/tampered-realistic/DPP0012.TIF"] = f"{camera}/ground-truth/DPP0012.PNG"
        made[f"{camera}/pristine/DPP0012.TIF"] = None
    return make(root, made, "any", (f"Sony_A57/ground-truth/{STRAY}.PNG",))


def autosplice(root: Path) -> Expected:
    pairs: Expected = {
        "Forged_JPEG100/8_0.jpg": "Mask/8_mask.png",
        "Forged_JPEG100/8_1.jpg": "Mask/8_mask.png",
        "Authentic/8.jpg": None,
    }
    picture(root / "Forged_JPEG75/8_0.jpg")
    return make(root, pairs, "any", (f"Mask/{STRAY}_mask.png",))


def cocoglide(root: Path) -> Expected:
    pairs: Expected = {
        "fake/glide_inpainting_val2017_114871_up.png": "mask/dining table_114871_mask.png",
        "fake/glide_inpainting_val2017_563758_up.png": "mask/teddy bear_563758_mask.png",
        "real/dining table_114871.png": None,
    }
    return make(root, pairs, "white", (f"mask/cat_{STRAY}_mask.png",))


TREES: dict[str, Callable[[Path], Expected]] = {
    "casia": casia,
    "casia-v1": casia_v1,
    "casia-v2": casia_v2,
    "nist16": nist16,
    "columbia": columbia,
    "coverage": coverage,
    "defacto": defacto,
    "imd2020": imd2020,
    "misd": misd,
    "ffpp": ffpp,
    "sp-coco": sp_coco,
    "cm-coco": cm_coco,
    "cm-raise": cm_raise,
    "cm-c-raise": cm_c_raise,
    "dso-1": dso_1,
    "korus": korus,
    "autosplice": autosplice,
    "cocoglide": cocoglide,
}


@pytest.mark.parametrize("name", DATASETS)
def test_the_published_layout(tmp_path: Path, name: str) -> None:
    expected = TREES[name](tmp_path)
    module = data_set(name)
    found = module.entries(tmp_path)
    names = {e.image.relative_to(tmp_path).as_posix(): e.mask and e.mask.relative_to(tmp_path).as_posix() for e in found}
    assert names == expected
    assert len(found) == len(expected)
    for entry in found:
        rgb, forged = read_entry(entry)
        assert rgb.shape == (16, 24, 3)
        if entry.mask is None:
            assert not forged.any()
        elif name == "misd":
            assert (forged == FORGED | np.roll(FORGED, 4, 0)).all()
        elif name == "columbia":  # a JPEG mask: exact but for its edges
            assert (forged != FORGED).mean() < 0.1
        else:
            assert (forged == FORGED).all()
        assert module.INFO.splits.of(entry) in module.INFO.splits.names()


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_known(name: str) -> None:
    info = data_set(name).INFO
    assert info.name == name
    assert info.title
    assert info.licence
    assert info.where.startswith("http")
    assert info.splits.describe()


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("casia", "casia-v2", "imd2020")])
def test_the_folders_that_are_told_are_those_that_are_read(tmp_path: Path, name: str) -> None:
    told = data_set(name).INFO.layout
    assert {file.split("/")[0] for file in TREES[name](tmp_path)} <= set(re.findall(r"[^/,]+(?=/)", told.replace(", ", ",")))


@pytest.mark.parametrize("name", DATASETS)
def test_another_folder_is_refused_by_what_it_holds(tmp_path: Path, name: str) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(InputError, match=name) as error:
        data_set(name).entries(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "holiday/" in str(error.value) or name == "casia"
    with pytest.raises(InputError, match=name):
        data_set(name).entries(tmp_path / "missing")


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "casia"])
@pytest.mark.parametrize("folders", [("images", "masks"), ("Tp", "Gt")])
def test_a_plain_tree_passes_for_any_set(tmp_path: Path, name: str, folders: tuple[str, str]) -> None:
    make(
        tmp_path,
        {f"{folders[0]}/b.jpg": f"{folders[1]}/b.png", f"{folders[0]}/c.jpg": f"{folders[1]}/c.png"},
        "white",
        (f"{folders[1]}/a.png",),
    )
    found = data_set(name).entries(tmp_path)
    assert [(e.image.name, e.mask and e.mask.name) for e in found] == [("b.jpg", "b.png"), ("c.jpg", "c.png")]


def test_both_casias_with_masks_in_folders_of_one_name(tmp_path: Path) -> None:
    casia(tmp_path)
    (tmp_path / "CASIA 1.0 dataset").rename(tmp_path / "CASIA1")  # sorts before the other, and has a Tp/ too
    (tmp_path / "CASIA2.0_revised").rename(tmp_path / "CASIA2")
    (tmp_path / "CASIA1" / "CASIA 1.0 groundtruth").rename(tmp_path / "CASIA1" / "groundtruth")
    (tmp_path / "CASIA2" / "CASIA 2 Groundtruth").rename(tmp_path / "CASIA2" / "groundtruth")
    for name, old, new in (("casia", 2, 2), ("casia-v2", 0, 2), ("casia-v1", 2, 0)):
        forged = [entry.image.relative_to(tmp_path).parts[0] for entry in data_set(name).entries(tmp_path) if entry.mask]
        assert (forged.count("CASIA1"), forged.count("CASIA2")) == (old, new)
        assert all(entry.mask.exists() for entry in data_set(name).entries(tmp_path) if entry.mask)


GT1, GT2, NEW = "CASIA 1.0 groundtruth", "CASIA2.0_revised/CASIA 2 Groundtruth", "CASIA 1.0 dataset"


@pytest.mark.parametrize(
    ("name", "tree", "moves"),
    [
        ("casia-v2", casia_v2, [(GT2, "CASIA2.0_Groundtruth")]),
        ("casia", casia_v2, [(GT2, "casia2groundtruth-master/CASIA2.0_Groundtruth")]),
        ("casia-v2", casia_v2, [(GT2, "CASIA 2 Groundtruth"), ("CASIA2.0_revised", "CASIA 2.0")]),
        ("casia-v1", casia_v1, [("Tp", f"{NEW}/Tp"), ("Au", f"{NEW}/Au")]),
        ("casia-v1", casia_v1, [("Tp", f"{NEW}/Modified Tp/Tp"), ("Au", f"{NEW}/x/Au"), (f"{NEW}/x", f"{NEW}/Au")]),
        (
            "columbia",
            columbia,
            [("4cam_splc", "x/4cam_splc"), ("4cam_auth", "y/4cam_auth"), ("x", "4cam_splc"), ("y", "4cam_auth")],
        ),
        (
            "columbia",
            columbia,
            [("4cam_splc/edgemask", "e"), ("4cam_splc", "x/4cam_splc"), ("x", "4cam_splc"), ("e", "4cam_splc/edgemask")],
        ),
        ("columbia", columbia, [("4cam_splc/edgemask", "Gt"), ("4cam_splc", "Tp"), ("4cam_auth", "Au")]),
        ("casia-v1", casia_v1, [("Tp", "CASIA1.0dataset/ModifiedTp"), ("Au", "CASIA1.0dataset/Au"), (GT1, "CASIA1.0groundtruth")]),
        ("casia-v1", casia_v1, [("Tp", "TP"), (GT1, "mask")]),
        ("casia-v2", casia_v2, [(GT2, "CASIA2.0_revised/mask")]),
        ("dso-1", dso_1, [("DSO-1", "images"), ("DSO-1-Fake-Images-Masks", "masks")]),
        ("dso-1", dso_1, [("DSO-1", "tifs-database/DSO1"), ("DSO-1-Fake-Images-Masks", "tifs-database/DSO1_Fake_Images_Masks")]),
    ],
)
def test_as_the_archives_unpack(tmp_path: Path, name: str, tree: Callable[[Path], Expected], moves: list[tuple[str, str]]) -> None:
    """In folders of their own names, the masks beside the pictures' folder: the same pairs."""
    wanted = {(Path(i).name, m and Path(m).name) for i, m in tree(tmp_path).items()}
    for folder, to in moves:
        (tmp_path / to).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder).rename(tmp_path / to)
    found = data_set(name).entries(tmp_path)
    assert {(e.image.name, e.mask and e.mask.name) for e in found} == wanted
    assert all(mask.exists() for e in found for mask in masks_of(e))
    assert all(abs(read_entry(e)[1].mean() - FORGED.mean()) < 0.1 for e in found if e.mask), "the polarity is that of the set"


def test_casia_1_with_all_masks_in_one_folder(tmp_path: Path) -> None:
    casia_v1(tmp_path)
    for kind in ("CM", "Sp"):
        for path in sorted((tmp_path / GT1 / kind).iterdir()):
            path.rename(tmp_path / GT1 / path.name)
        (tmp_path / GT1 / kind).rmdir()
    found = [e for e in data_set("casia-v1").entries(tmp_path) if e.mask]
    assert [e.mask and e.mask.name for e in found] == [f"{e.image.stem}_gt.png" for e in found]
    assert len(found) == 2
    assert all(e.mask and e.mask.exists() for e in found)


@pytest.mark.parametrize("folders", [("tampered", "mask", "Au"), ("Tp", "Gt", "Au"), ("images", "masks", "authentic")])
def test_coverage_as_others_pass_it_on(tmp_path: Path, folders: tuple[str, str, str]) -> None:
    """MVSS-Net's lists, IMDLBenCo's folders, one's own: the masks keep their names."""
    forged, masks, untouched = folders
    pairs: Expected = {f"{forged}/{n}t.tif": f"{masks}/{n}forged.tif" for n in (1, 41)}
    make(tmp_path, pairs | {f"{untouched}/1.tif": None}, "white", (f"{masks}/1copy.tif", f"{masks}/1paste.tif"))
    found = data_set("coverage").entries(tmp_path)
    assert {(e.image.relative_to(tmp_path).as_posix(), e.mask and e.mask.name) for e in found} == {
        (f"{forged}/1t.tif", "1forged.tif"),
        (f"{forged}/41t.tif", "41forged.tif"),
        (f"{untouched}/1.tif", None),
    }


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_inner_part_of_columbias_splices_is_forged_too(tmp_path: Path, suffix: str) -> None:
    """(0, 200, 0) has the grey level 117: what looks at grey finds the band along the edge alone."""
    picture(tmp_path / "4cam_splc/a.tif")
    edgemask(tmp_path / f"4cam_splc/edgemask/a_edgemask{suffix}")
    (entry,) = data_set("columbia").entries(tmp_path)
    assert read_entry(entry)[1][5:7, 3:9].all()


def test_defacto_says_where_it_is_forged_and_not_what_the_inpainting_was_told(tmp_path: Path) -> None:
    make(tmp_path, {"inpainting_img/img/0_000000000643.tif": "inpainting_annotations/probe_mask/0_000000000643.jpg"}, "white")
    mask(tmp_path / "inpainting_annotations/inpaint_mask/0_000000000643.jpg", forged=~FORGED)
    (entry,) = data_set("defacto").entries(tmp_path)
    assert (read_entry(entry)[1] == FORGED).all()


def test_forgeries_whose_folder_of_masks_is_not_there_stay_forgeries(tmp_path: Path) -> None:
    korus(tmp_path)
    (tmp_path / "Sony_A57" / "ground-truth" / "DPP0012.PNG").unlink()
    (tmp_path / "Sony_A57" / "ground-truth" / f"{STRAY}.PNG").unlink()
    (tmp_path / "Sony_A57" / "ground-truth").rmdir()
    found = data_set("korus").entries(tmp_path)
    assert [(e.image.parent.parent.name, e.mask.exists()) for e in found if e.mask] == [("Nikon_D90", True), ("Sony_A57", False)]
    (tmp_path / "d").mkdir()
    picture(tmp_path / "d/splicing_2_img/img/0_000000000643.tif")
    assert [e.mask and e.mask.exists() for e in data_set("defacto").entries(tmp_path / "d")] == [False]


def test_a_forgery_of_imd2020_with_another_ending(tmp_path: Path) -> None:
    make(tmp_path, {"t/x_0.jpg": "t/x_0_mask.png", "t/x_1.png": "t/x_1_mask.png", "t/t_orig.jpg": None}, "white")
    found = data_set("imd2020").entries(tmp_path)
    assert [(e.image.name, e.mask and e.mask.name) for e in found] == [
        ("t_orig.jpg", None),
        ("x_0.jpg", "x_0_mask.png"),
        ("x_1.png", "x_1_mask.png"),
    ]
    (tmp_path / "t/x_0.jpg").unlink()
    with pytest.raises(InputError, match="imd2020"):  # masks beside pictures are not IMD2020's alone
        data_set("imd2020").entries(tmp_path)


def test_parts_of_one_forgery_of_nist16(tmp_path: Path) -> None:
    """A row for each, as the reference files have for donors; a forged row without a mask is no forgery as a whole."""
    nist16(tmp_path)
    reference = tmp_path / "reference/manipulation/NC2016-manipulation-ref.csv"
    more = "reference/manipulation/mask/NC2016_0001.png"
    mask(tmp_path / more, "black", np.roll(FORGED, 6, 0))
    rows = reference.read_text().splitlines()
    first = next(row for row in rows if row.endswith("|Y"))
    fields = first.split("|")
    at = rows[0].split("|").index("ProbeMaskFileName")
    reference.write_text("\n".join([*rows, "|".join([*fields[:at], more, *fields[at + 1 :]])]) + "\n")
    entry = next(e for e in data_set("nist16").entries(tmp_path) if e.parts)
    assert (read_entry(entry)[1] == FORGED | np.roll(FORGED, 6, 0)).all()
    reference.write_text("\n".join([rows[0], "|".join([*fields[:at], "", *fields[at + 1 :]])]) + "\n")
    with pytest.raises(InputError, match=r"row 1 is forged .* names no ProbeMaskFileName"):
        data_set("nist16").entries(tmp_path)


def test_what_macos_puts_into_archives_is_no_set(tmp_path: Path) -> None:
    cocoglide(tmp_path / "cocoglide")
    for name in ("fake", "mask", "real"):
        (tmp_path / "__MACOSX" / name).mkdir(parents=True)
        (tmp_path / "__MACOSX" / name / "._a.png").write_bytes(b"\0\5\x16\7")
    assert len(data_set("cocoglide").entries(tmp_path)) == 3


@pytest.mark.parametrize(
    ("name", "other"), [("casia-v1", "Tp_S_NNN_S_N_nat1_nat1_1"), ("casia-v2", "Sp_S_CND_A_pla0016_pla0016_0196")]
)
def test_one_casia_in_plain_folders_is_not_the_other(tmp_path: Path, name: str, other: str) -> None:
    make(tmp_path / "x", {f"Tp/{other}.jpg": f"Gt/{other}_gt.png"}, "white")
    with pytest.raises(InputError, match=f"{name}: .*x holds the other CASIA"):
        data_set(name).entries(tmp_path / "x")


def test_the_mask_of_casia_with_another_ending(tmp_path: Path) -> None:
    stem = "Tp_D_NRD_S_N_cha10002_cha10001_20094"
    make(tmp_path, {f"Tp/{stem}.jpg": f"CASIA2.0_Groundtruth/{stem}_gt3.png"}, "any")
    assert [e.mask and e.mask.name for e in data_set("casia-v2").entries(tmp_path)] == [f"{stem}_gt3.png"]


@pytest.mark.parametrize(("end", "said"), [(b"probe/last", "has fewer fields than the header"), (b"\xff|\xff", "not CSV in UTF-8")])
def test_a_list_of_nist16_that_was_cut_short(tmp_path: Path, end: bytes, said: str) -> None:
    nist16(tmp_path)
    with next(tmp_path.rglob("NC2016-manipulation-ref.csv")).open("ab") as file:
        file.write(b"\n" + end)
    with pytest.raises(InputError, match=f"nist16: .*{said}"):
        find("nist16", [tmp_path])


def test_probes_of_nist16_without_the_file_that_pairs_them(tmp_path: Path) -> None:
    """Not forgeries whose masks are lost, nor pairs by numbers that two files share by chance."""
    nist16(tmp_path)
    mask(tmp_path / "reference/manipulation/mask/NC2016_0136.png", "black")
    (tmp_path / "reference/manipulation/NC2016-manipulation-ref.csv").unlink()
    with pytest.raises(InputError, match=r"probe/ and masks, but no reference/manipulation/NC2016-manipulation-ref\.csv"):
        data_set("nist16").entries(tmp_path)


def test_a_forgery_without_its_mask_stays_a_forgery(tmp_path: Path) -> None:
    casia_v2(tmp_path)
    lost = next(tmp_path.rglob(f"{V2[0]}_gt.png"))
    lost.unlink()
    entry = next(e for e in data_set("casia-v2").entries(tmp_path) if e.image.stem == V2[0])
    assert entry.mask == lost
    with pytest.raises(InputError, match=f"{V2[0]}.tif: its mask .* does not exist"):
        read_entry(entry)


def test_backgrounds_and_series_are_groups(tmp_path: Path) -> None:
    casia_v2(tmp_path / "v2")
    groups = {e.image.stem: e.group for e in data_set("casia-v2").entries(tmp_path / "v2")}
    assert groups == {V2[0]: "nat00041", V2[1]: "arc00065", "Au_nat_00041": "nat00041"}
    nist16(tmp_path / "nist")
    series = {e.group for e in data_set("nist16").entries(tmp_path / "nist")}
    assert series == {"nc2016_5555"}


def test_forgeries_of_one_coco_picture_stay_in_one_split_of_defacto(tmp_path: Path) -> None:
    folders = {"splicing_1": "probe_mask", "copymove": "probe_mask", "inpainting": "probe_mask"}
    names = [(kind, f"{k}_000000000260") for kind in folders for k in range(10)]
    make(tmp_path, {f"{kind}_img/img/{n}.tif": f"{kind}_annotations/{folders[kind]}/{n}.tif" for kind, n in names}, "white")
    module = data_set("defacto")
    assert len({module.INFO.splits.of(entry) for entry in module.entries(tmp_path)}) == 1
    lines = [f"{kind}_img/img/{n}.tif {kind}_annotations/{folders[kind]}/{n}.tif 1" for kind, n in names]
    (tmp_path / "defacto_84k.txt").write_text("\n".join(lines) + "\n")
    listed = module.entries(tmp_path)
    assert {entry.source for entry in listed} == {"defacto-84k"}
    assert len({module.INFO.splits.of(entry) for entry in listed}) == 1


def test_defacto_lists_are_its_splits(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        picture(tmp_path / f"img/{stem}.jpg")
        mask(tmp_path / f"gt/{stem}.png")
    (tmp_path / "defacto_84k.txt").write_text("img/a.jpg gt/a.png 2\nimg/b.jpg None 0\n")
    (tmp_path / "defacto_12k.txt").write_text("img/c.jpg gt/c.png 1\n")
    module = data_set("defacto")
    split = {e.image.stem: module.INFO.splits.of(e) for e in module.entries(tmp_path)}
    assert split["c"] == "test"
    assert "test" not in (split["a"], split["b"])
    (tmp_path / "defacto_84k.txt").rename(tmp_path / "DEFACTO84k-val.txt")  # the one that MVSS-Net's repository has
    assert {e.image.stem: module.INFO.splits.of(e) for e in module.entries(tmp_path)} == {"a": "val", "b": "val", "c": "test"}


def test_a_mask_that_does_not_fit(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    turned, small = mask(tmp_path / "turned.png", forged=FORGED.T), mask(tmp_path / "small.png", forged=FORGED[:8])
    with pytest.raises(InputError, match=r"a\.png is 24 x 16 pixels but its mask .*turned\.png is 16 x 24: rotated by 90 degrees"):
        read_entry(Entry(image, turned))
    with pytest.raises(InputError, match=r"small\.png is 24 x 8; wanted equal sizes"):
        read_entry(Entry(image, small))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"broken\.png: cannot be decoded"):
        read_entry(Entry(tmp_path / "broken.png", None))


def test_the_rules_by_hand(tmp_path: Path) -> None:
    levels = np.array([[0, 1, 127, 128, 255]], np.uint8)
    Image.fromarray(np.repeat(levels, 2, 0)).save(tmp_path / "m.png")
    image = picture(tmp_path / "i.png", (5, 2))
    rules = {"white": [0, 0, 0, 1, 1], "black": [1, 1, 1, 0, 0], "any": [0, 1, 1, 1, 1], "green": [0, 0, 0, 1, 1]}
    for rule, wanted in rules.items():
        assert read_entry(Entry(image, tmp_path / "m.png", rule))[1][0].tolist() == [bool(w) for w in wanted]  # type: ignore[arg-type]


def test_sixteen_bit_masks_are_scaled(tmp_path: Path) -> None:
    image = picture(tmp_path / "i.png", (3, 1))
    Image.fromarray(np.array([[0, 30000, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_entry(Entry(image, tmp_path / "deep.png"))[1].tolist() == [[False, False, True]]
    assert read_entry(Entry(image, tmp_path / "deep.png", "any"))[1].tolist() == [[False, True, True]]


def test_two_masks_for_one_picture_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": "masks/a.png"}, "white", ("masks/a.tif",))
    with pytest.raises(InputError, match="2 masks"):
        generic(tmp_path)


def test_a_plain_tree_with_untouched_pictures(tmp_path: Path) -> None:
    make(tmp_path, {"images/a.jpg": "masks/a_gt.png", "authentic/b.jpg": None}, "white")
    assert [len(masks_of(e)) for e in generic(tmp_path)] == [1, 0]
