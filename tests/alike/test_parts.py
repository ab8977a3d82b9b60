"""What two pictures have in common: real photographs with parts of each other."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from imgscan.alike import parts
from imgscan.alike.parts import Shared, growth, points_of, shared_parts, shrunk
from tests.conftest import PHOTOS

NAMES = sorted(path.name for path in PHOTOS.glob("*.jpg"))
BOX = (180, 150, 330, 290)  # of the first photograph's upper left quarter; it goes to AT
AT = (200, 60)


def photo(number: int = 0) -> Image.Image:
    return Image.open(PHOTOS / NAMES[number]).convert("RGB").crop((0, 0, 480, 400))


def saved(picture: Image.Image, quality: int = 85) -> np.ndarray:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


def between(one: np.ndarray, other: np.ndarray) -> list[Shared]:
    one, other = shrunk(one), shrunk(other)
    larger = growth(points_of(one), points_of(other))
    return [] if larger is None else shared_parts(one, other, larger)


def pasted(part: Image.Image, number: int = 1) -> Image.Image:
    host = photo(number)
    host.paste(part, AT)
    return host


def near(shares: tuple[float, ...], pixels: tuple[float, ...], picture: Image.Image, within: float) -> bool:
    return np.allclose(np.multiply(shares, picture.size * 2), pixels, atol=within)


CHANGES = {
    "as it is": lambda part: part,
    "half as large": lambda part: part.resize((part.width // 2, part.height // 2), Image.Resampling.LANCZOS),
    "1.6 times as large": lambda part: part.resize((part.width * 8 // 5, part.height * 8 // 5), Image.Resampling.LANCZOS),
    "mirrored": lambda part: part.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "on its side": lambda part: part.transpose(Image.Transpose.ROTATE_270),
    "darker": lambda part: ImageEnhance.Brightness(part).enhance(0.8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_part_of_one_in_the_other_is_found_with_where_it_is_in_both(change: str) -> None:
    giver = photo()
    part = CHANGES[change](giver.crop(BOX))
    host = pasted(part)
    found = between(saved(giver), saved(host, 75))
    assert found
    best = found[0]
    assert near(best.boxes[0], BOX, giver, 14)
    assert near(best.boxes[1], (*AT, AT[0] + part.width, AT[1] + part.height), host, 14)
    assert best.areas == pytest.approx([150 * 140 / (480 * 400), part.width * part.height / (480 * 400)], rel=0.3)
    assert best.mirrored == (change == "mirrored")
    assert min(abs(best.turned - (90 if change == "on its side" else 0)) % 360, 360 - best.turned) <= 2


@pytest.mark.parametrize("number", [1, 2, 3])
def test_other_photographs_of_such_a_bird_have_nothing_in_common(number: int) -> None:
    assert between(saved(photo()), saved(photo(number))) == []


def test_a_piece_of_a_photograph_is_a_part_of_it() -> None:
    whole = photo()
    piece = whole.crop((100, 80, 400, 330))
    (found,) = between(saved(piece), saved(whole, 70))
    assert found.areas[0] > 0.8
    assert near(found.boxes[1], (100, 80, 400, 330), whole, 16)


def test_of_two_pictures_with_the_same_ground_what_was_put_there_is_no_part() -> None:
    one, other = photo(), photo()
    one.paste(photo(2).crop((0, 0, 120, 400)), (30, 0))
    other.paste(photo(3).crop((0, 0, 120, 400)), (330, 0))
    (found,) = between(saved(one), saved(other))
    assert found.areas[0] == pytest.approx(0.5, abs=0.12), "the ground, less the two strips"
    assert near(found.boxes[0], (0, 0, 480, 400), one, 24), "which lies around them"


def test_letters_and_flat_pictures_have_no_parts() -> None:
    plain = np.full((200, 300, 3), 90, np.uint8)
    assert between(plain, plain) == []
    assert growth(points_of(plain), points_of(saved(photo()))) is None
    assert shared_parts(plain, saved(photo())) == []


def test_large_pictures_are_looked_at_small_and_none_is_enlarged() -> None:
    assert shrunk(np.zeros((3000, 1500, 3), np.uint8)).shape == (768, 384, 3)
    assert shrunk(np.zeros((30, 40, 3), np.uint8)).shape == (30, 40, 3)
    assert shrunk(np.zeros((30, 40, 3), np.uint8), 0.01).shape == (1, 1, 3)
    large = photo().resize((1600, 1333), Image.Resampling.LANCZOS)
    (found, *_) = between(saved(photo()), saved(large))
    assert math.isclose(found.areas[1], found.areas[0], rel_tol=0.2)


def test_what_is_left_of_fine_detail_after_shrinking_is_among_the_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves or gravel: the best of every part of the picture are of the finest detail, which the smaller picture has not."""
    rng = np.random.default_rng(0)
    leaves, crowns = rng.normal(0, 40, (288, 288)), ndimage.gaussian_filter(rng.normal(0, 1, (288, 288)), 2.5)
    picture = np.repeat(np.clip(128 + leaves + 8 * crowns / crowns.std(), 0, 255).astype(np.uint8)[..., None], 3, 2)
    monkeypatch.setattr(parts, "FEW", 60)
    monkeypatch.setattr(parts, "COARSE", 0)
    assert growth(points_of(picture), points_of(shrunk(picture, 0.5))) is None
    monkeypatch.setattr(parts, "COARSE", 15)
    larger = growth(points_of(picture), points_of(shrunk(picture, 0.5)))
    assert larger is not None
    assert abs(larger - 0.5) < 0.02
