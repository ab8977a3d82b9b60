import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from imgscan.decode import decode
from imgscan.drawn import BLURRED, DRAWN, LEVEL, _framed, _in_few_colours, _on_ground, drawn, evenness
from imgscan.frame import cut
from imgscan.records import Part, Picture, Source
from tests.conftest import PHOTOS

WORDS = "the quick brown fox jumps over the lazy dog and on it runs to where nobody has been before "


Colour = tuple[int, int, int]
LIGHT, DARK = (239, 240, 241), (35, 38, 41)


def window(ground: Colour = LIGHT, ink: Colour = DARK, side: int = 400) -> Image.Image:
    """A program's window: lines of text, buttons, a selected row."""
    picture = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 120, side, 140), (61, 174, 233))
    for left in range(20, side - 80, 90):
        pen.rectangle((left, 20, left + 70, 44), (252, 252, 252), ink)
    for row in range(60, side - 20, 20):
        pen.text((12, row), (WORDS * 2)[row : row + 60], ink)
    return picture


def resaved(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def levels(picture: Image.Image, black: float, gain: float) -> Image.Image:
    return Image.fromarray(((np.asarray(picture, np.float32) - black) * gain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("colours", [(LIGHT, DARK), (DARK, (252, 252, 252))], ids=["light", "dark"])
def test_a_window_is_drawn(colours: tuple[Colour, Colour]) -> None:
    picture = window(*colours)
    assert drawn(np.asarray(picture)) > DRAWN
    assert drawn(np.asarray(resaved(picture, 90))) > DRAWN
    assert drawn(np.asarray(picture.rotate(90))) > DRAWN


@pytest.mark.parametrize("colours", [(LIGHT, DARK), (DARK, (252, 252, 252))], ids=["light", "dark"])
@pytest.mark.parametrize("scale", [0.6, 0.8, 1.3])
def test_a_window_is_drawn_after_it_was_scaled_and_saved(colours: tuple[Colour, Colour], scale: float) -> None:
    picture = window(*colours, side=600)
    side = round(600 * scale)
    assert drawn(np.asarray(resaved(picture.resize((side, side), Image.Resampling.LANCZOS), 80))) > DRAWN
    assert drawn(np.asarray(resaved(picture, 60))) > DRAWN


def cells(*grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells of 16 x 16 pixels, of their 256 grey levels each, and their contrast."""
    luma = np.stack(grey).astype(np.int16)
    return np.repeat(luma[..., None], 3, 2), np.ptp(luma, axis=1).astype(np.float32) * LEVEL


def test_what_stands_on_a_ground_by_hand() -> None:
    text = np.full(256, 200)
    text[:56] = 0  # 200 pixels of ground
    text[56:66] = 200 - 7, 200 + 7, 200 - 9, 200 + 9, *[150] * 6  # 7 of 209 levels are near, 9 are not
    slope = np.linspace(0, 255, 256).astype(int)  # within 4 % of 255 of a quarter or three quarters lie 21 levels
    plain = np.full(256, 90)
    assert _on_ground(*cells(text)) == pytest.approx(192 / 256 / (1 + 8))
    assert _on_ground(*cells(255 - text)) == pytest.approx(192 / 256 / (1 + 8))
    assert _on_ground(*cells(slope, plain)) == pytest.approx(21 / 256 / (1 + 8))
    assert _on_ground(*cells(plain)) == 0


def test_what_is_flat_in_few_colours_by_hand() -> None:
    def flat(level: int) -> np.ndarray:
        return np.full(256, level)

    uneven = np.tile([100, 104], 128)  # plain, but not flat
    five = [flat(level) for level in (60, 60, 60, 90, 90, 120, 120, 150, 150, 180)]  # the last is not among four
    assert _in_few_colours(*cells(*five, uneven)) == (pytest.approx(9 / (11 + 8)),) * 2
    white_and_dark = _in_few_colours(*cells(flat(255), flat(255), flat(10)))
    assert white_and_dark == (pytest.approx(3 / (3 + 8)), pytest.approx(0.1 * 3 / (3 + 8)))
    assert _in_few_colours(*cells(uneven)) == (0, 0)


@pytest.mark.parametrize("colour", ["white", "black", (200, 30, 30)], ids=str)
@pytest.mark.parametrize("quality", [None, 92])
def test_a_frame_makes_no_photograph_a_drawing_and_no_drawing_a_photograph(colour: str, quality: int | None) -> None:
    def framed(picture: Image.Image) -> float:
        whole = ImageOps.expand(picture, 20, colour)
        return drawn(np.asarray(whole if quality is None else resaved(whole, quality)))

    for path in sorted(PHOTOS.glob("*.jpg")):
        photograph = Image.open(path).convert("RGB")
        photograph.thumbnail((256, 256))  # a thumbnail has more frame than cells
        assert framed(photograph) < 0.25 * DRAWN, path
    assert framed(window()) > DRAWN


@pytest.mark.parametrize("colours", [2, 16])
def test_what_has_hardly_any_colours_is_no_photograph(colours: int) -> None:
    photograph = Image.open(sorted(PHOTOS.glob("*.jpg"))[0])
    assert drawn(np.asarray(photograph.convert("1").convert("RGB"))) == 1, "a fax"
    assert drawn(np.asarray(photograph.quantize(colours).convert("RGB"))) == 1
    assert drawn(np.asarray(photograph.convert("L").point(lambda level: level // 20).convert("RGB"))) == 0, "taken in the dark"
    assert drawn(np.asarray(photograph.quantize(256).convert("RGB"))) < 0.5 * DRAWN


def test_a_picture_of_one_colour_is_all_frame() -> None:
    assert drawn(np.full((64, 64, 3), 255, np.uint8)) == 0


def test_what_is_within_a_frame_is_kept_and_all_where_hardly_anything_is() -> None:
    picture = np.zeros((100, 80, 3), np.uint8)
    picture[30:70, 10:60] = np.random.default_rng(0).integers(0, 256, (40, 50, 3))
    assert np.array_equal(_framed(picture), picture[30 + BLURRED : 70 - BLURRED, 10 + BLURRED : 60 - BLURRED])
    assert np.array_equal(_framed(picture[:70, :60]), picture[30 + BLURRED : 70, 10 + BLURRED : 60])
    little = picture[65:]  # five rows, too few beside what saving mixed with the frame
    assert _framed(little).shape == (35, 50 - 2 * BLURRED, 3)


@pytest.mark.parametrize("path", sorted(PHOTOS.glob("*.jpg")), ids=lambda path: path.stem)
def test_photographs_are_not_whatever_was_done_to_them(path) -> None:  # type: ignore[no-untyped-def]
    photograph = Image.open(path).convert("RGB")
    made = {
        "as it is": photograph,
        "q30": resaved(photograph, 30),
        "half": (half := photograph.resize((photograph.width // 2, photograph.height // 2), Image.Resampling.LANCZOS)),
        "half, q75": resaved(half, 75),
        "grey": photograph.convert("L").convert("RGB"),
        "dark": levels(photograph, 100, 1.6),  # clipped below, as at night
        "bright": levels(photograph, -60, 1.4),
    }
    assert {name: value for name, one in made.items() if (value := drawn(np.asarray(one))) > 0.75 * DRAWN} == {}


@pytest.mark.parametrize("path", sorted(PHOTOS.glob("*.jpg")), ids=lambda path: path.stem)
def test_words_written_on_a_photograph_do_not_make_it_a_drawing(path) -> None:  # type: ignore[no-untyped-def]
    photograph = Image.open(path).convert("RGB").resize((640, 480))
    soft = photograph.filter(ImageFilter.GaussianBlur(6))  # with hardly an edge of its own
    for picture in (photograph, soft):
        pen = ImageDraw.Draw(picture)
        for row, words in enumerate(("WHEN THE TESTS", "PASS AT ONCE", "AND NOBODY KNOWS", "WHY THEY DO")):
            pen.text((40, 20 + 110 * row), words, "white", ImageFont.load_default(60))
        assert drawn(np.asarray(picture)) < DRAWN


def test_a_photograph_beside_a_caption_or_on_white_is_a_photograph() -> None:
    photograph = Image.open(sorted(PHOTOS.glob("*.jpg"))[0]).convert("RGB").resize((400, 400))
    caption = Image.new("RGB", (400, 480), "white")
    caption.paste(photograph, (0, 0))
    ImageDraw.Draw(caption).text((12, 430), WORDS[:60], "black")
    backdrop = Image.new("RGB", (400, 400), "white")
    disc = Image.new("L", (400, 400), 0)
    ImageDraw.Draw(disc).ellipse((100, 60, 300, 340), 255)
    backdrop.paste(photograph, (0, 0), disc)
    assert drawn(np.asarray(caption)) < DRAWN
    assert drawn(np.asarray(backdrop)) < DRAWN


def test_what_is_plain_small_or_empty_tells_nothing() -> None:
    assert drawn(np.full((300, 300, 3), 200, np.uint8)) == 0.0
    assert drawn(np.zeros((8, 40, 3), np.uint8)) == 0.0
    few = window(side=96)  # too few cells to tell
    assert drawn(np.asarray(few)) < drawn(np.asarray(window()))


def test_a_large_picture_is_sampled_and_answers_alike() -> None:
    wide = np.tile(np.asarray(window()), (4, 5, 1))
    assert drawn(wide) > DRAWN
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2100, 3)).astype(np.uint8)
    assert drawn(noise) == 0.0


def test_evenness_by_hand() -> None:
    grey = np.zeros((9, 12), np.uint8)
    grey[:, 6:] = 2  # one weak step a row; all others are none
    rgb = np.repeat(grey[..., None], 3, 2)
    whole = Part((slice(0, 9), slice(0, 12)), np.ones((9, 12), bool))
    steps, weak = 9 * 11 + 8 * 12, 9
    assert evenness(rgb, whole) == pytest.approx((steps - weak) / steps / (1 + 0.05))
    strong = rgb.copy()
    strong[:, 6:] = 200  # no longer weak: they tell nothing
    assert evenness(strong, whole) == pytest.approx((steps - weak) / steps / ((steps - weak) / steps + 0.05))
    assert evenness(np.random.default_rng(1).integers(0, 256, (40, 40, 3)).astype(np.uint8), whole) < 0.2


def test_steps_of_whole_levels_are_no_matter_of_rounding() -> None:
    """As a float some steps of 4 levels come out less than 4.  Here half of the neighbours are equal, the others 4 apart."""
    for level in range(252):
        row = np.array([level, level, level + 4, level + 4] * 5 + [level], np.uint8)
        rgb = np.repeat(np.repeat(row[None, :, None], 8, 0), 3, 2)
        part = Part((slice(0, 8), slice(0, 21)), np.ones((8, 21), bool))
        down, equal, apart = 7 * 21, 8 * 10, 8 * 10
        same = (down + equal) / (down + equal + apart)
        assert evenness(rgb, part) == pytest.approx(same / (same + 0.05)), level


def test_evenness_sees_a_little_beside_the_part_and_nothing_beyond_the_picture() -> None:
    rgb = np.random.default_rng(2).normal(128, 3, (60, 60, 1)).repeat(3, 2).astype(np.uint8)
    rgb[20:40, 20:40] = 128
    part = Part((slice(25, 35), slice(25, 35)), np.ones((10, 10), bool))
    assert evenness(rgb, part) == pytest.approx(1 / 1.05)
    corner = Part((slice(0, 4), slice(56, 60)), np.ones((4, 4), bool))
    assert 0 < evenness(rgb, corner) < 0.5


def test_decoding_tells(tmp_path) -> None:  # type: ignore[no-untyped-def]
    window().save(tmp_path / "window.png")
    picture = decode(Source(tmp_path / "window.png", "window.png"))
    assert isinstance(picture, Picture)
    assert picture.drawn == drawn(cut(picture.rgb, picture.inside)) > DRAWN
