import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from imgscan import frame
from imgscan.decode import decode
from imgscan.drawn import DRAWN, drawn
from imgscan.extract import luma_of
from imgscan.frame import AT_ONCE, cut, plain_lines, unframed, within_frame
from imgscan.records import Picture, Source
from tests.conftest import PHOTOS

Colour = tuple[int, int, int]
PATHS = sorted(PHOTOS.glob("*.jpg"))
SIZE = (300, 260)


def photograph(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)


def stored(picture: Image.Image, quality: int | None) -> np.ndarray:
    if quality is None:
        return np.asarray(picture)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("quality", [None, 95, 75])
@pytest.mark.parametrize("colour", ["white", "black", (120, 30, 60)], ids=str)
@pytest.mark.parametrize("border", [(30, 30, 30, 30), (0, 41, 0, 41), (53, 20, 21, 90), (0, 0, 0, 64)], ids=str)
def test_what_lies_within_a_border_is_found_to_the_block(
    path: Path, quality: int | None, colour: str, border: tuple[int, int, int, int]
) -> None:
    """Nothing of the border is left, and no more than a block and a pixel of the photograph is lost on a side."""
    rgb = stored(ImageOps.expand(photograph(path), border, colour), quality)
    inside = within_frame(rgb)
    assert inside is not None
    true = border[0], border[1], border[0] + SIZE[0], border[1] + SIZE[1]
    lost = [inside[0] - true[0], inside[1] - true[1], true[2] - inside[2], true[3] - inside[3]]
    assert all(0 <= pixels <= 9 if width else pixels == 0 for pixels, width in zip(lost, border, strict=True)), lost
    assert inside[0] % 8 == inside[1] % 8 == 0


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize(("ground", "ink"), [("black", "white"), ("white", (20, 20, 20))], ids=["dark", "light"])
def test_a_program_around_a_photograph_is_left_out(path: Path, quality: int | None, ground: str, ink: str | Colour) -> None:
    """Words and icons above and below it do not end the border; the photograph is judged, and does not look drawn."""
    width, top, bottom = SIZE[0], 100, 100 + SIZE[1]
    screen = Image.new("RGB", (width, bottom + 150), ground)
    pen = ImageDraw.Draw(screen)
    pen.text((10, 8), "14:33", ink)
    pen.text((width - 80, 8), "LTE  87 %", ink)
    pen.ellipse((12, 48, 52, 88), (200, 80, 60))
    pen.text((60, 62), "jane_doe", ink)
    screen.paste(photograph(path), (0, top))
    for row, words in enumerate(("1,204 likes", "Look what we found on our walk this morning")):
        pen.text((10, bottom + 12 + 20 * row), words, ink)
    pen.rectangle((width // 2 - 12, bottom + 110, width // 2 + 12, bottom + 134), outline=ink, width=3)
    rgb = stored(screen, quality)
    inside = within_frame(rgb)
    assert inside is not None
    left, first, right, last = inside
    assert (left, right) == (0, width)
    assert (0 <= first - top <= 10, 0 <= bottom - last <= 10) == (True, True)
    assert drawn(cut(rgb, inside)) < 0.1 * DRAWN


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_photograph_has_none(path: Path) -> None:
    for quality in (None, 90, 50):
        assert within_frame(stored(photograph(path), quality)) is None


@pytest.mark.parametrize("quality", [None, 90])
def test_what_does_not_end_in_a_straight_line_is_no_border(quality: int | None) -> None:
    """A thing on white, a roof, a slope: the ground is theirs."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 200, (200, 200, 3), np.uint8))
    shapes = {
        "a thing": lambda pen: pen.ellipse((40, 40, 160, 160), 255),
        "a roof": lambda pen: pen.polygon([(0, 200), (0, 100), (100, 30), (200, 100), (200, 200)], 255),
        "a slope": lambda pen: pen.polygon([(0, 200), (0, 60), (200, 80), (200, 200)], 255),
    }
    for name, draw in shapes.items():
        where = Image.new("L", noise.size)
        draw(ImageDraw.Draw(where))
        picture = Image.composite(noise, Image.new("RGB", noise.size, "white"), where)
        assert within_frame(stored(picture, quality)) is None, name


@pytest.mark.parametrize("quality", [None, 90])
def test_nor_does_a_faint_one(quality: int | None) -> None:
    """A roof of nearly the colour of the sky over it."""
    where = Image.new("L", (200, 200))
    ImageDraw.Draw(where).polygon([(0, 200), (0, 110), (100, 30), (200, 110), (200, 200)], 255)
    roof = Image.fromarray(np.random.default_rng(0).integers(241, 248, (200, 200, 1), np.uint8).repeat(3, 2))
    assert within_frame(stored(Image.composite(roof, Image.new("RGB", (200, 200), "white"), where), quality)) is None


def test_a_border_ends_where_more_than_half_of_a_line_is_something_else() -> None:
    """Of every row of the photograph 61 % are unlike the border; a light wall in it is the border's colour."""
    picture = np.full((200, 200, 3), 255, np.uint8)
    picture[40:160, 40:160] = np.random.default_rng(0).integers(0, 200, (120, 120, 3))
    picture[40:160, 112:158] = 255
    assert within_frame(picture) == (48, 48, 158, 158)


@pytest.mark.parametrize("quality", [None, 90])
@pytest.mark.parametrize("colour", ["white", "black"])
def test_a_border_ends_where_something_nearly_as_light_or_dark_begins(quality: int | None, colour: str) -> None:
    sky = np.random.default_rng(0).normal(6, 1.5, (200, 300, 1)).clip(3, 12).repeat(3, 2)
    sky[120:] += np.random.default_rng(1).uniform(0, 200, (80, 300, 3))
    photo = Image.fromarray(np.rint(255 - sky if colour == "white" else sky).astype(np.uint8))
    inside = within_frame(stored(ImageOps.expand(photo, 40, colour), quality))
    assert inside is not None
    lost = [inside[0] - 40, inside[1] - 40, 340 - inside[2], 240 - inside[3]]
    assert all(0 <= pixels <= 10 for pixels in lost), lost


def test_a_sky_that_changes_is_no_border_though_it_begins_plain_and_ends_in_a_horizon() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((256, 256, 3), 40.0)
    picture[:128] = np.linspace(180, 192, 128)[:, None, None] + rng.normal(0, 1, (128, 256, 1))
    picture[:8] = 180
    picture[128:] += rng.normal(0, 9, (128, 256, 3))
    inside = within_frame(np.rint(picture).astype(np.uint8))
    assert inside is None or inside[1] <= 32, "what is plain may go"
    picture[:120] = 180
    assert within_frame(np.rint(picture).astype(np.uint8)) == (0, 136, 256, 256)


@pytest.mark.parametrize("quality", [None, 90])
def test_what_is_as_large_as_a_picture_is_not_cut_off_with_the_border(quality: int | None) -> None:
    """A thing in a clipped sky over the sea, a picture beside or above another one."""
    rng = np.random.default_rng(0)

    def noise(height: int, width: int) -> np.ndarray:
        return rng.integers(0, 200, (height, width, 3), np.uint8)

    sea = np.full((600, 800, 3), 255, np.uint8)
    sea[360:], sea[60:180, 200:400] = noise(240, 800), noise(120, 200)
    above = np.full((700, 620, 3), 255, np.uint8)
    above[10:260, 10:270], above[300:690, 10:610] = noise(250, 260), noise(390, 600)
    beside = above.swapaxes(0, 1)
    for picture, corner in ((sea, (60, 200)), (above, (16, 16)), (beside, (16, 16))):
        inside = within_frame(stored(Image.fromarray(picture), quality))
        assert inside is None or (inside[1] <= corner[0] and inside[0] <= corner[1])


def test_what_is_large_beside_a_picture_is_so_however_tall_the_page() -> None:
    """50 columns with a picture are more than a tenth of the 200 rows that have anything, though not of the page's 800."""
    page = np.full((800, 600, 3), 255, np.uint8)
    rng = np.random.default_rng(0)
    page[300:500, 150:580] = rng.integers(0, 200, (200, 430, 3))
    page[300:360, 20:70] = rng.integers(0, 200, (60, 50, 3))
    inside = within_frame(page)
    assert inside is not None
    assert inside[0] == 0
    page[300:360, 35:70] = 255  # an icon of 15 columns
    assert within_frame(page) == (152, 304, 578, 498)


def test_a_border_within_a_border() -> None:
    picture = ImageOps.expand(ImageOps.expand(photograph(PATHS[0]), 24, "white"), 16, "black")
    assert within_frame(np.asarray(picture)) == (48, 48, 338, 298)
    assert within_frame(np.asarray(ImageOps.expand(picture, 16, (120, 30, 60)))) == (64, 64, 354, 314)


@pytest.mark.parametrize(("side", "inside"), [(74, (48, 48, 112, 112)), (73, None)])
def test_what_is_left_can_be_judged(side: int, inside: tuple[int, int, int, int] | None) -> None:
    """Noise from pixel 40 on; two pixels are taken for mixed on either side, and it begins with a block, at 48."""
    picture = np.full((200, 200, 3), 255, np.uint8)
    picture[40 : 40 + side, 40 : 40 + side] = np.random.default_rng(0).integers(0, 200, (side, side, 3))
    assert within_frame(picture) == inside


def test_whatever_the_picture_the_box_is_in_it_and_on_the_grid() -> None:
    """Patches of one colour, of nearly one, and of noise, anywhere; two plain halves have no content at all."""
    rng = np.random.default_rng(0)
    halves = np.zeros((96, 80, 3), np.uint8)
    halves[40:] = 255
    assert within_frame(halves) is within_frame(halves.swapaxes(0, 1)) is None
    found = 0
    for _ in range(400):
        height, width = (int(side) for side in rng.integers(64, 200, 2))
        picture = np.full((height, width, 3), rng.integers(0, 256), np.uint8)
        for kind in rng.integers(0, 3, rng.integers(1, 4)):
            top, left = rng.integers(0, height), rng.integers(0, width)
            where = slice(top, rng.integers(top, height + 1)), slice(left, rng.integers(left, width + 1))
            low, high = [(0, 256), (100, 104), (0, 256)][kind]
            picture[where] = rng.integers(low, high) if kind == 0 else rng.integers(low, high, picture[where].shape)
        inside = within_frame(picture)
        if inside is not None:
            found += 1
            left, top, right, bottom = inside
            assert 0 <= left <= right - 64 <= width - 64
            assert 0 <= top <= bottom - 64 <= height - 64
            assert left % 8 == top % 8 == 0
    assert found > 20


@pytest.mark.parametrize("side", [0, 40])
def test_nearly_all_border_is_left_whole(side: int) -> None:
    picture = np.full((200, 200, 3), 255, np.uint8)
    picture[80 : 80 + side, 80 : 80 + side] = np.random.default_rng(0).integers(0, 256, (side, side, 3))
    assert within_frame(picture) is None


def test_a_file_is_decoded_with_what_lies_within(tmp_path: Path) -> None:
    path = tmp_path / "framed.jpg"
    ImageOps.expand(photograph(PATHS[0]), 32, "white").save(path, quality=90)
    picture = decode(Source(path, path.name))
    assert isinstance(picture, Picture)
    assert picture.inside == (40, 40, 328, 288)
    within = unframed(picture)
    assert (within.height, within.width, within.inside) == (248, 288, None)
    assert np.array_equal(within.rgb, cut(picture.rgb, picture.inside))
    assert np.array_equal(within.rgb, picture.rgb[40:288, 40:328])
    assert unframed(within) is within
    luma, whole = luma_of(within), luma_of(picture)
    assert luma is not None
    assert whole is not None
    assert np.array_equal(luma.values, whole.values[40:288, 40:328])
    assert np.array_equal(luma.table, whole.table)


@pytest.mark.parametrize("most", [96, 5 * 96, AT_ONCE])
def test_a_border_ends_where_it_does_however_many_lines_are_looked_at_at_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dot in every line but the first; then noise, 2 pixels from which and to the next block the picture begins."""
    monkeypatch.setattr(frame, "AT_ONCE", most)
    noise = np.random.default_rng(4).integers(0, 256, (100, 96, 3), np.uint8)
    for lines in (*range(26, 66, 3), 1000):
        border = np.full((lines, 96, 3), 200, np.uint8)
        assert plain_lines(np.concatenate([border, noise])) == lines
        border[1:, 20] = 0
        top = -(-(lines + 2) // 8) * 8
        assert within_frame(np.concatenate([border, noise])) == (0, top, 96, lines + 100)
    assert plain_lines(np.full((700, 96, 3), 7, np.uint8)) == 700


@pytest.mark.parametrize("most", [96, 7 * 96, AT_ONCE])
def test_something_faint_counts_from_where_it_began(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 lines of nearly the border's colour, begun in one block and told in another, end it where they begin."""
    monkeypatch.setattr(frame, "AT_ONCE", most)
    noise = np.random.default_rng(5).integers(195, 206, (100, 96, 3), np.uint8)
    for lines in range(50, 66):
        border = np.full((lines, 96, 3), 190, np.uint8)
        assert within_frame(np.concatenate([border, noise])) == (0, -(-(lines + 2) // 8) * 8, 96, lines + 100)
