from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import fft

from imgscan.alike.fingerprint import fingerprint, transposed, words_of
from imgscan.decode import decode
from imgscan.pixels import as_stored, upright
from imgscan.records import Picture, Source
from tests.conftest import PHOTOS


def waves(signs: np.ndarray) -> np.ndarray:
    """32 x 32 x 3: a picture whose lowest coefficients have these signs and all the same size."""
    coefficients = np.zeros((32, 32))
    coefficients[:16, :16] = 30 * signs
    coefficients[0, 0] = 32 * 128
    return np.repeat(fft.idctn(coefficients, norm="ortho").round().astype(np.uint8)[..., None], 3, 2)


def test_its_bits_are_the_signs_of_the_coefficients_by_parity() -> None:
    signs = np.random.default_rng(0).choice([-1, 1], (16, 16))
    found = fingerprint(waves(signs))
    assert found is not None
    bits = np.array([int(bit) for bit in f"{int(found, 16):0256b}"], bool)
    wanted = [signs[u::2, v::2] > 0 for u, v in ((0, 0), (0, 1), (1, 0), (1, 1))]
    wanted[0][0, 0] = False  # the mean's
    assert (bits == np.concatenate([one.ravel() for one in wanted])).all()


def test_rows_for_columns_is_the_fingerprint_of_the_turned_picture() -> None:
    picture = waves(np.random.default_rng(1).choice([-1, 1], (16, 16)))
    one, other = fingerprint(picture), fingerprint(np.ascontiguousarray(picture.swapaxes(0, 1)))
    assert one is not None
    assert other is not None
    assert (transposed(words_of([one, one])) == words_of([other, other])).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_that_of_the_picture_as_it_is_looked_at(orientation: int) -> None:
    picture = waves(np.random.default_rng(2).choice([-1, 1], (16, 16)))
    stored = as_stored(picture, "TIFF", orientation)
    assert (upright(stored, orientation) == picture).all()
    assert fingerprint(np.ascontiguousarray(stored), orientation) == fingerprint(picture)


def test_it_says_nothing_of_one_colour_noise_or_a_gradient() -> None:
    ramp = np.linspace(0, 255, 300)[:, None, None].repeat(300, 1).repeat(3, 2)
    noise = np.random.default_rng(3).normal(128, 10, (300, 300, 3))
    for picture in (np.full((300, 300, 3), 200.0), noise, ramp, ramp.swapaxes(0, 1)):
        assert fingerprint(picture.clip(0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize(("standing_out", "told"), [(95, False), (96, True)])
def test_it_takes_96_coefficients_that_stand_out(standing_out: int, told: bool) -> None:
    signs = np.zeros(256)
    signs[1 : 1 + standing_out] = np.random.default_rng(6).choice([-1, 1], standing_out)
    assert (fingerprint(waves(signs.reshape(16, 16))) is not None) == told


def test_pages_of_text_have_none_and_photographs_do(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    page = Image.new("RGB", (600, 800), "white")
    for line in range(20):
        ImageDraw.Draw(page).text((40, 40 + 30 * line), "It was the best of times, it was the worst of times " * 2, "black")
    page.save(path)
    text, photo = decode(Source(path, "page.png")), decode(Source(min(PHOTOS.glob("*.jpg")), "photo.jpg"))
    assert isinstance(text, Picture)
    assert isinstance(photo, Picture)
    assert text.fingerprint is None
    assert photo.fingerprint is not None
