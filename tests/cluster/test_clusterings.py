"""Every clustering over one table of cases, then what is special to each."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from imgscan.cluster import CLUSTERINGS, MANY, ClusterSettings, _adopt_noise, cluster, cluster_many, kmeans
from imgscan.cluster.bisecting import bisecting_labels
from imgscan.cluster.hierarchical import MOST_POINTS, hierarchical_labels
from imgscan.cluster.kmeans import by_distance, by_dot_product, kmeans_labels
from imgscan.errors import InputError
from imgscan.records import Features

FIXTURE = Path(__file__).parents[3] / "shared" / "reference" / "parity" / "FOCAL_clustering.npz"


def planted(rows: int = 24, columns: int = 32, noise: float = 0.05, dim: int = 16) -> tuple[Features, np.ndarray]:
    """A picture with one forged box of another direction; the truth is 1 there."""
    truth = np.zeros((rows, columns), np.int32)
    truth[5:13, 6:18] = 1
    directions = torch.eye(dim)[:2]
    generator = torch.Generator().manual_seed(1)
    vectors = directions[torch.from_numpy(truth).long()] + noise * torch.randn(rows, columns, dim, generator=generator)
    return Features(F.normalize(vectors.permute(2, 0, 1), dim=0), (8.0, 8.0)), truth


@pytest.mark.parametrize("method", CLUSTERINGS)
def test_a_planted_forgery_is_found_and_the_largest_cluster_is_zero(method: str) -> None:
    features, truth = planted()
    clusters = cluster(features, ClusterSettings(method=method))
    assert (clusters.labels == truth).all()
    assert len(clusters.persistence) == 2
    assert clusters.method == method


@pytest.mark.parametrize("method", CLUSTERINGS)
def test_constant_features_are_one_cluster(method: str) -> None:
    features = Features(F.normalize(torch.ones(8, 16, 16), dim=0), (8.0, 8.0))
    clusters = cluster(features, ClusterSettings(method=method))
    assert (clusters.labels == 0).all()


@pytest.mark.parametrize("method", CLUSTERINGS)
def test_nan_is_an_error_that_says_so(method: str) -> None:
    features = Features(torch.full((4, 8, 8), float("nan")), (8.0, 8.0))
    with pytest.raises(ValueError, match="NaN"):
        cluster(features, ClusterSettings(method=method))


@pytest.mark.parametrize("method", CLUSTERINGS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2)])
def test_tiny_grids(method: str, shape: tuple[int, int]) -> None:
    features = Features(F.normalize(torch.rand(4, *shape), dim=0), (8.0, 8.0))
    assert cluster(features, ClusterSettings(method=method)).labels.shape == shape


def test_an_unknown_method_names_the_near_miss() -> None:
    with pytest.raises(InputError, match="did you mean hdbscan"):
        cluster(planted()[0], ClusterSettings(method="hdbscn"))


def test_hdbscan_noise_joins_the_nearest_cluster() -> None:
    features, truth = planted()
    vectors = features.vectors.clone()
    lonely = torch.zeros(16)
    lonely[0], lonely[1] = -0.3, -0.954  # farther from both clusters than they are from each other, and nearer to cluster 0
    vectors[:, 0, 0] = lonely
    clusters = cluster(Features(vectors, features.cell), ClusterSettings())
    assert clusters.noise[0, 0]
    assert clusters.labels[0, 0] == 0
    assert (clusters.labels == truth).all()


def test_hundreds_of_clusters_fall_back_to_kmeans_and_say_so() -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((60, 32))
    cells = directions[np.repeat(np.arange(60), 20)] + 0.01 * rng.standard_normal((1200, 32))
    vectors = F.normalize(torch.from_numpy(cells.astype(np.float32)).T.reshape(32, 30, 40), dim=0)
    clusters = cluster(Features(vectors, (8.0, 8.0)), ClusterSettings(smallest=0.01, most=40))
    assert clusters.method == "kmeans (hdbscan found 60 clusters)"
    assert len(clusters.persistence) == 2


def test_kmeans_assigns_by_dot_product_not_by_cosine() -> None:
    """By hand: a point at 40 degrees is nearer in angle to a mean at 60 degrees than to one at 0 (20 against 40 degrees), but that
    mean has length 0.6, so the dot products are 0.6 cos 20 = 0.564 and cos 40 = 0.766: it goes to the one at 0."""
    angle = torch.tensor([40.0, 60.0]) * torch.pi / 180
    point = torch.tensor([[[angle[0].cos(), angle[0].sin()]]])
    means = torch.tensor([[[[1.0, 0.0], [0.6 * angle[1].cos(), 0.6 * angle[1].sin()]]]])
    assert by_dot_product(point, means).tolist() == [[[0]]]
    assert by_distance(point, means).tolist() == [[[1]]], "at a distance of 0.48, not of 0.68"


@pytest.mark.skipif(not FIXTURE.exists(), reason="the reference fixtures are not on this machine")
def test_kmeans_gives_the_official_labels() -> None:
    """Case `uneven` tells the dot product from the cosine: true cosine agrees on 97.5 % only."""
    fixture = np.load(FIXTURE)
    labels, _ = kmeans_labels(F.normalize(torch.from_numpy(fixture["uneven/features"]), dim=1), ClusterSettings())
    smaller = np.bincount(labels).argmin()
    assert ((labels == smaller) == fixture["uneven/labels"]).all()


def test_kmeans_always_splits_what_is_not_constant() -> None:
    points = F.normalize(torch.rand(50, 4, generator=torch.Generator().manual_seed(3)), dim=1)
    assert set(kmeans_labels(points, ClusterSettings())[0].tolist()) == {0, 1}


@pytest.mark.parametrize("method", MANY)
def test_pictures_together_are_clustered_as_each_alone(method: str) -> None:
    """Two of equal size and one of another between them."""
    some = [planted(noise=0.4)[0], planted(20, 30)[0], planted(noise=0.7)[0]]
    settings = ClusterSettings(method=method)
    for one, together in zip(some, cluster_many(some, settings), strict=True):
        assert (together.labels == cluster(one, settings).labels).all()


@pytest.mark.parametrize("method", MANY)
def test_a_picture_that_takes_many_rounds_does_not_move_the_others(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where means count as still before they are, further rounds would change labels."""
    monkeypatch.setattr(kmeans, "STILL", 0.02)
    generator = torch.Generator().manual_seed(1)
    some = [Features(F.normalize(torch.randn(4, 20, 20, generator=generator), dim=0), (4.0, 4.0)) for _ in range(6)]
    settings = ClusterSettings(method=method)
    for one, together in zip(some, cluster_many(some, settings), strict=True):
        assert (together.labels == cluster(one, settings).labels).all()


def test_bisecting_splits_the_widest_part_again() -> None:
    """Three heaps on a line, at 0, 1 and 10: first the far one is cut off, then the other two are parted."""
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor([[0.0], [1.0], [10.0]]).repeat_interleave(30, 0) + 0.01 * torch.randn(90, 1, generator=generator)
    two, _ = bisecting_labels(points, ClusterSettings(clusters=2))
    assert set(two[:60].tolist()) & set(two[60:].tolist()) == set()
    assert len(set(two[:60].tolist())) == 1
    three, persistence = bisecting_labels(points, ClusterSettings(clusters=3))
    assert [len(set(three[k * 30 : k * 30 + 30].tolist())) for k in range(3)] == [1, 1, 1]
    assert len(set(three.tolist())) == len(persistence) == 3


@pytest.mark.parametrize("method", ["kmeans", "bisecting", "birch", "hierarchical"])
@pytest.mark.parametrize("clusters", [2, 3])
def test_as_many_clusters_as_wanted(method: str, clusters: int) -> None:
    rng = np.random.default_rng(0)
    points = np.eye(8)[np.repeat(np.arange(3), 40)] + 0.05 * rng.standard_normal((120, 8))
    unit = F.normalize(torch.from_numpy(points.astype(np.float32)), dim=1)
    labels, persistence = CLUSTERINGS[method](unit, ClusterSettings(clusters=clusters))
    assert set(labels.tolist()) == set(range(clusters))
    assert len(persistence) == clusters
    if clusters == 3:
        assert all(len(set(labels[k : k + 40].tolist())) == 1 for k in (0, 40, 80))


def test_hierarchical_refuses_what_does_not_fit_in_memory() -> None:
    with pytest.raises(ValueError, match="choose a smaller --grid"):
        hierarchical_labels(torch.empty(MOST_POINTS + 1, 1), ClusterSettings())


def test_noise_is_adopted_by_angle_whatever_the_spread_of_a_cluster() -> None:
    """At 40 degrees: 20 from the mean of the second cluster, which has length 0.6, and 40 from the first, whose dot product is
    larger (0.77 against 0.56)."""
    angles = np.radians([0, 0, 60 - 53.13, 60 + 53.13, 40])
    points = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert _adopt_noise(points, np.array([0, 0, 1, 1, -1])).tolist() == [0, 0, 1, 1, 1]


def test_as_many_clusters_as_allowed_are_not_too_many() -> None:
    from imgscan.cluster import ClusterSettings, cluster
    from imgscan.records import Features

    rng = np.random.default_rng(0)
    cells = rng.standard_normal((60, 32))[np.repeat(np.arange(60), 20)] + 0.01 * rng.standard_normal((1200, 32))
    vectors = torch.nn.functional.normalize(torch.from_numpy(cells.astype(np.float32)).T.reshape(32, 30, 40), dim=0)
    methods = [cluster(Features(vectors, (8.0, 8.0)), ClusterSettings(smallest=0.01, most=most)).method for most in (60, 59)]
    assert methods == ["hdbscan", "kmeans (hdbscan found 60 clusters)"]
