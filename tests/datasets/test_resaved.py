from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan.commands.calibrate import _copies
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


def test_no_copy_is_too_small_for_a_scan(tmp_path: Path) -> None:
    """A panorama of 2,000 x 100: at 384 pixels 19 high.  What a scan would refuse anyway is left to it."""
    for height, forms in ((100, ["q90", "q75"]), (40, list(COPIES))):
        Image.new("RGB", (2000, height), "gray").save(tmp_path / "wide.png")
        assert [copy_form(path) for path in resaved(tmp_path / "wide.png", tmp_path, "w")] == forms


def test_a_picture_that_pillow_refuses_has_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (200, 100), "gray").save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert _copies([Source(tmp_path / "bomb.png", "bomb.png")], tmp_path) == []
