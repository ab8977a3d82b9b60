"""What happens to a picture between its forger and its examiner, as pure functions (rgb, mask, rng) -> (rgb, mask).

rgb is H x W x 3 uint8, mask H x W bool.  Attacks that move pixels move the mask with them (nearest); the others hand it back as it
is.  The same rng state gives the same picture.  Where the figures come from:

* `ncl-3`: Table 3 of NCL (Zhou et al., "Pre-training-free Image Manipulation Localization through Non-Mutually Exclusive
  Contrastive Learning", ICCV 2023): resize 0.78 and 0.25, Gaussian blur 3 and 5, Gaussian noise 3 and 5, JPEG 50 and 100.  The
  table goes back to SPAN (ECCV 2020).  Its two JPEG rows are labelled the wrong way round: SPAN's 83.6 belongs to quality 100 and
  its 80.7 to 50 in other papers that quote it (Security and Communication Networks 2022, article 1090307, Table 6), and milder
  compression scoring worse would be odd.  The paper names neither the resampling nor the blur's sigma; here: bilinear with
  antialiasing, and OpenCV's default sigma.
* `sweep`: FOCAL (arXiv 2308.09307, Fig. 9) sweeps JPEG, blur and noise without printing the values; these are IMDLBenCo's
  (training_scripts/test_robust.py): quality 100 to 50, kernel and noise 3 to 23.  IMDLBenCo passes its noise to albumentations as a
  variance; here it is the standard deviation, as in NCL, so the curves of the two differ.
* `social`: named after a platform and only APPROXIMATIONS of it: longest side and JPEG quality, which a platform changes at will,
  with Pillow's standard quantisation tables, resampling and 4:2:0 in place of its own.  Only platforms whose two figures are public
  are here; SOCIAL says where each is from.  Facebook and Weibo (FOCAL, Fig. 9) are missing: no dependable figure for their quality
  is public.  The group has no order: draw bars, not a curve.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgscan.datasets.degradations import blurred, to_bytes
from imgscan.errors import ConfigError, unknown

Rgb = npt.NDArray[np.uint8]
BoolMap = npt.NDArray[np.bool_]
Step = Callable[[Rgb, BoolMap, np.random.Generator], tuple[Rgb, BoolMap]]


def resize(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, scale: float) -> tuple[Rgb, BoolMap]:
    """Both sides times `scale`, rounded, at least 1 pixel; bilinear with antialiasing, the mask nearest."""
    return _resized(rgb, mask, *(max(1, round(scale * side)) for side in mask.shape))


def blur(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, kernel: int) -> tuple[Rgb, BoolMap]:
    """A Gaussian of `kernel` x `kernel` pixels (odd), as cv2.GaussianBlur(rgb, (kernel, kernel), 0) has it; edges mirrored."""
    return blurred(rgb, kernel), mask


def noise(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, sigma: float) -> tuple[Rgb, BoolMap]:
    """White Gaussian noise of `sigma` grey levels, independent in the channels; rounded and cut to 0..255."""
    return to_bytes(rgb + np.float32(sigma) * rng.standard_normal(rgb.shape, np.float32)), mask


def jpeg(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, quality: int) -> tuple[Rgb, BoolMap]:
    """Compressed as JPEG and decoded; quality 1..100 of the IJG tables, chroma halved (4:2:0)."""
    return _decoded(encoded_jpeg(rgb, quality)), mask


def webp(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, quality: int) -> tuple[Rgb, BoolMap]:
    """Compressed as lossy WebP and decoded; quality 0..100 of libwebp, which is not that of JPEG."""
    return _decoded(_encoded(rgb, "WEBP", quality=quality)), mask


def crop(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, share: float) -> tuple[Rgb, BoolMap]:
    """A window of `share` of both sides at a drawn place, off the 8 x 8 grid of JPEG in both directions.

    Raises:
        ValueError: the picture is too small to leave a pixel out at the top and the left.
    """
    window = []
    for side in mask.shape:
        length = max(1, round(share * side))
        starts = [start for start in range(side - length + 1) if start % 8]
        if not starts:
            raise ValueError(
                f"picture is {mask.shape[0]} x {mask.shape[1]}; too small to crop to {share} of its sides off the grid"
            )
        start = int(rng.choice(starts))
        window.append(slice(start, start + length))
    return rgb[window[0], window[1]].copy(), mask[window[0], window[1]].copy()


def network(rgb: Rgb, mask: BoolMap, rng: np.random.Generator, *, side: int, quality: int) -> tuple[Rgb, BoolMap]:
    """What a social network does, roughly: shrink until the longest side is at most `side` pixels, then JPEG of `quality`."""
    longest = max(mask.shape)
    if longest > side:
        rgb, mask = _resized(rgb, mask, *(max(1, round(length * side / longest)) for length in mask.shape))
    return jpeg(rgb, mask, rng, quality=quality)


@dataclass(frozen=True)
class Attack:
    """One row of a robustness table; the attacks of a group, ordered by strength, are the points of one curve."""

    group: str
    strength: float  # the x axis of the curve: scale, kernel, sigma, quality or share, as `unit` says; not always "more is worse"
    unit: str
    step: Step
    suites: tuple[str, ...] = ()  # where the figure comes from, see above


SOCIAL: dict[str, str] = {  # attack -> source of its two figures
    "social-signal": "Signal for Android, PushMediaConstraints.java, LEVEL_1: 1600 pixels, quality 70 (2024)",
    "social-signal-high": "Signal for Android, PushMediaConstraints.java, LEVEL_3: 4096 pixels, quality 75 (2024)",
    "social-telegram": "Telegram for Android, AndroidUtilities.getPhotoSize: 1280 pixels; PhotoViewer saves edited photos at 80",
    "social-twitter": "Twitter API, sizes.large: 2048 pixels; quality 85: 'Upcoming changes to PNG image support', 2018",
    "social-twitter-medium": "Twitter API, sizes.medium: 1200 pixels; quality as social-twitter",
}

_SCALE, _KERNEL, _SIGMA, _QUALITY, _SHARE = "scale", "kernel, pixels", "sigma, grey levels", "quality", "share of each side"

ATTACKS: dict[str, Attack] = {
    "resize-0.78": Attack("resize", 0.78, _SCALE, partial(resize, scale=0.78), ("ncl-3",)),
    "resize-0.25": Attack("resize", 0.25, _SCALE, partial(resize, scale=0.25), ("ncl-3",)),
    "blur-3": Attack("blur", 3, _KERNEL, partial(blur, kernel=3), ("ncl-3", "sweep")),
    "blur-5": Attack("blur", 5, _KERNEL, partial(blur, kernel=5), ("ncl-3",)),
    "blur-7": Attack("blur", 7, _KERNEL, partial(blur, kernel=7), ("sweep",)),
    "blur-11": Attack("blur", 11, _KERNEL, partial(blur, kernel=11), ("sweep",)),
    "blur-15": Attack("blur", 15, _KERNEL, partial(blur, kernel=15), ("sweep",)),
    "blur-19": Attack("blur", 19, _KERNEL, partial(blur, kernel=19), ("sweep",)),
    "blur-23": Attack("blur", 23, _KERNEL, partial(blur, kernel=23), ("sweep",)),
    "noise-3": Attack("noise", 3, _SIGMA, partial(noise, sigma=3), ("ncl-3", "sweep")),
    "noise-5": Attack("noise", 5, _SIGMA, partial(noise, sigma=5), ("ncl-3",)),
    "noise-7": Attack("noise", 7, _SIGMA, partial(noise, sigma=7), ("sweep",)),
    "noise-11": Attack("noise", 11, _SIGMA, partial(noise, sigma=11), ("sweep",)),
    "noise-15": Attack("noise", 15, _SIGMA, partial(noise, sigma=15), ("sweep",)),
    "noise-19": Attack("noise", 19, _SIGMA, partial(noise, sigma=19), ("sweep",)),
    "noise-23": Attack("noise", 23, _SIGMA, partial(noise, sigma=23), ("sweep",)),
    "jpeg-100": Attack("jpeg", 100, _QUALITY, partial(jpeg, quality=100), ("ncl-3", "sweep")),
    "jpeg-90": Attack("jpeg", 90, _QUALITY, partial(jpeg, quality=90), ("sweep",)),
    "jpeg-80": Attack("jpeg", 80, _QUALITY, partial(jpeg, quality=80), ("sweep",)),
    "jpeg-70": Attack("jpeg", 70, _QUALITY, partial(jpeg, quality=70), ("sweep",)),
    "jpeg-60": Attack("jpeg", 60, _QUALITY, partial(jpeg, quality=60), ("sweep",)),
    "jpeg-50": Attack("jpeg", 50, _QUALITY, partial(jpeg, quality=50), ("ncl-3", "sweep")),
    "webp-80": Attack("webp", 80, _QUALITY, partial(webp, quality=80)),
    "webp-50": Attack("webp", 50, _QUALITY, partial(webp, quality=50)),
    "crop-0.75": Attack("crop", 0.75, _SHARE, partial(crop, share=0.75)),
    "social-signal": Attack("social", 70, _QUALITY, partial(network, side=1600, quality=70), ("social",)),
    "social-signal-high": Attack("social", 75, _QUALITY, partial(network, side=4096, quality=75), ("social",)),
    "social-telegram": Attack("social", 80, _QUALITY, partial(network, side=1280, quality=80), ("social",)),
    "social-twitter": Attack("social", 85, _QUALITY, partial(network, side=2048, quality=85), ("social",)),
    "social-twitter-medium": Attack("social", 85, _QUALITY, partial(network, side=1200, quality=85), ("social",)),
}


def find_attacks(text: str) -> list[str]:
    """Names of attacks from `--attack`: all, a group (jpeg), a suite (ncl-3, sweep, social) or one attack (jpeg-50).

    Raises:
        ConfigError: nothing of that name.
    """
    found = [name for name, one in ATTACKS.items() if text in ("all", name, one.group, *one.suites)]
    if not found:
        known = {"all", *ATTACKS, *(one.group for one in ATTACKS.values()), *(s for one in ATTACKS.values() for s in one.suites)}
        raise ConfigError(f"--attack: {unknown('attack', text, known)}")
    return found


def attack(name: str, rgb: Rgb, mask: BoolMap, seed: int = 0) -> tuple[Rgb, BoolMap]:
    """One attack of the table on one picture; the same picture for the same name and seed.

    Args:
        name: of ATTACKS.
        rgb: H x W x 3 uint8.
        mask: H x W bool, its truth.
        seed: give each picture its own, or all share one noise.

    Returns:
        rgb and mask, which may be smaller and are new where anything changed; what went in is left as it was.

    Raises:
        ConfigError: no such attack.
        ValueError: rgb and mask do not belong together.
    """
    if name not in ATTACKS:
        raise ConfigError(f"--attack: {unknown('attack', name, ATTACKS)}")
    if rgb.shape != (*mask.shape, 3) or rgb.dtype != np.uint8 or mask.dtype != np.bool_:
        raise ValueError(f"rgb {rgb.shape} {rgb.dtype}, mask {mask.shape} {mask.dtype}; wanted H x W x 3 uint8 and H x W bool")
    return ATTACKS[name].step(rgb, mask, np.random.default_rng(seed))


def encoded_jpeg(rgb: Rgb, quality: int) -> bytes:
    """The file that `jpeg` decodes: IJG tables of this quality, 4:2:0."""
    return _encoded(rgb, "JPEG", quality=quality, subsampling="4:2:0")


def _encoded(rgb: Rgb, container: str, **settings: int | str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, container, **settings)
    return file.getvalue()


def _decoded(content: bytes) -> Rgb:
    with Image.open(io.BytesIO(content)) as file:
        return np.array(file.convert("RGB"))


def _resized(rgb: Rgb, mask: BoolMap, height: int, width: int) -> tuple[Rgb, BoolMap]:
    small = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(small), np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
