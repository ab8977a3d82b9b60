"""Blocks with another JPEG history than the rest: made here with the library's own codec, so that the truth is known."""

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from imgscan.detectors import adq
from imgscan.detectors.inconsistency import luma
from imgscan.detectors.jpeg_blocks import ROWS, clipped, coefficients, grid_corner, mixture_gains
from imgscan.jpeg import Luma, quantization_table, read_luma
from tests.detectors.scenes import auc, grey, jpeg, square

Rgb = NDArray[np.uint8]
PHOTOS = sorted((Path(__file__).parents[1] / "data" / "photos").glob("*.jpg"))


@pytest.fixture(scope="module")
def scenes() -> list[Rgb]:
    """Photographs made smaller, 384 x 384: nothing is left of their own JPEG."""
    return [np.asarray(Image.open(path).convert("RGB").resize((384, 384), Image.Resampling.LANCZOS)) for path in PHOTOS]


def pasted(host: Rgb, donor: Rgb, patch: NDArray[np.bool_]) -> Rgb:
    """The host with the pixels of another picture, whose JPEG blocks, if it has any, lie elsewhere."""
    return np.where(patch[..., None], np.roll(donor, (3, 5), (0, 1)), host)


Table = int | list[int]
TABLE = [6, 4, 5, 7, 9, 12, 12, 17, *[13] * 56]
"""Steps of no quality of the standard's."""


def encoded(rgb: Rgb, table: Table) -> bytes:
    buffer = io.BytesIO()
    if isinstance(table, int):
        Image.fromarray(rgb).save(buffer, "JPEG", quality=table)
    else:
        Image.fromarray(rgb).save(buffer, "JPEG", qtables=[table, table], subsampling=0)
    return buffer.getvalue()


def pixels(content: bytes) -> Rgb:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def f1(truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    return 2 * float((truth & mask).sum()) / float(truth.sum() + mask.sum())


PATCH = square(384, 130, 90, 120)  # not on the grid of the blocks


@pytest.mark.parametrize("quality", [60, 80, 90])
@pytest.mark.parametrize("donated", [None, 75], ids=["never saved", "saved"])
def test_what_was_pasted_into_a_saved_picture_and_stored_without_loss(scenes: list[Rgb], quality: int, donated: int | None) -> None:
    donor = scenes[1] if donated is None else jpeg(scenes[1], donated)
    score = adq.score(pasted(jpeg(scenes[0], quality), donor, PATCH))
    assert auc(PATCH, score) > 0.95
    assert f1(PATCH, score > 0.5) > 0.8


@pytest.mark.parametrize(("first", "last"), [(60, 90), (70, 95), (75, 85)])
def test_what_was_pasted_before_the_last_of_two_compressions(scenes: list[Rgb], first: int, last: int) -> None:
    score = adq.score(jpeg(pasted(jpeg(scenes[0], first), scenes[2], PATCH), last))
    assert auc(PATCH, score) > 0.98
    assert f1(PATCH, score > 0.5) > 0.8


@pytest.mark.parametrize("saved", [(), (90,), (75,), (60, 90), (90, 60), (75, 75)], ids=str)
def test_a_picture_of_one_history_is_left_alone(scenes: list[Rgb], saved: tuple[int, ...]) -> None:
    for rgb in scenes:
        for quality in saved:
            rgb = jpeg(rgb, quality)
        assert not adq.weigh(rgb).odds.any()


def faded(rgb: Rgb, how: str) -> Rgb:
    """The picture as an editor's filter leaves it: unchanged in one place, and from there on more and more."""
    down, across = np.mgrid[-1 : 1 : rgb.shape[0] * 1j, -1 : 1 : rgb.shape[1] * 1j]
    amount = {
        "vignette": 0.5 * np.clip((np.hypot(down, across) / math.sqrt(2) - 0.4) / 0.6, 0, 1) ** 2,
        "graduated": 0.5 * np.clip(-down, 0, 1),
        "leak": 0.6 * np.clip((across - down) / 2, 0, 1) ** 2,  # into the upper right corner
    }[how]
    colour = np.array([255, 140, 40]) if how == "leak" else np.zeros(3)
    return np.clip(np.rint(rgb + (colour - rgb) * amount[..., None]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("last", [None, 92], ids=["stored without loss", "saved"])
@pytest.mark.parametrize("how", ["vignette", "graduated", "leak"])
def test_a_picture_edited_as_a_whole_is_no_forgery(scenes: list[Rgb], how: str, last: int | None) -> None:
    marked = 0
    for first in (60, 75, 90):
        for rgb in scenes:
            edited = faded(jpeg(rgb, first), how)
            marked += adq.weigh(edited if last is None else jpeg(edited, last)).odds.max() > 0
    assert marked <= 1, f"{marked} of {3 * len(scenes)}"


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_photographs_as_their_cameras_saved_them(path: Path) -> None:
    assert not adq.weigh(np.asarray(Image.open(path).convert("RGB"))).odds.any()


@pytest.mark.parametrize(
    "saved",
    [(85, 80), (85, 90), (60, 90), (60, 70), (92, 90), (92, TABLE)],
    ids=["85 80", "85 90", "60 90", "60 70", "92 90", "92 other"],
)
@pytest.mark.parametrize("gain", [1.0, 1.35], ids=["as it is", "glaring"])
def test_a_file_saved_twice_is_left_alone(scenes: list[Rgb], saved: tuple[Table, Table], gain: float) -> None:
    """The decoder clips what is too bright or too dark, and such blocks look as if they had been saved once."""
    for rgb in scenes:
        bright = np.clip((rgb.astype(float) - 128) * gain + 128, 0, 255).astype(np.uint8)
        content = encoded(pixels(encoded(bright, saved[0])), saved[1])
        assert not adq.weigh(pixels(content), read_luma(content)).odds.any()


@pytest.mark.parametrize("first", [60, 75])
def test_a_file_whose_table_no_standard_has(scenes: list[Rgb], first: int) -> None:
    """Its own table and luma say what its pixels hide."""
    content = encoded(pasted(jpeg(scenes[0], first), scenes[2], PATCH), TABLE)
    score = adq.score(pixels(content), read_luma(content))
    assert auc(PATCH, score) > 0.98
    assert f1(PATCH, score > 0.5) > 0.8


def test_of_a_file_whose_blocks_do_not_fit_its_table_nothing_is_said(scenes: list[Rgb]) -> None:
    """Another picture's luma, as it were: who knows what its blocks passed."""
    rgb = pasted(jpeg(scenes[0], 80), scenes[1], PATCH)
    assert adq.weigh(rgb).odds.any()
    assert not adq.weigh(rgb, Luma(scenes[2].max(2), np.full(64, 40.0))).odds.any()


@pytest.mark.parametrize("quality", [30, 62, 90])
def test_every_file_fits_its_own_table(scenes: list[Rgb], quality: int) -> None:
    """Also where a half of it is flat, and the mean of its blocks is rounded with their pixels."""
    for rgb in scenes:
        flat = rgb.copy()
        flat[:200] = np.linspace(120, 160, 384, dtype=np.uint8)[None, :, None]
        luma_of = read_luma(encoded(flat, quality))
        assert adq._fits_file(luma_of, coefficients(luma_of.values.astype(np.float32)))


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize(
    "tone",
    [lambda x: x * 1.1, lambda x: x * 0.9 + 10, lambda x: x + 7, lambda x: 255 * (x / 255) ** 1.2],
    ids=["contrast", "flatter", "brighter", "curve"],
)
def test_a_picture_toned_as_a_whole_after_its_jpeg_is_left_alone(
    scenes: list[Rgb], tone: Callable[[NDArray[np.float64]], NDArray[np.float64]], quality: int
) -> None:
    for rgb in scenes:
        toned = np.round(np.minimum(tone(jpeg(rgb, quality).astype(float)), 255)).astype(np.uint8)
        assert not adq.weigh(toned).odds.any()


def test_nearly_all_of_a_tall_picture_is_clipped() -> None:
    rng = np.random.default_rng(3)
    rgb = np.full((1024, 64, 3), 255, np.uint8)
    rgb[:, 56:] = rng.integers(60, 180, (1024, 8, 3))
    assert not adq.weigh(jpeg(rgb, 75)).odds.any()


def test_a_small_part_in_a_picture_stored_without_loss(scenes: list[Rgb]) -> None:
    """Under 2 % of the blocks, so that nearly all fit the table."""
    small = square(384, 130, 90, 44)
    score = adq.score(pasted(jpeg(scenes[0], 80), scenes[1], small))
    assert auc(small, score) > 0.95
    assert f1(small, score > 0.5) > 0.6


def test_the_way_a_picture_is_stored_without_loss_says_nothing(scenes: list[Rgb]) -> None:
    """A forgery saved as JPEG and then as PNG is as one saved as JPEG: all its blocks fit, and there was no compression before."""
    assert not adq.weigh(jpeg(pasted(scenes[0], scenes[1], PATCH), 80)).odds.any()


@pytest.mark.parametrize(("top", "left"), [(3, 5), (0, 1), (7, 0), (4, 4)])
def test_a_picture_cropped_off_the_grid(scenes: list[Rgb], top: int, left: int) -> None:
    rgb = np.ascontiguousarray(pasted(jpeg(scenes[0], 80), scenes[1], PATCH)[top:, left:])
    assert adq.weigh(rgb).corner == (-top % 8, -left % 8)
    score = adq.score(rgb)
    assert auc(PATCH[top:, left:], score) > 0.95
    assert f1(PATCH[top:, left:], score > 0.5) > 0.8
    assert not adq.weigh(np.ascontiguousarray(jpeg(scenes[0], 80)[top:, left:])).odds.any()


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_the_grid_stands_out_where_there_is_one(scenes: list[Rgb], quality: int) -> None:
    for rgb in scenes:
        assert grid_corner(luma(rgb)) is None
        assert grid_corner(luma(jpeg(rgb, quality)[2:, 6:])) == (6, 2)


def test_at_the_edge_of_a_part_nothing_is_added(scenes: list[Rgb]) -> None:
    """Inside the patch what is added is what is known; elsewhere it is that or nothing, and nothing in a ring around the inside."""
    rgb = pasted(jpeg(scenes[0], 80), scenes[1], PATCH)
    odds, added = adq._log_odds(rgb, None).odds, adq.weigh(rgb).odds
    whole = np.zeros(odds.shape, bool)
    whole[18:30, 13:25] = True  # a block away from every cut one
    assert (added[whole] == odds[whole]).mean() > 0.95
    assert (added[(odds > 0) & (added != odds)] == 0).all()
    assert (added[odds <= 0] == odds[odds <= 0]).all()
    assert (added > 0).sum() < 0.85 * (odds > 0).sum()


def test_clipped_pixels_are_no_evidence_of_another_history(scenes: list[Rgb]) -> None:
    """Contrast beyond what bytes hold: the decoder clips, and the blocks no longer fit the table."""
    glaring = np.clip(scenes[0].astype(float) * 1.25 - 20, 0, 255).astype(np.uint8)
    rgb = jpeg(glaring, 80)
    assert 0.1 < (clipped(rgb) > 0).mean() < 0.9
    assert not adq.weigh(rgb).odds.any()


def test_clipped_blocks_that_fit_are_evidence_of_the_same_history(scenes: list[Rgb]) -> None:
    glaring = np.clip(scenes[0].astype(float) * 1.25 - 20, 0, 255).astype(np.uint8)
    rgb = pasted(jpeg(glaring, 80), scenes[1], PATCH)
    odds = adq._log_odds(rgb, None).odds
    elsewhere = coefficients(luma(grey(PATCH * 255.0)))[..., 0] < 0  # not a pixel of it
    assert (odds[(clipped(rgb) > 0) & (clipped(rgb) < 0.05) & elsewhere] < -1).mean() > 0.5


@pytest.mark.parametrize("quality", [50, 75, 84, 92])
def test_the_steps_are_those_of_the_table_that_the_library_wrote(scenes: list[Rgb], quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scenes[2]).save(buffer, "JPEG", quality=quality)
    file = Image.open(buffer)
    written = np.array(file.quantization[0])
    blocks = coefficients(luma(np.asarray(file.convert("RGB"))))
    steps = adq.estimate_steps(blocks.reshape(-1, 64))
    np.testing.assert_array_equal(steps[1:], written[1:])


def test_of_tables_that_share_the_known_steps_the_likeliest_completes_them() -> None:
    """Qualities 68, 69 and 70 begin with 7 and 6; elsewhere a coefficient or two, which are too few to know a step."""
    table, rng = quantization_table(70).flatten(), np.random.default_rng(0)
    multiples = rng.integers(-3, 4, (300, 64)) * (rng.random((300, 64)) < 0.003)
    multiples[:, 1:3] = rng.integers(-6, 7, (300, 2))
    blocks = (multiples * table + rng.normal(0, 0.3, multiples.shape)).astype(np.float32)
    assert np.array_equal(adq.estimate_steps(blocks)[1:], table[1:])


def test_no_steps_in_a_picture_that_was_never_saved(scenes: list[Rgb]) -> None:
    assert not (adq.estimate_steps(coefficients(luma(scenes[2])).reshape(-1, 64)) > 1).any()


def test_ratios_by_hand() -> None:
    """Step 4, noise 0.4: on a multiple 0.98 * 4 / (0.4 sqrt(2 pi)) + 0.02 = 3.930; half-way 0.02; near 0 nothing in favour."""
    ratios = adq._ratios(np.array([8, 6, -12, 0, 1.9], np.float32), [4, 2])
    on = 0.98 * 4 / (0.4 * math.sqrt(2 * math.pi)) + 0.02
    assert ratios[0] == pytest.approx([on, 0.02, on, 1, 0.02], abs=0.02)
    assert ratios[1, :4] == pytest.approx([(on + 0.02) / 2] * 3 + [1], abs=0.02)


def test_the_best_share_of_a_mixture_by_hand() -> None:
    """Twice as likely, all of them: 97 % follow it.  One in two a tenth as likely: half of them do."""
    gains = mixture_gains(np.array([[2.0, 2.0, 2.0, 2.0], [2.0, 0.1, 2.0, 0.1]]))
    assert gains == pytest.approx([4 * math.log(1.97), 2 * math.log(1.5) + 2 * math.log(0.55)])
    counted = mixture_gains(np.array([[2.0, 0.1]]), np.array([3, 1]))
    assert counted == pytest.approx([max(3 * math.log(1 + share) + math.log(1 - 0.9 * share) for share in (0.5, 0.8, 0.97))])


def test_of_a_large_picture_blocks_are_computed_as_of_each_alone() -> None:
    """More rows of blocks, and more blocks, than are computed at once; neither side is a multiple of 8."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (8 * (2 * ROWS + 1) + 5, 8 * 130 + 3, 3), np.uint8)
    rgb[..., 0] = np.maximum(rgb[..., 0], 7)
    rgb[..., 2] = np.minimum(rgb[..., 2], 250)
    blocks, share = coefficients(luma(rgb)), clipped(rgb, margin=1)
    assert blocks.shape == (2 * ROWS + 1, 130, 64)
    assert share.shape == blocks.shape[:2]
    assert blocks[..., 0].size > adq.TOGETHER
    table = quantization_table(75).flatten().astype(float)
    residual = adq._residual(blocks, table)
    for row, column in ((0, 0), (ROWS - 1, 129), (ROWS, 0), (2 * ROWS, 129)):
        block = rgb[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].astype(np.float32)
        ends = (block <= (8, 1, 1)) | (block >= (254, 254, 249))
        assert share[row, column] == pytest.approx((ends @ (0.299, 0.587, 0.114)).mean(), abs=1e-6)
        alone = fft.dctn(block @ np.array([0.299, 0.587, 0.114], np.float32) - 128, norm="ortho").flatten()
        assert blocks[row, column] == pytest.approx(alone, abs=1e-3)
        change = (alone - np.round(alone / table) * table)[1:]
        assert residual[row, column] == pytest.approx(np.sqrt((change**2).sum() / 64), abs=1e-3)


def test_a_coefficient_is_where_the_standard_has_it() -> None:
    """A cosine of one period and a half across a block, constant down it: frequency (0, 3), and nothing else."""
    x = np.arange(8)
    wave = np.cos((2 * x + 1) * 3 * np.pi / 16) * 40
    block = coefficients(luma(grey(np.tile(128 + wave, (8, 1)))))[0, 0]
    assert int(np.abs(block).argmax()) == 3
    assert block[3] == pytest.approx(40 * math.sqrt(8 * 4), rel=0.01)  # sum of squares: 8 rows of 4 * 40^2


def test_of_a_file_of_another_size_nothing_is_said() -> None:
    from PIL import Image

    from imgscan.detectors import adq
    from imgscan.jpeg import read_luma
    from tests.detectors.test_adq import PATCH, PHOTOS, TABLE, encoded, jpeg, pasted, pixels

    one, other = (np.asarray(Image.open(path).convert("RGB").resize((384, 384))) for path in PHOTOS[:2])
    content = encoded(pasted(jpeg(one, 60), other, PATCH), TABLE)
    assert adq.weigh(pixels(content), read_luma(content)).odds.any()
    assert not adq.weigh(pixels(content)[:200, :304], read_luma(content)).odds.any()
