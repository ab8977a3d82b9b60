from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score

from imgscan.commands.calibrate import threshold
from imgscan.errors import InputError
from imgscan.evaluation.measure import measure, read_mask, read_pairs
from imgscan.evaluation.metrics import confusion, pixel_scores


def maps(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((20, 30)) < 0.2
    score = (rng.random((20, 30)) + 0.5 * truth).astype(np.float32)
    return truth, score, score > 0.8


def test_metrics_equal_scikit_learn() -> None:
    truth, score, mask = maps()
    scores = pixel_scores(truth, score, mask)
    assert scores.f1 == pytest.approx(f1_score(truth.ravel(), mask.ravel()))
    assert scores.macro_f1 == pytest.approx(f1_score(truth.ravel(), mask.ravel(), average="macro"))
    assert scores.iou == pytest.approx(jaccard_score(truth.ravel(), mask.ravel()))


def test_confusion_by_hand() -> None:
    truth = np.array([[1, 1, 0, 0]], bool)
    mask = np.array([[1, 0, 1, 0]], bool)
    assert confusion(mask, truth) == (1, 1, 1, 1)


def test_auc_by_hand() -> None:
    """Of the 2 x 2 pairs of forged and pristine pixels three are in order: 0.75."""
    truth = np.array([[1, 0, 1, 0]], bool)
    score = np.array([[0.9, 0.5, 0.4, 0.1]], np.float32)
    assert pixel_scores(truth, score, None).auc == 0.75


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_blank_mask_has_the_macro_f1_of_the_formula(share: float) -> None:
    """(1 - p) / (2 - p) for a forged share p: never compare macro F1 with binary F1."""
    truth = np.zeros((20, 20), bool)
    truth.flat[: int(400 * share)] = True
    scores = pixel_scores(truth, None, np.zeros_like(truth))
    assert scores.macro_f1 == pytest.approx((1 - share) / (2 - share))
    assert (scores.f1, scores.iou) == (0, 0)


def test_degenerate_cases() -> None:
    nothing = np.zeros((4, 4), bool)
    both_empty = pixel_scores(nothing, np.zeros((4, 4), np.float32), nothing)
    assert (both_empty.auc, both_empty.f1, both_empty.macro_f1, both_empty.iou) == (None, 1.0, 1.0, 1.0)
    everything = ~nothing
    assert pixel_scores(everything, np.zeros((4, 4), np.float32), everything).auc is None
    half = nothing.copy()
    half[:2] = True
    assert pixel_scores(half, np.zeros((4, 4), np.float32), None).auc == 0.5, "a constant score ranks nothing"
    with pytest.raises(ValueError, match="same size"):
        pixel_scores(half, None, np.zeros((4, 5), bool))


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
    (pair,) = read_pairs(benchmark)
    assert pair.mask == benchmark / "masks" / "x.png"
    (benchmark / "masks" / "x.png").rename(benchmark / "masks" / "y.png")
    with pytest.raises(InputError, match="0 masks with this stem"):
        read_pairs(benchmark)


def test_a_folder_with_half_the_layout(benchmark: Path) -> None:
    (benchmark / "masks" / "x.png").unlink()
    (benchmark / "masks").rmdir()
    with pytest.raises(InputError, match="images/ only"):
        read_pairs(benchmark)


def test_masks_of_another_size_and_soft_masks(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127], [128, 255]], np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", 2, 2).tolist() == [[False, False], [True, True]]
    assert read_mask(tmp_path / "m.png", 4, 4).sum() == 8


def test_ela_ranks_and_marks_nothing(benchmark: Path) -> None:
    row = measure("ela", None, benchmark, 0)
    assert row.pictures == 1
    assert row.auc is not None
    assert (row.f1, row.iou, row.marked) == (None, None, None)


def test_thresholds_by_hand() -> None:
    scores = [0.1] * 90 + [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    five = threshold(scores, 0.05)
    assert five == pytest.approx(0.6001)
    assert sum(s >= five for s in scores) == 5
    assert threshold(scores, 0.01) == pytest.approx(0.9501)
    assert threshold(scores, 0.001) is None, "100 pictures cannot show one in a thousand"
    assert threshold([], 0.05) is None
