import numpy as np
import pytest

from imgscan.detectors import ela
from tests.detectors.scenes import auc, dead_leaves, grey, jpeg, noisy, square


def test_error_level_by_hand() -> None:
    """A flat grey picture survives JPEG unchanged; noise does not, and its error is constant within 8x8 blocks."""
    flat = np.full((32, 41, 3), 128, np.uint8)
    assert ela.error_level(flat).max() == 0
    noise = flat.copy()
    noise[8:16, 16:24] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    level = ela.error_level(noise)
    assert level.shape == (32, 41)
    assert (level[8:16, 16:24] == level[8, 16]).all()
    assert level[8, 16] == level.max() > 0


def test_error_level_is_the_mean_change_of_a_second_compression() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    change = np.abs(jpeg(rgb, 90).astype(float) - rgb)
    assert abs(float(ela.error_level(rgb)[3, 11]) - change[:8, 8:].mean() / 255) < 1e-6


def test_a_patch_of_another_quality_stands_out() -> None:
    patch = square(256, 64, 96, 96)
    plain = grey(noisy(dead_leaves(1), 4, 4, patch, seed=2))
    rgb = np.where(patch[..., None], plain, jpeg(plain, 60))
    assert auc(patch, ela.error_level(rgb)) > 0.85
    rgb = np.where(patch[..., None], jpeg(plain, 60), plain)
    assert auc(patch, ela.error_level(rgb)) < 0.15, (
        "it changes less: a ranking by error level cannot know which of the two is pasted"
    )


def test_the_score_ranks_as_the_error_level_and_is_a_half_at_three_deviations() -> None:
    rgb = grey(noisy(dead_leaves(3), 4, 4, square(256, 64, 96, 96), seed=2))
    level, score = ela.error_level(rgb).ravel(), ela.score(rgb).ravel()
    order = np.argsort(level, kind="stable")
    assert (np.diff(score[order]) >= 0).all()
    blocks = ela.error_level(rgb)[::8, ::8]
    half = np.median(blocks) + 3 * 1.4826 * np.median(np.abs(blocks - np.median(blocks)))
    np.testing.assert_array_equal(score > 0.5, level > half)


def test_what_is_too_long_for_one_jpeg_is_saved_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are saved one by one: without colours, whose halves are interpolated, not a pixel changes."""
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (48, 200, 1), np.uint8), 3, axis=2)
    for rgb in (grey, np.ascontiguousarray(grey.transpose(1, 0, 2))):
        monkeypatch.undo()
        wanted = ela.error_level(rgb)
        monkeypatch.setattr(ela, "STRIP", 64)
        np.testing.assert_array_equal(ela.error_level(rgb), wanted)
