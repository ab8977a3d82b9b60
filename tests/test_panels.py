from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from imgscan.decode import decode
from imgscan.extract import luma_of
from imgscan.frame import unframed, within_frame
from imgscan.panels import panels
from imgscan.records import Box, Picture, Source
from imgscan.scanner import build_scanner
from imgscan.stages import views
from imgscan.weights import find_model
from tests.conftest import PHOTOS
from tests.test_frame import stored

PATHS = sorted(PHOTOS.glob("*.jpg"))
SIDES = 200, 176  # of a panel, pixels
LAYOUTS = {"2x1": [(0, 0, 1, 1), (1, 0, 2, 1)], "1x2": [(0, 0, 1, 1), (0, 1, 1, 2)]}
LAYOUTS |= {"2x2": [(0, 0, 1, 1), (1, 0, 2, 1), (0, 1, 1, 2), (1, 1, 2, 2)], "1+2": [(0, 0, 2, 1), (0, 1, 1, 2), (1, 1, 2, 2)]}


@cache
def photograph(number: int, size: tuple[int, int] = SIDES) -> Image.Image:
    return ImageOps.fit(Image.open(PATHS[number % len(PATHS)]).convert("RGB"), size, Image.Resampling.LANCZOS)


def collage(layout: str, gutter: int, colour: str, shown: Callable[[int, tuple[int, int]], Image.Image] = photograph) -> tuple:
    """The collage and the boxes of its panels."""
    boxes: list[Box] = []
    for left, top, right, bottom in LAYOUTS[layout]:
        (width, high), (x, y) = SIDES, (left * (SIDES[0] + gutter), top * (SIDES[1] + gutter))
        boxes.append((x, y, x + width * (right - left) + gutter * (right - left - 1), y + high * (bottom - top)))
    whole = Image.new("RGB", (max(box[2] for box in boxes), max(box[3] for box in boxes)), colour)
    for number, box in enumerate(boxes):
        whole.paste(shown(number, (box[2] - box[0], box[3] - box[1])), box[:2])
    return whole, boxes


def lost(found: Box, true: Box) -> list[int]:
    return [found[0] - true[0], found[1] - true[1], true[2] - found[2], true[3] - found[3]]


@pytest.mark.parametrize(("gutter", "quality"), [(2, None), (16, None), (5, 90), (16, 75)])
@pytest.mark.parametrize("colour", ["white", "black", "#808080"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_panels_are_found_to_the_block(layout: str, gutter: int, colour: str, quality: int | None) -> None:
    """Nothing of a gutter is left, and no more of a panel is lost than a block and what was mixed with the gutter."""
    whole, boxes = collage(layout, gutter, colour)
    found = panels(stored(whole, quality))
    assert len(found) == len(boxes)
    for one, true in zip(found, boxes, strict=True):
        assert all(0 <= pixels <= 9 for pixels in lost(one, true)), (one, true)
        assert one[0] % 8 == one[1] % 8 == 0


@pytest.mark.parametrize("quality", [None, 85])
def test_a_frame_and_captions_are_left_out(quality: int | None) -> None:
    whole, boxes = collage("1x2", 40, "white")
    pen = ImageDraw.Draw(whole)
    pen.text((8, SIDES[1] + 14), "a  before the repair", "black")
    rgb = stored(ImageOps.expand(whole, 32, "white"), quality)
    found = panels(rgb, within_frame(rgb))
    assert len(found) == 2
    for one, (left, top, right, bottom) in zip(found, boxes, strict=True):
        assert all(0 <= pixels <= 10 for pixels in lost(one, (left + 32, top + 32, right + 32, bottom + 32)))


@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_photograph_has_none(path: Path, quality: int | None) -> None:
    assert not panels(stored(ImageOps.fit(Image.open(path).convert("RGB"), (480, 360)), quality))


@pytest.mark.parametrize("quality", [None, 90])
@pytest.mark.parametrize("what", ["bar before it", "slanting", "soft", "noisy", "short", "near the edge", "sky", "seam"])
def test_what_is_in_a_photograph_is_no_gutter(what: str, quality: int | None) -> None:
    """Each scene is a collage but for one thing."""
    whole, _ = collage("2x1", 12, "black")
    left, right = SIDES[0], SIDES[0] + 12
    pen = ImageDraw.Draw(whole)
    if what == "bar before it":  # of a window: what is seen behind it goes on
        wide = np.repeat(np.asarray(photograph(1, (1, SIDES[1]))), whole.width, axis=1)
        whole = Image.fromarray(wide)
        ImageDraw.Draw(whole).rectangle((left, 0, right - 1, whole.height), "black")
    elif what == "slanting":
        whole = photograph(0, whole.size)
        ImageDraw.Draw(whole).polygon([(left, 0), (right, 0), (right + 12, whole.height), (left + 12, whole.height)], "black")
    elif what == "soft":  # out of focus
        box = (left - 30, 0, right + 30, whole.height)
        whole.paste(whole.crop(box).filter(ImageFilter.GaussianBlur(6)), box[:2])
    elif what == "noisy":  # as a camera has it
        rgb = np.asarray(whole).astype(int)
        rgb[:, left:right] += np.random.default_rng(0).normal(40, 12, rgb[:, left:right].shape).astype(int)
        whole = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    elif what == "short":  # a door
        whole.paste(photograph(2, (12, 30)), (left, 0))
    elif what == "near the edge":
        whole = whole.crop((left - 100, 0, whole.width, whole.height))
    elif what == "sky":  # clipped over a horizon, with nothing above
        whole = Image.new("RGB", whole.size, "white")
        whole.paste(photograph(0, (whole.width, 100)), (0, whole.height - 100))
    else:
        whole.paste(photograph(1), (left, 0))
        whole = whole.crop((0, 0, left + SIDES[0], whole.height))
    del pen
    assert not panels(stored(whole, quality))


def test_gutters_have_one_colour() -> None:
    """Within the panels of a collage with white gutters a black one is something pictured."""
    whole, boxes = collage("2x1", 8, "white")
    both = Image.new("RGB", (whole.width, 2 * whole.height + 8), "white")
    other, _ = collage("2x1", 8, "black")
    both.paste(whole, (0, 0))
    both.paste(other, (0, whole.height + 8))
    found = panels(np.asarray(both))
    assert [one[:2] for one in found] == [(0, 0), (216, 0), (0, 192)]
    assert all(0 <= pixels <= 9 for one, true in zip(found, boxes, strict=False) for pixels in lost(one, true))


def test_a_chart_is_no_panel_and_one_photograph_no_collage() -> None:
    def chart(size: tuple[int, int]) -> Image.Image:
        drawn = Image.new("RGB", size, "#3050a0")
        pen = ImageDraw.Draw(drawn)
        for (a, b), row in zip(pairwise(range(0, size[0], 12)), range(0, size[1], 9), strict=False):
            pen.rectangle((a, row, b - 4, size[1]), "white")
            pen.text((a, row), "17", "yellow")
        return drawn

    some, boxes = collage("1+2", 8, "white", lambda n, size: photograph(n, size) if n else chart(size))
    found = panels(np.asarray(some))
    assert [lost(one, true) for one, true in zip(found, boxes[1:], strict=True)]
    one, _ = collage("2x1", 8, "white", lambda n, size: photograph(n, size) if n else chart(size))
    assert not panels(np.asarray(one))


def test_any_picture_has_panels_within_it() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(60):
        height, width = (int(side) for side in rng.integers(64, 640, 2))
        rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
        for _ in range(rng.integers(1, 4)):
            colour, at, thick = rng.choice([0, 255]), rng.integers(0, 500), rng.integers(1, 30)
            if rng.integers(2):
                rgb[at : at + thick] = colour
            else:
                rgb[:, at : at + thick] = colour
        boxes = panels(rgb, within_frame(rgb))
        found += len(boxes) > 1
        assert len(boxes) != 1
        covered = np.zeros((height, width), int)
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            covered[top:bottom, left:right] += 1
        assert covered.max() <= 1, "none lies in another"
    assert found > 5


def test_a_file_is_decoded_with_its_panels_and_each_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "collage.jpg"
    whole, _ = collage("2x1", 8, "white")
    whole.save(path, quality=90)
    picture = decode(Source(path, path.name))
    assert isinstance(picture, Picture)
    assert (picture.inside, picture.panels) == (None, ((0, 0, 192, 176), (216, 0, 408, 176)))
    scanner = build_scanner(find_model("ela"), device=torch.device("cpu"), jobs=0)
    for view, (left, top, right, bottom) in zip(views(picture, scanner), picture.panels, strict=True):
        one = unframed(view)
        assert (one.inside, one.panels) == (None, ())
        assert np.array_equal(one.rgb, picture.rgb[top:bottom, left:right])
        luma, all_of_it = luma_of(one), luma_of(picture)
        assert luma is not None
        assert all_of_it is not None
        assert np.array_equal(luma.values, all_of_it.values[top:bottom, left:right])
