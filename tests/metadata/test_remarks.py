"""Remarks on files that are made here, tag by tag; a file that says nothing gets none."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imgscan.commands.inspect import inspect_command
from imgscan.decode import decode
from imgscan.errors import ExitCode, InputError
from imgscan.metadata import packets
from imgscan.metadata.facts import inspect
from imgscan.metadata.remarks import _thumbnail, remarks
from imgscan.records import Picture, Remark, Source

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOFTWARE, CHANGED, TAKEN, WIDTH, HEIGHT = 0x0131, 0x0132, 0x9003, 0xA002, 0xA003


def told(content: bytes) -> dict[str, str]:
    """Kind -> text, of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, as decode does
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
    assert told(tagged(rgb, {}, {WIDTH: 0, HEIGHT: 3024})) == {}, "0 says nothing"


@pytest.mark.parametrize(
    ("taken", "changed", "order"),
    [
        ("0000:00:00 00:00:00", "2024:05:01 10:00:00", None),
        ("    :  :     :  :  ", "2024:05:01 10:00:00", None),
        ("2024:13:45 10:00:00", "2024:05:01 10:00:00", None),
        ("2024:05:01 10:00:00", "2024-05-01T10:00:00", None),
        ("2024:05:01 10:00:00", "2024-05-01T10:00:00.25+02:00", None),
        ("2024:05:01 10:00:00+02:00", "2024:05:01 08:00:00Z", None),
        ("2024:05:01 10:00:00+02:00", "2024:05:01 09:00:00+0200", "before"),
        ("2024:04:30 23:00:00", "2024-05-01", "after"),
        ("2024:05:01 10:00:00", "2024-05-01", None),
        ("2024:05:01 10:00", "2024:05:01 10:00:00", None),
        ("2024:05:01 at ten", "2024:05:01 10:00:00", None),
        ("2024-05-01T10:00:00", "2024:04:30 11:00:00", "before"),
    ],
)
def test_dates_are_compared_as_dates(rgb: np.ndarray, taken: str, changed: str, order: str | None) -> None:
    found = told(tagged(rgb, {CHANGED: changed}, {TAKEN: taken}))
    said = f"was changed {order} it was taken: taken {taken.strip()}, changed {changed}"
    assert found == ({} if order is None else {"dates": said})


def test_dates_of_two_time_zones(rgb: np.ndarray) -> None:
    """Changed at seven in London what was taken at eight in Paris: at the same time."""
    camera = {TAKEN: "2024:05:01 08:00:00", 0x9010: "+00:00", 0x9011: "+01:00"}
    assert told(tagged(rgb, {CHANGED: "2024:05:01 07:00:00"}, camera)) == {}
    camera[0x9011] = "   :  "
    assert set(told(tagged(rgb, {CHANGED: "2024:05:01 07:00:00"}, camera))) == {"dates"}


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


@pytest.mark.parametrize(("alike", "told_so"), [(0.65, False), (0.55, True)])
def test_how_much_a_thumbnail_has_of_its_picture_by_hand(alike: float, told_so: bool) -> None:
    """Light on the left; in the thumbnail also above: correlation alike : sqrt(alike^2 + other^2) = alike : 1."""
    left, above = (
        np.where(np.arange(64) < 32, 1.0, -1.0)[index].repeat(64, axis) for index, axis in ((None, 0), ((slice(None), None), 1))
    )
    picture, thumbnail = (
        (128 + 60 * one).round().astype(np.uint8)[..., None].repeat(3, 2)
        for one in (left, alike * left + (1 - alike**2) ** 0.5 * above)
    )
    found = [one.text for one in _thumbnail(saved(thumbnail, "PNG"), picture)]
    assert found == [f"has a thumbnail of another picture or of an earlier state (correlation {alike:.2f})"] * told_so


def test_the_thumbnail_of_a_picture_with_black_edges_is_its_own(photos: list[np.ndarray]) -> None:
    """A subject on black, bars above and below; cameras put bars around both."""
    subject, film = np.zeros((2, 256, 384, 3), np.uint8)
    subject[150:230, 20:140] = photos[0][:80, :120]
    film[48:208] = photos[1][:160, :384]
    for rgb in (subject, film):
        own = np.asarray(Image.fromarray(rgb).resize((160, 107)))
        padded = np.zeros((120, 160, 3), np.uint8)
        padded[6:113] = own
        assert told(with_thumbnail(rgb, own)) == {}
        assert told(with_thumbnail(rgb, padded)) == {}
    other = np.asarray(Image.fromarray(film).resize((160, 107)))
    assert set(told(with_thumbnail(subject, other))) == {"thumbnail"}
    assert told(with_thumbnail(subject, np.zeros((120, 160, 3), np.uint8))) == {}, "a black one says nothing"


def test_what_declares_itself_as_generated(rgb: np.ndarray) -> None:
    info = PngInfo()
    info.add_text("parameters", "a cat, Steps: 20, Sampler: Euler")
    assert "generator's settings" in told(saved(rgb, "PNG", pnginfo=info))["generated"]
    kind = f"{DIGITAL_SOURCE}trainedAlgorithmicMedia"
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r Iptc4xmpExt:DigitalSourceType="{kind}"/></x:xmpmeta>'.encode()
    assert "trainedAlgorithmicMedia" in told(saved(rgb, xmp=packet))["generated"]
    # Behind the text in a manifest (CBOR) comes the next one's sign, a letter.
    manifest = f"jumb c2pa {DIGITAL_SOURCE}trainedAlgorithmicMediamsoftwareAgent".encode()
    assert "trainedAlgorithmicMedia in its C2PA manifest" in told(saved(rgb) + manifest)["generated"]
    taken = f"jumb c2pa {DIGITAL_SOURCE}digitalCapturemsoftwareAgent".encode()
    assert set(told(saved(rgb) + taken)) == {"provenance"}
    drawn = f"jumb c2pa {DIGITAL_SOURCE}algorithmicMedia".encode()
    assert "(IPTC digital source type algorithmicMedia in its" in told(saved(rgb) + drawn)["generated"]
    assert told(saved(rgb, xmp=packet.replace(b"trainedA", b"untrainedA"))) == {}, "another word"


@pytest.mark.parametrize(
    ("software", "generator"),
    [("Adobe Firefly 2.0", "firefly"), ("FLUX.1 [dev]", "flux"), ("Influx 2", None), ("Photofluxer", None)],
)
def test_a_generator_is_known_by_a_whole_word_of_its_software(rgb: np.ndarray, software: str, generator: str | None) -> None:
    info = PngInfo()
    info.add_text("Software", software)
    said = told(saved(rgb, "PNG", pnginfo=info)).get("generated")
    assert said == (f"names the generator {generator!r} as its software" if generator else None)


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


def test_of_a_long_name_of_software_the_beginning_is_told(rgb: np.ndarray) -> None:
    assert told(tagged(rgb, {SOFTWARE: "GIMP " + "x" * 200}))["software"] == "was saved by GIMP " + "x" * 95


def test_software_as_png_s_text(rgb: np.ndarray, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Software", "paint.net 5.0")
    content = saved(rgb, "PNG", pnginfo=info)
    assert told(content) == {"software": "was saved by paint.net 5.0"}
    (tmp_path / "x.png").write_bytes(content)
    assert inspect(tmp_path / "x.png").rows["software"] == "paint.net 5.0"


def test_provenance_is_named_and_not_vouched_for(rgb: np.ndarray) -> None:
    assert "was not verified" in told(saved(rgb) + b"....jumb....c2pa")["provenance"]
    assert told(saved(rgb) + b"....jumb....") == told(saved(rgb) + b"....c2pa") == {}, "either may be there by chance"


def test_broken_metadata_never_costs_the_picture(rgb: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    whole = with_thumbnail(rgb, np.asarray(Image.fromarray(rgb).resize((160, 107))))
    for _ in range(40):
        content = bytearray(whole)
        content[30 + int(rng.integers(80))] = int(rng.integers(256))  # within the EXIF directories
        told(bytes(content))


def entries(count: int, kind: int, values: int, behind: bytes = b"") -> bytes:
    """EXIF of one directory: tags from 0xE000 on, each of so many values of a TIFF type that all lie behind it."""
    start = 8 + 2 + 12 * count + 4
    tags = b"".join(struct.pack("<HHII", (0xE000 + number) & 0xFFFF, kind, values, start) for number in range(count))
    return b"II*\0" + struct.pack("<IH", 8, count) + tags + bytes(4) + behind


@pytest.mark.parametrize(
    ("count", "kind", "values", "behind"),
    [(5000, 5, 999, b""), (1000, 5, 999, bytes(8000)), (4000, 2, 60_000, 12_000 * b"a"), (0xFFFF, 3, 2, b"")],
)
def test_of_more_metadata_than_a_file_can_mean_only_the_beginning_is_read(
    rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch, count: int, kind: int, values: int, behind: bytes
) -> None:
    """A value costs exifread a read or two, and the same bytes can be values of thousands of tags: here up to 10 million reads."""
    reads = []
    read = packets._Bounded.read
    monkeypatch.setattr(packets._Bounded, "read", lambda file, size=-1: reads.append(size) or read(file, size))
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r xmp:CreatorTool="GIMP 2.10"/></x:xmpmeta>'
    found = told(saved(rgb, "WEBP", exif=entries(count, kind, values, behind), xmp=packet))
    assert found["broken"] == "the metadata cannot be read: its EXIF has more entries and values than are looked at"
    assert found["software"] == "was saved by GIMP 2.10", "and hides nothing else"
    assert len(reads) <= packets.MOST_READS + 1


def test_a_tiff_of_many_pages_is_not_more_than_is_read(rgb: np.ndarray, tmp_path: Path) -> None:
    pages = [Image.fromarray(rgb[:64, :64]) for _ in range(100)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:], tiffinfo={SOFTWARE: "GIMP 2.10"})
    assert set(told((tmp_path / "x.tif").read_bytes())) == {"software", "frames"}


def test_exif_that_cannot_be_read_hides_nothing_else(rgb: np.ndarray) -> None:
    """A double (type 12) that lies behind the end of the file: exifread raises IndexError."""
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r a="{DIGITAL_SOURCE}trainedAlgorithmicMedia"/></x:xmpmeta>'.encode()
    found = told(saved(rgb, exif=b"Exif\0\0" + entries(1, 12, 1), xmp=packet))
    assert found["broken"] == "the metadata cannot be read: IndexError"
    assert "trainedAlgorithmicMedia" in found["generated"]


def test_bigtiff_is_not_read_as_tiff(rgb: np.ndarray) -> None:
    """Its directory begins where the file says; TIFF's would begin at 8, and its second tag at 22."""
    content = bytearray(saved(rgb, "TIFF", big_tiff=True))
    (count,) = struct.unpack_from("<Q", content, 16)
    struct.pack_into("<Q", content, 8, len(content))
    content += content[16 : 16 + 8 + 20 * count + 8]
    struct.pack_into("<HHI4s", content, 22, SOFTWARE, 2, 4, b"GIMP")
    assert told(bytes(content)) == {}


def raw_profile(name: str, content: bytes) -> PngInfo:
    """As ImageMagick writes it."""
    info = PngInfo()
    info.add_text(f"Raw profile type {name}", f"\n{name}\n{len(content):8d}\n{content.hex()}\n", zip=True)
    return info


def test_exif_of_every_format(rgb: np.ndarray) -> None:
    """WebP's has no header of JPEG's, as its specification says, or has one all the same."""
    exif = Image.Exif()
    exif[SOFTWARE] = "GIMP 2.10"
    plain = exif.tobytes().removeprefix(b"Exif\0\0")
    for content in (
        saved(rgb, exif=exif),
        saved(rgb, "PNG", exif=exif),
        saved(rgb, "PNG", pnginfo=raw_profile("exif", b"Exif\0\0" + plain)),
        saved(rgb, "TIFF", tiffinfo={SOFTWARE: "GIMP 2.10"}),
        saved(rgb, "WEBP", exif=plain),
        saved(rgb, "WEBP", exif=b"Exif\0\0Exif\0\0" + plain),  # Pillow takes one away
    ):
        assert told(content) == {"software": "was saved by GIMP 2.10"}


def itxt(packet: str, zipped: bool) -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet, zip=zipped)
    return info


def test_xmp_wherever_a_format_has_it(rgb: np.ndarray) -> None:
    body = '<rdf:RDF xmlns:rdf="x"><rdf:Description xmp:CreatorTool="GIMP 2.10"/></rdf:RDF>'
    packet = f'<?xpacket begin="\ufeff" id="x"?><x:xmpmeta xmlns:x="adobe:ns:meta/">{body}</x:xmpmeta><?xpacket end="w"?>'
    for content in (
        saved(rgb, xmp=packet.encode()),
        saved(rgb, xmp=body.encode()),
        saved(rgb, xmp=body.replace('"', "'").encode()),
        saved(rgb, xmp=packet.replace("x:xmp", "xap:xmp").encode()),
        saved(rgb, xmp=packet.encode("utf-16-be")),
        saved(rgb, xmp=packet.encode("utf-16")),
        saved(rgb, xmp=packet.encode("utf-16-le")),
        saved(rgb, "WEBP", xmp=packet.encode()),
        saved(rgb, "TIFF", tiffinfo={700: packet.encode()}),
        saved(rgb, "PNG", pnginfo=itxt(packet, zipped=False)),
        saved(rgb, "PNG", pnginfo=itxt(packet, zipped=True)),
        saved(rgb, "PNG", pnginfo=raw_profile("xmp", packet.encode())),
        saved(rgb, "BMP") + packet.encode(),
    ):
        assert told(content) == {"software": "was saved by GIMP 2.10"}
    named = body.replace('"GIMP 2.10"', "'Canva &quot;free&quot; &amp; &#x3c;more&gt;'")
    assert told(saved(rgb, xmp=named.encode())) == {"software": 'was saved by Canva "free" & <more>'}


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


def test_a_pipe_is_inspected(rgb: np.ndarray, tmp_path: Path) -> None:
    """As `imgscan inspect <(...)` gives one: it can be read only once."""
    os.mkfifo(tmp_path / "pipe")
    for content in (saved(rgb), saved(rgb[:32])):  # the second is too small to be scanned
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
        writer.start()
        rows = inspect(tmp_path / "pipe").rows
        writer.join()
        assert rows["SHA-256"] == hashlib.sha256(content).hexdigest()


def test_what_is_too_large_to_be_scanned_still_says_what_it_is(
    rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.jpg").write_bytes(tagged(rgb, {SOFTWARE: "GIMP 2.10"}))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    facts = inspect(tmp_path / "x.jpg")
    assert facts.rows["format"].startswith("JPEG, 384 x 256, ")
    assert facts.rows["pixels"].startswith("not scanned: more than 178,000,000 pixels")
    assert facts.rows["software"] == "GIMP 2.10"
    assert inspect_command([tmp_path / "x.jpg"], as_json=False) == ExitCode.CLEAN
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_metadata_behind_a_png_s_pixels_is_inspected(rgb: np.ndarray, tmp_path: Path) -> None:
    plain = saved(rgb, "PNG")
    info = PngInfo()
    info.add_text("Software", "paint.net 5.0")
    text = saved(rgb, "PNG", pnginfo=info)
    chunk = text[text.index(b"tEXt") - 4 : text.index(b"IDAT") - 4]
    end = plain.index(b"IEND") - 4
    (tmp_path / "x.png").write_bytes(plain[:end] + chunk + plain[end:])
    assert inspect(tmp_path / "x.png").rows["software"] == "paint.net 5.0"
