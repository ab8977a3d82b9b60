from dataclasses import replace

import numpy as np
import pytest
import torch

from imgscan.extract import extract
from imgscan.opencv import resize_bilinear
from imgscan.prepare import InputPlan, prepare
from imgscan.records import Picture, Source


def picture(height: int, width: int) -> Picture:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(Source(__file__, "x"), rgb, "", 0, "PNG", 1, None)  # type: ignore[arg-type]


class Grid(torch.nn.Module):
    """A network whose answer is known: the mean red and green of each 8 x 8 block, not normalised."""

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(rgb[:, :2], 8)


NATIVE = InputPlan(mode="native", side=128, overlap=32)


def test_native_pixels_are_untouched_and_padded_at_the_end() -> None:
    one = picture(70, 90)
    tensor = prepare(one, NATIVE)
    assert tensor.tiles.shape == (1, 3, 96, 96)
    assert (tensor.tiles[0, :, :70, :90] == torch.from_numpy(one.rgb).permute(2, 0, 1)).all()
    assert (tensor.tiles[0, :, 70:, 0] == tensor.tiles[0, :, 69:70, 0]).all()


def test_a_large_picture_is_tiled_on_the_block_grid_and_covered() -> None:
    one = picture(300, 500)
    tensor = prepare(one, NATIVE)
    covered = torch.zeros(tensor.placement.canvas, dtype=torch.bool)
    padded = torch.nn.functional.pad(torch.from_numpy(one.rgb).permute(2, 0, 1)[None].float(), (0, 12, 0, 20), mode="replicate")[0]
    high, wide = tensor.placement.tile
    for tile, (top, left) in zip(tensor.tiles, tensor.placement.corners, strict=True):
        assert top % 8 == 0
        assert left % 8 == 0
        assert (tile == padded[:, top : top + high, left : left + wide]).all()
        covered[top : top + high, left : left + wide] = True
    assert covered.all()


def test_tiles_share_a_side_evenly() -> None:
    """1024 in tiles of at most 512 that share 64: two reach 960 only, three of 384 reach 1024 exactly."""
    placement = prepare(picture(512, 1024), InputPlan("native", 512, overlap=64)).placement
    assert placement.tile == (512, 384)
    assert placement.corners == ((0, 0), (0, 320), (0, 640))


@pytest.mark.parametrize("size", [(64, 64), (70, 90), (300, 500), (129, 1000)])
def test_features_of_tiles_join_to_those_of_the_whole(size: tuple[int, int]) -> None:
    """Where a network sees no farther than its cell, tiling must change nothing but the length of the vectors."""
    one = picture(*size)
    tiled = extract(Grid(), [prepare(one, NATIVE)], torch.device("cpu"), batch=3, amp=False)[0]
    whole = extract(Grid(), [prepare(one, InputPlan("native", 1024))], torch.device("cpu"), batch=1, amp=False)[0]
    assert tiled.vectors.shape == whole.vectors.shape == (2, round(size[0] / 8), round(size[1] / 8))
    torch.testing.assert_close(
        torch.nn.functional.normalize(tiled.vectors, dim=0), torch.nn.functional.normalize(whole.vectors, dim=0)
    )
    assert tiled.cell == (8.0, 8.0)


def test_shrinking_keeps_the_aspect_and_says_how_large_a_cell_is() -> None:
    tensor = prepare(picture(200, 400), InputPlan("native", 100, beyond="shrink"))
    assert tensor.placement.scaled == (50, 100)
    features = extract(Grid(), [tensor], torch.device("cpu"), batch=1, amp=False)[0]
    assert features.vectors.shape == (2, 6, 12)  # 50 and 100 scaled pixels in cells of 8, half a cell and less dropped
    assert features.cell == (32.0, 32.0)


BOTH = InputPlan("native", 128, whole=192, beyond="both", overlap=32)


def test_a_picture_is_shown_whole_as_long_as_it_fits() -> None:
    tensor = prepare(picture(100, 192), BOTH)
    assert tensor.tiles.shape == (1, 3, 128, 192)
    assert tensor.overview is None


def test_a_larger_one_is_shown_in_tiles_and_shrunk() -> None:
    one = picture(100, 384)
    tensor = prepare(one, BOTH)
    tiles = prepare(one, replace(BOTH, beyond="tile"))
    assert tiles.overview is None
    assert (tensor.tiles == tiles.tiles).all()
    assert max(tensor.tiles.shape[2:]) <= 128
    assert tensor.overview is not None
    assert tensor.overview.placement.scaled == (50, 192)
    assert tensor.overview.tiles.shape == (1, 3, 64, 192)
    flat = replace(one, rgb=np.full_like(one.rgb, 77))
    assert (prepare(flat, BOTH).overview.tiles == 77).all()  # type: ignore[union-attr]


def test_shrinking_is_to_what_can_be_shown_whole() -> None:
    assert prepare(picture(100, 384), replace(BOTH, beyond="shrink")).placement.scaled == (50, 192)


@pytest.mark.parametrize(
    ("whole", "size", "control"),
    [
        (768, (760, 768), (380, 384)),
        (768, (1000, 1200), (500, 600)),
        (768, (800, 1600), (384, 768)),  # no more than is shown at once
        (768, (240, 384), (160, 256)),  # no less than 256 ...
        (768, (150, 250), (150, 250)),  # ... of those that the picture has
        (768, (70, 600), (64, 549)),  # half would be 35 rows, and no network judges fewer than 64
        (192, (100, 192), (100, 192)),
        (192, (640, 768), (160, 192)),
        (192, (64, 1000), (64, 1000)),
        (192, (65_600, 64), (65_500, 64)),  # more cannot be saved
    ],
)
def test_the_control_is_small_and_never_too_small(whole: int, size: tuple[int, int], control: tuple[int, int]) -> None:
    tensor = prepare(picture(*size), replace(BOTH, whole=whole, control=30))
    assert tensor.control is not None
    assert tensor.control.placement.scaled == control
    assert (tensor.control.placement.height, tensor.control.placement.width) == size
    assert prepare(picture(*size), BOTH).control is None


def test_the_control_has_what_is_pictured_and_no_trace() -> None:
    """Noise of one pixel goes, a bright square stays."""
    one = picture(384, 384)
    rgb = one.rgb // 16 + 100
    rgb[128:256, 128:256] += 100
    small = prepare(replace(one, rgb=rgb), replace(BOTH, control=30)).control
    assert small is not None
    seen = small.tiles[0, :, :192, :192].float()
    inside, outside = seen[:, 72:120, 72:120], seen[:, :56]
    assert abs(float(inside.mean() - outside.mean()) - 100) < 4
    assert float(inside.std()) < 2 < float(torch.from_numpy(rgb[128:256, 128:256]).float().std())


def test_resize_ignores_the_aspect_and_does_not_antialias() -> None:
    one = picture(128, 256)
    tensor = prepare(one, InputPlan("resize", 64))
    assert tensor.tiles.shape == (1, 3, 64, 64)
    # Without antialiasing, half the height takes the mean of rows 0 and 1, a quarter of the width that of columns 1 and 2.
    wanted = one.rgb[0:2, 1:3, 0].astype(float).mean()
    assert abs(float(tensor.tiles[0, 0, 0, 0]) - float(wanted)) <= 0.5


def test_pictures_of_different_sizes_go_through_one_call() -> None:
    inputs = [prepare(picture(64, 96), NATIVE), prepare(picture(300, 100), NATIVE), prepare(picture(64, 96), NATIVE)]
    together = extract(Grid(), inputs, torch.device("cpu"), batch=2, amp=False)
    for one, features in zip(inputs, together, strict=True):
        alone = extract(Grid(), [one], torch.device("cpu"), batch=1, amp=False)[0]
        torch.testing.assert_close(features.vectors, alone.vectors)


def ramp() -> np.ndarray:
    """7 x 9 pixels of three different channels."""
    return ((np.arange(7)[:, None, None] * 37 + np.arange(9)[None, :, None] * 53 + np.arange(3) * 11) % 256).astype(np.uint8)


# cv2.resize(ramp(), (5, 4))[..., 0] and three rows of cv2.resize(ramp(), (12, 10))[..., 1], OpenCV 5.0.0
SMALLER = [[35, 130, 226, 65, 161], [100, 189, 35, 130, 206], [165, 209, 99, 195, 47], [165, 69, 164, 131, 99]]
LARGER = {
    0: [11, 44, 84, 124, 163, 203, 147, 26, 66, 106, 146, 179],
    1: [31, 64, 104, 144, 184, 135, 79, 47, 87, 126, 166, 199],
    9: [233, 106, 50, 89, 129, 169, 209, 216, 64, 72, 112, 145],
}


def test_opencvs_resizing_to_the_bit() -> None:
    """Numbers that OpenCV itself gave; its top row of the enlarged picture is one level under the picture's (11 + 33 = 44 is not
    rounded up), for it cuts."""
    assert resize_bilinear(ramp(), 4, 5)[..., 0].tolist() == SMALLER
    larger = resize_bilinear(ramp(), 10, 12)[..., 1]
    for row, wanted in LARGER.items():
        assert larger[row].tolist() == wanted
    assert (resize_bilinear(ramp(), 7, 9) == ramp()).all()


def test_halving_is_the_rounded_mean_of_four() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    means = rgb.reshape(32, 2, 48, 2, 3).sum((1, 3))
    assert (resize_bilinear(rgb, 32, 48) == (means + 2) // 4).all()


def test_the_plan_chooses_the_resampler() -> None:
    one = picture(70, 90)
    exact = prepare(one, InputPlan("resize", 64, resampler="opencv")).tiles[0].permute(1, 2, 0).numpy()
    near = prepare(one, InputPlan("resize", 64)).tiles[0].permute(1, 2, 0).numpy()
    assert (exact == resize_bilinear(one.rgb, 64, 64)).all()
    difference = np.abs(exact.astype(int) - near)
    assert difference.max() == 1
    assert 0.05 < difference.mean() < 0.2
