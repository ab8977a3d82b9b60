import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan import decode as module
from imgscan import find
from imgscan.datasets.entries import read_levels, read_rgb
from imgscan.decode import decode, decode_all
from imgscan.errors import InputError
from imgscan.metadata.facts import inspect
from imgscan.records import Picture, Skipped, Source


def source(path: Path) -> Source:
    return Source(path, path.name)


def ok(path: Path) -> Picture:
    picture = decode(source(path))
    assert isinstance(picture, Picture), picture
    return picture


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)


def test_pixels_hash_and_size_are_those_of_the_file(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "x.png")
    picture = ok(tmp_path / "x.png")
    assert (picture.rgb == rgb).all()
    assert (picture.height, picture.width, picture.format) == (80, 96, "PNG")
    content = (tmp_path / "x.png").read_bytes()
    assert picture.sha256 == hashlib.sha256(content).hexdigest()
    assert picture.bytes == len(content)
    assert picture.jpeg_quality is None


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
def test_jpeg_quality_is_read_back(tmp_path: Path, rgb: np.ndarray, quality: int) -> None:
    Image.fromarray(rgb).save(tmp_path / "x.jpg", quality=quality)
    assert ok(tmp_path / "x.jpg").jpeg_quality == quality


@pytest.mark.parametrize(
    ("name", "settings"),
    [("x.jpg", {}), ("x.png", {}), ("x.webp", {"lossless": True}), ("x.tif", {}), ("x.tif", {"compression": "tiff_lzw"})],
)
def test_orientation_is_recorded_and_pixels_stay_as_stored(
    tmp_path: Path, rgb: np.ndarray, name: str, settings: dict[str, object]
) -> None:
    """Also those of TIFF, which Pillow turns as it loads."""
    image = Image.fromarray(rgb)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / name, exif=exif, **settings)
    picture = ok(tmp_path / name)
    assert picture.orientation == 6
    assert (picture.height, picture.width) == (80, 96)
    assert (picture.rgb == rgb).all() or name == "x.jpg"
    assert (read_rgb(tmp_path / name) == picture.rgb).all(), "as masks of data sets are drawn"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_every_orientation_of_a_grey_tiff(tmp_path: Path, kind: type, compression: str | None) -> None:
    """Levels that tell every pixel of 64 x 96 apart by its row and column, as far as 256 of them can."""
    y, x = np.mgrid[:64, :96]
    grey = ((4 * y * y + x) % 256).astype(kind)
    grey = grey * 257 if kind is np.uint16 else grey / np.float32(255) if kind is np.float32 else grey
    for orientation in range(1, 9):
        image = Image.fromarray(grey)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / "x.tif", exif=exif, compression=compression)
        picture = ok(tmp_path / "x.tif")
        assert picture.orientation == orientation
        np.testing.assert_allclose(picture.rgb[..., 0], (4 * y * y + x) % 256, atol=1, err_msg=str(orientation))
        np.testing.assert_allclose(read_rgb(tmp_path / "x.tif")[..., 0], picture.rgb[..., 0], atol=1)
        np.testing.assert_allclose(read_levels(tmp_path / "x.tif"), picture.rgb[..., 0], atol=1)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 80 * 80).reshape(80, 80).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "x.png")
    levels = ok(tmp_path / "x.png").rgb
    assert levels.shape == (80, 80, 3)
    assert levels[0, 0, 0] == 0
    assert levels[40, 0, 0] in (127, 128)
    assert levels[-1, -1, 0] == 255


def test_floating_point_grey_from_0_to_1_and_what_is_no_number(tmp_path: Path) -> None:
    grey = np.linspace(0, 1, 80 * 80, dtype=np.float32).reshape(80, 80)
    grey[0, 1], grey[0, 2], grey[0, 3] = np.nan, np.inf, -np.inf
    Image.fromarray(grey).save(tmp_path / "x.tif")
    levels = ok(tmp_path / "x.tif").rgb[..., 0]
    assert list(levels[0, 1:4]) == [0, 255, 0], "what is infinite is no measure of what is white"
    assert levels[40, 0] in (127, 128)
    assert levels[-1, -1] == 255


@pytest.mark.parametrize(("most", "white"), [(900, 1023), (4095, 4095), (9000, 16383), (16384, 65535)])
@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_grey_of_10_12_and_14_bits_in_16_is_not_black(tmp_path: Path, name: str, most: int, white: int) -> None:
    grey = np.linspace(0, most, 80 * 80).reshape(80, 80).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / name)
    levels = ok(tmp_path / name).rgb[..., 0]
    assert levels[0, 0] == 0
    assert levels[-1, -1] == int(most * 255 / white)
    assert read_levels(tmp_path / name)[-1, -1] == int(np.ceil(most * 255 / white)), "a mask"


def tiff(pixels: bytes, bits: tuple[int, ...], photometric: int) -> bytes:
    """A TIFF of 64 x 64 pixels in one strip, as Pillow writes none: bits a sample, 0 for white at level 0."""
    count = len(bits)
    at = 8 + 2 + 9 * 12 + 4  # behind the header and the directory of nine tags
    wide = struct.pack(f"<{count}H", *bits) if count > 2 else b""
    first = at if wide else bits[0]
    tags = [(256, 3, 1, 64), (257, 3, 1, 64), (258, 3, count, first), (259, 3, 1, 1), (262, 3, 1, photometric)]
    tags += [(273, 4, 1, at + len(wide)), (277, 3, 1, count), (278, 3, 1, 64), (279, 4, 1, len(pixels))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + wide + pixels


def test_a_tiff_of_12_bits_is_white_at_4095_however_dark(tmp_path: Path) -> None:
    """Level 0x100 of 12 bits all over: two pixels in three bytes."""
    (tmp_path / "x.tif").write_bytes(tiff(b"\x10\x01\x00" * (64 * 32), (12,), 1))
    assert (ok(tmp_path / "x.tif").rgb == int(256 * 255 / 4095)).all()


def test_sixteen_bits_with_white_at_0_are_no_negative(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64 * 64).astype("<u2")
    (tmp_path / "x.tif").write_bytes(tiff(grey.tobytes(), (16,), 0))
    for levels in (ok(tmp_path / "x.tif").rgb[..., 0], read_levels(tmp_path / "x.tif")):
        assert (levels[0, 0], levels[-1, -1]) == (255, 0)


@pytest.mark.parametrize(("most", "skipped"), [(4095, True), (4096, False), (0, False)])
def test_colours_of_12_bits_in_16_are_not_taken_for_black(tmp_path: Path, most: int, skipped: bool) -> None:
    colours = np.linspace(0, most, 64 * 64 * 3).astype("<u2")
    (tmp_path / "x.tif").write_bytes(tiff(colours.tobytes(), (16, 16, 16), 2))
    made = decode(source(tmp_path / "x.tif"))
    assert isinstance(made, Skipped) == skipped
    assert not isinstance(made, Skipped) or made.reason.startswith("colours of 12 bits in 16")


def test_camera_raw_is_not_judged_by_its_preview(tmp_path: Path, rgb: np.ndarray) -> None:
    for name, tags in (("x.nef", {}), ("x.tif", {50706: b"\1\4\0\0"})):
        Image.fromarray(rgb).save(tmp_path / name, "TIFF", tiffinfo=tags)
        skipped = decode(source(tmp_path / name))
        assert isinstance(skipped, Skipped)
        assert "camera raw" in skipped.reason


def test_a_picture_too_large_for_pillow_is_skipped_in_our_words(
    tmp_path: Path, rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(rgb).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    skipped = decode(source(tmp_path / "x.png"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith("more than 178,000,000 pixels")


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, rgb: np.ndarray, mode: str) -> None:
    Image.fromarray(rgb).convert(mode).save(tmp_path / "x.tif")
    assert ok(tmp_path / "x.tif").rgb.shape == (80, 96, 3)


def test_what_is_broken_is_skipped_with_a_reason(tmp_path: Path, rgb: np.ndarray) -> None:
    (tmp_path / "text.jpg").write_text("this is no picture")
    Image.fromarray(rgb).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:700])
    Image.fromarray(rgb[:20, :20]).save(tmp_path / "small.png")
    Image.fromarray(rgb).save(tmp_path / "program.jpg", "EPS")  # which Pillow has Ghostscript run
    for name, reason in [
        ("text.jpg", "not a picture"),
        ("program.jpg", "not a picture"),
        ("cut.jpg", "broken"),
        ("small.png", "at least 64"),
        ("none.jpg", "read"),
    ]:
        skipped = decode(source(tmp_path / name))
        assert isinstance(skipped, Skipped)
        assert reason in skipped.reason


def flipped(content: bytes, place: int) -> bytes:
    """One bit of a file turned over."""
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


def test_a_png_with_a_bit_flipped_is_broken_whether_it_has_exif_or_not(tmp_path: Path, rgb: np.ndarray) -> None:
    """Asked for its orientation, Pillow loads one without EXIF; a second load gives black pixels and no error."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for settings in ({}, {"exif": exif}):
        Image.fromarray(rgb).save(tmp_path / "whole.png", **settings)
        content = (tmp_path / "whole.png").read_bytes()
        start = content.index(b"IDAT") + 4
        for place in np.linspace(start, content.index(b"IEND") - 9, 20).astype(int):
            (tmp_path / "x.png").write_bytes(flipped(content, int(place)))
            skipped = decode(source(tmp_path / "x.png"))
            assert isinstance(skipped, Skipped), place
            assert skipped.reason.startswith("broken picture")
            for read in (read_rgb, read_levels):
                with pytest.raises(InputError, match="cannot be decoded"):
                    read(tmp_path / "x.png")


@pytest.mark.parametrize("jobs", [0, 2])
def test_order_is_kept_whatever_the_workers(tmp_path: Path, rgb: np.ndarray, jobs: int) -> None:
    sources = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((64 + 64 * (number % 2), 64, 3), number, np.uint8)).save(path)
        sources.append(source(path))
    pictures = list(decode_all(sources, jobs))
    assert [int(p.rgb[0, 0, 0]) for p in pictures if isinstance(p, Picture)] == list(range(6))


@pytest.mark.parametrize(
    ("kind", "mode", "most"), [(np.float32, "F", 255), (np.int32, "I", 255), (np.float32, "F", 65535), (np.int32, "I", 65535)]
)
def test_deep_grey_is_white_where_its_levels_end(tmp_path: Path, kind: type, mode: str, most: int) -> None:
    """Floats and whole numbers of 0 to 255 are levels of bytes, larger ones of 16 bits."""
    grey = np.linspace(0, most, 80 * 80).reshape(80, 80).astype(kind)
    image = Image.fromarray(grey)
    assert image.mode == mode
    image.save(tmp_path / "x.tif")
    levels = ok(tmp_path / "x.tif").rgb[..., 0]
    assert (levels[0, 0], levels[-1, -1]) == (0, 255)
    assert levels[40, 0] in (127, 128)


@pytest.mark.parametrize("name", ["x.nef", "X.NEF", "x.Dng"])
def test_camera_raw_whatever_the_case_of_its_name(tmp_path: Path, rgb: np.ndarray, name: str) -> None:
    Image.fromarray(rgb).save(tmp_path / name, "TIFF")
    skipped = decode(source(tmp_path / name))
    assert isinstance(skipped, Skipped)
    assert "camera raw" in skipped.reason


def test_a_picture_of_more_pixels_than_are_decoded(tmp_path: Path, rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(rgb).save(tmp_path / "x.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 80 * 96)
    ok(tmp_path / "x.png")
    monkeypatch.setattr(module, "MAX_PIXELS", 80 * 96 - 1)
    skipped = decode(source(tmp_path / "x.png"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "96 x 80 pixels; at most 7,679 are decoded"


def test_floats_that_overshoot_are_still_a_picture_of_0_to_1(tmp_path: Path) -> None:
    """As a filter leaves them; one that is white from 1 on to 2 in half its pixels is another."""
    grey = np.linspace(0, 1, 80 * 80, dtype=np.float32).reshape(80, 80)
    grey[3, 3] = 1.0001
    Image.fromarray(grey).save(tmp_path / "x.tif")
    assert ok(tmp_path / "x.tif").rgb[40, 0, 0] in (127, 128)
    Image.fromarray(2 * grey).save(tmp_path / "y.tif")
    assert ok(tmp_path / "y.tif").rgb.max() <= 2


def test_decoding_imports_nothing_so_that_a_worker_forked_beside_other_threads_never_waits(tmp_path: Path, rgb: np.ndarray) -> None:
    image = Image.fromarray(rgb)
    for name in ("a.jpg", "b.png", "c.tif", "d.webp", "e.bmp"):
        image.save(tmp_path / name, exif=Image.Exif())
    image.save(tmp_path / "f.jpg", format="MPO", save_all=True, append_images=[image])  # as phones do
    code = (
        "import sys, pathlib; from imgscan.decode import decode; from imgscan.records import Source\n"
        "before = set(sys.modules)\n"
        f"found = [decode(Source(path, path.name)).format for path in sorted(pathlib.Path({str(tmp_path)!r}).iterdir())]\n"
        "print(found, sorted(set(sys.modules) - before))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "['JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP', 'MPO'] []\n"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a device of Unix")
def test_a_device_is_not_read(tmp_path: Path) -> None:
    """It may never end."""
    (tmp_path / "a.jpg").symlink_to("/dev/zero")
    made = decode(Source(tmp_path / "a.jpg", "a.jpg"))
    assert isinstance(made, Skipped)
    assert made.reason == "is a device, which may never end; wanted a file"
    with pytest.raises(InputError, match="is a device"):
        inspect(tmp_path / "a.jpg")


def test_what_is_too_large_to_be_read_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of a disk called x.tif took all memory, and with that the scan of its whole folder."""
    (tmp_path / "x.tif").write_bytes(bytes(101))
    monkeypatch.setattr(find, "MOST_BYTES", 100)
    made = decode(source(tmp_path / "x.tif"))
    assert isinstance(made, Skipped)
    assert made.reason == "has 101 bytes; at most 100 are read"
    with pytest.raises(InputError, match=r"x\.tif: has 101 bytes; at most 100 are read$"):
        inspect(tmp_path / "x.tif")
    monkeypatch.setattr(find, "MOST_BYTES", 101)
    made = decode(source(tmp_path / "x.tif"))
    assert isinstance(made, Skipped)
    assert made.reason.startswith("not a picture")


def test_a_file_that_memory_does_not_hold_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> bytes:
        raise MemoryError

    (tmp_path / "x.tif").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", full)
    made = decode(source(tmp_path / "x.tif"))
    assert isinstance(made, Skipped)
    assert made.reason == "does not fit into memory"
