import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import fft

from imgscan.detectors.ela import error_level
from imgscan.errors import ConfigError
from imgscan.jpeg import quantization_table
from imgscan.models.noise_view import CHANNELS, CHROMA_QUALITY, GHOST_QUALITIES, PARTS, ConstrainedConv, NoiseView, shared_view


def grey_jpeg(grey: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


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


def test_parts_stand_where_they_are_named() -> None:
    rgb = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(3))
    whole = NoiseView()(rgb)
    view = NoiseView(("chroma", "phase", "srm"))
    assert view.channels == 1 + 4 + 3
    some = view(rgb)
    assert some.shape == (2, 8, 24, 40)
    torch.testing.assert_close(some[:, :1], whole[:, -1:])
    torch.testing.assert_close(some[:, 5:], whole[:, 3:6])
    # Pixel (2, 12): a quarter of a turn down, and one and a half across.
    torch.testing.assert_close(some[1, 1:5, 2, 12], torch.tensor([0.0, 1.0, -1.0, 0.0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("parts", "message"), [(("rgb", "lumma"), "did you mean luma"), ((), "without parts")])
def test_a_view_of_unknown_parts(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NoiseView(parts)


def test_constrained_filters_predict_a_pixel_from_those_around_it() -> None:
    """Whatever the weights: a flat picture has no error; one bright pixel on black has its full level as error, negative."""
    filters = ConstrainedConv()
    with torch.no_grad():
        assert filters(torch.full((1, 1, 16, 16), 200.0)).abs().max() < 1e-3
        dot = torch.zeros(1, 1, 16, 16)
        dot[0, 0, 8, 8] = 100
        answer = filters(dot)
    assert answer[0, :, 8, 8].tolist() == pytest.approx([-100.0] * 3)
    assert answer.sum((2, 3))[0].tolist() == pytest.approx([0.0] * 3, abs=1e-3), "the others share it and give it back"


def test_only_the_constrained_filters_are_learned() -> None:
    assert {name: bool(NoiseView((name,)).state_dict()) for name in PARTS} == {name: name == "constrained" for name in PARTS}


def test_views_of_one_tensor_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole views, and the parts of other ones; but nothing of an equal tensor, nothing learned, and nothing afterwards."""
    made: list[str] = []
    part = NoiseView._part

    def counted(self: NoiseView, name: str, *rest: torch.Tensor) -> torch.Tensor:
        made.append(name)
        return part(self, name, *rest)

    monkeypatch.setattr(NoiseView, "_part", counted)
    rgb = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(5))
    first, again, fewer = NoiseView(), NoiseView(), NoiseView(("luma", "constrained", "rgb"))
    alone = [view(rgb) for view in (first, fewer)]
    made.clear()
    with shared_view(rgb):
        assert torch.equal(first(rgb), alone[0])
        assert made == ["rgb", "srm", "luma", "chroma"]
        assert torch.equal(again(rgb), alone[0])
        assert len(made) == 4
        assert torch.equal(fewer(rgb), alone[1])
        assert made[4:] == ["constrained"]
        fewer(rgb)
        assert made[5:] == ["constrained"], "the filters of another network are others"
        again(rgb.clone())
        assert len(made) == 10
    first(rgb)
    assert len(made) == 14


def test_residuals_are_truncated() -> None:
    """At 8 grey levels, halved."""
    rgb = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(1, 3, -1, -1)
    srm = NoiseView()(rgb)[0, 3:6]
    assert srm.amin((1, 2)).tolist() == [-4.0] * 3
    assert srm.amax((1, 2)).tolist() == [4.0] * 3


def test_the_chroma_ghost_by_hand() -> None:
    """Cb and Cr as JFIF scales them, halved, quantised block by block; the mean of the two changes."""
    rgb = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.float64)
    luma = rgb @ [0.299, 0.587, 0.114]
    table = quantization_table(CHROMA_QUALITY, chroma=True)
    changes = []
    for scale, channel in ((0.564, 2), (0.713, 0)):
        plane = (scale * (rgb[..., channel] - luma)).reshape(16, 2, 24, 2).mean((1, 3))
        blocks = plane.reshape(2, 8, 3, 8).swapaxes(1, 2)
        coefficients = fft.dctn(blocks, axes=(2, 3), norm="ortho")
        change = fft.idctn(coefficients - np.round(coefficients / table) * table, axes=(2, 3), norm="ortho")
        changes.append(np.abs(change).swapaxes(1, 2).reshape(16, 24))
    wanted = np.log1p(np.mean(changes, axis=0)).repeat(2, 0).repeat(2, 1)
    seen = NoiseView(("chroma",))(torch.from_numpy(rgb / 255).permute(2, 0, 1)[None].float())[0, 0].numpy()
    assert np.isclose(seen, wanted, atol=1e-3).mean() > 0.99  # a coefficient half-way between two steps may go either way
