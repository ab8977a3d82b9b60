import errno
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from imgscan.datasets import synth
from imgscan.datasets.forge import KINDS, common_history, forge, from_camera, jpeg, untouched
from imgscan.datasets.photos import find_photos, keep_aside, read_photo
from imgscan.datasets.synth import SynthDataset, cell_labels
from imgscan.errors import InputError
from imgscan.training.recipe import TrainSection
from imgscan.training.sequence import batches
from tests.conftest import PHOTOS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_forges_what_its_labels_say(photos: list[np.ndarray], kind: str) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        made = forge(lambda rng=rng: photos[int(rng.integers(4))], 128, rng, kind)
        assert made.kind == kind
        assert made.rgb.shape == (128, 128, 3)
        assert made.rgb.dtype == np.uint8
        assert made.labels.shape == (128, 128)
        assert 0.004 < (made.labels > 0).mean() < 0.6


def test_the_same_generator_makes_the_same_picture(photos: list[np.ndarray]) -> None:
    first, second = (forge(lambda: photos[0], 96, np.random.default_rng(9)) for _ in range(2))
    assert (first.rgb == second.rgb).all()
    assert (first.labels == second.labels).all()


def test_a_pasted_part_is_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are black and donors white: with no history in between, the picture is white exactly where it is labelled."""
    from imgscan.datasets import forge as module

    drawn = iter([0] + [255] * 9)
    monkeypatch.setattr(module, "with_history", lambda photo, h, w, rng: np.full((h, w, 3), photo[0, 0, 0], np.uint8))
    monkeypatch.setattr(module, "common_history", lambda rgb, rng: rgb)
    monkeypatch.setattr(module, "tone", lambda rgb, rng: rgb)
    made = module.forge(lambda: np.full((300, 300, 3), next(drawn), np.uint8), 160, np.random.default_rng(3), "splicing")
    assert (made.rgb[made.labels > 0] > 127).all()
    assert (made.rgb[made.labels == 0] <= 128).all()


def test_from_camera_keeps_the_block_grid(photos: list[np.ndarray]) -> None:
    """A crop of a JPEG at multiples of 8 changes less when saved again at its quality than one elsewhere."""
    saved = jpeg(photos[1], 60, 0)
    rng = np.random.default_rng(0)
    on = from_camera(saved, 128, 128, rng)
    off = saved[3:131, 5:133]
    assert np.abs(jpeg(on, 60, 0).astype(int) - on).mean() < 0.5 * np.abs(jpeg(off, 60, 0).astype(int) - off).mean()


def test_untouched_and_common_history_keep_the_size(photos: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    assert untouched(lambda: photos[2], 96, rng).shape == (96, 96, 3)
    assert common_history(photos[0][:64, :80], rng).shape == (64, 80, 3)


def test_unknown_kind(photos: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="splicing, copy-move, removal"):
        forge(lambda: photos[0], 96, np.random.default_rng(0), "magic")


def test_cell_labels_by_hand() -> None:
    labels = torch.zeros(8, 12, dtype=torch.long)
    labels[:4, :4] = 2  # all of cell (0, 0)
    labels[:4, 4:7] = 1  # 12 of 16 pixels of cell (0, 1): 75 %
    labels[:2, 8:12] = 1  # half of cell (0, 2): contour
    labels[4, 0] = 1  # 1 of 16 pixels of cell (1, 0): 6 %
    labels[4, 4:6] = 1  # 2 of 16 pixels of cell (1, 1): 12.5 %
    assert cell_labels(labels[None], 4).tolist() == [[[2, 1, -1], [0, -1, 0]]]
    assert cell_labels(labels[None].to(torch.uint8), 4).tolist() == [[[2, 1, -1], [0, -1, 0]]]


def test_by_the_middle_no_cell_is_left_out() -> None:
    labels = torch.zeros(1, 8, 12, dtype=torch.uint8)
    labels[0, :4, :2] = 2  # half of the cell, and of its middle
    labels[0, 1, 5] = 1  # one of the middle four
    labels[0, 4:, :] = 1
    labels[0, 5:7, 5:7] = 0  # most of the cell, but nothing of its middle
    labels[0, :4, 8:10], labels[0, :4, 10] = 1, 3  # two parts meet in the middle
    assert cell_labels(labels, 4, ignore_contour=False).tolist() == [[[2, 0, 3], [1, 0, 1]]]


@pytest.mark.parametrize("stride", [4, 16])
def test_the_middle_is_what_the_released_code_reads_when_it_shrinks_a_mask(stride: int) -> None:
    grid = 1024 // stride
    mask = np.random.default_rng(0).random((1024, 1024)) < 0.5
    shrunk = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), size=grid, mode="bilinear")
    found = cell_labels(torch.from_numpy(mask)[None].to(torch.uint8), stride, ignore_contour=False)
    assert torch.equal(found[0] > 0, shrunk[0, 0] >= 0.5)


def dataset(**changes: object) -> SynthDataset:
    settings: dict[str, object] = {"side": 96, "seed": 1, "length": 6}
    return SynthDataset(find_photos([PHOTOS]), **(settings | changes))  # type: ignore[arg-type]


def test_items_are_a_function_of_seed_and_number_whatever_the_workers() -> None:
    alone = [dataset()[k] for k in range(4)]
    loaded = [item for batch in DataLoader(dataset(length=4), 2, num_workers=2) for item in zip(*batch, strict=True)]
    for (rgb, labels, _), (other_rgb, other_labels, _) in zip(alone, loaded, strict=True):
        assert (rgb == other_rgb).all()
        assert (labels == other_labels).all()
    assert rgb.shape == (3, 96, 96)
    assert labels.shape == (96, 96)
    assert labels.dtype == torch.uint8
    assert not (dataset(seed=2)[0][0] == alone[0][0]).all()


def test_the_share_of_untouched_pictures() -> None:
    made = dataset(untouched_share=0.5, length=200, side=64)
    untouched_count = sum(not bool(made[k][1].any()) for k in range(60))
    assert 18 <= untouched_count <= 42  # 30 +- 3 deviations of 3.9


def test_several_sides_take_turns_batch_by_batch() -> None:
    made = dataset(sides=(64, 128), alike=2, length=8)
    assert [tuple(made[k][0].shape[1:]) for k in range(6)] == [(64, 64)] * 2 + [(128, 128)] * 2 + [(64, 64)] * 2
    assert all(made[k][0].shape[1:] == made[k][1].shape for k in range(6))
    with pytest.raises(InputError, match="multiple of 8"):
        dataset(sides=(64, 100))


def test_errors_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        find_photos([tmp_path / "none"])
    with pytest.raises(InputError, match="no pictures below"):
        find_photos([tmp_path])
    with pytest.raises(InputError, match="multiple of 8"):
        dataset(side=100)


def test_photographs_are_what_a_scan_would_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overlays and masks of a scan into the folder were trained on as photographs; a closed folder was passed over."""
    photo = sorted(PHOTOS.glob("*.jpg"))[0].read_bytes()
    for name in ("b.jpg", "a/c.jpg", "results/overlays/b.jpg.jpg", "results/masks/b.jpg.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "results" / "results.jsonl").touch()
    assert find_photos([tmp_path]) == [tmp_path / "a" / "c.jpg", tmp_path / "b.jpg"]
    scandir = os.scandir

    def closed(path: str) -> Any:
        if os.fspath(path).endswith("a"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=rf"{tmp_path}/a: this folder may not be read"):
        find_photos([tmp_path])


def test_a_broken_photograph_is_passed_over_and_named(tmp_path: Path) -> None:
    for number, photo in enumerate(sorted(PHOTOS.iterdir())[:2]):
        (tmp_path / f"{number}.jpg").write_bytes(photo.read_bytes())
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((tmp_path / "0.jpg").read_bytes()[:3000])  # opens, and breaks when it is decoded
    made = dataset_of([*find_photos([tmp_path])])
    remarks = [made[k][2] for k in range(12)]
    assert any(str(broken) in remark for remark in remarks)
    assert all(made[k][0].shape == (3, 64, 64) for k in range(12))


def test_deep_grey_photographs_are_scaled_not_clipped(tmp_path: Path) -> None:
    """A ramp over 16 bits: the middle is 128, where Pillow's own conversion says 255."""
    ramp = np.repeat(np.linspace(0, 65535, 256).round().astype(np.uint16)[None], 64, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    photo = read_photo(tmp_path / "deep.png")
    assert photo.shape == (64, 256, 3)
    np.testing.assert_allclose(photo[0, :, 0], np.arange(256), atol=1)


def dataset_of(photos: list[Path]) -> SynthDataset:
    return SynthDataset(photos, side=64, seed=1, length=12)


def test_a_tenth_of_the_photographs_is_kept_aside_whatever_their_folder(tmp_path: Path) -> None:
    photos = [tmp_path / f"{n}.jpg" for n in range(1000)]
    rest, kept = keep_aside(photos)
    assert 70 <= len(kept) <= 130  # 100 +- 3 deviations
    assert sorted(rest + kept) == sorted(photos)
    assert {p.name for p in keep_aside([Path("/elsewhere") / p.name for p in photos])[1]} == {p.name for p in kept}
    with pytest.raises(InputError, match="too few"):
        keep_aside(photos[:1])


def test_labels_are_scaled_as_the_picture_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture in eight is resized after the forgery, here of a white box on black: what is white stays what is labelled."""
    from imgscan.datasets import forge as module

    def box(rgb: np.ndarray, labels: np.ndarray, photo: object, rng: object) -> None:
        rgb[:], rgb[10:60, 20:110], labels[10:60, 20:110] = 0, 255, 1
        made.append(len(rgb))

    made: list[int] = []
    monkeypatch.setattr(module, "splice", box)
    monkeypatch.setattr(module, "common_history", lambda rgb, rng: rgb)
    for seed in range(60):
        one = module.forge(lambda: np.zeros((300, 300, 3), np.uint8), 160, np.random.default_rng(seed), "splicing")
        assert ((one.rgb[..., 0] > 127) != (one.labels > 0)).sum() < 0.1 * (one.labels > 0).sum(), seed
    assert min(made) < 160 < max(made)


def test_loaders_share_what_is_kept_of_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen loaders kept 1.5 GB each. Here one works for each of two runs: four processes keep some."""
    asked: list[int] = []

    def read(path: Path, processes: int = 1) -> np.ndarray:
        asked.append(processes)
        if len(asked) % 2:
            raise InputError(f"one of {processes}")  # what a loader can say to the run
        return np.zeros((96, 96, 3), np.uint8)

    monkeypatch.setattr(synth, "read_photo", read)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    samples = dataset_of(sorted(PHOTOS.glob("*.jpg")))
    settings = TrainSection(batch=2, steps=3)
    with closing(batches(samples, settings, workers=1, rank=0, size=1, first=0, pin=False)) as given:
        said = {one for _, _, remarks in given for remark in remarks for one in remark.splitlines()}
    assert said == {"one of 4"}
    assert samples[0][2] == "one of 2", "without loaders, each of the runs"
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert samples[1][2].splitlines()[0] == "one of 1"
