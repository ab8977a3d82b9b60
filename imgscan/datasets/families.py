"""Families of forgeries that a recipe switches on one by one, on top of forge.py: `data.families = "scale+object+blend"`.

The plain maker forges windows of photographs at the scale of the photographs.  What it lacks, and which family adds it:

* `scale`: whole pictures that were made small and saved before anybody touched them, hosts and donors, and forgeries that are made
  large and shrunk afterwards, as pictures on the web are;
* `object`: shapes along the donor's own edges (unions of superpixels), larger parts, up to half of the picture, and parts that the
  window's edge cuts, as tiles of a large picture cut them;
* `blend`: parts whose colours are brought to those around them, wide feathering, and seams hidden by a membrane (the smooth
  correction of Perez, Gangnet, Blake, "Poisson Image Editing", SIGGRAPH 2003, interpolated instead of solved);
* `edit`: local blur, sharpening, tone and noise (forge.enhance);
* `clone`: copies that are turned by any angle, scaled and repeated, and holes filled with patches of their surroundings (a coarse
  image quilting, Efros and Freeman, SIGGRAPH 2001);
* `platform`: what happens to finished pictures, forged or not: noise, blur, tone, one or two JPEGs.

Untouched pictures pass through the very same histories, or a network would learn histories in place of forgeries.  Pictures are
H x W x 3 uint8 RGB, shapes H x W float32 in 0..1, labels H x W int64 as in forge.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from imgscan.datasets.forge import (
    FILTERS,
    Forgery,
    Labels,
    Photo,
    Plane,
    Rgb,
    any_jpeg,
    common_history,
    copy_move,
    draw_shape,
    enhance,
    fill,
    nearest,
    paste,
    place,
    remove,
    resize,
    retouch,
    splice,
    tone,
    turn,
    with_history,
)
from imgscan.errors import ConfigError, unknown

FAMILIES = ("scale", "object", "blend", "edit", "clone", "platform")
Families = frozenset[str]

_SHARES = {"splicing": 0.6, "copy-move": 0.18, "removal": 0.12, "enhancement": 0.1}
_SIDES = (256, 720)  # pixels, shorter side of the small pictures of `scale`
_PATCH, _STEP, _TRIED = 16, 12, 10  # pixels a side, pixels between, and candidates of a patch of `clone`


def parse_families(text: str, origin: str = "data.families") -> Families:
    """ "scale+object" -> a set of FAMILIES; "" is none, "all" is all; ConfigError, with the origin, for others."""
    names = FAMILIES if text == "all" else tuple(part for part in text.split("+") if part)
    for name in names:
        if name not in FAMILIES:
            raise ConfigError(f"{origin}: {unknown('family', name, ('all', *FAMILIES))}")
    return frozenset(names)


def forge_as(photo: Photo, side: int, rng: np.random.Generator, families: Families) -> Forgery:
    """One forged picture of side x side pixels, by these families.

    Args:
        photo: draws a pristine picture, each call another one.
        side: pixels, a multiple of 8.
        rng: all randomness comes from here.
        families: of FAMILIES.

    Returns:
        A Forgery whose labels name at least one forged pixel.
    """
    kinds = {name: share for name, share in _SHARES.items() if name != "enhancement" or "edit" in families}
    while True:
        kind = str(rng.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values())))
        shown = _shown(side, rng, families)
        made = _made(shown, rng, families)
        rgb = _host(photo, made, rng, families)
        labels = np.zeros((made, made), np.int64)
        if kind == "splicing":
            _splice(rgb, labels, photo, rng, families)
        elif kind == "copy-move":
            (_clone if "clone" in families and rng.random() < 0.6 else copy_move)(rgb, labels, rng)
        elif kind == "removal":
            (_patch_over if "clone" in families and rng.random() < 0.5 else remove)(rgb, labels, rng)
        else:
            enhance(rgb, labels, rng)
        if made != shown:
            rgb, labels = resize(rgb, shown, shown, rng), nearest(labels, shown)
        rgb = _finish(rgb, rng, families)
        rgb, labels = _window(rgb, labels, side, rng)
        if 0.004 < float((labels > 0).mean()) < 0.65:
            return Forgery(rgb, labels, kind)


def untouched_as(photo: Photo, side: int, rng: np.random.Generator, families: Families) -> Rgb:
    """A picture nobody forged, side x side, through the histories that forged ones pass."""
    shown = _shown(side, rng, families)
    made = _made(shown, rng, families)
    rgb = _host(photo, made, rng, families)
    rgb = _finish(resize(rgb, shown, shown, rng) if made != shown else rgb, rng, families)
    return _window(rgb, np.zeros((shown, shown), np.int64), side, rng)[0]


def _shown(side: int, rng: np.random.Generator, families: Families) -> int:
    """The side of the finished picture, of which a window of `side` is shown."""
    return round(side * rng.uniform(1.1, 1.5) / 8) * 8 if "object" in families and rng.random() < 0.25 else side


def _window(rgb: Rgb, labels: Labels, side: int, rng: np.random.Generator) -> tuple[Rgb, Labels]:
    """A window of side x side pixels, on the grid of JPEG blocks, as tiles lie."""
    top, left = (8 * int(rng.integers((length - side) // 8 + 1)) for length in labels.shape)
    where = slice(top, top + side), slice(left, left + side)
    return np.ascontiguousarray(rgb[where]), np.ascontiguousarray(labels[where])


def _made(side: int, rng: np.random.Generator, families: Families) -> int:
    """The side at which a picture is forged before it is brought to `side`."""
    if "scale" in families and rng.random() < 0.3:
        return round(side / float(np.exp(rng.uniform(np.log(0.4), 0))))
    return side if rng.random() < 0.88 else round(side / float(rng.uniform(0.7, 1.4)))


def _host(photo: Photo, side: int, rng: np.random.Generator, families: Families) -> Rgb:
    """What is forged, or left alone: a window with a past, or a window on the grid of a small picture saved as a whole."""
    if "scale" in families and rng.random() < 0.5:
        return _small(photo(), side, side, rng, on_grid=True)
    return with_history(photo(), side, side, rng)


def _small(photo: Rgb, height: int, width: int, rng: np.random.Generator, on_grid: bool) -> Rgb:
    """A window of a whole photograph made small (shorter side _SIDES), perhaps retouched, and saved as collections are.

    Only the JPEG blocks that the window touches are computed.

    Args:
        photo: drawn.
        height, width: of the window; where the small photograph is smaller, it is made as large as that.
        rng: all randomness.
        on_grid: the window starts at multiples of 8 of the small photograph, as an uncropped picture does.
    """
    there = min(photo.shape[:2])
    ratio = min(1.0, float(np.exp(rng.uniform(*np.log(_SIDES)))) / there)
    ratio = max(ratio, height / photo.shape[0], width / photo.shape[1])
    whole = [max(wanted, round(length * ratio)) for wanted, length in zip((height, width), photo.shape[:2], strict=True)]
    grid = 8 if on_grid else 1
    top, left = (grid * int(rng.integers((w - k) // grid + 1)) for w, k in zip(whole, (height, width), strict=True))
    first = top // 8 * 8, left // 8 * 8
    last = min(whole[0], -(-(top + height) // 8) * 8), min(whole[1], -(-(left + width) // 8) * 8)
    scale = photo.shape[1] / whole[1], photo.shape[0] / whole[0]
    box = first[1] * scale[0], first[0] * scale[1], last[1] * scale[0], last[0] * scale[1]
    picture = Image.fromarray(photo).resize((last[1] - first[1], last[0] - first[0]), FILTERS[rng.integers(len(FILTERS))], box=box)
    window = np.asarray(picture)
    if rng.random() < 0.3:
        window = retouch(window, rng)
    if rng.random() < 0.85:
        window = any_jpeg(window, rng, 70, 97)
    top, left = top - first[0], left - first[1]
    return np.array(window[top : top + height, left : left + width])


def _splice(rgb: Rgb, labels: Labels, photo: Photo, rng: np.random.Generator, families: Families) -> None:
    """Paste one to five parts of other photographs."""
    if not families & {"scale", "object", "blend"}:
        splice(rgb, labels, photo, rng)
        return
    donor: Rgb | None = None
    for number in range(1, 1 + int(rng.choice([1, 2, 3, 4, 5], p=[0.45, 0.25, 0.15, 0.1, 0.05]))):
        where = place(rgb, rng, 0.6) if "object" in families and rng.random() < 0.4 else place(rgb, rng)
        high, wide = rgb[where].shape[:2]
        if donor is None or rng.random() < 0.7:  # else one more part of the same donor
            donor = photo()
        if "scale" in families and rng.random() < 0.6:
            factor = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.7, 1.7))
            part = _small(donor, round(high * factor), round(wide * factor), rng, on_grid=False)
            part = part if factor == 1 else resize(part, high, wide, rng)
        else:
            part = with_history(donor, high, wide, rng)
        part = turn(part, rng)
        if rng.random() < 0.3:
            part = tone(part, rng)
        shape = _superpixels(part, rng) if "object" in families and rng.random() < 0.5 else draw_shape(part, rng)
        if "blend" in families and rng.random() < 0.4:
            part, shape = _blended(rgb[where], part, shape, rng)
        paste(rgb, labels, where, part, shape, number)


def _superpixels(donor: Rgb, rng: np.random.Generator) -> Plane:
    """A union of neighbouring superpixels around the middle: k-means over colour and place (SLIC's distance), two rounds."""
    height, width = donor.shape[:2]
    scale = min(1.0, 72 / max(height, width))
    rows, columns = max(8, round(height * scale)), max(8, round(width * scale))
    small = np.asarray(Image.fromarray(donor).resize((columns, rows), Image.Resampling.BOX), np.float32)
    count = int(rng.integers(12, 60))
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    weight = float(rng.uniform(0.5, 2.0)) * 120 / max(rows, columns)  # of place against colour
    points = np.concatenate([small.reshape(-1, 3), weight * y.reshape(-1, 1), weight * x.reshape(-1, 1)], 1)
    centres = points[rng.choice(len(points), count, replace=False)]
    for _ in range(2):
        owner = ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)
        sums = np.stack([np.bincount(owner, points[:, k], count) for k in range(5)], 1)
        centres = (sums / np.maximum(np.bincount(owner, minlength=count), 1)[:, None]).astype(np.float32)
    owner = owner.reshape(rows, columns)
    beside = np.zeros((count, count), bool)  # which superpixels touch
    for one, other in ((owner[1:], owner[:-1]), (owner[:, 1:], owner[:, :-1])):
        beside[one, other] = beside[other, one] = True
    sizes = np.bincount(owner.ravel(), minlength=count)
    names = np.zeros(count, bool)
    names[owner[rows // 2, columns // 2]] = True
    wanted = rng.uniform(0.15, 0.6)
    while sizes[names].sum() / owner.size < wanted:
        ring = np.flatnonzero(beside[names].any(0) & ~names)
        if not len(ring):
            break
        names[rng.choice(ring)] = True
    chosen = ndimage.binary_fill_holes(names[owner])
    large = np.asarray(Image.fromarray(chosen.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    edge = float(rng.uniform(0.02, 0.35))  # of softness
    return np.clip((large - 0.5) / edge + 0.5, 0, 1).astype(np.float32)


def _blended(under: Rgb, part: Rgb, shape: Plane, rng: np.random.Generator) -> tuple[Rgb, Plane]:
    """The part made to fit what lies under it: colours matched, seam hidden by a membrane, or only a wide feather."""
    choice = rng.integers(3)
    inside, host = part.astype(np.float32), under.astype(np.float32)
    if choice == 0:  # mean and deviation of each channel, part of the way
        share = float(rng.uniform(0.4, 1.0))
        ratio = np.clip((host.std((0, 1)) + 4) / (inside.std((0, 1)) + 4), 0.6, 1.6)
        matched = (inside - inside.mean((0, 1))) * ratio + host.mean((0, 1))
        inside = inside + share * (matched - inside)
    elif choice == 1:  # the difference along the seam, continued smoothly over the part
        core = ndimage.binary_erosion(shape > 0.05, iterations=2)
        difference = np.clip((host - inside) / 2 + 128, 0, 255).astype(np.uint8)
        inside = inside + 2 * (fill(difference, core).astype(np.float32) - 128)
    else:
        shape = ndimage.gaussian_filter(shape, float(rng.uniform(2, 6))).astype(np.float32)
    return np.clip(np.round(inside), 0, 255).astype(np.uint8), shape


def _clone(rgb: Rgb, labels: Labels, rng: np.random.Generator) -> None:
    """Copy an object of the picture, turned and scaled, to one to three other places; the copies are labelled 1."""
    source = place(rgb, rng)
    part = Image.fromarray(rgb[source])
    shape = _superpixels(rgb[source], rng) if rng.random() < 0.5 else draw_shape(rgb[source], rng)
    cover = Image.fromarray(np.round(shape * 255).astype(np.uint8))
    before = rgb.copy()
    for _ in range(int(rng.choice([1, 2, 3], p=[0.75, 0.17, 0.08]))):
        one, over = part, cover
        if rng.random() < 0.5:
            factor = float(np.exp(rng.uniform(np.log(0.55), np.log(1.7))))
            size = max(16, round(one.width * factor)), max(16, round(one.height * factor))
            one, over = one.resize(size, Image.Resampling.BICUBIC), over.resize(size, Image.Resampling.BICUBIC)
        if rng.random() < 0.5:
            angle = float(rng.uniform(-180, 180)) if rng.random() < 0.5 else float(rng.uniform(-15, 15))
            one, over = (each.rotate(angle, Image.Resampling.BICUBIC, expand=True) for each in (one, over))
        if rng.random() < 0.3:
            one, over = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (one, over))
        high, wide = min(one.height, rgb.shape[0]), min(one.width, rgb.shape[1])
        top, left = int(rng.integers(rgb.shape[0] - high + 1)), int(rng.integers(rgb.shape[1] - wide + 1))
        where = slice(top, top + high), slice(left, left + wide)
        paste(rgb, labels, where, np.asarray(one)[:high, :wide], np.asarray(over, np.float32)[:high, :wide] / np.float32(255), 1)
    labels[(rgb == before).all(2) & (labels > 0) & ~_near_change(rgb, before)] = 0  # a copy put where it came from


def _near_change(rgb: Rgb, before: Rgb) -> npt.NDArray[np.bool_]:
    """Where a pixel within three of it has changed."""
    near: npt.NDArray[np.bool_] = ndimage.binary_dilation((rgb != before).any(2), iterations=3)
    return near


def _patch_over(rgb: Rgb, labels: Labels, rng: np.random.Generator) -> None:
    """Fill a shape with patches of the window around it, each the best of a few by what is already there."""
    where = place(rgb, rng)
    window = rgb[where].astype(np.float32)
    shape = draw_shape(rgb[where], rng)
    hole = shape > 0.5
    high, wide = hole.shape
    rows, columns = np.mgrid[: high - _PATCH + 1, : wide - _PATCH + 1]
    sums = np.pad(hole.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    holes = sums[_PATCH:, _PATCH:] - sums[:-_PATCH, _PATCH:] - sums[_PATCH:, :-_PATCH] + sums[:-_PATCH, :-_PATCH]
    sources = np.stack([rows[holes == 0], columns[holes == 0]], 1)
    if not len(sources):
        remove(rgb, labels, rng)
        return
    known = (~hole).astype(np.float32)
    for top in range(0, high - _PATCH + 1, _STEP):
        for left in range(0, wide - _PATCH + 1, _STEP):
            here = slice(top, top + _PATCH), slice(left, left + _PATCH)
            if known[here].all():
                continue
            tried = sources[rng.integers(len(sources), size=_TRIED)]
            patches = np.stack([window[y : y + _PATCH, x : x + _PATCH] for y, x in tried])
            cost = (((patches - window[here]) ** 2).sum(3) * known[here]).sum((1, 2))
            best = patches[cost.argmin()]
            window[here] = np.where(hole[here][..., None] & (known[here][..., None] == 0), best, window[here])
            known[here] = 1
    filled = (hole & (known > 0)).astype(np.float32)
    soft = np.maximum(ndimage.gaussian_filter(filled, 1.0), 0.51 * filled)  # thin parts too are mostly covered, and labelled
    paste(rgb, labels, where, np.round(window).astype(np.uint8), soft, 1)


def _finish(rgb: Rgb, rng: np.random.Generator, families: Families) -> Rgb:
    """What happens to the finished picture on its way, and how it is saved."""
    if "platform" not in families:
        return common_history(rgb, rng)
    if rng.random() < 0.4:
        return rgb  # as it was saved by whoever made it, without loss
    step = rng.random()
    if step < 0.12:
        noise = rng.standard_normal(rgb.shape, dtype=np.float32) * rng.uniform(0.5, 4)
        rgb = np.clip(np.round(rgb + noise), 0, 255).astype(np.uint8)
    elif step < 0.2:
        rgb = np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5)))))
    elif step < 0.3:
        rgb = tone(rgb, rng)
    if rng.random() < 0.25:
        rgb = any_jpeg(rgb, rng, 70, 98)
    return any_jpeg(rgb, rng, 45, 98) if rng.random() < 0.8 else rgb
