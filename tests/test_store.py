import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.errors import InputError, OutputError
from imgscan.judge import judge
from imgscan.records import Assessed, Clusters, Features, Mask, Picture, Region, Source
from imgscan.report.jsonl import result_line
from imgscan.store import Store, output_name, output_path, overlay, replacing


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


def test_masks_overlays_and_features_are_written_and_read_back(tmp_path: Path) -> None:
    one = assessed()
    with Store(tmp_path, features=True, model="m@open", weights="cafe") as store:
        store.add(one)
        store.finish()
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
    assert not list(tmp_path.rglob("*.new"))


def test_the_overlay_shades_the_forged_region_only() -> None:
    one = assessed()
    shown = np.asarray(overlay(one.picture, one.mask))
    assert (shown[50, 80] == 100).all()
    red, green, _ = shown[20, 40].astype(int)
    assert red > green + 30
    assert tuple(shown[10, 40]) == (255, 255, 0)


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
    assert result_line(assessed(name), False)["mask"] == cut


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    with Store(tmp_path, features=True, model="m", weights="w") as store:
        store.add(assessed("\udcff.jpg"))
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
    with pytest.raises(KeyboardInterrupt), Store(tmp_path, features=True, model="m", weights="w") as store:  # noqa: PT012
        store.add(assessed())
        raise KeyboardInterrupt
    with h5py.File(tmp_path / "features.h5") as file:
        assert "a/b.jpg" in file
    assert (tmp_path / "masks" / "a" / "b.jpg.png").exists()


def test_an_interrupted_scan_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    with Store(tmp_path, features=True, model="m", weights="first") as store:
        store.add(assessed())
        store.finish()
    with pytest.raises(KeyboardInterrupt), Store(tmp_path, features=True, model="m", weights="second"):
        raise KeyboardInterrupt
    with h5py.File(tmp_path / "features.previous.h5") as file:
        assert file["a/b.jpg"].attrs["weights"] == "first"


def test_names_that_climb_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside"):
        output_path(tmp_path, "masks", "../../x.jpg")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        Store(tmp_path / "file" / "out", features=True, model="m", weights="w")


def test_the_longest_names_have_room_for_the_suffix(tmp_path: Path) -> None:
    names = ["ä" * 125 + f"{n}.jpg" for n in (1, 2)]  # 255 bytes each
    paths = [output_path(tmp_path, "masks", name) for name in names]
    assert all(len(os.fsencode(path.name)) <= 255 for path in paths)
    assert paths[0] != paths[1]
    assert output_path(tmp_path, "masks", "a/b.jpg") == tmp_path / "masks/a/b.jpg.png"
