"""Remarks on files that are made here, tag by tag; a file that says nothing gets none."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imgscan.commands.inspect import inspect_command
from imgscan.decode import decode
from imgscan.errors import ExitCode, InputError
from imgscan.metadata.facts import inspect
from imgscan.metadata.remarks import remarks
from imgscan.records import Picture, Remark, Source

SOFTWARE, CHANGED, TAKEN, WIDTH, HEIGHT = 0x0131, 0x0132, 0x9003, 0xA002, 0xA003


def told(content: bytes) -> dict[str, str]:
    """Kind -> text, of a file."""
    with Image.open(io.BytesIO(content)) as file:
        found = remarks(content, file, np.array(file.convert("RGB")))
    assert all(isinstance(one, Remark) for one in found)
    return {one.kind: one.text for one in found}


def saved(rgb: np.ndarray, kind: str = "JPEG", **settings: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(rgb).save(content, kind, **settings)
    return content.getvalue()


def tagged(rgb: np.ndarray, main: dict[int, Any], camera: dict[int, Any] | None = None) -> bytes:
    exif = Image.Exif()
    exif.update(main)
    exif.get_ifd(0x8769).update(camera or {})
    return saved(rgb, exif=exif)


@pytest.fixture
def rgb(photos: list[np.ndarray]) -> np.ndarray:
    return photos[0][:256, :384]


def test_a_plain_file_says_nothing(rgb: np.ndarray) -> None:
    assert told(saved(rgb)) == {}
    assert told(saved(rgb, "PNG")) == {}
    assert told(tagged(rgb, {SOFTWARE: "Camera firmware 1.02", CHANGED: "2024:01:01 10:00:00"})) == {}


def test_an_editor_and_its_history(rgb: np.ndarray) -> None:
    assert (
        told(tagged(rgb, {SOFTWARE: "Adobe Photoshop 25.1 (Windows)"}))["software"] == "was saved by Adobe Photoshop 25.1 (Windows)"
    )
    history = '<rdf:li stEvt:action="created"/><rdf:li stEvt:action="saved"/><rdf:li stEvt:action="saved"/>'
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{history}</x:xmpmeta>'.encode()
    assert told(saved(rgb, xmp=packet)) == {"software": "has an editing history with 2 saves (xmpMM:History)"}


def test_instagram_s_photoshop_resource_is_no_remark(rgb: np.ndarray) -> None:
    """Platforms write APP13 into everything (a tool that counted it flagged 31 % of untouched pictures)."""
    plain = saved(rgb)
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0"
    assert told(plain[:2] + b"\xff\xed" + struct.pack(">H", len(resource) + 2) + resource + plain[2:]) == {}


def test_dates_and_sizes_that_do_not_fit(rgb: np.ndarray) -> None:
    main, camera = {CHANGED: "2024:03:01 09:00:00"}, {TAKEN: "2024:02:28 17:30:00", WIDTH: 4032, HEIGHT: 3024}
    found = told(tagged(rgb, main, camera))
    assert found["dates"] == "was changed after it was taken: taken 2024:02:28 17:30:00, changed 2024:03:01 09:00:00"
    assert found["size"] == "is 384 x 256 pixels, its camera wrote 4032 x 3024"
    turned = tagged(rgb, {CHANGED: "2024:02:28 17:30:00"}, {TAKEN: "2024:02:28 17:30:00", WIDTH: 256, HEIGHT: 384})
    assert told(turned) == {}, "turned by 90 degrees is the same size"


def with_thumbnail(rgb: np.ndarray, small: np.ndarray) -> bytes:
    """EXIF with an empty first directory and a second that holds a JPEG thumbnail."""
    data = saved(small, quality=70)
    first = struct.pack("<HI", 0, 8 + 6)
    start = 8 + 6 + 2 + 3 * 12 + 4
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, start), (0x0202, 4, 1, len(data))]
    second = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    return saved(rgb, exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + data)


def test_a_thumbnail_of_this_picture_and_of_another(photos: list[np.ndarray], rgb: np.ndarray) -> None:
    own = np.asarray(Image.fromarray(rgb).resize((160, 107)))
    assert told(with_thumbnail(rgb, own)) == {}
    padded = np.zeros((120, 160, 3), np.uint8)  # cameras fill up to 4:3 with black
    padded[6:113] = own
    assert told(with_thumbnail(rgb, padded)) == {}
    other = np.asarray(Image.fromarray(photos[1]).resize((160, 107)))
    assert told(with_thumbnail(rgb, other))["thumbnail"].startswith("has a thumbnail of another picture")


def test_what_declares_itself_as_generated(rgb: np.ndarray) -> None:
    info = PngInfo()
    info.add_text("parameters", "a cat, Steps: 20, Sampler: Euler")
    assert "generator's settings" in told(saved(rgb, "PNG", pnginfo=info))["generated"]
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r Iptc4xmpExt:DigitalSourceType="{kind}"/></x:xmpmeta>'.encode()
    assert "trainedAlgorithmicMedia" in told(saved(rgb, xmp=packet))["generated"]


def test_further_pages_and_frames_are_told(rgb: np.ndarray, tmp_path: Path) -> None:
    pages = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    for name in ("x.tif", "x.png", "x.webp"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        picture = decode(Source(tmp_path / name, name))
        assert isinstance(picture, Picture)
        assert [(one.kind, one.text) for one in picture.remarks] == [
            ("frames", "holds 2 pictures (pages or frames), of which only the first was assessed")
        ]
        assert abs(picture.rgb.astype(int) - rgb).mean() < 40, "the first"


def test_a_page_that_is_not_there_costs_no_other_remark(rgb: np.ndarray, tmp_path: Path) -> None:
    """The link to the next page, after a TIFF's list of tags, leads to the file's last bytes."""
    Image.fromarray(rgb).save(tmp_path / "x.tif", tiffinfo={SOFTWARE: "Adobe Photoshop 25"})
    content = bytearray((tmp_path / "x.tif").read_bytes())
    (tags,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, tags)
    struct.pack_into("<I", content, tags + 2 + 12 * count, len(content) - 3)
    kinds = told(bytes(content))
    assert "Photoshop" in kinds["software"]
    assert kinds["broken"] == "its further pages cannot be counted"


def test_provenance_is_named_and_not_vouched_for(rgb: np.ndarray) -> None:
    assert "was not verified" in told(saved(rgb) + b"....jumb....c2pa")["provenance"]


def test_broken_metadata_never_costs_the_picture(rgb: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    whole = with_thumbnail(rgb, np.asarray(Image.fromarray(rgb).resize((160, 107))))
    for _ in range(40):
        content = bytearray(whole)
        content[30 + int(rng.integers(80))] = int(rng.integers(256))  # within the EXIF directories
        with Image.open(io.BytesIO(whole)) as file:
            assert isinstance(remarks(bytes(content), file, rgb), tuple)


def test_broken_metadata_never_costs_the_facts(rgb: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = with_thumbnail(rgb, np.asarray(Image.fromarray(rgb).resize((160, 107))))
    broken = 0
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(30, 110, 4):
            content[place] = int(rng.integers(256))
        (tmp_path / "x.jpg").write_bytes(content)
        facts = inspect(tmp_path / "x.jpg")
        assert facts.rows["format"].startswith("JPEG")
        broken += any(one.kind == "broken" for one in facts.remarks)
    assert broken, "or the test could not fail"


def test_facts_of_a_file(rgb: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(tagged(rgb, {0x010F: "Canon", 0x0110: "EOS 5D", SOFTWARE: "GIMP 2.10"}))
    (tmp_path / "b.jpg").write_bytes(with_thumbnail(rgb, rgb[:64, :96]))
    facts = inspect(tmp_path / "a.jpg")
    assert facts.rows["camera"] == "Canon EOS 5D"
    assert facts.rows["format"].startswith("JPEG, 384 x 256, ")
    assert facts.rows["JPEG"].startswith("quality about 75, sampling 2x2 1x1 1x1; 2 tables")  # Pillow's defaults
    assert [one.kind for one in facts.remarks] == ["software"]
    assert inspect(tmp_path / "b.jpg").rows["thumbnail"].startswith("96 x 64, ")
    (tmp_path / "c.jpg").write_bytes(b"no")
    assert inspect_command([tmp_path / "a.jpg", tmp_path / "c.jpg"], as_json=False) == 2
    shown = capsys.readouterr()
    assert "! software   was saved by GIMP 2.10" in shown.out
    assert "c.jpg: not a picture" in shown.err


def test_what_is_not_scanned_still_says_what_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (9, 7)).save(tmp_path / "x.png")
    rows = inspect(tmp_path / "x.png").rows
    assert rows["format"].startswith("PNG, 9 x 7, ")
    assert rows["pixels"].startswith("not scanned: 9 x 7 pixels")
    assert inspect_command([tmp_path / "x.png"], as_json=False) == ExitCode.CLEAN
    Image.effect_noise((300, 200), 50).convert("RGB").save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:3000])
    assert inspect(tmp_path / "cut.jpg").rows["pixels"].startswith("not scanned: broken picture")
    assert inspect_command([tmp_path / "cut.jpg"], as_json=True) == ExitCode.INCOMPLETE
    (tmp_path / "y.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="not a picture"):
        inspect(tmp_path / "y.png")
