"""What FOCAL's augmentation does to one picture in five: a blur, another tone, or a warp (augment.py has the rest of the list).

Each is a step (rgb, labels, rng) -> (rgb, labels) on H x W x 3 uint8 and H x W uint8; only the warps move pixels, and labels with
them.  Parameters are the defaults of the library albumentations that the released FOCAL code (arXiv 2308.09307) relies on; the
code is own.  What is done differently: the affine part and the displacement of `elastic` are one resampling instead of two, since
a second one smooths the traces that are to be learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

Array = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]
Number = TypeVar("Number", np.uint8, np.float32)
Step = Callable[[Array, Array, np.random.Generator], tuple[Array, Array]]


def box_blur(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The mean over 3, 5 or 7 pixels a side."""
    size = _odd(rng)
    return to_bytes(ndimage.uniform_filter(rgb.astype(np.float64), (size, size, 0), mode="mirror")), labels


def gaussian_blur(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A Gaussian of 3, 5 or 7 taps, those of OpenCV where no sigma is given."""
    return blurred(rgb, _odd(rng)), labels


def median_blur(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The median over 3, 5 or 7 pixels a side, each channel on its own."""
    return np.array(Image.fromarray(rgb).filter(ImageFilter.MedianFilter(_odd(rng)))), labels


def motion_blur(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The mean along a line between two drawn points of a square of 3, 5 or 7 pixels a side."""
    size = _odd(rng)
    start, end = (divmod(int(cell), size) for cell in rng.choice(size * size, 2, replace=False))
    line = Image.new("L", (size, size))
    ImageDraw.Draw(line).line([start, end], fill=1)
    kernel = np.asarray(line, np.float64)
    return to_bytes(ndimage.correlate(rgb.astype(np.float64), (kernel / kernel.sum())[..., None], mode="mirror")), labels


def downscale(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """To a quarter of each side and back, nearest neighbour both ways."""
    height, width = labels.shape
    small = sampled(rgb, max(1, height // 4), max(1, width // 4), Image.Resampling.NEAREST)
    return sampled(small, height, width, Image.Resampling.NEAREST), labels


def gauss_noise(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """White noise of variance 10 to 50 grey levels squared, independent in the channels."""
    return to_bytes(rgb + rng.normal(0, np.sqrt(rng.uniform(10, 50)), rgb.shape)), labels


def iso_noise(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Camera noise: Poisson in the lightness and normal in the hue of HLS, intensity 0.1 to 0.5, colour shift 0.01 to 0.05."""
    hue, light, saturation = _hls(rgb)
    intensity, shift = rng.uniform(0.1, 0.5), rng.uniform(0.01, 0.05)
    speckle = rng.poisson(255 * light.std() * intensity, light.shape)
    hue = (hue + rng.normal(0, 360 * shift * intensity, hue.shape)) % 360
    return _from_hls(hue, light + speckle / 255 * (1 - light), saturation), labels


def brightness_contrast(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Levels times 0.8 to 1.2, then up to 51 more or less."""
    return to_bytes(rgb * rng.uniform(0.8, 1.2) + 255 * rng.uniform(-0.2, 0.2)), labels


def gamma(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Levels in 0..1 to the power of 0.8 to 1.2."""
    return to_bytes(255 * (np.arange(256) / 255) ** rng.uniform(0.8, 1.2))[rgb], labels


def tone_curve(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A cubic Bezier curve from 0 to 1 whose inner points lie at 0.25 and 0.75, give or take 0.1 (one standard deviation)."""
    low, high = np.clip(rng.normal([0.25, 0.75], 0.1), 0, 1)
    t = np.arange(256) / 255
    return to_bytes(255 * (3 * (1 - t) ** 2 * t * low + 3 * (1 - t) * t**2 * high + t**3))[rgb], labels


def sharpen(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The picture mixed with its sharpened self: centre 8 + 0.5 to 1, its eight neighbours -1, share 0.2 to 0.5."""
    share, lightness = rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.0)
    kernel = np.full((3, 3, 1), -share)
    kernel[1, 1] = (1 - share) + share * (8 + lightness)
    return to_bytes(ndimage.correlate(rgb.astype(np.float64), kernel, mode="mirror")), labels


def elastic(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A drawn affine map (three points moved by up to 3.6 pixels), then smooth displacements (alpha 120, sigma 6)."""
    height, width = labels.shape
    third, middle = min(height, width) // 3, np.array([height // 2, width // 2])
    points = middle + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + rng.uniform(-3.6, 3.6, points.shape)
    to_source = np.linalg.pinv(np.column_stack([moved, np.ones(3)])) @ points  # (y, x, 1) of the answer -> (y, x) of the picture
    y, x = np.mgrid[:height, :width] + [120 * ndimage.gaussian_filter(rng.uniform(-1, 1, labels.shape), 6) for _ in range(2)]
    return _remapped(rgb, labels, np.stack([a * y + b * x + c for a, b, c in to_source.T]))


def grid_distortion(rgb: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """5 x 5 fields whose heights and widths change by up to 30 %, linear inside a field."""
    axes = []
    for side in labels.shape:
        step = max(1, side // 5)
        knots = np.arange(0, side + step, step)  # may overshoot by a field
        there = np.concatenate([[0], np.cumsum(step * rng.uniform(0.7, 1.3, len(knots) - 1))])
        axes.append(np.interp(np.arange(side), knots, there))
    return _remapped(rgb, labels, np.stack(np.meshgrid(*axes, indexing="ij")))


DEGRADATIONS: dict[str, dict[str, Step]] = {
    "blur": {"box": box_blur, "gaussian": gaussian_blur, "median": median_blur, "motion": motion_blur},
    "tone": {
        "downscale": downscale,
        "gauss-noise": gauss_noise,
        "iso-noise": iso_noise,
        "brightness-contrast": brightness_contrast,
        "gamma": gamma,
        "tone-curve": tone_curve,
        "sharpen": sharpen,
    },
    "warp": {"elastic": elastic, "grid": grid_distortion},
}


def _odd(rng: np.random.Generator) -> int:
    """3, 5 or 7."""
    return int(rng.choice([3, 5, 7]))


def to_bytes(levels: npt.NDArray[np.floating[Any]]) -> Array:
    """Rounded and cut to 0..255."""
    rounded: Array = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return rounded


def gaussian_taps(kernel: int) -> npt.NDArray[np.float64]:
    """Weights of OpenCV's Gaussian of `kernel` taps (odd) where no sigma is given; they sum to 1.

    Up to 7 taps OpenCV has a fixed table; beyond, exp(-x^2 / (2 sigma^2)) with sigma = 0.3 ((k - 1) / 2 - 1) + 0.8.

    Raises:
        ValueError: an even or a non-positive kernel.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel is {kernel}; wanted an odd number of pixels")
    if kernel in _SMALL_TAPS:
        return np.array(_SMALL_TAPS[kernel])
    sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    taps = np.exp(-((np.arange(kernel) - kernel // 2) ** 2) / (2 * sigma**2))
    weights: npt.NDArray[np.float64] = taps / taps.sum()
    return weights


_SMALL_TAPS = {
    1: [1.0],
    3: [0.25, 0.5, 0.25],
    5: [0.0625, 0.25, 0.375, 0.25, 0.0625],
    7: [0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125],
}


def blurred(rgb: Array, kernel: int) -> Array:
    """H x W x 3 uint8 as cv2.GaussianBlur(rgb, (kernel, kernel), 0) has it, `kernel` odd; edges mirrored."""
    taps, levels = gaussian_taps(kernel), rgb.astype(np.float32)
    for axis in (0, 1):
        levels = ndimage.correlate1d(levels, taps, axis=axis, mode="mirror")
    return to_bytes(levels)


def sampled(array: npt.NDArray[Number], height: int, width: int, kernel: Image.Resampling) -> npt.NDArray[Number]:
    """Resize bytes or one float32 plane by reading at the mapped pixel centres, without the antialiasing of Image.resize."""
    whole = (0, 0, array.shape[1], array.shape[0])
    return np.array(Image.fromarray(array).transform((width, height), Image.Transform.EXTENT, whole, kernel))


def _remapped(rgb: Array, labels: Array, where: Plane) -> tuple[Array, Array]:
    """The picture read at `where` (2 x H x W: rows, columns), bilinear, and the labels, nearest."""
    channels = [ndimage.map_coordinates(rgb[..., c].astype(np.float64), where, order=1, mode="mirror") for c in range(3)]
    nearest: Array = ndimage.map_coordinates(labels, where, order=0, mode="mirror")
    return to_bytes(np.stack(channels, axis=2)), nearest


def _hls(rgb: Array) -> tuple[Plane, Plane, Plane]:
    """Hue 0..360, lightness 0..1, saturation 0..1 (the double hexcone of computer graphics); grey has hue 0."""
    levels = rgb / 255.0
    high, low = levels.max(2), levels.min(2)
    chroma, light = high - low, (high + low) / 2
    safe = np.where(chroma > 0, chroma, 1.0)
    red, green, blue = np.moveaxis(levels, 2, 0)
    sector = np.select(
        [chroma == 0, high == red, high == green],
        [np.zeros_like(high), (green - blue) / safe, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    width = 1 - np.abs(2 * light - 1)
    return 60 * sector % 360, light, np.where(chroma > 0, chroma / np.where(width > 0, width, 1.0), 0.0)


def _from_hls(hue: Plane, light: Plane, saturation: Plane) -> Array:
    """The inverse of `_hls`; lightness is cut to 0..1."""
    light = np.clip(light, 0, 1)
    amplitude = saturation * np.minimum(light, 1 - light)
    sector = (np.array([0, 8, 4]) + hue[..., None] / 30) % 12
    levels = light[..., None] - amplitude[..., None] * np.clip(np.minimum(sector - 3, 9 - sector), -1, 1)
    return to_bytes(255 * levels)
