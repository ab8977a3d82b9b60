import csv
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.errors import InputError, OutputError
from imgscan.features_file import FeaturesFile
from imgscan.judge import judge
from imgscan.printable import as_cell, of_cell
from imgscan.records import Assessed, Clusters, Features, Mask, Picture, Region, Source
from imgscan.report.jsonl import result_line
from imgscan.resume import Journal
from imgscan.store import STRIP, Store, output_name, output_path, overlay, replacing, settle, write_rows


def assessed(name: str = "a/b.jpg", orientation: int = 1) -> Assessed:
    rgb = np.full((64, 96, 3), 100, np.uint8)
    picture = Picture(Source(Path("/somewhere") / name, name), rgb, "ab" * 32, 10, "JPEG", orientation, 90)
    forged = np.zeros((64, 96), bool)
    forged[10:30, 20:60] = True
    mask = Mask(forged.astype(np.float32), forged, (Region((20, 10, 60, 30), 800, 0.7),))
    labels = np.zeros((8, 12), np.int32)
    labels[2, 3] = 1
    clusters = Clusters(labels, labels < 0, (0.5, 0.4), "hdbscan")
    features = Features(torch.rand(4, 8, 12), (8.0, 8.0))
    return Assessed(judge(picture, mask, clusters, ()), mask, picture, features, clusters)


def keep(out: Path, weights: str, *results: Assessed, end: bool = True, error: BaseException | None = None) -> list[dict[str, str]]:
    """What a scan does with its results: the digests of what was written for each."""
    features = FeaturesFile(out, key=weights, model="m@open", weights=weights)
    with Store(out, features=features) as store:
        written = [store.add(one).result() for one in results]
        for one in results:
            features.note(result_line(one))
        if error is not None:
            raise error
        if end:
            store.finish()
    return written


def test_on_the_overlay_what_was_not_looked_at_is_pale_and_upright() -> None:
    one = assessed(orientation=6)
    plain, shown = (np.asarray(overlay(one.picture, one.mask, shown)) for shown in ((), [(16, 8, 80, 56)]))
    assert shown.shape == (96, 64, 3)
    within = np.zeros((96, 64), bool)
    within[16:80, 8:56] = True  # turned to the right: columns became rows, and rows columns from the right
    assert np.array_equal(shown[within], plain[within])
    assert (shown[~within] == 100 // 2 + 112).all()


def test_the_box_that_the_grid_covers_is_written_and_taken_from_an_earlier_file(tmp_path: Path) -> None:
    one = assessed()
    framed = replace(one, features=replace(one.features, inside=(16, 8, 80, 56), cell=(6.5, 8.0)))
    keep(tmp_path, "cafe", framed)
    for _ in range(2):
        with h5py.File(tmp_path / "features.h5") as file:
            assert file["a/b.jpg"].attrs["box"].tolist() == [16, 8, 80, 56]
            assert file["a/b.jpg"].attrs["cell"].tolist() == [6.5, 8.0], "of which eight reach over the 48 pixels of the box"
            assert file["a/b.jpg"].attrs["size"].tolist() == [64, 96]
        features = FeaturesFile(tmp_path, key="cafe", model="m@open", weights="cafe")
        with Store(tmp_path, features=features) as store:
            for name in ("a/b.jpg", "copy.jpg"):  # another list of pictures: the file is put together anew, from itself
                line = result_line(assessed(name))
                assert features.has(line)
                features.note(line)
            store.finish()


def test_a_file_of_an_earlier_version_is_written_anew(tmp_path: Path) -> None:
    one = assessed()
    keep(tmp_path, "cafe", one)
    shutil.rmtree(tmp_path / "features.parts")
    with h5py.File(tmp_path / "features.h5", "r+") as file:
        del file["a/b.jpg"].attrs["cell"]
        file.attrs["content"] = "of that version"
    features = FeaturesFile(tmp_path, key="cafe", model="m@open", weights="cafe")
    assert not features.has(result_line(one))
    features.close()
    keep(tmp_path, "cafe", one)
    with h5py.File(tmp_path / "features.h5") as file:
        assert file["a/b.jpg"].attrs["cell"].tolist() == [8.0, 8.0]


def test_masks_overlays_and_features_are_written_and_read_back(tmp_path: Path) -> None:
    one = assessed()
    (digests,) = keep(tmp_path, "cafe", one)
    for kind, file in (("mask", "masks/a/b.jpg.png"), ("overlay", "overlays/a/b.jpg.jpg")):
        assert digests[f"{kind}_sha256"] == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    mask = np.asarray(Image.open(tmp_path / "masks" / "a" / "b.jpg.png"))
    assert mask.shape == (64, 96)
    assert set(np.unique(mask)) == {0, 255}
    assert ((mask == 255) == one.mask.forged).all()
    with h5py.File(tmp_path / "features.h5") as file:
        group = file["a/b.jpg"]
        assert group["features"].dtype == np.float16
        np.testing.assert_allclose(group["features"], one.features.vectors, atol=1e-3)
        assert (group["labels"][:] == one.clusters.labels).all()
        assert {k: group.attrs[k] for k in ("sha256", "model", "weights", "path")} == {
            "sha256": "ab" * 32,
            "model": "m@open",
            "weights": "cafe",
            "path": "/somewhere/a/b.jpg",
        }
        assert group.attrs["grid"].tolist() == [8, 12]
        assert group.attrs["box"].tolist() == [0, 0, 96, 64], "all of the picture"
    assert not list(tmp_path.rglob("*.new"))


def test_the_overlay_shades_the_forged_region_only() -> None:
    one = assessed()
    shown = np.asarray(overlay(one.picture, one.mask))
    assert (shown[50, 80] == 100).all()
    red, green, _ = shown[20, 40].astype(int)
    assert red > green + 30
    assert tuple(shown[10, 40]) == (255, 255, 0)


def test_the_overlay_of_a_tall_picture_is_shaded_to_its_end() -> None:
    """More rows than are shaded at once: 0.6 * 100 + 0.4 * (255, 32, 32) inside, the outline where the mark ends."""
    one = assessed()
    forged = np.zeros((2 * STRIP + 40, 64), bool)
    forged[STRIP - 30 :] = True
    picture = replace(one.picture, rgb=np.full((*forged.shape, 3), 100, np.uint8))
    shown = np.asarray(overlay(picture, replace(one.mask, forged=forged)))
    assert (shown[: STRIP - 40] == 100).all()
    assert (shown[STRIP - 20 : -10, 10:-10] == (162, 72, 72)).all()


def test_overlays_are_upright_and_masks_as_stored() -> None:
    one = assessed(orientation=6)
    assert overlay(one.picture, one.mask).size == (64, 96)  # width, height: turned by 90 degrees


def test_equal_stems_never_collide() -> None:
    assert output_path(Path("o"), "masks", "a.jpg") != output_path(Path("o"), "masks", "a.png")
    assert output_path(Path("o"), "overlays", "x/a.jpg") == Path("o/overlays/x/a.jpg.jpg")


def test_a_long_name_is_cut_and_the_record_says_so() -> None:
    name = "d/" + "n" * 251 + ".png"
    cut = output_name("masks", name)
    assert len(Path(cut).name) == 255
    assert cut.endswith(".png")
    assert cut != output_name("masks", "d/" + "n" * 250 + "m.png")
    assert result_line(assessed(name))["mask"] == cut


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    keep(tmp_path, "w", assessed("\udcff.jpg"))
    with h5py.File(tmp_path / "features.h5") as file:
        assert len(file) == 1
    assert (tmp_path / "masks" / "\udcff.jpg.png").exists()


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"x: cannot be written: No space left"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_scan_keeps_its_features(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, "w", assessed(), error=KeyboardInterrupt())
    with h5py.File(tmp_path / "features.h5") as file:
        assert "a/b.jpg" in file
    assert (tmp_path / "masks" / "a" / "b.jpg.png").exists()


def test_an_interrupted_scan_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    keep(tmp_path, "first", assessed())
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, "second", error=KeyboardInterrupt())
    with h5py.File(tmp_path / "features.previous.h5") as file:
        assert file["a/b.jpg"].attrs["weights"] == "first"


def test_a_scan_interrupted_twice_leaves_the_complete_one(tmp_path: Path) -> None:
    path, new, previous = (tmp_path / name for name in ("results.jsonl", "new", "results.previous.jsonl"))
    for text in ("complete", "partial", "partial too", "complete again", "partial again"):
        new.write_text(text)
        settle(new, path, whole="complete" in text, is_complete=lambda path: "complete" in path.read_text())
        if text == "partial too":
            assert (path.read_text(), previous.read_text()) == ("partial too", "complete")
        if text == "complete again":
            assert path.read_text() == "complete again"
            assert not previous.exists()
    assert (path.read_text(), previous.read_text()) == ("partial again", "complete again")


def test_an_interrupted_scan_leaves_the_features_that_the_next_takes_up(tmp_path: Path) -> None:
    """Of the same kind: what the earlier one kept is still there, and what this one added is in the parts."""
    line = result_line(assessed())
    keep(tmp_path, "w", assessed())
    shutil.rmtree(tmp_path / "features.parts", ignore_errors=True)
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, "w", error=KeyboardInterrupt())
    assert FeaturesFile(tmp_path, key="w", model="m", weights="w").has(line)


def test_on_a_full_disk_the_parts_stay_for_the_next_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 would end the process with a segmentation fault."""
    line = result_line(assessed())
    monkeypatch.setattr("imgscan.features_file.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(OutputError, match=r"features.h5: cannot be written: no space left on device: it takes 0.0 MB"):
        keep(tmp_path, "w", assessed())
    assert not (tmp_path / "features.h5").exists()
    assert FeaturesFile(tmp_path, key="w", model="m", weights="w").has(line)
    with pytest.raises(OutputError, match="another file"):  # nothing is tried after one that was on its way
        keep(tmp_path, "w", assessed(), error=OutputError("another file: cannot be written"))


def test_a_picture_below_anothers_name_takes_no_space_twice(tmp_path: Path) -> None:
    """HDF5 reads the slash of a name as a group: x/b.jpg lies in the group of x."""
    keep(tmp_path, "w", assessed("x"), assessed("x/b.jpg"), assessed("y/b.jpg"), assessed("y"))
    with h5py.File(tmp_path / "features.h5") as file:
        assert [file[name].attrs["path"] for name in ("x", "x/b.jpg", "y", "y/b.jpg")] == [
            f"/somewhere/{name}" for name in ("x", "x/b.jpg", "y", "y/b.jpg")
        ]
    shutil.rmtree(tmp_path / "features.parts", ignore_errors=True)
    features = FeaturesFile(tmp_path, key="w", model="m", weights="w")
    assert features._bytes(assessed().picture.sha256) == 4 * 8 * 12 * 2 + 8 * 12 * 4


@pytest.mark.parametrize("names", [("x", "x/labels"), ("x/labels", "x"), ("x", "x/features/b")])
def test_a_picture_that_is_called_as_anothers_arrays_are(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(OutputError, match=f"cannot hold a picture called {max(names)!r}: another one's arrays have that name"):
        keep(tmp_path, "w", *map(assessed, names))


def test_a_folder_where_a_mask_would_lie_is_not_removed(tmp_path: Path) -> None:
    keep(tmp_path, "w", assessed("a.png/b.jpg"))
    with Store(tmp_path, features=None) as store:
        store.drop("a")  # its mask is called a.png
        store.drop("a.png/b.jpg.png/c.jpg")
    assert output_path(tmp_path, "masks", "a.png/b.jpg").exists()


def test_nothing_stays_of_a_picture_that_cannot_be_assessed_any_more(tmp_path: Path) -> None:
    keep(tmp_path, "w", assessed())
    name = assessed().picture.source.name
    assert output_path(tmp_path, "masks", name).exists()
    with Store(tmp_path, features=None) as store:
        store.drop(name)
        store.drop("never/there.png")
    assert not output_path(tmp_path, "masks", name).exists()
    assert not output_path(tmp_path, "overlays", name).exists()


def test_arrays_come_from_the_parts_or_the_old_file_of_the_same_key(tmp_path: Path) -> None:
    one, line = assessed(), result_line(assessed())
    keep(tmp_path, "w", one, end=False)
    assert FeaturesFile(tmp_path, key="w", model="m", weights="w").has(line), "the part"
    shutil.rmtree(tmp_path / "features.parts")
    old = FeaturesFile(tmp_path, key="w", model="m", weights="w")
    assert old.has(line), "the file"
    assert not old.has({**line, "sha256": "cd" * 32})
    old.note(line)
    assert not old.gather(tmp_path / "new", complete=False), "the very same content stays as it is"
    moved = FeaturesFile(tmp_path, key="w", model="m", weights="w")
    assert moved.has({**line, "name": "moved.jpg"}), "by its content, whatever it was called"
    moved.note({**line, "name": "c.jpg"})
    assert moved.gather(tmp_path / "new", complete=True)
    with h5py.File(tmp_path / "new") as file:
        np.testing.assert_allclose(file["c.jpg"]["features"], one.features.vectors, atol=1e-3)
    assert not FeaturesFile(tmp_path, key="other", model="m", weights="w").has(line)


def test_a_broken_part_is_none(tmp_path: Path) -> None:
    keep(tmp_path, "w", assessed(), end=False)
    (part,) = tmp_path.glob("features.parts/*/*.npz")
    (tmp_path / "features.h5").unlink()
    content = bytearray(part.read_bytes())
    content[200] ^= 1  # within the features
    for broken in (content, b""):
        part.write_bytes(broken)
        assert not FeaturesFile(tmp_path, key="w", model="m", weights="w").has(result_line(assessed()))


@pytest.mark.parametrize("part", [b"\x89HDF", b"GCOL", b"SNOD", b"TREE", b"HEAP"])
def test_a_damaged_file_of_features_is_none(part: bytes, tmp_path: Path) -> None:
    """Whatever structure of HDF5 a bad disk has hit: texts of attributes, names of groups, ...; the scan was an internal error."""
    keep(tmp_path, "w", assessed("a.jpg"))
    shutil.rmtree(tmp_path / "features.parts")
    path, line = tmp_path / "features.h5", result_line(assessed("a.jpg"))
    content = path.read_bytes()
    assert part in content
    path.write_bytes(content.replace(part, bytes(len(part))))
    assert not FeaturesFile(tmp_path, key="w", model="m", weights="w").has(line)
    keep(tmp_path, "w", assessed("a.jpg"))
    shutil.rmtree(tmp_path / "features.parts")
    assert FeaturesFile(tmp_path, key="w", model="m", weights="w").has(line)


def test_a_file_where_a_folder_has_to_be_is_named(tmp_path: Path) -> None:
    """It said "File exists" of the file that was to be written."""
    (tmp_path / "masks").write_text("")
    wanted = r"a\.png: cannot be written: .*masks is there and is no folder$"
    with pytest.raises(OutputError, match=wanted), replacing(tmp_path / "masks" / "a.png"):
        pass
    with pytest.raises(OutputError, match=r"^--out .*masks: cannot be written: .*masks is there and is no folder$"):
        Journal(tmp_path / "masks", "key")


@pytest.mark.parametrize("line", ["5", "[]", '"x"', "null", '{"key": 1}', '{"key": "k"', "{}"])
def test_a_line_of_a_journal_that_is_none_is_passed_over(line: str, tmp_path: Path) -> None:
    entry = '{"key": "k", "sha256": "%s", "overlay_sha256": ""}'
    (tmp_path / "journal.jsonl").write_text("\n".join([entry % "a", line, entry % "b", ""]))
    with Journal(tmp_path, "k") as journal:
        assert journal._journalled == {"a", "b"}


def test_names_that_climb_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside"):
        output_path(tmp_path, "masks", "../../x.jpg")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        Store(tmp_path / "file" / "out", features=None)


def test_the_longest_names_have_room_for_the_suffix(tmp_path: Path) -> None:
    names = ["ä" * 125 + f"{n}.jpg" for n in (1, 2)]  # 255 bytes each
    paths = [output_path(tmp_path, "masks", name) for name in names]
    assert all(len(os.fsencode(path.name)) <= 255 for path in paths)
    assert paths[0] != paths[1]
    assert output_path(tmp_path, "masks", "a/b.jpg") == tmp_path / "masks/a/b.jpg.png"


def test_folders_below_folders_are_cut(tmp_path: Path) -> None:
    """4,000 bytes of folders, which Linux still opens: with the output folder before it and a suffix behind, it would not."""
    deep = [("d" * 200 + "/") * 19 + f"{name}.jpg" for name in ("a", "b")]
    paths = [output_path(tmp_path, "masks", name) for name in deep]
    assert all(path.parent == tmp_path / "masks" / "~deep" for path in paths)
    assert paths[0].name.startswith("a.jpg")
    assert paths[0] != output_path(tmp_path, "masks", deep[0].replace("d/", "e/", 1)), "the folders still tell them apart"


def test_in_a_table_names_are_no_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    """A file called =1+1|cmd.png was computed by whatever opened --csv of evaluate or calibrate."""
    write_rows(tmp_path / "t.csv", ("picture", "score"), [("=1+1|cmd.png", -0.5), (Path("@a.png"), 1), ("b=c.png", None)])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["picture", "score"], ["'=1+1|cmd.png", "-0.5"], ["'@a.png", "1"], ["b=c.png", ""]]


@pytest.mark.parametrize("name", ["a.png", "=a.png", "'=a.png", "''-a", "'a.png", "'", "", "\ta", "a=b", "\uff1da"])
def test_what_is_guarded_is_known_again(name: str) -> None:
    assert of_cell(as_cell(name)) == name
    assert not as_cell(name).startswith(("=", "-", "\t", "\uff1d"))
