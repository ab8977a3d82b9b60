import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, roc_auc_score

from imgscan.errors import ConfigError
from imgscan.evaluation.pixel import PixelMetrics, pixel_metrics
from imgscan.evaluation.protocols import PROTOCOLS, apply, bilinear, clear_of_border, find_protocol, nearest, reported


def disc(height: int = 300, width: int = 400, radius: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2


def soft(truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """A score that ranks the forged pixels higher, mostly."""
    noise = np.random.default_rng(seed).random(truth.shape)
    return np.clip(0.3 * truth + 0.6 * noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol(name: str) -> None:
    protocol = find_protocol(name)
    assert protocol.name == name
    assert set(protocol.columns) <= set(PixelMetrics.__dataclass_fields__)
    truth = disc()
    there, score, mask, valid = apply(protocol, truth, soft(truth), truth)
    size = (protocol.side, protocol.side) if protocol.side else truth.shape
    assert score is not None
    assert (there.shape, score.shape, mask.shape) == (size, size, size)
    assert there.mean() == pytest.approx(truth.mean(), rel=0.05)
    row = reported(protocol, pixel_metrics(there, score, mask, valid))
    assert tuple(row) == protocol.columns
    assert all(value is not None and 0.4 < value <= 1 for value in row.values())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_right_answer_is_right_in_every_protocol(name: str) -> None:
    truth = disc()
    protocol = PROTOCOLS[name]
    row = reported(protocol, pixel_metrics(*apply(protocol, truth, truth.astype(np.float32), truth)))
    for column, value in row.items():
        assert value == pytest.approx(1, abs=0.02), column


def test_native_leaves_everything_as_it_is() -> None:
    truth = disc()
    score, mask = soft(truth), disc(radius=50)
    there, same, marked, valid = apply(PROTOCOLS["native"], truth, score, mask)
    assert there is truth
    assert same is score
    assert marked is mask
    assert valid is None


def test_focal_resizes_as_opencv_and_loses_small_forgeries() -> None:
    """torch's bilinear (no aligned corners, no antialiasing) is OpenCV's; a forgery of 6 pixels falls between 64 x 64 samples."""
    truth = disc(640, 512, 70)
    there, *_ = apply(PROTOCOLS["focal"], truth, None, truth)
    wanted = F.interpolate(torch.from_numpy(truth)[None, None].float(), size=(64, 64), mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(there, (wanted[0, 0] * 255).round().numpy() > 127)
    small = np.zeros((1024, 1024), bool)
    small[512:518, 512:518] = True
    assert not apply(PROTOCOLS["focal"], small, None, small)[0].any()
    assert apply(PROTOCOLS["focal-256"], small, None, small)[0].any()


def test_focal_reports_macro_f1_and_counts_empty_truths() -> None:
    empty, marked = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    marked[:8] = True
    focal = PROTOCOLS["focal"]
    assert reported(focal, pixel_metrics(*apply(focal, empty, None, empty))) == {"macro_f1": 1.0, "iou": 1.0}
    row = reported(focal, pixel_metrics(*apply(focal, empty, None, marked)))
    assert row["macro_f1"] == pytest.approx(f1_score(empty.ravel(), marked.ravel(), average="macro"))
    assert row["iou"] == 0.0


def test_resizing_by_hand() -> None:
    """4 -> 2: OpenCV's nearest takes the first row of each pair, bilinear the mean of the two middle samples."""
    rows = np.array([[1, 1], [0, 0], [0, 0], [1, 1]], bool)
    assert nearest(rows, 2).tolist() == [[True, True], [False, False]]
    assert bilinear(rows.astype(np.float32), 2).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert nearest(rows, 3)[:, 0].tolist() == [True, False, False], "rows 0, 1, 2 of floor(i 4 / 3)"


def test_cfl_net_flips_and_skips() -> None:
    cfl = PROTOCOLS["cfl-net"]
    truth = disc(256, 256)
    score = 1 - soft(truth)
    row = reported(cfl, pixel_metrics(*apply(cfl, truth, score, None)))
    plain = roc_auc_score(truth.ravel(), score.ravel())
    assert row["auc"] == pytest.approx(plain, abs=1e-6)
    assert row["flipped_auc"] == pytest.approx(1 - plain, abs=1e-6)
    assert row["flipped_auc"] > 0.5 > row["auc"]
    empty = np.zeros((256, 256), bool)
    assert reported(cfl, pixel_metrics(*apply(cfl, empty, score, None))) == {"flipped_auc": None, "auc": None}


def test_a_score_is_cut_at_the_threshold_and_a_mask_goes_before_it() -> None:
    truth = disc(512, 512)
    score = soft(truth)
    assert (apply(PROTOCOLS["ncl"], truth, score, None)[2] == (score > 0.5)).all()
    assert (apply(PROTOCOLS["ncl"], truth, score, truth)[2] == truth).all()
    half = np.full((4, 4), 0.5, np.float32)
    assert not apply(PROTOCOLS["imdlbenco"], disc(4, 4, 1), half, None)[2].any(), "0.5 itself is not forged"


def test_trufor_ignores_the_border() -> None:
    """A square of 40: 26 x 26 pixels have their 15 x 15 inside it; its dilation by 11 is a square of 50."""
    truth = np.zeros((100, 100), bool)
    truth[30:70, 30:70] = True
    valid = clear_of_border(truth, 15, 11)
    assert (valid & truth).sum() == 26**2
    assert (~valid & ~truth).sum() == 50**2 - 40**2
    sloppy = np.zeros_like(truth)
    sloppy[26:74, 34:66] = True  # wrong only within the border
    trufor = PROTOCOLS["trufor"]
    assert pixel_metrics(*apply(trufor, truth, None, sloppy)).f1 == 1.0
    assert pixel_metrics(*apply(PROTOCOLS["native"], truth, None, sloppy)).f1 < 0.9  # type: ignore[operator]


def test_trufor_takes_the_better_of_answer_and_inverse_and_skips_what_erosion_removes() -> None:
    trufor, truth = PROTOCOLS["trufor"], disc()
    row = reported(trufor, pixel_metrics(*apply(trufor, truth, 1 - truth.astype(np.float32), None)))
    assert row == {"permute_f1": 1.0, "best_permute_f1": 1.0}
    thin = np.zeros((100, 100), bool)
    thin[50:60] = True
    row = reported(trufor, pixel_metrics(*apply(trufor, thin, thin.astype(np.float32), None)))
    assert row == {"permute_f1": None, "best_permute_f1": None}


def test_imdlbenco_gives_0_for_an_empty_truth() -> None:
    empty = np.zeros((8, 8), bool)
    metrics = pixel_metrics(*apply(PROTOCOLS["imdlbenco"], empty, np.zeros((8, 8), np.float32), empty))
    assert metrics.f1 == 1.0
    assert reported(PROTOCOLS["imdlbenco"], metrics) == {"f1": 0.0, "iou": 0.0, "auc": None}


def test_bad_input_is_named() -> None:
    truth = disc()
    with pytest.raises(ValueError, match="neither score nor mask"):
        apply(PROTOCOLS["native"], truth, None, None)
    with pytest.raises(ValueError, match=r"mask is \(299, 400\), truth is \(300, 400\)"):
        apply(PROTOCOLS["focal"], truth, None, truth[1:])
    with pytest.raises(ConfigError, match="did you mean trufor"):
        find_protocol("truefor")
