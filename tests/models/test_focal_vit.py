"""FOCAL's ViT: what is its own; what holds for all extractors is in test_networks.py."""

import pytest
import torch
from timm.models.vision_transformer_sam import Attention
from torch import Tensor

from imgscan.models import build_named
from imgscan.models.focal_vit import GridAttention


@pytest.fixture
def whole() -> Attention:
    torch.manual_seed(0)
    return Attention(8, num_heads=2).eval()


def tokens(rows: int, columns: int) -> Tensor:
    return torch.randn(2, rows, columns, 8, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_grid_that_holds_all_tokens_is_plain_attention(whole: Attention) -> None:
    x = tokens(4, 6)
    torch.testing.assert_close(GridAttention(whole, 24)(x), whole(x))


@torch.inference_mode()
def test_equal_neighbours_are_as_good_as_one_of_them(whole: Attention) -> None:
    """Every token there four times: the mean over all is the mean over a quarter."""
    x = tokens(4, 6).repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(GridAttention(whole, 24)(x), whole(x))
    assert (GridAttention(whole, 6)(x) - whole(x)).abs().max() > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize(("most", "seen"), [(9, {1, 3, 5}), (4, {1, 4}), (8, {1, 4}), (1, {3})])
def test_only_what_is_on_the_grid_is_seen(whole: Attention, most: int, seen: set[int]) -> None:
    """Of 6 x 6 tokens, those whose row and column are both of `seen`, and no more than `most`."""
    attention = GridAttention(whole, most)
    plain = attention(tokens(6, 6))
    heard = set()
    for place in range(36):
        x = tokens(6, 6)
        x[:, place // 6, place % 6] += 1
        changed = (attention(x) - plain).abs().amax((0, 3)).flatten() > 1e-6
        changed[place] = False  # it asks something else now
        if changed.any():
            heard.add((place // 6, place % 6))
    assert heard == {(row, column) for row in seen for column in seen}


@torch.inference_mode()
def test_pictures_of_one_row_have_keys_too(whole: Attention) -> None:
    assert GridAttention(whole, 3)(tokens(1, 40)).isfinite().all()


def test_its_weights_have_the_names_of_the_whole() -> None:
    """Weights trained with and without a grid fit each other."""
    with torch.device("meta"):
        grid, full = (build_named("focal-vit", size).state_dict() for size in ("compact", "official"))
    inner = {name.split(".", 3)[-1] for name in full if name.startswith("trunk.blocks.1.") and "rel_pos" not in name}
    assert {name.split(".", 3)[-1] for name in grid if name.startswith("trunk.blocks.1.")} == inner
