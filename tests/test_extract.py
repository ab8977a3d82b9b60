"""What a device's memory does not hold at once goes through in halves."""

import pytest
import torch
from torch import nn

from imgscan.errors import WorkerError
from imgscan.extract import extract
from imgscan.models.segmentation import Segmentation
from imgscan.records import Placement, Tensor

CPU = torch.device("cpu")


class Small(nn.Module):
    """Takes at most `most` tiles at once."""

    def __init__(self, most: int, head: bool = False) -> None:
        super().__init__()
        self.most, self.head = most, head
        self.seen: list[int] = []

    def forward(self, tiles: torch.Tensor) -> torch.Tensor | Segmentation:
        self.seen.append(len(tiles))
        if len(tiles) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
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


def test_a_tile_that_does_not_fit_alone_is_an_error_that_says_so() -> None:
    with pytest.raises(WorkerError, match="a tile of 64 x 64 pixels does not fit into the memory of cpu"):
        extract(Small(0), tiles(2), CPU, batch=2, amp=False)


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
