import io

import pytest
from PIL import Image

from imgscan.jpeg_tables import quantization_table


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
