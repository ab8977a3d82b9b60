"""A data set as another tool's list: read as that tool reads it, and as imgscan reads it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan import completion
from imgscan.commands.lists import export_command
from imgscan.datasets.entries import Entry, MaskRule, read_entry
from imgscan.datasets.lists import WRITERS
from imgscan.datasets.manifests import read_manifest
from imgscan.datasets.resolve import Wanted
from imgscan.errors import ExitCode, InputError, OutputError
from tests.datasets.test_published import FORGED, make, mask, picture

OTHERS = sorted(set(WRITERS) - {"cfl-net"})  # whose lists name the masks
Export = Callable[..., ExitCode]


def export(
    *data: Path | str, name: str, out: Path, split: Wanted | None = None, masks: Path | None = None, below: Path | None = None
) -> ExitCode:
    return export_command(list(map(str, data)), name=name, out=out, roots=[], split=split, masks=masks, relative_to=below)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two forged pictures and an untouched one; masks of 0 and 255."""
    make(tmp_path / "set", {"images/a.jpg": "masks/a.png", "images/b.png": "masks/b.png", "authentic/c.jpg": None}, "white")
    return tmp_path / "set"


def out_of(folder: Path, name: str) -> Path:
    return folder / f"list{WRITERS[name].suffix}"


def truths(entries: list[Entry]) -> list[tuple[str, bool, bytes]]:
    return [(entry.image.name, entry.mask is None, read_entry(entry)[1].tobytes()) for entry in entries]


WANTED = [("a.jpg", False, FORGED.tobytes()), ("b.png", False, FORGED.tobytes()), ("c.jpg", True, bytes(FORGED.size))]


def focal(path: Path) -> list[tuple[str, str]]:
    """np.load without allow_pickle, as FOCAL's main.py has it."""
    return [(str(image), str(its)) for image, its in np.load(path)]


def mvss_net(path: Path) -> list[tuple[str, str]]:
    rows = [line.strip().split() for line in path.read_text().splitlines()]
    assert all(label == str(int(its != "None")) for _, its, label in rows)
    return [(image, its.replace("None", "")) for image, its, _ in rows]


def cat_net(path: Path) -> list[tuple[str, str]]:
    rows = [line.strip().split(",") for line in path.read_text().splitlines()]
    assert all(third == image for image, _, third in rows)
    return [(image, "" if its == "None" else its) for image, its, _ in rows]


def imdlbenco(path: Path) -> list[tuple[str, str]]:
    return [(image, its.replace("Negative", "")) for image, its in json.loads(path.read_bytes())]


def forensichub(path: Path) -> list[tuple[str, str]]:
    rows = json.loads(path.read_bytes())
    assert all(row["label"] == (row["mask"] != "Negative") for row in rows)
    return [(row["path"], row["mask"].replace("Negative", "")) for row in rows]


def own(path: Path) -> list[tuple[str, str]]:
    header, *rows = path.read_text().splitlines()
    assert header == "image,mask"
    return [(image, its) for image, its in (row.split(",") for row in rows)]


LOADERS = {"focal": focal, "mvss-net": mvss_net, "cat-net": cat_net, "imdlbenco": imdlbenco, "forensichub": forensichub, "csv": own}


@pytest.mark.parametrize("name", OTHERS)
def test_a_list_is_what_the_tool_reads_and_comes_back_as_it_was(root: Path, tmp_path: Path, name: str) -> None:
    out = out_of(tmp_path, name)
    assert export(root, name=name, out=out) == ExitCode.CLEAN
    named = [("images/a.jpg", "masks/a.png"), ("images/b.png", "masks/b.png"), ("authentic/c.jpg", "")]
    assert LOADERS[name](out) == [(str(root / image), str(root / its) if its else "") for image, its in named]
    assert truths(read_manifest(out)) == WANTED
    before = out.read_bytes()
    assert export(out, name=name, out=out) == ExitCode.CLEAN, "a list is a data set, too"
    assert out.read_bytes() == before


def test_lists_of_focal_can_be_joined_as_focal_joins_them(root: Path, tmp_path: Path) -> None:
    """They are of text of fixed width, which differs, and hold no objects: those numpy loads only where pickles are allowed."""
    export(root, name="focal", out=tmp_path / "a_3.npy")
    make(tmp_path / "another set", {"images/with-a-longer-name.jpg": "masks/with-a-longer-name.png"}, "white")
    export(tmp_path / "another set", name="focal", out=tmp_path / "b_1.npy")
    joined = np.concatenate([np.load(tmp_path / "a_3.npy"), np.load(tmp_path / "b_1.npy")])
    assert joined.dtype.kind == "U"
    assert joined.shape == (4, 2)
    assert Path(joined[3, 0]).name == "with-a-longer-name.jpg"


def test_several_sets_in_one_list(root: Path, tmp_path: Path) -> None:
    """Forgeries and untouched photographs often lie apart, and image-level numbers need both."""
    picture(tmp_path / "photos" / "d.jpg")
    export(root, tmp_path / "photos", name="imdlbenco", out=tmp_path / "x.json")
    assert [entry.image.name for entry in read_manifest(tmp_path / "x.json")] == ["a.jpg", "b.png", "c.jpg", "d.jpg"]


@pytest.mark.parametrize(("rule", "why"), [("black", "black marks the forgery"), ("green", "green marks the forgery")])
@pytest.mark.parametrize("name", OTHERS)
def test_polarity_and_colours_are_not_passed_on_unsaid(
    tmp_path: Path, name: str, rule: MaskRule, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """NIST16 and DSO-1 mark the forgery in black, Columbia in the green of a colour JPEG."""
    data, its = {
        "black": ("dso-1", {"DSO-1/splicing-1.png": "DSO-1-Fake-Images-Masks/splicing-1.png", "DSO-1/normal-1.png": None}),
        "green": ("columbia", {"4cam_splc/s.tif": "4cam_splc/edgemask/s_edgemask.jpg", "4cam_auth/n.tif": None}),
    }[rule]
    make(tmp_path / data, its, rule)
    forged = FORGED
    if rule == "green":  # of whole blocks, or JPEG blurs what is marked
        forged = np.zeros((16, 24), bool)
        forged[:8, 8:16] = True
        mask(tmp_path / data / "4cam_splc/edgemask/s_edgemask.jpg", "green", forged)
    out = out_of(tmp_path, name)

    def call(masks: Path | None) -> ExitCode:
        return export_command([data], name=name, out=out, roots=[tmp_path], split=None, masks=masks, relative_to=None)

    with pytest.raises(InputError, match=f"1 of 1 masks would be misread, .*: {why}, and {name} takes .* --masks DIR"):
        call(None)
    assert not out.exists()
    assert call(tmp_path / "plain") == ExitCode.CLEAN
    again = {entry.image.stem[0]: entry for entry in read_manifest(out)}
    plain = again["s"].mask
    assert plain is not None
    assert np.array_equal(np.array(Image.open(plain)), forged * np.uint8(255))
    assert again["n"].mask is None
    assert np.array_equal(read_entry(again["s"])[1], forged)
    assert "1 of them forged; masks in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("level", "readable"),
    [(76, set()), (200, {"cat-net", "csv", "focal", "imdlbenco", "mvss-net"}), (255, set(OTHERS))],
)
@pytest.mark.parametrize("name", OTHERS)
def test_a_mask_is_named_where_all_levels_are_taken_alike(tmp_path: Path, name: str, level: int, readable: set[str]) -> None:
    """76 is forged for CAT-Net and MVSS-Net and not for the others, nor by the rule of a folder; 200 is a share to ForensicHub."""
    make(tmp_path / "set", {"images/a.jpg": "masks/a.png"}, "white")
    levels = np.where(FORGED, 255, 0).astype(np.uint8)
    levels[12, 20], (levels[4, 2]) = (level, 255) if level == 76 else (0, level)
    Image.fromarray(levels).save(tmp_path / "set/masks/a.png")
    out = out_of(tmp_path, name)
    if name in readable or (level == 76 and name in ("csv", "focal", "imdlbenco")):
        assert export(tmp_path / "set", name=name, out=out) == ExitCode.CLEAN
        assert np.array_equal(read_entry(read_manifest(out)[0])[1], FORGED)
    else:
        with pytest.raises(InputError, match="grey levels or colours in between"):
            export(tmp_path / "set", name=name, out=out)


def test_masks_in_parts_and_of_16_bits_are_joined_into_plain_ones(tmp_path: Path) -> None:
    data = tmp_path / "MISD_Dataset"
    picture(data / "Sp/x.png")
    left, right = (np.zeros((16, 24), bool) for _ in range(2))
    left[:, :4], right[:, 20:] = True, True
    mask(data / "Ground Truth Masks/x/masks/1.png", forged=left)
    mask(data / "Ground Truth Masks/x/masks/2.png", forged=right)

    def call(masks: Path | None) -> ExitCode:
        out = tmp_path / "x.npy"
        return export_command(["misd"], name="focal", out=out, roots=[tmp_path], split=None, masks=masks, relative_to=None)

    with pytest.raises(InputError, match="one of several masks"):
        call(None)
    assert call(tmp_path / "plain") == ExitCode.CLEAN
    assert np.array_equal(np.array(Image.open(tmp_path / "plain/x.png")) == 255, left | right)

    make(tmp_path / "deep", {"images/a.jpg": "masks/a.png"}, "white")
    Image.fromarray(np.where(FORGED, 65535, 0).astype(np.uint16)).save(tmp_path / "deep/masks/a.png")
    with pytest.raises(InputError, match="more than 8 bits"):
        export(tmp_path / "deep", name="focal", out=tmp_path / "y.npy")


def test_plain_masks_lie_over_nothing(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.json"
    with pytest.raises(InputError, match="is a file of the set itself"):
        export(root, name="imdlbenco", out=out, masks=root / "masks")
    assert export(root, name="imdlbenco", out=out, masks=tmp_path / "m") == ExitCode.CLEAN
    assert export(root, name="imdlbenco", out=out, masks=tmp_path / "m") == ExitCode.CLEAN, "the same again"
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["a.png", "b.png"]
    mask(root / "masks/a.png", forged=~FORGED)
    with pytest.raises(InputError, match=r"a\.png is there already, and another mask"):
        export(root, name="imdlbenco", out=out, masks=tmp_path / "m")
    assert truths(read_manifest(out)) == WANTED, "neither the list nor its masks were touched"


def test_plain_masks_of_one_name(tmp_path: Path) -> None:
    """Pictures of one name in two folders, or with two suffixes, each have their own."""
    make(tmp_path / "one", {"images/a.jpg": "masks/a.png"}, "white")
    make(tmp_path / "two", {"images/a.jpg": "masks/a.png"}, "white")
    picture(tmp_path / "two/images/a.tif")
    export(tmp_path / "one", tmp_path / "two", name="csv", out=tmp_path / "x.csv", masks=tmp_path / "m")
    found = sorted(path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*.png"))
    assert found == ["one/images/a.png", "two/images/a.jpg.png", "two/images/a.tif.png"]


def test_names_that_would_come_apart_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["plain.jpg", "two words.jpg", "a,b.jpg", "line\nend.jpg"]
    make(tmp_path / "s", {f"images/{name}": f"masks/{Path(name).stem}.png" for name in names}, "white")
    holds = {"mvss-net": {"plain.jpg", "a,b.jpg"}, "cat-net": {"plain.jpg", "two words.jpg"}}
    for name in OTHERS:
        out = out_of(tmp_path, name)
        wanted = holds.get(name, set(names))
        code = export(tmp_path / "s", name=name, out=out)
        assert code == (ExitCode.CLEAN if wanted == set(names) else ExitCode.INCOMPLETE), name
        assert {entry.image.name for entry in read_manifest(out)} == wanted, name
    said = capsys.readouterr().err
    assert "two words.jpg" in said
    assert "holds a blank, which stands between names" in said
    assert "holds a comma" in said


@pytest.mark.skipif(sys.platform != "linux", reason="names there are UTF-8")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.jpg")
    make(tmp_path / "s", {"images/a.jpg": "masks/a.png", "images/b.jpg": "masks/b.png"}, "white")
    (tmp_path / "s/images/b.jpg").rename(tmp_path / "s/images" / odd)
    (tmp_path / "s/masks/b.png").rename(tmp_path / "s/masks" / Path(odd).with_suffix(".png"))
    for name in OTHERS:
        out = out_of(tmp_path, name)
        text = WRITERS[name].text
        assert export(tmp_path / "s", name=name, out=out) == (ExitCode.INCOMPLETE if text else ExitCode.CLEAN), name
        assert [entry.image.name for entry in read_manifest(out)] == ["a.jpg"] + [odd] * (not text)


def test_what_cannot_be_measured_is_left_out_as_evaluate_does(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "images/a.jpg").write_bytes((root / "images/a.jpg").read_bytes()[:300])
    Image.open(root / "masks/b.png").crop((0, 0, 10, 10)).save(root / "masks/b.png")
    assert export(root, name="mvss-net", out=tmp_path / "x.txt") == ExitCode.INCOMPLETE
    assert [entry.image.name for entry in read_manifest(tmp_path / "x.txt")] == ["c.jpg"]
    said = capsys.readouterr().err
    assert "a.jpg: it cannot be measured" in said
    assert "is 24 x 16 pixels but its mask" in said
    assert "1 pictures, 0 of them forged" in said


def test_cfl_net_finds_masks_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    its = {"t/x_0.jpg": "t/x_0_mask.png", "t/1_fake.jpg": "t/1_fake_mask.png", "t/x_orig.jpg": None}
    make(tmp_path / "imd2020", its, "white")

    def call(data: str, masks: Path | None = None) -> ExitCode:
        out = tmp_path / "x.txt"
        return export_command([data], name="cfl-net", out=out, roots=[tmp_path], split="all", masks=masks, relative_to=None)

    assert call("imd2020") == ExitCode.INCOMPLETE
    assert (tmp_path / "x.txt").read_text() == f"{tmp_path}/imd2020/t/x_0.jpg\n"
    assert truths(read_manifest(tmp_path / "x.txt")) == [("x_0.jpg", False, FORGED.tobytes())]
    said = capsys.readouterr().err
    assert "x_orig.jpg: untouched, and the format has forged pictures alone" in said
    assert "1_fake.jpg: the format finds the mask of x_0.jpg in x_0_mask.png" in said
    with pytest.raises(InputError, match="finds masks beside their pictures"):
        call("imd2020", tmp_path / "m")
    (tmp_path / "x.txt").unlink()
    mask(tmp_path / "imd2020/t/x_0_mask.png", "any")
    with pytest.raises(InputError, match="none of the 3 pictures can be in it"):
        call("imd2020")
    assert "x_0.jpg: it has grey levels" in capsys.readouterr().err
    assert not (tmp_path / "x.txt").exists()


def test_relative_names(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For lists that go to another machine, and for the root in CAT-Net's and TruFor's configuration."""
    monkeypatch.chdir(tmp_path)
    for name in OTHERS:
        out = out_of(tmp_path / "lists", name)
        assert export("set", name=name, out=out, below=Path("set")) == ExitCode.CLEAN
        assert LOADERS[name](out)[0] == ("images/a.jpg", "masks/a.png")
        assert truths(read_manifest(out, [root])) == WANTED
    with pytest.raises(InputError, match=r"a\.png: is not below --relative-to"):
        export("set", name="csv", out=tmp_path / "y.csv", below=Path("set"), masks=tmp_path / "m")


def test_a_split_and_its_repetitions(root: Path, tmp_path: Path) -> None:
    export(root, name="csv", out=tmp_path / "all_test.csv")
    assert export(tmp_path / "all_test.csv", name="csv", out=tmp_path / "t.csv", split="test") == ExitCode.CLEAN
    with pytest.raises(InputError, match="no train split"):
        export(tmp_path / "all_test.csv", name="csv", out=tmp_path / "t.csv", split="train")
    (tmp_path / "all_train.csv").write_bytes((tmp_path / "all_test.csv").read_bytes())
    export(f"{tmp_path}/all_train.csv*3", name="focal", out=tmp_path / "t.npy", split="train", masks=tmp_path / "m")
    once = export(tmp_path / "all_train.csv", name="focal", out=tmp_path / "o.npy", split="train")
    assert once == ExitCode.CLEAN
    assert len(np.load(tmp_path / "t.npy")) == 3 * len(np.load(tmp_path / "o.npy")) > 0


def test_what_is_refused_before_anything_is_read(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown list 'imdl-benco'; did you mean imdlbenco"):
        export(root, name="imdl-benco", out=tmp_path / "x.json")
    with pytest.raises(InputError, match=r"x\.json: a list of focal is a \.npy file"):
        export(root, name="focal", out=tmp_path / "x.json")
    with pytest.raises(OutputError, match="cannot be written"):
        export(root, name="csv", out=root / "images/a.jpg/x.csv")
    with pytest.raises(InputError, match="unknown split 'tset'"):
        export(root, name="csv", out=tmp_path / "x.csv", split="tset")  # type: ignore[arg-type]


def test_the_command_loads_no_torch_and_names_its_formats(root: Path, tmp_path: Path) -> None:
    assert set(completion.LISTS) == set(WRITERS)
    code = (
        "import sys; from typer.testing import CliRunner; from imgscan.cli import app\n"
        "done = CliRunner().invoke(app, sys.argv[1:]); assert 'torch' not in sys.modules\n"
        "print(done.output); sys.exit(done.exit_code)"
    )
    call = ["data", "export", str(root), "--format", "cat-net", "--out", str(tmp_path / "x.txt")]
    done = subprocess.run([sys.executable, "-c", code, *call], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CLEAN, done.stdout + done.stderr
    assert "3 pictures, 2 of them forged" in done.stdout + done.stderr
    assert "1 pictures are no JPEG files" in done.stdout + done.stderr
    assert str(tmp_path / "x.txt") in done.stdout
