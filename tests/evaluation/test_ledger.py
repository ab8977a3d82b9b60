import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgscan.errors import OutputError
from imgscan.evaluation.contestants import Contestant
from imgscan.evaluation.ledger import Ledger, from_row, key_of, to_row
from imgscan.evaluation.measure import PictureScores
from imgscan.evaluation.pixel import BINS, pixel_metrics
from imgscan.evaluation.protocols import PROTOCOLS, reported

NATIVE = PROTOCOLS["native"]
MODEL = Contestant("model", lambda pictures: iter(()), identity="abc")


@pytest.fixture
def scores() -> PictureScores:
    truth, score = np.eye(64, dtype=bool), np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    metrics = pixel_metrics(truth, score, score > 0.5)
    counts = np.zeros((2, BINS), np.int64)
    counts[0, 7], counts[1, 1023] = 4_000_000_000, 64  # more than an int32 holds
    return PictureScores("a.jpg", "12ab", True, metrics, reported(NATIVE, metrics), 0.5, None, 90, "JPEG", counts)


def same(some: PictureScores, other: PictureScores) -> None:
    np.testing.assert_array_equal(some.histogram, other.histogram)
    nothing = np.zeros(0)
    assert replace(some, histogram=nothing).__dict__ | {"histogram": 0} == replace(other, histogram=nothing).__dict__ | {
        "histogram": 0
    }


def test_a_row_comes_back_as_it_was(scores: PictureScores) -> None:
    same(from_row(json.loads(json.dumps(to_row(scores)))), scores)


def test_a_row_is_found_again_and_force_forgets(tmp_path: Path, scores: PictureScores) -> None:
    path = tmp_path / "new" / "measured.jsonl"
    with Ledger(path) as ledger:
        ledger.add("k1", {"model": "m"}, scores)
    with Ledger(path) as ledger:
        assert list(ledger.rows) == ["k1"]
        same(ledger.rows["k1"], scores)
    with Ledger(path, force=True) as ledger:
        assert not ledger.rows
        ledger.add("k1", {}, replace(scores, area=0.25))
    with Ledger(path) as ledger:
        assert ledger.rows["k1"].area == 0.25, "the later row goes before"


@pytest.mark.parametrize(
    "torn", [b'{"schema": 1, "key": "k2", "sco', b'{"schema": 1}\nnot json\n{"schema": 99, "key": "x"}\n', b"\xff\n"]
)
def test_what_a_kill_or_another_version_left_is_no_row(tmp_path: Path, scores: PictureScores, torn: bytes) -> None:
    path = tmp_path / "measured.jsonl"
    with Ledger(path) as ledger:
        ledger.add("k1", {}, scores)
    with path.open("ab") as file:
        file.write(torn)
    with Ledger(path) as ledger:
        assert list(ledger.rows) == ["k1"]
        ledger.add("k3", {}, scores)
    with Ledger(path) as ledger:
        assert list(ledger.rows) == ["k1", "k3"], "the new row does not join the torn one"


def test_the_key_follows_everything_that_decides() -> None:
    key = key_of("entry", 3, "none", MODEL, NATIVE)
    assert key == key_of("entry", 8, "none", MODEL, NATIVE), "without an attack its place in the set does not matter"
    others = [
        key_of("another", 3, "none", MODEL, NATIVE),
        key_of("entry", 3, "noise-3", MODEL, NATIVE),
        key_of("entry", 8, "noise-3", MODEL, NATIVE),
        key_of("entry", 3, "none", replace(MODEL, identity="def"), NATIVE),
        key_of("entry", 3, "none", MODEL, PROTOCOLS["focal"]),
        key_of("entry", 3, "none", MODEL, replace(PROTOCOLS["focal"], grid=256)),
    ]
    assert len({key, *others}) == 1 + len(others)
    assert key_of("entry", 3, "none", replace(MODEL, identity=""), NATIVE) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        Ledger(tmp_path / "file" / "measured.jsonl")
