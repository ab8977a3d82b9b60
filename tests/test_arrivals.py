"""Paths as they come: split as those of a file, handed on without waiting for more, to the end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from imgscan import arrivals
from imgscan.arrivals import Arrivals
from imgscan.errors import InputError
from imgscan.find import Filter, Finder, find
from tests.datasets.test_published import picture


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def of(end: int, zero: bool = False) -> Arrivals:
    return Arrivals(zero, partial(os.read, end))


def test_a_list_that_is_there_is_taken_whole_and_nobody_waits(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"a b.jpg\r\n\nc.jpg\nd.jpg")
    os.close(pipe[1])
    came = of(pipe[0])
    assert came.at_once(seconds=3600) == [Path("a b.jpg"), Path("c.jpg"), Path("d.jpg")]
    assert came.ended
    assert list(came.rounds()) == []


def test_each_round_has_what_came_and_waits_for_no_other(pipe: tuple[int, int]) -> None:
    came = of(pipe[0])
    assert came.at_once(seconds=0.01) == []
    assert not came.ended
    rounds = came.rounds()
    os.write(pipe[1], b"a.jpg\nb.jpg\nc.")  # the end of a name that is still written
    assert next(rounds) == [Path("a.jpg"), Path("b.jpg")], "though nothing more comes and the pipe stays open"
    os.write(pipe[1], b"jpg\n")
    assert next(rounds) == [Path("c.jpg")]
    os.write(pipe[1], b"d.jpg")
    os.close(pipe[1])
    assert list(rounds) == [[Path("d.jpg")]], "the last one needs no end of a line"


def test_what_comes_without_a_pause_is_not_gathered_for_ever(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "LONGEST", 0.2)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            os.write(pipe[1], b"x.jpg\n")
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    first = next(of(pipe[0]).rounds())
    stop.set()
    writer.join()
    assert set(first) == {Path("x.jpg")}


def test_names_ended_by_nul_bytes(pipe: tuple[int, int]) -> None:
    came = of(pipe[0], zero=True)
    os.write(pipe[1], b"new\nline.jpg\0\xff.jpg\0half")
    assert next(came.rounds()) == [Path("new\nline.jpg"), Path(os.fsdecode(b"\xff.jpg"))]
    os.write(pipe[1], b".jpg")
    os.close(pipe[1])
    assert list(came.rounds()) == [[Path("half.jpg")]]


def test_what_is_no_list_and_what_cannot_be_read(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"a.jpg\0b.jpg\0\n")
    with pytest.raises(InputError, match="wanted -0"):
        next(of(pipe[0]).rounds())

    def broken(_: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match="--files-from -: cannot be read: Input/output error"):
        next(Arrivals(False, broken).rounds())


def test_a_finder_finds_in_several_calls_what_find_does_in_one(tmp_path: Path) -> None:
    """Names and their order, too: results lie under them."""
    for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg", "three/deep/a.jpg"):
        picture(tmp_path / name)
    paths = [tmp_path / name for name in ("one", "two/a.jpg", "one/a.jpg", "two", "three", "three/deep/a.jpg")]
    finder = Finder()
    in_calls = [source for path in paths for source in finder.take([path], late=True)]
    assert in_calls == find(paths)
    assert [source.path.relative_to(tmp_path).as_posix() for source in in_calls] == [
        "one/a.jpg",
        "two/a.jpg",
        "two/b.jpg",
        "three/deep/a.jpg",
    ]


def test_what_comes_late_may_be_gone_or_written_by_the_scan(tmp_path: Path) -> None:
    """A watched folder may hold --out: masks that were scanned would have masks of their own, and so on."""
    picture(tmp_path / "out/masks/a.jpg.png")
    picture(tmp_path / "a.jpg")
    finder = Finder(tmp_path / "out", Filter(exclude=("*.part",), force=True))
    paths = [tmp_path / name for name in ("out/masks/a.jpg.png", "gone", "a.jpg", "a.jpg.part")]
    assert [source.name for source in finder.take(paths, late=True)] == ["gone", "a.jpg"]
    with pytest.raises(InputError, match="no such file"):
        Finder().take([tmp_path / "gone"])
