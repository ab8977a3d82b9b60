from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from imgscan.datasets import families as module
from imgscan.datasets.families import FAMILIES, forge_as, parse_families, untouched_as
from imgscan.errors import ConfigError

Photos = list[np.ndarray]


def drawn(photos: Photos, rng: np.random.Generator) -> Callable[[], np.ndarray]:
    return lambda: photos[int(rng.integers(len(photos)))]


@pytest.mark.parametrize("names", ["scale", "object", "blend", "edit", "clone", "platform", "all"])
def test_every_family_makes_forgeries_of_the_wanted_size(photos: Photos, names: str) -> None:
    for number in range(5):
        rng = np.random.default_rng((8, number))
        made = forge_as(drawn(photos, rng), 96, rng, parse_families(names))
        assert made.rgb.shape == (96, 96, 3)
        assert made.rgb.dtype == np.uint8
        assert 0.004 < (made.labels > 0).mean() < 0.65
        assert made.kind in ("splicing", "copy-move", "removal", "enhancement")
        assert names in ("edit", "all") or made.kind != "enhancement"


def test_the_same_seed_gives_the_same_forgery(photos: Photos) -> None:
    def one(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        made = forge_as(drawn(photos, rng), 96, rng, parse_families("all"))
        return made.rgb, made.labels, untouched_as(drawn(photos, rng), 96, rng, parse_families("all"))

    for first, second in zip(one(3), one(3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (one(3)[0] != one(4)[0]).any()


@pytest.mark.parametrize(
    ("function", "without"),
    [
        ("_small", "scale"),
        ("_superpixels", "object"),
        ("_blended", "blend"),
        ("enhance", "edit"),
        ("_clone", "clone"),
        ("_patch_over", "clone"),
    ],
)
def test_a_family_that_is_off_does_nothing(photos: Photos, monkeypatch: pytest.MonkeyPatch, function: str, without: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"{function} without {without}")

    others = frozenset(FAMILIES) - {without} - ({"clone"} if function == "_superpixels" else set())  # clone cuts along edges too
    monkeypatch.setattr(module, function, refuse)
    forge_many(photos, others, 12)
    with pytest.raises(AssertionError, match=without):
        forge_many(photos, others | {without}, 200)


def forge_many(photos: Photos, families: frozenset[str], count: int) -> None:
    for number in range(count):
        rng = np.random.default_rng((9, number))
        forge_as(drawn(photos, rng), 64, rng, families)


def test_untouched_pictures_pass_the_histories_of_forged_ones(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("_made", "_host", "_finish"):
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, plain=plain: (calls.append(name), plain(*a))[1])
    rng = np.random.default_rng(1)
    assert untouched_as(drawn(photos, rng), 96, rng, parse_families("all")).shape == (96, 96, 3)
    assert calls == ["_made", "_host", "_finish"]


@pytest.mark.parametrize("function", ["_clone", "_patch_over"])
def test_what_is_labelled_is_what_changed(photos: Photos, function: str) -> None:
    for number in range(10):
        rng = np.random.default_rng((2, number))
        before = photos[number % 4][:160, :160]
        rgb, labels = before.copy(), np.zeros((160, 160), np.int64)
        getattr(module, function)(rgb, labels, rng)
        changed = (rgb != before).any(2)
        # Soft edges, enlarged, reach out of the label.
        assert (changed & ~ndimage.binary_dilation(labels > 0, iterations=12)).sum() <= 0.01 * changed.sum()
        # A flat sky copied onto itself is no change, but what is around it is.
        assert not ((labels > 0) & ~ndimage.binary_dilation(changed, iterations=4)).any()
        assert set(np.unique(labels)) <= {0, 1}


def test_a_matched_part_has_the_colours_around_it(photos: Photos) -> None:
    under, part = photos[0][:64, :64] // 4, 255 - photos[1][:64, :64] // 4
    shape = np.ones((64, 64), np.float32)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        if np.random.default_rng(seed).integers(3) == 0:
            matched, same = module._blended(under, part, shape, rng)
            assert same is shape
            assert abs(matched.mean() - under.mean()) < 0.65 * abs(part.mean() - under.mean())


def test_superpixels_have_edges_where_the_picture_has_one() -> None:
    """Left black, right white: the middle row of a shape that stays on one side ends at the border, not somewhere near it."""
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[:, 60:] = 255
    ends = []
    for seed in range(20):
        shape = module._superpixels(picture, np.random.default_rng(seed)) > 0.5
        assert shape[48, 48]
        assert 0.1 < shape.mean() < 0.95
        columns = np.flatnonzero(shape.any(0))
        ends += [columns[-1]] if columns[-1] < 70 else []
    assert ends
    assert np.mean([abs(end - 59) <= 2 for end in ends]) > 0.5


def test_names_are_checked() -> None:
    assert parse_families("") == frozenset()
    assert parse_families("scale+edit") == {"scale", "edit"}
    assert parse_families("all") == set(FAMILIES)
    with pytest.raises(ConfigError, match="unknown family 'blendd'; did you mean blend"):
        parse_families("scale+blendd")


def test_a_window_starts_on_the_grid_of_jpeg_blocks_and_labels_stay_on_their_pixels() -> None:
    rows, columns = np.mgrid[:96, :96]
    labels = (rows * 96 + columns).astype(np.int64)
    rgb = np.stack([rows, columns, rows], 2).astype(np.uint8)
    corners = set()
    for seed in range(300):
        shown, named = module._window(rgb, labels, 64, np.random.default_rng(seed))
        assert shown.shape == (64, 64, 3)
        assert (named == shown[..., 0].astype(int) * 96 + shown[..., 1]).all()
        corners.add((int(shown[0, 0, 0]), int(shown[0, 0, 1])))
    assert corners == {(8 * y, 8 * x) for y in range(5) for x in range(5)}, "every window that fits, none off the grid"


def test_object_cuts_some_forgeries_by_the_edge(photos: Photos) -> None:
    def at_the_edge(name: str) -> int:
        count = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            made = forge_as(drawn(photos, rng), 96, rng, frozenset({name}))
            border = np.concatenate([made.labels[0], made.labels[-1], made.labels[:, 0], made.labels[:, -1]])
            count += int((border > 0).sum() > 8)
        return count

    assert at_the_edge("object") >= 4
    assert at_the_edge("platform") == 0, "the plain maker keeps its parts inside"
