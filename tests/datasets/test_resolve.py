from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from imgscan.datasets import data_set
from imgscan.datasets.entries import Entry
from imgscan.datasets.resolve import find, parse, resolve, rule_of_list
from imgscan.datasets.splits import DEFAULT, HashSplit, position
from imgscan.errors import InputError
from tests.datasets.test_published import TREES, make


def tree(root: Path, count: int, prefix: str = "p") -> Path:
    """A plain tree of `count` pictures."""
    make(root, {f"images/{prefix}{k:03d}.png": f"masks/{prefix}{k:03d}.png" for k in range(count)}, "white")
    return root


def stems(entries: list[Entry]) -> list[str]:
    return [entry.image.stem for entry in entries]


def test_parse() -> None:
    assert parse("casia+imd2020*20") == [("casia", 1), ("imd2020", 20)]
    assert parse("nist16 * 3 + cocoglide") == [("nist16", 3), ("cocoglide", 1)]
    assert parse("a/train.json*2+b") == [("a/train.json", 2), ("b", 1)]
    for bad in ("", "a+", "a*0", "+a"):
        with pytest.raises(InputError, match="is no data set"):
            parse(bad)
    with pytest.raises(InputError, match=r"repeat a set with a\*2"):
        parse("a+a")


def test_a_path_with_a_plus_in_its_name(tmp_path: Path) -> None:
    folder = tree(tmp_path / "FF++*2", 4)
    assert len(resolve(str(folder), [], "all")) == 4


def test_position_by_hand() -> None:
    """The first 32 bits of sha256("abc") are 0xba7816bf (FIPS 180-2, appendix B.1), which is 0.7284 of 2^32."""
    wanted = 0xBA7816BF / 2**32
    assert position(Entry(Path("x/ABC.png"), None)) == wanted
    assert position(Entry(Path("x/other.png"), None, group="abc")) == wanted
    assert HashSplit(0.1, 0.62).of(Entry(Path("abc.jpg"), None)) == "train"
    assert HashSplit(0.1, 0.63).of(Entry(Path("abc.jpg"), None)) == "test"
    assert HashSplit(0.73, 0.1).of(Entry(Path("abc.jpg"), None)) == "val"


def test_splits_are_disjoint_complete_and_of_the_printed_share() -> None:
    entries = [Entry(Path(f"{k}.png"), None) for k in range(4000)]
    split = [DEFAULT.of(entry) for entry in entries]
    assert 320 < split.count("val") < 480  # 400 +- 4 deviations of 19
    assert 320 < split.count("test") < 480
    by_hand = int(hashlib.sha256(b"17").hexdigest()[:8], 16) / 2**32
    assert split[17] == ("val" if by_hand < 0.1 else "test" if by_hand < 0.2 else "train")


def test_a_picture_more_or_less_moves_no_other(tmp_path: Path) -> None:
    folder = tree(tmp_path, 40)
    before = {name: stems(resolve(str(folder), [], name)) for name in ("train", "val", "test")}
    assert sorted(stem for some in before.values() for stem in some) == sorted(f"p{k:03d}" for k in range(40))
    (folder / "images" / "p000.png").unlink()
    (folder / "masks" / "p000.png").unlink()
    for name, was in before.items():
        assert stems(resolve(str(folder), [], name)) == [stem for stem in was if stem != "p000"]


def test_repeats_in_train_only(tmp_path: Path) -> None:
    a, b = tree(tmp_path / "a", 40), tree(tmp_path / "b", 40, "q")
    once, other = resolve(str(a), [], "train"), resolve(str(b), [], "train")
    assert resolve(f"{a}*3+{b}", [], "train") == once * 3 + other
    assert resolve(f"{a}*3", [], "val") == resolve(str(a), [], "val")
    assert resolve(f"{a}*3", [], "all") == resolve(str(a), [], "all")


def test_named_sets_in_folders_of_any_spelling(tmp_path: Path) -> None:
    TREES["imd2020"](tmp_path / "IMD 2020")
    TREES["casia-v2"](tmp_path / "CASIA2.0")
    TREES["columbia"](tmp_path / "other" / "Columbia")
    found = resolve("imd2020+casia-v2+columbia", [tmp_path, tmp_path / "other"], "all")
    assert {entry.source for entry in found} == {"imd2020", "casia-v2", "columbia"}
    assert len(found) == 9


def test_the_root_may_be_the_set(tmp_path: Path) -> None:
    TREES["cocoglide"](tmp_path)
    assert len(resolve("cocoglide", [tmp_path], "test")) == 3
    plain = tree(tmp_path / "plain", 3)
    assert {e.source for e in resolve("cocoglide", [plain], "all")} == {"cocoglide"}


def test_a_plain_tree_of_another_name_is_not_the_set(tmp_path: Path) -> None:
    tree(tmp_path / "mine", 3)
    with pytest.raises(InputError, match="found mine/"):
        resolve("nist16", [tmp_path], "all")


def test_one_plain_root_is_not_two_sets(tmp_path: Path) -> None:
    tree(tmp_path, 3)
    with pytest.raises(InputError, match=r"cocoglide is not found.* not named like the set"):
        resolve("cocoglide+columbia", [tmp_path], "all")


def test_the_same_files_by_two_names(tmp_path: Path) -> None:
    TREES["casia"](tmp_path)
    with pytest.raises(InputError, match="casia and casia-v2 are the same files"):
        resolve("casia+casia-v2", [tmp_path], "all")


def test_a_missing_set_says_where_was_looked_and_what_was_found(tmp_path: Path) -> None:
    TREES["columbia"](tmp_path / "columbia")
    with pytest.raises(InputError, match="nist16 is not found") as error:
        resolve("columbia+nist16", [tmp_path], "all")
    for text in (f"{tmp_path}/", "NC2016_Test0613", "found columbia/", "probe/"):
        assert text in str(error.value)
    with pytest.raises(InputError, match="give --data-root DIR"):
        resolve("nist16", [], "all")
    with pytest.raises(InputError, match="did you mean casia-v2"):
        resolve("casia-v3", [tmp_path], "all")
    with pytest.raises(InputError, match="give --data synth alone"):
        resolve("synth+casia", [tmp_path], "all")


def test_benchmarks_cannot_be_trained_on(tmp_path: Path) -> None:
    TREES["columbia"](tmp_path)
    for split in ("train", "val"):
        with pytest.raises(InputError, match=f"columbia has no {split} split .*benchmark: train on another set"):
            resolve("columbia", [tmp_path], split)
    assert len(resolve("columbia", [tmp_path], "test")) == 3


def test_training_sets_have_no_test_split(tmp_path: Path) -> None:
    TREES["sp-coco"](tmp_path)
    with pytest.raises(InputError, match="sp-coco has no test split"):
        resolve("sp-coco", [tmp_path], "test")


def test_casia_tests_on_version_1(tmp_path: Path) -> None:
    TREES["casia"](tmp_path)
    tested = resolve("casia", [tmp_path], "test")
    assert [entry.image.parent.name for entry in tested] == ["CM", "Sp"]
    # nat00041 hashes to 0.23 and arc00065 to 0.55: all three pictures of version 2 are for training.
    assert {entry.source for entry in resolve("casia", [tmp_path], "train")} == {"casia-v2"}
    with pytest.raises(InputError, match=r"none of its 5 pictures falls into the val split.*: --validation-root DIR$"):
        resolve("casia", [tmp_path], "val")


def test_lists_are_the_split_that_their_name_says(tmp_path: Path) -> None:
    folder = tree(tmp_path, 30)
    lines = "".join(f"images/p{k:03d}.png,masks/p{k:03d}.png,x\n" for k in range(30))
    for name in ("x_train_list", "x_valid_list", "test_x", "plain"):
        (folder / f"{name}.txt").write_text(lines)
    assert len(resolve(str(folder / "x_valid_list.txt"), [], "val")) == 30
    assert len(resolve(str(folder / "test_x.txt"), [], "test")) == 30
    with pytest.raises(InputError, match="has no train split"):
        resolve(str(folder / "test_x.txt"), [], "train")
    train, val = (resolve(str(folder / "x_train_list.txt"), [], split) for split in ("train", "val"))
    assert len(train) + len(val) == 30
    assert val
    assert "test up to 0.2" in rule_of_list(folder / "plain.txt").describe()
    assert "val only" in rule_of_list(folder / "x_valid_list.txt").describe()


def test_series_stay_together(tmp_path: Path) -> None:
    TREES["nist16"](tmp_path)
    entries, rule = find("nist16", [tmp_path])
    assert len({rule.of(entry) for entry in entries}) == 1
    assert "name of the untouched original" in data_set("nist16").INFO.splits.describe()
