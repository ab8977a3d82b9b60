from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from imgscan.fuse import fuse
from imgscan.records import Features, Map


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


def test_parts_that_reach_over_the_edge_are_covered_whole() -> None:
    """The first network padded 32 pixels to 36."""
    fused = fuse([features(4, 9, 9, 4.0), features(3, 4, 4, 8.0)], 64)
    assert fused.vectors.shape == (7, 4, 4)
    assert fused.cell == (9.0, 9.0)


def test_controls_come_to_the_grid_of_the_features_where_all_have_one() -> None:
    first, second = features(4, 8, 8, 4.0), features(3, 4, 4, 8.0)
    controls = features(4, 4, 4, 8.0, 2).vectors, features(3, 2, 2, 16.0, 3).vectors
    shown = [replace(one, control=control) for one, control in zip((first, second), controls, strict=True)]
    fused = fuse(shown, 64)
    assert fused.control is not None
    wanted = torch.cat([controls[0], controls[1].repeat_interleave(2, 1).repeat_interleave(2, 2)]) / 2**0.5
    torch.testing.assert_close(fused.control, wanted)
    torch.testing.assert_close(fused.vectors, fuse([first, second], 64).vectors)
    assert fuse([shown[0], second], 64).control is None, "what one network alone has says nothing of the other's"


def test_nothing_to_fuse() -> None:
    with pytest.raises(ValueError, match="0 parts"):
        fuse([], 64)


def headed(dim: int, rows: int, columns: int, cell: float, logits: torch.Tensor) -> Features:
    return replace(features(dim, rows, columns, cell), probability=Map(logits.sigmoid(), (cell, cell)))


def test_mask_heads_agree_on_the_mean_of_their_logits_on_the_finest_grid() -> None:
    """By hand: 2 everywhere and a coarse -1 | 3 (bilinear between centres: -1, 0, 2, 3), halved."""
    fine = headed(4, 2, 4, 4.0, torch.full((2, 4), 2.0))
    coarse = headed(3, 1, 2, 8.0, torch.tensor([[-1.0, 3.0]]))
    fused = fuse([fine, coarse], 64, heads=True)
    assert fused.probability is not None
    assert fused.probability.cell == (4.0, 4.0)
    torch.testing.assert_close(fused.probability.values.logit(), torch.tensor([[0.5, 1.0, 2.0, 2.5]] * 2))


def test_one_mask_head_is_left_as_it_is_and_none_are_heard_unless_asked() -> None:
    one = headed(4, 2, 4, 4.0, torch.zeros(2, 4))
    assert fuse([one], 64, heads=True).probability is one.probability
    assert fuse([one], 64).probability is None


def test_who_has_no_control_is_taken_at_its_word() -> None:
    """Verdicts by hand: the mean of logits 2, of which 1 is left, and 3."""
    one, other = headed(4, 2, 4, 4.0, torch.full((2, 4), 2.0)), headed(4, 2, 4, 4.0, torch.full((2, 4), 3.0))
    assert fuse([one, other], 64, heads=True).verdict is None
    one = replace(one, verdict=Map(torch.full((2, 4), 1.0).sigmoid(), (4.0, 4.0)))
    fused = fuse([one, other], 64, heads=True)
    assert fused.probability is not None
    assert fused.verdict is not None
    torch.testing.assert_close(fused.probability.values.logit(), torch.full((2, 4), 2.5))
    torch.testing.assert_close(fused.verdict.values.logit(), torch.full((2, 4), 2.0))


def test_a_part_without_a_head_cannot_decide() -> None:
    with pytest.raises(ValueError, match="1 of 2 parts have no mask head"):
        fuse([headed(4, 2, 4, 4.0, torch.zeros(2, 4)), features(4, 2, 4, 4.0)], 64, heads=True)
