import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.localize import LocalizeSettings, enlarge, localize
from imgscan.records import Clusters, Features

FORGED = torch.tensor([0.6, 0.8, 0.0])  # cosine 0.6 to the pristine direction: distance (1 - 0.6) / 2 = 0.2
PRISTINE = torch.tensor([1.0, 0.0, 0.0])


def scene(rows: int = 12, columns: int = 16) -> tuple[Features, Clusters]:
    labels = np.zeros((rows, columns), np.int32)
    labels[2:6, 3:9] = 1
    labels[9:11, 12:14] = 2
    vectors = torch.where(torch.from_numpy(labels > 0)[None], FORGED[:, None, None], PRISTINE[:, None, None])
    clusters = Clusters(labels, np.zeros_like(labels, bool), (1.0, 1.0, 1.0), "hdbscan")
    return Features(F.normalize(vectors, dim=0), (8.0, 8.0)), clusters


def test_boxes_areas_and_strengths() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings())
    assert mask.forged.shape == mask.probability.shape == (96, 128)
    assert [region.box for region in mask.regions] in (
        [(24, 16, 72, 48), (96, 72, 112, 88)],
        [(96, 72, 112, 88), (24, 16, 72, 48)],
    )
    large = next(region for region in mask.regions if region.box[0] == 24)
    assert 48 * 32 * 0.95 < large.area <= 48 * 32  # bilinear rounds the corners off
    assert 0.15 < large.strength <= 0.2
    assert sum(region.area for region in mask.regions) == mask.forged.sum()


def test_probability_ranks_forged_over_pristine_even_when_nothing_is_marked() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings(strength=0.9))
    assert not mask.forged.any()
    assert mask.regions == ()
    assert mask.probability[30, 50] > mask.probability[80, 10]


def test_one_cluster_is_nothing_forged() -> None:
    features, _ = scene()
    labels = np.zeros((12, 16), np.int32)
    mask = localize(features, Clusters(labels, labels > 0, (1.0,), "hdbscan"), 96, 128, LocalizeSettings())
    assert not mask.forged.any()


def test_small_regions_go() -> None:
    features, clusters = scene()
    mask = localize(features, clusters, 96, 128, LocalizeSettings(smallest=0.05))
    assert len(mask.regions) == 1


def test_clusters_over_most_of_the_picture_are_content() -> None:
    features, clusters = scene()
    share = float((clusters.labels > 0).mean())
    assert localize(features, clusters, 96, 128, LocalizeSettings(share=share)).regions
    assert not localize(features, clusters, 96, 128, LocalizeSettings(share=share - 0.01)).regions


@pytest.mark.parametrize(("height", "width"), [(96, 128), (93, 125), (100, 131)])
def test_cells_lie_where_they_were_whatever_the_padding(height: int, width: int) -> None:
    """12 x 16 cells of 8 pixels: the middle of cell (2, 3) is pixel (20, 28) whether the picture ends before or after the cells."""
    cells = torch.zeros(12, 16)
    cells[2, 3] = 1
    large = enlarge(cells, (8.0, 8.0), height, width)
    assert large.shape == (height, width)
    assert np.unravel_index(large.argmax(), large.shape) in [(y, x) for y in (19, 20) for x in (27, 28)]
