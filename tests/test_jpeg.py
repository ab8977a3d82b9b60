import io

import numpy as np
import pytest
from PIL import Image

from imgscan.jpeg import quantization_table, read_luma


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 100])
@pytest.mark.parametrize("chroma", [False, True])
def test_tables_equal_those_that_the_library_writes(quality: int, chroma: bool) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", quality=quality)
    written = Image.open(buffer).quantization[int(chroma)]
    assert quantization_table(quality, chroma).flatten().astype(int).tolist() == list(written)  # row by row


def test_table_corner_by_hand() -> None:
    """Quality 75 halves the table: (16 * 50 + 50) // 100 = 8; 101 -> 51."""
    table = quantization_table(75)
    assert (table[0, 0], table[7, 6]) == (8, 52)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(quality: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        quantization_table(quality)


def test_the_luma_of_a_file_is_that_of_a_grey_one() -> None:
    """A file in which luma is all there is holds the same values; colours beside it change nothing."""
    rng = np.random.default_rng(2)
    rgb = np.clip(rng.normal(128, 30, (40, 56, 1)) + rng.normal(0, 20, (40, 56, 3)), 0, 255).astype(np.uint8)
    content = _saved(Image.fromarray(rgb), quality=80)
    luma = read_luma(content)
    grey = np.asarray(Image.fromarray(rgb).convert("L")).astype(int)
    assert (
        np.abs(
            luma.values.astype(int) - np.asarray(Image.open(io.BytesIO(_saved(Image.fromarray(grey.astype(np.uint8)), quality=80))))
        ).max()
        <= 1
    )
    np.testing.assert_array_equal(luma.table, quantization_table(80).ravel())


def test_a_table_of_ones_own() -> None:
    table = list(range(1, 65))
    luma = read_luma(_saved(Image.new("RGB", (16, 16)), qtables=[table, [9] * 64]))
    assert luma.table.tolist() == table


def test_files_without_luma() -> None:
    assert read_luma(_saved(Image.new("CMYK", (16, 16)))).values.size == 0
    assert read_luma(_saved(Image.new("RGB", (16, 16), (200, 30, 30)), keep_rgb=True)).values.size == 0
    assert read_luma(_saved(Image.new("RGB", (16, 16)))[:40]).values.size == 0, "broken"
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    assert read_luma(buffer.getvalue()).values.size == 0


def _saved(picture: Image.Image, **settings: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **settings)
    return buffer.getvalue()
