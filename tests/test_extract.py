"""What a device's memory does not hold at once goes through in halves; detectors are shown the file where it says more."""

import io
import math
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from imgscan.decode import decode
from imgscan.errors import WorkerError
from imgscan.extract import detect, extract, seek
from imgscan.fuse import against_control
from imgscan.models.segmentation import Segmentation
from imgscan.records import Map, Picture, Placement, Source, Tensor

CPU = torch.device("cpu")
PHOTOS = Path(__file__).parent / "data" / "photos"


class Small(nn.Module):
    """Takes at most `most` tiles at once."""

    def __init__(self, most: int, head: bool = False) -> None:
        super().__init__()
        self.most, self.head = most, head
        self.error: Exception = torch.OutOfMemoryError("CUDA out of memory")
        self.seen: list[int] = []

    def forward(self, tiles: torch.Tensor) -> torch.Tensor | Segmentation:
        self.seen.append(len(tiles))
        if len(tiles) > self.most:
            raise self.error
        features = nn.functional.avg_pool2d(tiles, 8)
        return Segmentation(features[:, :2], (), features) if self.head else nn.functional.normalize(features, dim=1)


def tiles(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    placement = Placement(64, 64, (64, 64), (64, 64), (64, 64), ((0, 0),))
    return [Tensor(torch.randint(1, 256, (1, 3, 64, 64), generator=generator, dtype=torch.uint8), placement) for _ in range(count)]


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_halves_give_the_same(most: int, head: bool) -> None:
    inputs = tiles(7)
    whole = extract(Small(99, head), inputs, CPU, batch=7, amp=False)
    small = Small(most, head)
    parts = extract(small, inputs, CPU, batch=7, amp=False)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one.vectors, other.vectors)
        assert (one.probability is None) == (other.probability is None) == (not head)
    too_large = sum(size > most for size in small.seen)
    extract(small, inputs, CPU, batch=7, amp=False)
    assert sum(size > most for size in small.seen) == too_large, "what did not fit is not tried again"


def test_apples_devices_have_no_exception_of_their_own() -> None:
    small = Small(2)
    small.error = RuntimeError("MPS backend out of memory")
    assert len(extract(small, tiles(7), CPU, batch=7, amp=False)) == 7
    broken = Small(2)
    broken.error = RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        extract(broken, tiles(7), CPU, batch=7, amp=False)


def test_a_device_that_fails_ends_the_scan_and_says_so() -> None:
    """Of no picture that comes later it would say anything."""
    small = Small(2)
    small.error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be")
    with pytest.raises(WorkerError, match=r"cpu failed \(CUDA error: an illegal memory access was encountered\); call again"):
        extract(small, tiles(7), CPU, batch=7, amp=False)


def test_a_tile_that_does_not_fit_alone_is_an_error_that_says_so() -> None:
    with pytest.raises(WorkerError, match="a tile of 64 x 64 pixels does not fit into the memory of cpu"):
        extract(Small(0), tiles(2), CPU, batch=2, amp=False)


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_no_answer(wrong: float, head: bool) -> None:
    """NaN exceeds no threshold: a picture of which nothing is known would be called clean."""
    network = Small(9, head)
    network.register_forward_pre_hook(lambda _, given: (given[0].masked_fill(given[0] == given[0][0, 0, 3, 3], wrong),))
    with pytest.raises(WorkerError, match="answers NaN or infinity: its weights are broken"):
        extract(network, tiles(2), CPU, batch=2, amp=False)


def test_features_finer_than_four_pixels_are_averaged() -> None:
    """NCL's are two pixels a side: of a photograph of 12 megapixels they would take 768 MB."""

    class Fine(nn.Module):
        def forward(self, tiles: torch.Tensor) -> Segmentation:
            return Segmentation(tiles[:, :2], (), nn.functional.avg_pool2d(tiles, 2))

    (one,) = tiles(1)
    features = extract(Fine(), [one], CPU, batch=1, amp=False)[0]
    assert features.cell == (4.0, 4.0)
    expected = nn.functional.normalize(nn.functional.avg_pool2d(one.tiles.float() / 255, 4)[0], dim=0)
    torch.testing.assert_close(features.vectors, expected)
    assert features.probability is not None
    assert features.probability.values.shape == (64, 64), "the map stays as it is"


class Level(nn.Module):
    """The odds that a cell is forged are its grey level."""

    def forward(self, tiles: torch.Tensor) -> Segmentation:
        odds = nn.functional.avg_pool2d(tiles[:, :1], 8) * 255
        return Segmentation(torch.cat([torch.zeros_like(odds), odds.log()], 1), (), nn.functional.avg_pool2d(tiles, 8))


def grey(side: int, level: int) -> Tensor:
    """All of one level; of a picture of 64 x 64."""
    placement = Placement(64, 64, (side, side), (side, side), (side, side), ((0, 0),))
    return Tensor(torch.full((1, 3, side, side), level, dtype=torch.uint8), placement)


def test_an_overview_speaks_through_the_mask_head_alone() -> None:
    """A tile of one grey level and an overview of another: the head says the odds of the level, the features do not change."""
    tile, overview = grey(64, 36), grey(32, 4)
    plain, both = extract(Level(), [tile, replace(tile, overview=overview)], CPU, batch=8, amp=False)
    assert plain.probability is not None
    assert both.probability is not None
    torch.testing.assert_close(plain.probability.values, torch.full((8, 8), 36 / 37))
    torch.testing.assert_close(both.probability.values, torch.full((8, 8), 16 / 17))  # roots 6 and 2, their mean 4
    assert both.probability.cell == (8.0, 8.0)
    torch.testing.assert_close(both.vectors, plain.vectors)


def test_what_the_control_is_suspected_of_is_taken_off_the_verdict() -> None:
    """Odds of 36, with an overview of 16; in the control 1: what exceeds e^-2, e^2 times, goes.  Of 9: e^2.5 times."""
    tile, control = grey(64, 36), grey(32, 1)
    inputs = [replace(tile, control=control), replace(tile, overview=grey(32, 4), control=control)]
    alone, both, seam, plain = extract(Level(), [*inputs, replace(tile, control=grey(32, 9)), tile], CPU, batch=8, amp=False)
    assert plain.verdict is None
    for features, odds, less in ((alone, 36, 36 / math.e**2), (both, 16, 16 / math.e**2), (seam, 36, 36 / math.e**2.5)):
        assert features.probability is not None
        assert features.verdict is not None
        torch.testing.assert_close(features.probability.values, torch.full((8, 8), odds / (odds + 1)))
        torch.testing.assert_close(features.verdict.values, torch.full((8, 8), less / (less + 1)))
        torch.testing.assert_close(features.vectors, plain.vectors)
        assert features.control is not None
        assert features.control.shape == (3, 4, 4), "its features come along, on a grid of their own"
    assert plain.control is None


def test_what_exceeds_e_to_the_minus_2_in_the_control_is_taken_off() -> None:
    picture, control = (torch.sigmoid(torch.tensor([[logit]])) for logit in (1.5, -1.25))
    verdict = against_control(Map(picture, (8.0, 8.0)), Map(control, (8.0, 8.0)))
    torch.testing.assert_close(torch.logit(verdict.values), torch.tensor([[0.75]]))


def test_a_control_that_nothing_is_suspected_in_changes_nothing() -> None:
    picture, control = Map(torch.tensor([[0.9, 0.2]]), (8.0, 8.0)), Map(torch.tensor([[0.1]]), (8.0, 16.0))
    torch.testing.assert_close(against_control(picture, control), picture, rtol=0, atol=1e-6)


def test_what_a_file_says_beyond_its_pixels() -> None:
    """A part pasted between two JPEGs, the last with tables of no standard; and the same stored as RGB, of which nobody knows."""
    photos = [Image.open(path).convert("RGB").resize((384, 384)) for path in sorted(PHOTOS.glob("*.jpg"))[:2]]
    first = io.BytesIO()
    photos[0].save(first, "JPEG", quality=60)
    forged = Image.open(first).convert("RGB")
    forged.paste(photos[1].crop((3, 5, 133, 135)), (100, 100))
    table = [6, 4, 5, 7, 9, 12, 12, 17, *[13] * 56]

    def decoded(**settings: Any) -> Picture:
        content = io.BytesIO()
        forged.save(content, "JPEG", **settings)
        picture = decode(Source(Path("x.jpg"), "x.jpg", content.getvalue()))
        assert isinstance(picture, Picture)
        return picture

    picture = decoded(qtables=[table, table], subsampling=0)
    [odds] = seek(["adq"], picture).odds
    assert odds.values[15:27, 15:27].mean() > 3
    assert odds.values[:, 40:].mean() < -3
    score = detect("adq", picture).probability
    assert score is not None
    assert (score.values[110:220, 110:220] > 0.5).float().mean() > 0.9
    stored_as_rgb = decoded(quality=90, keep_rgb=True)
    assert not seek(["adq"], stored_as_rgb).odds
    score = detect("adq", stored_as_rgb).probability
    assert score is not None
    assert not score.values.any()


def test_tiles_are_not_kept_until_all_are_there() -> None:
    """Of a photograph of 50 megapixels they are gigabytes."""
    answers: list[weakref.ref[torch.UntypedStorage]] = []
    alive = []

    class Watched(nn.Module):
        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            alive.append(sum(one() is not None for one in answers))
            features = nn.functional.avg_pool2d(tiles, 8)
            answers.append(weakref.ref(features.untyped_storage()))
            return features

    corners = tuple((0, 32 * number) for number in range(6))
    placement = Placement(64, 224, (64, 224), (64, 224), (64, 64), corners)
    extract(Watched(), [Tensor(torch.ones(6, 3, 64, 64, dtype=torch.uint8), placement)], CPU, batch=1, amp=False)
    assert len(alive) == 6
    assert max(alive) <= 1
