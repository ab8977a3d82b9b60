import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from imgscan.datasets.degradations import gaussian_taps
from imgscan.decode import estimate_quality
from imgscan.errors import ConfigError
from imgscan.evaluation.attacks import ATTACKS, SOCIAL, attack, encoded_jpeg, find_attacks


@pytest.fixture
def picture(photos: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A window of a photograph, and a truth."""
    rgb = photos[0][:120, :160].copy()
    mask = np.zeros((120, 160), bool)
    mask[30:80, 40:120] = True
    return rgb, mask


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack(name: str, picture: tuple[np.ndarray, np.ndarray]) -> None:
    rgb, mask = picture
    before = rgb.copy(), mask.copy()
    there, truth = attack(name, rgb, mask, seed=1)
    assert (there.dtype, truth.dtype) == (np.uint8, np.bool_)
    assert there.shape == (*truth.shape, 3)
    assert there.shape != rgb.shape or (there != rgb).any()
    again, same = attack(name, rgb, mask, seed=1)
    np.testing.assert_array_equal(there, again)
    np.testing.assert_array_equal(truth, same)
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_mask_follows_the_pixels(name: str) -> None:
    """Forged pixels are white, pristine ones black: after any attack the mask still says which is which, but for the contour."""
    mask = np.zeros((128, 192), bool)
    mask[24:88, 48:144] = True
    rgb = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    there, truth = attack(name, rgb, mask, seed=2)
    wrong = (there.mean(2) > 127) != truth
    assert wrong.mean() < 0.02
    assert truth.any()


def test_geometry_by_hand() -> None:
    rgb, mask = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200), bool)
    assert attack("resize-0.78", rgb, mask)[1].shape == (78, 156)
    assert attack("resize-0.25", rgb, mask)[0].shape == (25, 50, 3)
    assert attack("crop-0.75", rgb, mask)[1].shape == (75, 150)


def test_a_crop_leaves_the_grid_of_8_in_both_directions() -> None:
    y, x = np.mgrid[:64, :96].astype(np.uint8)
    rgb = np.stack([y, x, x], axis=2)
    starts = {tuple(attack("crop-0.75", rgb, y > 30, seed=seed)[0][0, 0, :2].tolist()) for seed in range(40)}
    assert len(starts) > 10, "the place is drawn"
    assert all(top % 8 and left % 8 for top, left in starts)
    with pytest.raises(ValueError, match="1 x 96; too small"):
        attack("crop-0.75", rgb[:1], np.zeros((1, 96), bool))


@pytest.mark.parametrize("quality", [50, 70, 90, 100])
def test_the_quality_is_in_the_quantisation_tables(quality: int, picture: tuple[np.ndarray, np.ndarray]) -> None:
    rgb, mask = picture
    with Image.open(io.BytesIO(encoded_jpeg(rgb, quality))) as file:
        assert estimate_quality(file.quantization) == quality  # type: ignore[attr-defined]
        decoded = np.array(file.convert("RGB"))
    np.testing.assert_array_equal(attack(f"jpeg-{quality}", rgb, mask)[0], decoded)


def test_jpeg_50_has_the_standard_tables() -> None:
    """At quality 50 the tables are those of ITU T.81, Annex K: luma from 10 to 121, 16 for the mean."""
    with Image.open(io.BytesIO(encoded_jpeg(np.zeros((16, 16, 3), np.uint8), 50))) as file:
        luma = file.quantization[0]  # type: ignore[attr-defined]
        assert get_sampling(file) == 2, "4:2:0 in Pillow's count"
    assert luma[0] == 16
    assert sorted(luma)[:5] == [10, 11, 12, 12, 13]
    assert sorted(luma)[-3:] == [113, 120, 121]


@pytest.mark.parametrize("group", ["jpeg", "webp"])
def test_lower_quality_is_further_from_the_picture(group: str, picture: tuple[np.ndarray, np.ndarray]) -> None:
    rgb, mask = picture
    names = sorted(find_attacks(group), key=lambda name: -ATTACKS[name].strength)
    errors = [float(np.square(attack(name, rgb, mask)[0].astype(float) - rgb).mean()) for name in names]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


@pytest.mark.parametrize("name", ["noise-3", "noise-5", "noise-23"])
def test_noise_has_its_sigma(name: str) -> None:
    rgb = np.full((200, 200, 3), 128, np.uint8)
    there, _ = attack(name, rgb, np.zeros((200, 200), bool))
    assert there.std() == pytest.approx(ATTACKS[name].strength, rel=0.02)
    assert there.mean() == pytest.approx(128, abs=0.3)
    assert np.corrcoef(there[..., 0].ravel(), there[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.03)
    assert (attack(name, rgb, np.zeros((200, 200), bool), seed=1)[0] != there).any()


def test_the_blur_of_a_dot_by_hand() -> None:
    """Outer products of 1/4 1/2 1/4 and of 1 4 6 4 1 over 16, on 255 grey levels."""
    rgb, mask = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool)
    rgb[4, 4] = 255
    three, five = attack("blur-3", rgb, mask)[0][..., 0], attack("blur-5", rgb, mask)[0][..., 0]
    assert three[3:6, 3:6].tolist() == [[16, 32, 16], [32, 64, 32], [16, 32, 16]]
    assert three.sum() == 256
    assert five[4, 2:7].tolist() == [6, 24, 36, 24, 6]
    flat = np.full((9, 9, 3), 200, np.uint8)
    assert (attack("blur-23", flat, mask)[0] == 200).all(), "nothing comes in from beyond the edge"


def test_taps_beyond_the_table() -> None:
    """k = 11: sigma = 0.3 * 4 + 0.8 = 2; neighbours of the centre weigh e^(-1/8) of it."""
    taps = gaussian_taps(11)
    assert taps.sum() == pytest.approx(1)
    assert taps[4] / taps[5] == pytest.approx(np.exp(-1 / 8))
    for kernel in (1, 3, 5, 7):
        assert gaussian_taps(kernel).sum() == 1
    with pytest.raises(ValueError, match="odd"):
        gaussian_taps(4)


def test_social_networks_shrink_to_their_longest_side_and_never_enlarge() -> None:
    tall = np.zeros((1500, 300, 3), np.uint8), np.zeros((1500, 300), bool)
    assert attack("social-telegram", *tall)[1].shape == (1280, 256)
    assert attack("social-twitter-medium", *tall)[1].shape == (1200, 240)
    assert attack("social-signal", *tall)[1].shape == (1500, 300)


def test_the_table_is_in_order() -> None:
    """Names say what is done, a unit belongs to a group, and every approximation of a platform has a source."""
    for name, one in ATTACKS.items():
        assert name.startswith(one.group + "-")
        assert {other.unit for other in ATTACKS.values() if other.group == one.group} == {one.unit}
        if one.group != "social":
            assert name == f"{one.group}-{one.strength:g}"
    assert set(SOCIAL) == {name for name, one in ATTACKS.items() if one.group == "social"}


def test_names_groups_and_suites() -> None:
    assert find_attacks("all") == list(ATTACKS)
    assert find_attacks("jpeg-50") == ["jpeg-50"]
    assert find_attacks("webp") == ["webp-80", "webp-50"]
    assert set(find_attacks("ncl-3")) == {
        *("resize-0.78", "resize-0.25", "blur-3", "blur-5", "noise-3", "noise-5", "jpeg-100", "jpeg-50")
    }
    assert len(find_attacks("sweep")) == 18
    with pytest.raises(ConfigError, match="did you mean jpeg-50"):
        find_attacks("jpg-50")


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"rgb \(4, 5, 3\) uint8, mask \(4, 4\) bool"):
        attack("blur-3", np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="float64"):
        attack("blur-3", np.zeros((4, 5, 3)), np.zeros((4, 5), bool))
    with pytest.raises(ConfigError, match="unknown attack"):
        attack("rotate", np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool))
