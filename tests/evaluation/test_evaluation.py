import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan.commands.calibrate import threshold
from imgscan.errors import InputError
from imgscan.evaluation.measure import attacked, measure, of_detector, of_masks, read_set, summarise
from imgscan.evaluation.protocols import PROTOCOLS
from imgscan.records import Skipped

NATIVE = PROTOCOLS["native"]


@pytest.fixture
def benchmark(tmp_path: Path, photos: list[np.ndarray]) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(photos[0][:96, :128]).save(tmp_path / "images" / "x.jpg")
    mask = np.zeros((96, 128), np.uint8)
    mask[10:40, 20:70] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "x.png")
    return tmp_path


def test_pairs_are_made_by_stem(benchmark: Path) -> None:
    (entry,) = read_set(str(benchmark))
    assert entry.mask == benchmark / "masks" / "x.png"
    (benchmark / "masks" / "x.png").rename(benchmark / "masks" / "y.png")
    with pytest.raises(InputError, match="no mask with this stem"):
        read_set(str(benchmark))


def test_a_folder_with_half_the_layout(benchmark: Path) -> None:
    (benchmark / "masks" / "x.png").unlink()
    (benchmark / "masks").rmdir()
    with pytest.raises(InputError, match="images/ only"):
        read_set(str(benchmark))


def test_a_folder_of_pictures_is_untouched(benchmark: Path) -> None:
    assert [entry.mask for entry in read_set(str(benchmark / "images"))] == [None]
    (benchmark / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        read_set(str(benchmark / "empty"))


def test_ela_ranks_and_marks_nothing(benchmark: Path) -> None:
    ela = of_detector("ela", 0)
    rows = measure(ela, read_set(str(benchmark)), NATIVE)
    scores = summarise(ela, "x", rows, 0, NATIVE)
    assert scores.columns["auc"] is not None
    assert (scores.columns["f1"], scores.columns["iou"], scores.untouched) == (None, None, None)


def test_other_tools_maps_are_measured_and_a_perfect_one_is_perfect(benchmark: Path, tmp_path: Path) -> None:
    maps = of_masks(benchmark / "masks", 0)
    (row,) = measure(maps, read_set(str(benchmark)), NATIVE)
    assert row.columns["f1"] == row.columns["iou"] == row.columns["auc"] == 1.0
    assert row.area == pytest.approx(30 * 50 / (96 * 128))

    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "x.npz", np.full((96, 128), 0.7, np.float32))
    (row,) = measure(of_masks(other, 0), read_set(str(benchmark)), NATIVE)
    assert row.metrics.recall == 1.0
    assert row.columns["auc"] == 0.5
    scores = summarise(maps, "x", [row], 0, NATIVE)
    assert scores.baselines["all-forged"]["iou"] == pytest.approx(row.columns["iou"]), "marking everything is that baseline"


@pytest.mark.parametrize(("shape", "message"), [(None, r"looked for x\.jpg\.png, x\.png, x\.npz"), ((48, 128), "128 x 48")])
def test_a_missing_or_misfit_prediction_is_skipped_and_named(benchmark: Path, shape: tuple[int, int] | None, message: str) -> None:
    predictions = benchmark / "predictions"
    predictions.mkdir()
    if shape is not None:
        Image.fromarray(np.zeros(shape, np.uint8)).save(predictions / "x.png")
    skipped: list[Skipped | None] = []
    assert measure(of_masks(predictions, 0), read_set(str(benchmark)), NATIVE, skipped.append) == []
    assert skipped[0] is not None
    assert re.search(message, skipped[0].reason)


def test_a_mask_of_another_size_is_skipped_and_named(benchmark: Path) -> None:
    Image.fromarray(np.zeros((128, 96), np.uint8)).save(benchmark / "masks" / "x.png")
    skipped: list[Skipped | None] = []
    assert measure(of_detector("ela", 0), read_set(str(benchmark)), NATIVE, skipped.append) == []
    assert skipped[0] is not None
    assert "96 x 128" in skipped[0].reason


def test_image_level_counts_both_kinds_and_says_what_leaks(benchmark: Path) -> None:
    """Forged pictures with strength 0.8 and 0.2, untouched ones with 0.5 and 0.1: three of four pairs are in order."""
    (row,) = measure(of_masks(benchmark / "masks", 0), read_set(str(benchmark)), NATIVE)
    strengths = [(True, 0.8), (True, 0.2), (False, 0.5), (False, 0.1)]
    rows = [replace(row, forged=forged, strength=strength, area=strength / 10) for forged, strength in strengths]
    model = replace(of_masks(benchmark / "masks", 0), thresholds={"possible": 0.5})
    scores = summarise(model, "x", rows, 0, NATIVE)
    assert scores.image is not None
    assert scores.image.auc == 0.75
    assert (scores.image.decisions["possible"].tpr, scores.image.decisions["possible"].fpr) == (0.5, 0.5)
    assert scores.untouched is not None
    assert scores.untouched.area == pytest.approx(0.03)
    assert scores.leak is None, "five pictures of a class are the least it can be measured on"


def test_attacks_move_the_truth_with_the_picture(benchmark: Path, tmp_path: Path) -> None:
    entries = attacked(read_set(str(benchmark)), "resize-0.78", tmp_path / "a")
    (row,) = measure(of_masks(tmp_path / "a" / "masks", 0), entries, NATIVE)
    assert row.metrics.pixels == 75 * 100
    assert row.columns["f1"] == 1.0


def test_thresholds_by_hand() -> None:
    scores = [0.1] * 90 + [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    five = threshold(scores, 0.05)
    assert five == pytest.approx(0.65), "in the middle between 0.6, which must stay under it, and 0.7"
    assert sum(s >= five for s in scores) == 5
    assert threshold(scores, 0.01) == pytest.approx(0.97)
    assert threshold(scores, 0.001) is None, "100 pictures cannot show one in a thousand"
    assert threshold([], 0.05) is None
    assert threshold([0.5] * 30, 0.05) == pytest.approx(0.75), "equal scores stay under it together"
