from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan.datasets.resaved import COPIES, copy_form, resaved
from imgscan.decode import decode
from imgscan.records import Picture, Source


def test_copies_have_the_size_and_quality_they_are_named_after(tmp_path: Path, photos: list[np.ndarray]) -> None:
    Image.fromarray(photos[0][:600, :400]).save(tmp_path / "one.png")
    copies = resaved(tmp_path / "one.png", tmp_path, "1")
    assert [copy_form(path) for path in copies] == list(COPIES)
    for path, (side, quality) in zip(copies, COPIES.values(), strict=True):
        picture = decode(Source(path, path.name))
        assert isinstance(picture, Picture)
        longest = side or 600
        assert (picture.height, picture.width) == (longest, round(400 * longest / 600))
        assert picture.jpeg_quality == quality
        assert picture.format == ("JPEG" if quality else "PNG")


def test_nothing_is_made_larger(tmp_path: Path, photos: list[np.ndarray]) -> None:
    Image.fromarray(photos[0][:100, :80]).save(tmp_path / "small.png")
    for path in resaved(tmp_path / "small.png", tmp_path, "s"):
        with Image.open(path) as copy:
            assert copy.size == (80, 100)


def test_copies_of_deep_grey_are_as_light_as_the_picture(tmp_path: Path) -> None:
    """Pillow's own conversion makes every level over 255 white."""
    ramp = np.tile(np.linspace(0, 65535, 128).astype(np.uint16), (96, 1))
    Image.fromarray(ramp).save(tmp_path / "deep.tif")
    for path in resaved(tmp_path / "deep.tif", tmp_path, "d"):
        with Image.open(path) as copy:
            assert np.asarray(copy).mean() == pytest.approx(127.5, abs=1)
