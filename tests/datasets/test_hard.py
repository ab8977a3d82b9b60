"""Hard negatives: the list, and how often training shows what it names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan.datasets.families import parse_families
from imgscan.datasets.hard import hardest, read_hard, write_hard, write_windows
from imgscan.datasets.synth import SynthDataset
from imgscan.errors import InputError
from tests.conftest import PHOTOS


def test_windows_are_those_of_one_photograph_and_the_same_again(tmp_path: Path) -> None:
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        write_windows(PHOTOS / "budgie-eb1c4694.jpg", 3, 64, parse_families("all"), 7, tmp_path / name, "7")
    first, again = (sorted((tmp_path / name).iterdir()) for name in ("first", "again"))
    assert [path.name for path in first] == ["7.0.png", "7.1.png", "7.2.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    windows = [np.asarray(Image.open(path)) for path in first]
    assert {window.shape for window in windows} == {(64, 64, 3)}
    assert (windows[0] != windows[1]).any()


def test_a_list_is_read_by_file_names_whatever_the_folder(tmp_path: Path) -> None:
    write_hard(tmp_path / "hard.csv", [(Path("/old/b, c.jpg"), 0.93456), (Path("/old/a.jpg"), 0.2), (Path("/old/d.jpg"), 0.2)])
    lines = (tmp_path / "hard.csv").read_text().splitlines()
    assert lines == ["photo,score", '"/old/b, c.jpg",0.9346', "/old/a.jpg,0.2000", "/old/d.jpg,0.2000"]
    photos = [Path("/new") / name for name in ("z.jpg", "b, c.jpg", "d.jpg")]
    assert read_hard(tmp_path / "hard.csv", photos) == photos[1:]
    (tmp_path / "hard.csv").write_text("\ufeff" + (tmp_path / "hard.csv").read_text())  # a spreadsheet saved it again
    assert read_hard(tmp_path / "hard.csv", photos) == photos[1:]
    with pytest.raises(InputError, match=r"none of the 3 photographs in .*hard.csv is among the 1 to train on"):
        read_hard(tmp_path / "hard.csv", photos[:1])


def test_names_that_a_spreadsheet_would_compute_are_found_again(tmp_path: Path) -> None:
    photos = [Path("=1+1.jpg"), Path("'=1+1.jpg"), Path("-2.jpg"), Path("z.jpg")]
    write_hard(tmp_path / "hard.csv", [(photo, 0.9) for photo in photos[:3]])
    assert not any(line.startswith(("=", "-")) for line in (tmp_path / "hard.csv").read_text().splitlines())
    assert read_hard(tmp_path / "hard.csv", photos) == photos[:3]


def test_of_photographs_of_one_name_those_in_the_like_folders_are_meant(tmp_path: Path) -> None:
    """Cameras count from 1 in every folder: all of a name were taken for hard."""
    photos = [Path("/new") / name for name in ("100/IMG_1.jpg", "101/IMG_1.jpg", "101/IMG_2.jpg", "x/100/IMG_1.jpg")]
    write_hard(tmp_path / "hard.csv", [(Path("/old/101/IMG_1.jpg"), 0.9)])
    assert read_hard(tmp_path / "hard.csv", photos) == photos[1:2]
    write_hard(tmp_path / "hard.csv", [(Path("elsewhere/IMG_1.jpg"), 0.9)])
    assert read_hard(tmp_path / "hard.csv", photos) == [photos[0], photos[1], photos[3]]


def test_the_hardest_are_the_highest_scores_rounded_up() -> None:
    scored = [(Path(name), score) for name, score in (("d", 0.1), ("c", 0.7), ("b", 0.7), ("a", 0.9))]
    assert hardest(scored, 0.26) == [(Path("a"), 0.9), (Path("b"), 0.7)]
    assert [str(path) for path, _ in hardest(scored, 1)] == ["a", "b", "c", "d"]


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.hard: .*none.csv: No such file"):
        read_hard(tmp_path / "none.csv", [])
    (tmp_path / "other.csv").write_text("image,mask\na.jpg,b.png\n")
    with pytest.raises(InputError, match="no list of hard photographs; wanted one that imgscan data hard wrote"):
        read_hard(tmp_path / "other.csv", [])


def test_half_of_the_untouched_pictures_are_hard_ones_and_no_forged_one(tmp_path: Path) -> None:
    """Green photographs to train on and a red one in the list: what is red was drawn as hard."""
    for name, colour in (("green.png", (40, 160, 40)), ("red.png", (200, 30, 30))):
        Image.new("RGB", (160, 160), colour).save(tmp_path / name)
    green, red = tmp_path / "green.png", tmp_path / "red.png"

    def share(untouched: float, hard: list[Path]) -> float:
        made = SynthDataset([green], side=64, seed=4, length=120, untouched_share=untouched, hard=hard)
        pictures = [made[k][0].float().mean((1, 2)) for k in range(120)]
        return float(np.mean([bool(rgb[0] > rgb[1]) for rgb in pictures]))

    assert 0.36 <= share(0.999, [red]) <= 0.64  # 0.5 +- 3 deviations of 0.046
    assert share(0.999, []) == 0
    assert share(0.0, [red]) == 0
