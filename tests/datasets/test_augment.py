import colorsys
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.datasets import augment, degradations
from imgscan.datasets.augment import AUGMENTATIONS, TURNS, flip, focal_augment, pad, shrink
from imgscan.datasets.degradations import DEGRADATIONS, Array, Step

GEOMETRIC: dict[str, Step] = {"shrink": shrink, **TURNS, **DEGRADATIONS["warp"]}
PHOTOMETRIC: dict[str, Step] = {"compress": augment.compress, **DEGRADATIONS["blur"], **DEGRADATIONS["tone"]}
FOCAL_STEPS = 0.75  # share of pictures that go through the list


def marked(height: int = 96, width: int = 120) -> tuple[Array, Array]:
    """A bright L on a dark ground, labelled 3: no turn maps it onto itself."""
    labels = np.zeros((height, width), np.uint8)
    labels[16:64, 24:48] = 3
    labels[48:64, 24:90] = 3
    rgb = np.where(labels[..., None] > 0, [240, 230, 250], [20, 30, 10]).astype(np.uint8)
    return rgb, labels


def agreement(rgb: Array, labels: Array) -> float:
    """Intersection over union of what is bright and what is labelled."""
    bright, forged = rgb.mean(2) > 128, labels > 0
    return float((bright & forged).sum() / (bright | forged).sum())


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_block_and_its_labels_travel_together(name: str) -> None:
    rgb, labels = marked()
    moved = 0
    for seed in range(12):
        after, where = GEOMETRIC[name](rgb, labels, np.random.default_rng(seed))
        assert after.dtype == where.dtype == np.uint8
        assert after.shape == (*where.shape, 3)
        assert set(np.unique(where)) == {0, 3}
        assert agreement(after, where) > 0.93
        moved += where.shape != labels.shape or bool((where != labels).any())
    assert moved > (6 if name == "quarter-turns" else 11)


def test_the_padding_reflects_without_repeating_the_edge() -> None:
    labels = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    rgb = np.repeat(labels[..., None] * 10, 3, axis=2)
    padded, where = pad(rgb, labels, 6)
    assert where.tolist() == [
        [2, 1, 2, 3, 2, 1],
        [5, 4, 5, 6, 5, 4],
        [2, 1, 2, 3, 2, 1],
        [5, 4, 5, 6, 5, 4],
        [2, 1, 2, 3, 2, 1],
        [5, 4, 5, 6, 5, 4],
    ]
    assert (padded == where[..., None] * 10).all()
    assert pad(rgb, labels, 2)[1].tolist() == labels.tolist()


def test_the_warps_reflect_without_repeating_the_edge() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    labels = rgb[..., 0] % 7
    where = np.stack(np.meshgrid(np.arange(-3, 93), np.arange(5, 125), indexing="ij")).astype(float)
    moved, moved_labels = degradations._remapped(rgb, labels, where)
    assert (moved == np.pad(rgb, [(3, 0), (0, 5), (0, 0)], mode="reflect")[:96, 5:]).all()
    assert (moved_labels == np.pad(labels, [(3, 0), (0, 5)], mode="reflect")[:96, 5:]).all()


def test_shrinking_is_bilinear_without_antialiasing(photos: list[np.ndarray]) -> None:
    rgb = np.ascontiguousarray(photos[0][:90, :130])
    small, labels = shrink(rgb, rgb[..., 0].copy(), np.random.default_rng(4))
    assert 0.5 <= small.shape[0] / 90 <= 1
    assert small.shape[1] / small.shape[0] == pytest.approx(130 / 90, rel=0.03)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    wanted = F.interpolate(tensor, size=small.shape[:2], mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
    assert np.abs(small - wanted).max() < 0.51
    assert set(np.unique(labels)) <= set(np.unique(rgb[..., 0]))


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_steps_change_the_picture_and_leave_the_labels(name: str, photos: list[np.ndarray]) -> None:
    rgb, labels = np.ascontiguousarray(photos[1][200:296, 300:420]), marked()[1]
    changes = []
    for seed in range(6):
        before = rgb.copy()
        after, where = PHOTOMETRIC[name](rgb, labels, np.random.default_rng(seed))
        assert where is labels
        assert after.dtype == np.uint8
        assert after.shape == rgb.shape
        assert (rgb == before).all()
        assert np.corrcoef(after.ravel(), rgb.ravel())[0, 1] > 0.8
        changes.append(np.abs(after.astype(int) - rgb).mean())
    assert 0.1 < np.median(changes) < 60


def test_a_gaussian_blur_has_the_taps_of_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """albumentations gives no sigma, and then OpenCV takes a fixed table up to 7 taps; its formula says 0.239 for 0.25."""
    point = np.zeros((9, 9, 3), np.uint8)
    point[4, 4] = 255
    monkeypatch.setattr(degradations, "_odd", lambda rng: 3)
    rgb, _ = degradations.gaussian_blur(point, point[..., 0], np.random.default_rng(0))
    assert rgb[3:6, 3:6, 0].tolist() == [[16, 32, 16], [32, 64, 32], [16, 32, 16]]


@pytest.mark.parametrize("name", ["box", "gaussian", "median", "motion", "sharpen"])
def test_filters_leave_a_flat_picture_flat_up_to_their_gain(name: str) -> None:
    flat = np.full((20, 24, 3), 100, np.uint8)
    after, _ = PHOTOMETRIC[name](flat, flat[..., 0], np.random.default_rng(0))
    assert len(np.unique(after)) == 1
    if name != "sharpen":
        assert after[0, 0, 0] == 100


def test_motion_blur_is_a_line_of_unit_weight() -> None:
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 252
    for seed in range(30):
        after, _ = degradations.motion_blur(point, point[..., 0], np.random.default_rng(seed))
        taps = np.argwhere(after[..., 0] > 0)
        assert 2 <= len(taps) <= 7
        assert int(after[..., 0].sum()) == pytest.approx(252, abs=4)
        assert np.abs(taps - 10).max() <= 3


def test_noise_has_the_strength_it_should() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    deviations = [float(degradations.gauss_noise(grey, grey[..., 0], np.random.default_rng(seed))[0].std()) for seed in range(40)]
    assert min(deviations) > np.sqrt(10) - 0.1
    assert max(deviations) < np.sqrt(50) + 0.1
    assert max(deviations) - min(deviations) > 2.5


def test_hue_and_lightness_are_those_of_the_standard_library() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 40, 3), dtype=np.uint8)
    rgb[0, :8] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9], [255, 255, 0], [1, 0, 0]]
    hue, light, saturation = degradations._hls(rgb)
    wanted = np.array([colorsys.rgb_to_hls(*(pixel / 255)) for pixel in rgb.reshape(-1, 3)]).T.reshape(3, 6, 40)
    np.testing.assert_allclose(np.stack([hue / 360, light, saturation]), wanted, atol=1e-9)
    assert (degradations._from_hls(hue, light, saturation) == rgb).all()


def test_curves_keep_black_and_gamma_keeps_white() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(10):
        for step in (degradations.gamma, degradations.tone_curve):
            after = step(ramp, ramp[..., 0], np.random.default_rng(seed))[0][0, :, 0].astype(int)
            assert (after[0], after[255]) == (0, 255)
            assert (np.diff(after) >= 0).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_is_deterministic_and_keeps_its_promises(name: str, photos: list[np.ndarray]) -> None:
    rgb = np.ascontiguousarray(photos[2][:100, :140])
    labels = np.zeros((100, 140), np.uint8)
    labels[20:60, 30:90] = 2
    answers = set()
    for seed in range(24):
        (after, where), (again, where_again) = (
            AUGMENTATIONS[name](rgb, labels, 128, np.random.default_rng(seed)) for _ in range(2)
        )
        assert (after == again).all()
        assert (where == where_again).all()
        assert after.dtype == where.dtype == np.uint8
        assert after.shape == (*where.shape, 3)
        assert set(np.unique(where)) <= {0, 2}
        torch.from_numpy(after)  # refuses negative strides
        torch.from_numpy(where)
        answers.add(after.tobytes())
    assert len(answers) == {"none": 1, "flip": 2}.get(name, len(answers))
    if name == "focal":
        assert len(answers) > 14


def test_flip_is_a_fair_coin() -> None:
    rgb, labels = marked()
    flipped = 0
    rng = np.random.default_rng(0)
    for _ in range(400):
        after, where = flip(rgb, labels, rng)
        turned = bool((where != labels).any())
        assert (where == (labels[:, ::-1] if turned else labels)).all()
        assert (after == (rgb[:, ::-1] if turned else rgb)).all()
        flipped += turned
    assert flipped == pytest.approx(200, abs=40)


def test_every_member_is_reached_as_often_as_the_list_says(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()

    def counting(name: str) -> Step:
        def step(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            counts[name] += 1
            return rgb, labels

        return step

    for table in (TURNS, *DEGRADATIONS.values()):
        for name in table:
            monkeypatch.setitem(table, name, counting(name))
    monkeypatch.setattr(augment, "shrink", counting("shrink"))
    monkeypatch.setattr(augment, "compress", counting("jpeg"))
    monkeypatch.setattr(augment, "pad", lambda rgb, labels, side: counting("pad")(rgb, labels, rng))
    rgb, labels, rng = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.random.default_rng(0)
    draws = 20_000
    for _ in range(draws):
        focal_augment(rgb, labels, 4, rng)
    expected = {"pad": FOCAL_STEPS, "shrink": FOCAL_STEPS * 0.75, "jpeg": FOCAL_STEPS * 0.75}
    expected |= dict.fromkeys(TURNS, FOCAL_STEPS * 0.75 / 4)
    expected |= {name: FOCAL_STEPS * 0.25 / 3 / len(group) for group in DEGRADATIONS.values() for name in group}
    assert set(counts) == set(expected)
    for name, share in expected.items():
        assert abs(counts[name] / draws - share) < 5 * np.sqrt(share * (1 - share) / draws), name


def test_small_pictures_are_padded_and_large_ones_kept() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rgb, labels = marked()
        after, where = focal_augment(rgb, labels, 160, rng)
        if after is not rgb:
            assert where.shape == (160, 160)
        after, where = focal_augment(rgb, labels, 32, np.random.default_rng(seed))
        assert min(where.shape) >= 48


def test_bad_arrays_raise_with_the_shape() -> None:
    rgb, labels = marked()
    for augmentation in AUGMENTATIONS.values():
        with pytest.raises(ValueError, match=r"\(96, 120, 3\), labels \(96, 119\)"):
            augmentation(rgb, labels[:, :-1], 64, np.random.default_rng(0))
        with pytest.raises(ValueError, match="int64"):
            augmentation(rgb, labels.astype(np.int64), 64, np.random.default_rng(0))
