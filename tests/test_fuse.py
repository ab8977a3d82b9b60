import pytest
import torch
import torch.nn.functional as F

from imgscan.fuse import fuse
from imgscan.records import Features


def features(dim: int, rows: int, columns: int, cell: float, seed: int = 0) -> Features:
    vectors = torch.randn(dim, rows, columns, generator=torch.Generator().manual_seed(seed))
    return Features(F.normalize(vectors, dim=0), (cell, cell))


def test_one_network_at_its_own_grid_is_itself() -> None:
    one = features(5, 6, 8, 4.0)
    fused = fuse([one], 64)
    torch.testing.assert_close(fused.vectors, one.vectors)
    assert fused.cell == (4.0, 4.0)


def test_cosines_are_the_mean_of_the_parts() -> None:
    first, second = features(5, 6, 8, 8.0), features(3, 6, 8, 8.0, 1)
    fused = fuse([first, second], 64).vectors.flatten(1)
    a, b = first.vectors.flatten(1), second.vectors.flatten(1)
    torch.testing.assert_close(fused.T @ fused, (a.T @ a + b.T @ b) / 2)


def test_the_coarsest_grid_wins_and_finer_ones_are_averaged() -> None:
    fine, coarse = features(4, 8, 8, 4.0), features(3, 4, 4, 8.0)
    fused = fuse([fine, coarse], 64)
    assert fused.vectors.shape == (7, 4, 4)
    assert fused.cell == (8.0, 8.0)
    wanted = F.normalize(fine.vectors[:, 0:2, 2:4].mean((1, 2)), dim=0) / 2**0.5
    torch.testing.assert_close(fused.vectors[:4, 0, 1], wanted)


def test_the_grid_is_limited_and_covers_the_same_picture() -> None:
    fused = fuse([features(4, 100, 50, 4.0)], 64)
    assert fused.vectors.shape == (4, 64, 32)
    assert fused.cell == (400 / 64, 200 / 32)


def test_nothing_to_fuse() -> None:
    with pytest.raises(ValueError, match="0 parts"):
        fuse([], 64)
