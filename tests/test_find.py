import os
from pathlib import Path
from typing import Any

import pytest

from imgscan.errors import InputError
from imgscan.find import Filter, find, read_list

JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)


def test_order_is_sorted_within_a_folder_and_paths_keep_theirs(tmp_path: Path) -> None:
    make(tmp_path / "two", "b.jpg", "a.jpg", "c/d.jpg")
    make(tmp_path / "one", "z.jpg")
    names = [source.name for source in find([tmp_path / "two", tmp_path / "one"])]
    assert names == ["a.jpg", "b.jpg", "c/d.jpg", "z.jpg"]


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "picture.dat").write_bytes(JPEG)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.png").write_bytes(b"")  # claims to be a picture: must not vanish in silence
    assert [source.name for source in find([tmp_path])] == ["broken.png", "picture.dat"]


def test_git_and_the_output_folder_are_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", ".git/b.jpg", "imgscan-out/masks/a.jpg.png")
    assert [source.name for source in find([tmp_path], tmp_path / "imgscan-out")] == ["a.jpg"]


def test_the_same_file_twice_is_one_picture(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    assert [source.name for source in find([tmp_path, tmp_path / "a.jpg"])] == ["a.jpg"]


@pytest.mark.parametrize("record", ["results.jsonl", "results.jsonl.new", "journal.jsonl"])
def test_what_an_earlier_scan_wrote_is_not_scanned(tmp_path: Path, record: str) -> None:
    make(tmp_path, "a.jpg", "old/masks/a.jpg.png", "old/overlays/a.jpg.jpg", "set/masks/m.png", "set/overlays/o.png")
    (tmp_path / "old" / record).write_text("{}")
    wanted = ["a.jpg", "set/masks/m.png", "set/overlays/o.png"]
    assert [source.name for source in find([tmp_path], tmp_path / "new")] == wanted
    assert [source.name for source in find([tmp_path / "old" / "overlays"])] == ["a.jpg.jpg"], "who names it wants it"
    (tmp_path / "set" / record).write_text("{}")
    (tmp_path / "set" / "overlays" / "o.png").rename(tmp_path / "set" / "o.png")
    (tmp_path / "set" / "overlays").rmdir()
    assert [source.name for source in find([tmp_path / "set"])] == ["o.png", "masks/m.png"], "a scan makes both"


def test_equal_names_in_two_folders_get_different_outputs(tmp_path: Path) -> None:
    make(tmp_path, "x/a.jpg", "y/a.jpg")
    names = [source.name for source in find([tmp_path / "x", tmp_path / "y"])]
    assert len(set(names)) == 2
    assert not any(name.startswith("/") or ".." in name for name in names)


def test_two_pictures_do_not_write_the_same_files(tmp_path: Path) -> None:
    """The second a.jpg would be called after its whole path, and that is what a file below the first folder is called."""
    make(tmp_path, "x/a.jpg", "y/a.jpg")
    below = (tmp_path / "y" / "a.jpg").as_posix().lstrip("/")
    make(tmp_path / "root", below)
    with pytest.raises(InputError, match=f"y/a.jpg and .*root/{below} would write the same output files; scan them apart"):
        find([tmp_path / "root", tmp_path / "x", tmp_path / "y"])


def test_equal_names_are_told_apart_by_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No path of the machine in names, masks and reports where nobody typed one: they would differ from runner to runner."""
    make(tmp_path, "x/a.jpg", "y/a.jpg", "z/y/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert [source.name for source in find([Path("x/a.jpg"), Path("y/a.jpg")])] == ["a.jpg", "y/a.jpg"]
    assert [source.name for source in find([Path("x"), Path("./y")])] == ["a.jpg", "y/a.jpg"]
    *_, last = find([Path("x"), Path("z"), Path("y")])  # z/y/a.jpg is called y/a.jpg
    assert last.name == (tmp_path / "y" / "a.jpg").as_posix().lstrip("/")


def test_relative_paths_never_leave_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "one/a.jpg", "two/a.jpg", "deep/er/x")
    monkeypatch.chdir(tmp_path / "deep" / "er")
    sources = find([Path("../../one"), Path("../../two")])
    assert len({source.name for source in sources}) == 2
    assert not any(".." in source.name for source in sources)


def test_what_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """A named pipe would wait for ever and is no picture; a dangling link that claims to be one is reported."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert [source.name for source in find([tmp_path])] == ["gone.jpg"]


def test_a_file_that_may_not_be_read_is_reported_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "closed")
    opened = Path.open

    def refuse(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)
    assert [source.name for source in find([tmp_path])] == ["a.jpg", "closed"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_reported(tmp_path: Path) -> None:
    make(tmp_path, "closed/a.jpg")
    (tmp_path / "closed").chmod(0)
    assert [source.name for source in find([tmp_path])] == ["closed"]
    (tmp_path / "closed").chmod(0o700)


def test_odd_names(tmp_path: Path) -> None:
    odd = ["with space.jpg", "new\nline.jpg", "\udcff.jpg", "-dash.jpg"]
    make(tmp_path, *odd)
    assert sorted(source.name for source in find([tmp_path])) == sorted(odd)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    for name in ("nothere", 300 * "a"):  # of the second, Path.exists raises
        with pytest.raises(InputError, match=f"{name}: no such file or folder"):
            find([tmp_path / name])


def test_a_folder_in_which_nothing_may_be_looked_at_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names can be listed (mode r--), its files not: Path.is_file and Path.exists raise PermissionError."""
    make(tmp_path, "closed/a.jpg", "b.jpg")

    def refuse(path: Path, *_: object, **__: object) -> bool:
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return os.path.lexists(path)

    for method in ("is_file", "exists"):
        monkeypatch.setattr(Path, method, refuse)
    assert [source.name for source in find([tmp_path])] == ["b.jpg", "closed/a.jpg"]


def test_what_may_hold_included_pictures_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed, with --include: only --exclude takes it out."""
    make(tmp_path, "closed/a.jpg", "b.jpg", "c.png")
    listed = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [source.name for source in find([tmp_path], chosen=Filter(include=("*.jpg",)))] == ["b.jpg", "closed"]
    assert [source.name for source in find([tmp_path], chosen=Filter(exclude=("closed",)))] == ["b.jpg", "c.png"]


def test_links_in_a_circle_end_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert [source.name for source in find([tmp_path])] == ["a.jpg", "loop.jpg"]


def test_pictures_of_other_formats_are_told(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    files = {
        "b.gif": b"GIF89a",
        "b2.gif": b"GIF87a",
        "c": b"\0\0\0\x1cftypavif",
        "c2": b"\0\0\0\x1cmoovavif",
        "d.mp4": b"\0\0\0\x1cftypisom",
        "e.txt": b"BMW is",
        "f.cr3": b"\0\0\0\x18ftypcrx ",
        "g.rw2": b"IIU\0\x18",
        "h.orf": b"IIRO\x08",
        "i.raf": b"FUJIFILMCCD-RAW ",
        "j.psd": b"8BPS\0\1",
    }
    for name, start in files.items():
        (tmp_path / name).write_bytes(start + bytes(8))
    others: list[Path] = []
    assert [source.name for source in find([tmp_path], others=others)] == ["a.jpg"]
    assert [path.name for path in others] == ["b.gif", "b2.gif", "c", "f.cr3", "g.rw2", "h.orf", "i.raf", "j.psd"]
    others.clear()
    find([tmp_path], chosen=Filter(exclude=("*.gif",)), others=others)
    assert [path.name for path in others] == ["c", "f.cr3", "g.rw2", "h.orf", "i.raf", "j.psd"]


BITMAP = b"BM" + bytes([0, 9, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0])


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff\xe1", b"RIFF\0\0\0\0WEBP", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", BITMAP, b"\x89PNG\r\n\x1a\n"]
)
def test_signatures(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "x").write_bytes(start)
    assert find([tmp_path])
    (tmp_path / "x").write_bytes(b" " + start)
    assert not find([tmp_path])


@pytest.mark.parametrize("start", [b"RIFF\0\0\0\0WAVE", BITMAP[:6] + b"lish" + BITMAP[10:], BITMAP[:14] + b"\x29" + BITMAP[15:]])
def test_what_begins_like_a_picture_and_is_none(tmp_path: Path, start: bytes) -> None:
    """A sound, and texts that begin with BM: without the zeros, without the size of a header."""
    (tmp_path / "x").write_bytes(start)
    assert not find([tmp_path])


@pytest.mark.parametrize(
    ("include", "exclude", "force", "expected"),
    [
        ((), (), False, ["a.jpg", "b.png", "named.jpg", "sub/a.jpg", "sub/thumbs/c.jpg", "thumbs/d.jpg"]),
        (("*.jpg",), (), False, ["a.jpg", "named.jpg", "sub/a.jpg", "sub/thumbs/c.jpg", "thumbs/d.jpg"]),
        ((), ("thumbs",), False, ["a.jpg", "b.png", "named.jpg", "sub/a.jpg"]),
        ((), ("/thumbs/",), False, ["a.jpg", "b.png", "named.jpg", "sub/a.jpg"]),
        ((), ("sub/*",), False, ["a.jpg", "b.png", "named.jpg", "thumbs/d.jpg"]),
        ((), ("sub/thumbs",), False, ["a.jpg", "b.png", "named.jpg", "sub/a.jpg", "thumbs/d.jpg"]),
        (("a.*",), ("sub",), False, ["a.jpg", "named.jpg"]),
        (("*.jpg",), ("*.jpg",), False, ["named.jpg"]),
        (("*.png",), ("named*",), True, ["b.png"]),
    ],
)
def test_patterns(tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], force: bool, expected: list[str]) -> None:
    """`named.jpg` is given on the command line beside its folder's neighbour."""
    root = tmp_path / "root"
    for name in ("a.jpg", "b.png", "sub/a.jpg", "sub/thumbs/c.jpg", "thumbs/d.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff")
    named = tmp_path / "named.jpg"
    named.write_bytes(b"\xff\xd8\xff")
    found = find([root, named], chosen=Filter(include, exclude, force))
    assert sorted(source.name for source in found) == expected


@pytest.mark.parametrize(
    ("typed", "pattern"),
    [
        *(
            (typed, pattern)
            for typed in ("p", "./p")
            for pattern in ("p/thumbs", "./p/thumbs", "{here}/p/thumbs", "./thumbs", "p/th*s")
        ),
        *(("{here}/p", pattern) for pattern in ("{here}/p/thumbs", "./thumbs")),
    ],
)
def test_a_pattern_may_begin_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, pattern: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "thumbs/b.jpg", "sub/c.jpg", "thumbsup/d.jpg"):
        make(tmp_path / "p", name)
    found = find([Path(typed.format(here=tmp_path))], chosen=Filter(exclude=(pattern.format(here=tmp_path),)))
    assert [source.name for source in found] == ["a.jpg", "sub/c.jpg", "thumbsup/d.jpg"]


def test_a_pattern_that_begins_with_the_folder_is_for_what_lies_right_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("thumbs/b.jpg", "sub/thumbs/c.jpg"):
        make(tmp_path / "p", name)
    assert [source.name for source in find([Path("p")], chosen=Filter(exclude=("p/thumbs",)))] == ["sub/thumbs/c.jpg"]
    assert [source.name for source in find([Path("p")], chosen=Filter(include=("p/thumbs",)))] == ["thumbs/b.jpg"]
    assert find([Path("p")], chosen=Filter(exclude=("thumbs",))) == []
    for pattern in ("./thumbs", "./*/b.jpg"):
        assert [source.name for source in find([Path("p")], chosen=Filter(exclude=(pattern,)))] == ["sub/thumbs/c.jpg"]
    assert Filter(exclude=("./*.jpg",), force=True).refuses(Path("a.jpg"))
    assert not Filter(exclude=("./a.jpg",), force=True).refuses(Path("deep/a.jpg"))


def test_a_folder_in_one_of_the_same_name_is_still_excluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "photos/thumbs/b.jpg", "thumbs/c.jpg"):
        make(tmp_path / "photos", name)
    for pattern, names in (("photos/thumbs", ["a.jpg"]), ("photos/", ["a.jpg", "thumbs/c.jpg"])):
        assert [source.name for source in find([Path("photos")], chosen=Filter(exclude=(pattern,)))] == names


def test_only_a_picture_may_be_gone_from_a_list(tmp_path: Path) -> None:
    gone, folder = tmp_path / "gone.jpg", tmp_path / "folder"
    assert [source.path for source in find([gone], listed={gone})] == [gone]
    with pytest.raises(InputError, match="no such file"):
        find([folder], listed={folder})


def test_lists_of_paths() -> None:
    assert read_list(b"a b.jpg\r\n\n./c.jpg", zero=False) == [Path("a b.jpg"), Path("c.jpg")]
    assert read_list(b"new\nline.jpg\0\xff.jpg\0", zero=True) == [Path("new\nline.jpg"), Path(os.fsdecode(b"\xff.jpg"))]
    assert read_list(b"", zero=False) == []
    with pytest.raises(InputError, match=r"has NUL bytes, .* wanted -0 for such a list"):
        read_list(b"a.jpg\0b.jpg\0", zero=False)


def test_excluded_by_force_is_what_lies_in_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As hooks call it, with every file by its path from the project's folder; nothing above that folder counts."""
    project = tmp_path / "thumbs" / "project"
    for name in ("thumbs/a.jpg", "b.jpg", "deep/thumbs/c.jpg"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(b"\xff\xd8\xff")
    monkeypatch.chdir(project)
    named = [Path("thumbs/a.jpg"), Path("./b.jpg"), project / "deep" / "thumbs" / "c.jpg"]

    def taken(paths: list[Path], pattern: str, force: bool = True) -> list[str]:
        return [source.path.name for source in find(paths, chosen=Filter((), (pattern,), force))]

    assert taken(named, "thumbs") == ["b.jpg"]
    assert taken(named, "deep/thumbs") == ["a.jpg", "b.jpg"]
    assert taken(named, "thumbs", force=False) == ["a.jpg", "b.jpg", "c.jpg"]
    assert taken([Path("thumbs"), Path("deep")], "thumbs") == []
    assert taken([Path("thumbs"), Path("deep")], "thumbs", force=False) == ["a.jpg"]
    (tmp_path / "link").symlink_to(project)
    assert taken([tmp_path / "link" / "deep" / "thumbs" / "c.jpg"], "deep/*") == [], "the working directory by another name"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "d.jpg").write_bytes(b"\xff\xd8\xff")
    elsewhere = [Path("../../other"), tmp_path / "other", Path("../../other/d.jpg")]
    for path in elsewhere:
        for pattern in (".*", tmp_path.name, "other", "tmp"):
            assert taken([path], pattern) == ["d.jpg"], "what lies above is nobody's pattern"
        assert taken([path], "d.*") == []
