import io

import numpy as np
import pytest
import torch
from PIL import Image

from imgscan.detectors.ela import error_level
from imgscan.models.noise_view import CHANNELS, GHOST_QUALITIES, NoiseView, quantization_table


def grey_jpeg(grey: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 100])
@pytest.mark.parametrize("chroma", [False, True])
def test_tables_equal_those_that_the_library_writes(quality: int, chroma: bool) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", quality=quality)
    written = Image.open(buffer).quantization[int(chroma)]
    assert sorted(quantization_table(quality, chroma).flatten().int().tolist()) == sorted(written)


def test_table_corner_by_hand() -> None:
    """Quality 75 halves the table: (16 * 50 + 50) // 100 = 8; 101 -> 51."""
    table = quantization_table(75)
    assert (table[0, 0], table[7, 6]) == (8, 52)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(quality: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        quantization_table(quality)


def ghosts(grey: np.ndarray) -> torch.Tensor:
    rgb = torch.from_numpy(np.array(grey))[None, None].expand(1, 3, -1, -1).float() / 255
    return NoiseView()(rgb)[0, 6 : 6 + len(GHOST_QUALITIES)]


@pytest.mark.parametrize("quality", [90, 75, 50])
def test_a_picture_saved_before_barely_changes_at_the_same_quality_and_grid(photos: list[np.ndarray], quality: int) -> None:
    saved = grey_jpeg(np.asarray(Image.fromarray(photos[0]).convert("L"))[:256, :256], quality)
    aligned = ghosts(saved)[GHOST_QUALITIES.index(quality)].mean()
    shifted = ghosts(np.roll(saved, (3, 5), (0, 1)))[GHOST_QUALITIES.index(quality)].mean()
    assert aligned < 0.5 * shifted


def test_ghost_agrees_with_a_real_codec(photos: list[np.ndarray]) -> None:
    """The change a real JPEG encoder makes, up to its rounding to whole grey levels."""
    grey = np.asarray(Image.fromarray(photos[1]).convert("L"))[:128, :128]
    real = np.abs(grey_jpeg(grey, 75).astype(float) - grey).mean()
    ours = float(torch.expm1(ghosts(grey)[GHOST_QUALITIES.index(75)]).mean())
    assert ours == pytest.approx(real, rel=0.1)


def test_channels_size_and_flat_pictures() -> None:
    view = NoiseView()(torch.full((2, 3, 40, 57), 0.5))
    assert view.shape == (2, CHANNELS, 40, 57)
    assert view.isfinite().all()
    assert view[:, 3:6].abs().max() < 1e-3, "a flat picture has no residual"


def test_ela_by_hand() -> None:
    """A flat grey picture survives JPEG unchanged; noise does not, and its error is constant within 8x8 blocks."""
    flat = np.full((32, 40, 3), 128, np.uint8)
    assert error_level(flat).max() == 0
    noisy = flat.copy()
    noisy[8:16, 16:24] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    level = error_level(noisy)
    assert level.shape == (32, 40)
    assert (level[8:16, 16:24] == level[8, 16]).all()
    assert level[8, 16] == level.max() > 0
