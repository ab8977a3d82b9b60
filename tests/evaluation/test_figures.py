from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgscan.errors import ConfigError
from imgscan.evaluation import figures
from imgscan.evaluation.measure import Exhibit
from imgscan.evaluation.pixel import BINS
from imgscan.evaluation.summary import Mean, SetScores, mean_of

drawn = pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs imgscan[figures]")


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'imgscan\[figures\]'"):
        figures.need_matplotlib()


def test_roc_points_by_hand() -> None:
    """Three forged pixels in the top bin and one in the lowest; one pristine pixel in the middle, three in the lowest."""
    counts = np.zeros((2, BINS), np.int64)
    counts[1, -1], counts[1, 0] = 3, 1
    counts[0, BINS // 2], counts[0, 0] = 1, 3
    false, true = figures.roc_points(counts)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (false[1], true[1]) == (0, 0.75), "at the highest threshold"
    assert (false[-2], true[-2]) == (0.25, 0.75), "just above the lowest"
    with pytest.raises(ValueError, match="both kinds"):
        figures.roc_points(np.ones((2, BINS), np.int64) * [[0], [1]])


def scores(model: str, attack_auc: float) -> SetScores:
    mean = Mean(attack_auc, attack_auc - 0.1, attack_auc + 0.1, 5)
    return SetScores(model, "set", 5, 5, 0, {"auc": mean}, None, None, {}, None, None, None)


@drawn
@pytest.mark.parametrize("count", [8, 9, 11])
def test_pictures_of_equal_scores_have_an_error_bar(count: int) -> None:
    """Their sum rounds: 0.1 eight times and divided by eight is less than 0.1."""
    mean = mean_of([0.1] * count)
    assert mean is not None
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low <= mean.mean <= mean.high
    row = SetScores("m", "set", count, count, 0, {"auc": mean}, None, None, {}, None, None, None)
    assert figures.robustness("set", {"none": [row], "jpeg-50": [row]}, "auc") is not None


@drawn
def test_robustness_shows_the_numbers_it_was_given() -> None:
    found = {
        "none": [scores("m", 0.9)],
        "jpeg-50": [scores("m", 0.5)],
        "jpeg-90": [scores("m", 0.8)],
        "social-telegram": [scores("m", 0.6)],
    }
    figure = figures.robustness("set", found, "auc")
    assert figure is not None
    jpeg, social = figure.axes
    assert [axis.get_title() for axis in (jpeg, social)] == ["jpeg", "social"]
    (line,) = jpeg.containers  # the error bars
    np.testing.assert_allclose(line[0].get_xydata(), [[50, 0.5], [90, 0.8]])
    assert [text.get_text() for text in social.get_xticklabels()] == ["telegram"]
    assert figures.robustness("set", {"none": found["none"]}, "auc") is None
    assert figures.robustness("another", found, "auc") is None


@drawn
def test_tsne_separates_what_is_apart() -> None:
    rng = np.random.default_rng(0)
    away = np.zeros(8, np.float32)
    away[0] = 20
    means = [(rng.normal(size=8).astype(np.float32), rng.normal(size=8).astype(np.float32) + away) for _ in range(30)]
    figure = figures.tsne("x", means)
    assert figure is not None
    pristine, forged = (np.asarray(one.get_offsets()) for one in figure.axes[0].collections)
    assert pristine.shape == forged.shape == (30, 2)
    home = pristine.mean(0)
    inside = np.linalg.norm(pristine - home, axis=1).mean()
    assert np.linalg.norm(forged - home, axis=1).min() > inside
    assert figures.tsne("x", means[:2]) is None
    assert figures.tsne("x", [(one[:1], other[:1]) for one, other in means]) is None


@drawn
def test_a_contact_sheet_has_a_row_per_picture_and_survives_a_skipped_one(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:20] = True
    one = Exhibit(np.full((40, 60, 3), 99, np.uint8), mask, mask.astype(np.float32), mask)
    sheet = figures.contact_sheet("set", ["a" * 99 + ".png", "p_$_x_$.png"], {"m": [one, None], "n": [one, one]})
    assert len(sheet.axes) == 2 * 4
    assert max(len(axis.get_title()) for axis in sheet.axes) <= figures.LONGEST + 3
    path = figures.save(sheet, tmp_path / "new" / "sheet.png")
    with Image.open(path) as image:
        assert image.width > 400


def test_no_two_sets_have_one_file() -> None:
    names = ["图片", "照片", "x-y", "x/y", "a b", "a.b"]
    slugs = [figures._slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert not any("/" in slug or " " in slug for slug in slugs)
    assert figures._slug("focal-fusion") == "focal-fusion"
