"""Forgeries made from pristine pictures: splicing, copy-move, removal and enhancement, each part with a history of its own.

What gives a forgery away is rarely the picture but what happened to its parts before they met: camera compression on another
8x8 grid, another scale, another noise.  So host and donor get histories drawn independently, the pasted shapes follow content
as people's selections do, and the finished picture gets one common history.  Everything is drawn from one numpy Generator: the
same generator state gives the same picture on every machine with the same Pillow.

Pictures are H x W x 3 uint8 RGB; shapes are H x W float32 in 0..1 (opacity); labels are H x W int64, 0 pristine, k the k-th
forged part.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from scipy import ndimage

Rgb = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Photo = Callable[[], Rgb]  # draws a pristine picture

FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BOX)


@dataclass(frozen=True)
class Forgery:
    """A forged picture and where it was forged."""

    rgb: Rgb
    labels: Labels
    kind: str  # a name of KINDS


def jpeg(rgb: Rgb, quality: int, subsampling: int = 2) -> Rgb:
    """Save as JPEG and open again.  quality 1..100; subsampling 0 = 4:4:4, 1 = 4:2:2, 2 = 4:2:0."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(buffer))


def any_jpeg(rgb: Rgb, rng: np.random.Generator, low: int = 55, high: int = 99) -> Rgb:
    """JPEG at a drawn quality; high qualities more often, since cameras and editors save so."""
    quality = round(high - (high - low) * float(rng.beta(1.1, 1.6)))
    return jpeg(rgb, quality, int(rng.choice([2, 0, 1], p=[0.7, 0.25, 0.05])))


def resize(rgb: Rgb, height: int, width: int, rng: np.random.Generator) -> Rgb:
    """Resize with a drawn kernel."""
    kernel = FILTERS[rng.integers(len(FILTERS))]
    return np.asarray(Image.fromarray(rgb).resize((width, height), kernel))


def retouch(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """One drawn local-processing step: blur, sharpen, noise, or tone; what cameras and editors do to a whole picture."""
    choice = rng.integers(4)
    if choice == 0:
        return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2)))))
    if choice == 1:
        sharpen = ImageFilter.UnsharpMask(float(rng.uniform(0.6, 2.0)), int(rng.integers(40, 160)), 0)
        return np.asarray(Image.fromarray(rgb).filter(sharpen))
    if choice == 2:
        noise = rng.standard_normal(rgb.shape, dtype=np.float32) * rng.uniform(1, 6)
        return np.clip(rgb + noise, 0, 255).astype(np.uint8)
    return tone(rgb, rng)


def tone(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Brightness, contrast and colour, each changed a little."""
    picture = Image.fromarray(rgb)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(float(rng.uniform(0.75, 1.3)))
    return np.asarray(picture)


def with_history(photo: Rgb, height: int, width: int, rng: np.random.Generator) -> Rgb:
    """A window of height x width pixels of the photograph, with a past of its own.

    One in five comes straight from the camera: cut on the photograph's own 8x8 grid, nothing done to it.  The others: scale, then
    perhaps a retouch, then perhaps a JPEG whose grid starts anywhere, as in a crop of a photograph.
    """
    if rng.random() < 0.2 and height <= photo.shape[0] and width <= photo.shape[1]:
        return from_camera(photo, height, width, rng)
    shortest = max(height / photo.shape[0], width / photo.shape[1])
    scale = 1.0 if shortest <= 1 and rng.random() < 0.3 else float(np.exp(rng.uniform(np.log(0.3), np.log(1.1))))
    scale = max(scale, shortest)
    margin = 0 if rng.random() < 0.6 else 8  # room for a JPEG grid that does not start at the window's first pixel
    if max(height, width) + margin > min(photo.shape[:2]) * scale:
        margin = 0
    need_h, need_w = min(round((height + margin) / scale), photo.shape[0]), min(round((width + margin) / scale), photo.shape[1])
    top, left = rng.integers(photo.shape[0] - need_h + 1), rng.integers(photo.shape[1] - need_w + 1)
    window = photo[top : top + need_h, left : left + need_w]
    if scale != 1.0:
        window = resize(window, height + margin, width + margin, rng)
    if rng.random() < 0.4:
        window = retouch(window, rng)
    if rng.random() < 0.85:
        window = any_jpeg(window, rng)
    if margin:
        top, left = rng.integers(window.shape[0] - height + 1), rng.integers(window.shape[1] - width + 1)
        window = window[top : top + height, left : left + width]
    return np.array(window)


def from_camera(photo: Rgb, height: int, width: int, rng: np.random.Generator) -> Rgb:
    """A window cut at multiples of 8, so that the blocks of the photograph's JPEG are where the window's are."""
    top = 8 * int(rng.integers((photo.shape[0] - height) // 8 + 1))
    left = 8 * int(rng.integers((photo.shape[1] - width) // 8 + 1))
    return np.array(photo[top : top + height, left : left + width])


def untouched(photo: Photo, side: int, rng: np.random.Generator) -> Rgb:
    """A picture nobody forged, side x side: straight from the camera or with a history, saved or not."""
    rgb = with_history(photo(), side, side, rng)
    return rgb if rng.random() < 0.3 else common_history(rgb, rng)


def _polygon(height: int, width: int, rng: np.random.Generator) -> Plane:
    """A free-form shape: a closed curve around a centre with a wandering radius."""
    corners = int(rng.integers(4, 14))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.35, 0.5) * rng.uniform(0.45, 1.0, corners)
    points = [((0.5 + r * np.cos(a)) * width, (0.5 + r * np.sin(a)) * height) for a, r in zip(angles, radius, strict=True)]
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).polygon(points, fill=255)
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 4)))), np.float32) / np.float32(255)


def _blob(height: int, width: int, rng: np.random.Generator) -> Plane:
    """A shape with bays and islands: smooth noise, weighted towards the middle, cut at a level."""
    cells = int(rng.integers(3, 8))
    noise = Image.fromarray(rng.random((cells, cells), dtype=np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    field = np.asarray(noise) - 0.5 * (x * x + y * y)
    cut: Plane = (field > np.quantile(field, rng.uniform(0.5, 0.75))).astype(np.float32)
    return cut


def _object(donor: Rgb, rng: np.random.Generator) -> Plane:
    """A shape that follows the donor's content: what is connected to its middle and alike in colour."""
    smooth = np.asarray(Image.fromarray(donor).filter(ImageFilter.GaussianBlur(3)), np.float32)
    height, width = donor.shape[:2]
    seed = smooth[height // 2 - 2 : height // 2 + 3, width // 2 - 2 : width // 2 + 3].mean((0, 1))
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    distance = np.abs(smooth - seed).sum(2) * (0.6 + x * x + y * y)
    near = distance < np.quantile(distance, rng.uniform(0.3, 0.6))
    parts, _ = ndimage.label(near)
    part = parts == parts[height // 2, width // 2] if parts[height // 2, width // 2] else near
    part = ndimage.binary_fill_holes(ndimage.binary_opening(part, iterations=2))
    return np.asarray(part, np.float32)


def draw_shape(donor: Rgb, rng: np.random.Generator) -> Plane:
    """A shape the size of the donor window: an object of it, a free form, a blob, an ellipse or a box; hard or soft edges."""
    height, width = donor.shape[:2]
    kind = rng.choice(5, p=[0.45, 0.2, 0.15, 0.1, 0.1])
    if kind == 0:
        shape = _object(donor, rng)
    elif kind == 1:
        shape = _polygon(height, width, rng)
    elif kind == 2:
        shape = _blob(height, width, rng)
    else:
        canvas = Image.new("L", (width, height))
        box = (1, 1, width - 2, height - 2)
        pen = ImageDraw.Draw(canvas)
        (pen.ellipse if kind == 3 else pen.rectangle)(box, fill=255)
        shape = np.asarray(canvas, np.float32) / np.float32(255)
    if rng.random() < 0.5:
        soft: Plane = ndimage.gaussian_filter(shape, float(rng.uniform(0.5, 2.5)))
        return soft
    return (shape > 0.5).astype(np.float32)


def turn(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Flip, rotate or scale a part as an editor does before pasting it; often nothing."""
    picture = Image.fromarray(rgb)
    if rng.random() < 0.4:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.25:
        # A rotation leaves empty corners: enlarge first and keep the middle.
        big = picture.resize((picture.width * 3 // 2, picture.height * 3 // 2), Image.Resampling.BICUBIC)
        big = big.rotate(float(rng.uniform(-30, 30)), Image.Resampling.BICUBIC)
        left, top = (big.width - picture.width) // 2, (big.height - picture.height) // 2
        picture = big.crop((left, top, left + picture.width, top + picture.height))
    return np.asarray(picture)


def place(rgb: Rgb, rng: np.random.Generator, most: float = 0.3) -> tuple[slice, slice]:
    """A window of 2 % to `most` of the picture, anywhere, at least 24 pixels a side."""
    height, width = rgb.shape[:2]
    share, aspect = np.exp(rng.uniform(np.log(0.02), np.log(most))), np.exp(rng.uniform(-0.5, 0.5))
    high = int(np.clip(np.sqrt(share * aspect) * height, 24, height))
    wide = int(np.clip(np.sqrt(share / aspect) * width, 24, width))
    top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    return slice(top, top + high), slice(left, left + wide)


def paste(rgb: Rgb, labels: Labels, where: tuple[slice, slice], part: Rgb, shape: Plane, number: int) -> None:
    """Blend `part` into `rgb` at `where` and label what is mostly covered; both change in place."""
    under = rgb[where].astype(np.float32)
    rgb[where] = np.round(under + (part - under) * shape[..., None]).astype(np.uint8)
    labels[where][shape > 0.5] = number


def splice(rgb: Rgb, labels: Labels, photo: Photo, rng: np.random.Generator) -> None:
    """Paste one to four parts of other photographs, each with its own past."""
    for number in range(1, 1 + int(rng.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1]))):
        where = place(rgb, rng)
        high, wide = rgb[where].shape[:2]
        part = turn(with_history(photo(), high, wide, rng), rng)
        if rng.random() < 0.3:
            part = tone(part, rng)
        paste(rgb, labels, where, part, draw_shape(part, rng), number)


def copy_move(rgb: Rgb, labels: Labels, rng: np.random.Generator) -> None:
    """Copy a part of the picture to another place of it; only the copy is labelled, its source is untouched."""
    source, where = place(rgb, rng), place(rgb, rng)
    high, wide = rgb[source].shape[:2]
    if rng.random() < 0.5:
        top, left = min(where[0].start, rgb.shape[0] - high), min(where[1].start, rgb.shape[1] - wide)
        where = slice(top, top + high), slice(left, left + wide)
        part = rgb[source].copy()
    else:
        high, wide = rgb[where].shape[:2]
        part = resize(rgb[source], high, wide, rng)
    part = turn(part, rng)
    if rng.random() < 0.2:
        part = tone(part, rng)
    paste(rgb, labels, where, part, draw_shape(part, rng), 1)


def fill(rgb: Rgb, hole: npt.NDArray[np.bool_]) -> Rgb:
    """Smooth inpainting: known pixels averaged over coarser and coarser grids until the hole is covered (pull-push)."""
    weight = (~hole).astype(np.float32)
    levels = [(rgb * weight[..., None], weight)]
    while levels[-1][1].shape[0] > 2 and levels[-1][1].shape[1] > 2 and (levels[-1][1] <= 0).any():
        colour, weight = levels[-1]
        high, wide = weight.shape[0] // 2 * 2, weight.shape[1] // 2 * 2
        cells = colour[:high, :wide].reshape(high // 2, 2, wide // 2, 2, 3).sum((1, 3))
        levels.append((cells, weight[:high, :wide].reshape(high // 2, 2, wide // 2, 2).sum((1, 3))))
    colour, weight = levels.pop()
    filled = colour / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels):
        ratio = (weight.shape[0] / filled.shape[0], weight.shape[1] / filled.shape[1], 1)
        coarse = ndimage.zoom(filled, ratio, order=1)
        filled = np.where(weight[..., None] > 0, colour / np.maximum(weight, 1e-6)[..., None], coarse)
    return np.clip(np.round(filled), 0, 255).astype(np.uint8)


def remove(rgb: Rgb, labels: Labels, rng: np.random.Generator) -> None:
    """Take something out: fill its shape smoothly, with noise perhaps, or clone the neighbourhood over it."""
    where = place(rgb, rng)
    high, wide = rgb[where].shape[:2]
    shape = draw_shape(rgb[where], rng)
    if rng.random() < 0.5:
        height, width = rgb.shape[:2]
        down = int(np.clip(where[0].start + rng.choice([-1, 0, 1]) * high * 0.8, 0, height - high))
        right = int(np.clip(where[1].start + rng.choice([-1, 1]) * wide * 0.8, 0, width - wide))
        part = rgb[down : down + high, right : right + wide].copy()
        shape = ndimage.gaussian_filter(shape, 2.0)
    else:
        part = fill(rgb[where], ndimage.binary_dilation(shape > 0.05, iterations=1))
        if rng.random() < 0.5:
            noise = ndimage.gaussian_filter(rng.standard_normal(part.shape), (0.7, 0.7, 0)) * rng.uniform(1, 8)
            part = np.clip(part + noise, 0, 255).astype(np.uint8)
    paste(rgb, labels, where, part, shape, 1)


def enhance(rgb: Rgb, labels: Labels, rng: np.random.Generator) -> None:
    """Work over a region of the picture itself: retouch, tone, blur or noise, strong enough that pixels change; label 1."""
    where = place(rgb, rng)
    before = rgb[where].copy()
    shape = draw_shape(before, rng)
    choice = rng.integers(4)
    if choice == 0:
        part = retouch(before, rng)
    elif choice == 1:
        part = tone(before, rng)
    elif choice == 2:
        part = np.asarray(Image.fromarray(before).filter(ImageFilter.GaussianBlur(float(rng.uniform(1.0, 4.0)))))
    else:
        noise = ndimage.gaussian_filter(rng.standard_normal(before.shape), (0.6, 0.6, 0)) * rng.uniform(6, 25)
        part = np.clip(np.round(before + noise), 0, 255).astype(np.uint8)
    paste(rgb, labels, where, part, shape, 1)
    # A flat sky blurred is the same flat sky: what most pixels do not show is not labelled, and forge() draws again.
    changed = (rgb[where] != before).any(2)
    if changed.sum(where=labels[where] == 1) < 0.5 * (labels[where] == 1).sum():
        labels[where] = 0


def common_history(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """What happens to the finished picture: stored without loss (30 %), or saved as JPEG 50-98."""
    return rgb if rng.random() < 0.3 else any_jpeg(rgb, rng, 50, 98)


KINDS: Sequence[str] = ("splicing", "copy-move", "removal", "enhancement")
KIND_SHARES = (0.65, 0.2, 0.15, 0.0)  # enhancement only on request: runs and weights from before it existed stay what they are


def forge(photo: Photo, side: int, rng: np.random.Generator, kind: str | None = None) -> Forgery:
    """One forged picture of side x side pixels.

    Args:
        photo: draws a pristine picture, each call another one.
        side: pixels, a multiple of 8.
        rng: all randomness comes from here.
        kind: one of KINDS; None draws one by KIND_SHARES.

    Returns:
        A Forgery of exactly side x side whose labels name at least one forged pixel.

    Raises:
        ValueError: an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; known are {', '.join(KINDS)}")
    while True:
        drawn = kind or str(rng.choice(KINDS, p=KIND_SHARES))
        # One picture in eight is scaled after the forgery: make it larger or smaller first, so that it ends at `side`.
        made = side if rng.random() < 0.88 else round(side / float(rng.uniform(0.7, 1.4)))
        rgb = with_history(photo(), made, made, rng)
        labels = np.zeros((made, made), np.int64)
        if drawn == "splicing":
            splice(rgb, labels, photo, rng)
        elif drawn == "copy-move":
            copy_move(rgb, labels, rng)
        elif drawn == "removal":
            remove(rgb, labels, rng)
        else:
            enhance(rgb, labels, rng)
        if made != side:
            rgb = resize(rgb, side, side, rng)
            labels = nearest(labels, side)
        rgb = common_history(rgb, rng)
        forged = float((labels > 0).mean())
        if 0.004 < forged < 0.6:
            return Forgery(rgb, labels, drawn)


def nearest(labels: Labels, side: int) -> Labels:
    """Labels resized to side x side without new values."""
    picked = Image.fromarray(labels.astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(picked, np.int64)
