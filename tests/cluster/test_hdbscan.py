"""The package's labels from our spanning tree, over random sizes, dimensions, duplicates and ties."""

from dataclasses import replace

import hdbscan
import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from imgscan.cluster import ClusterSettings, cluster
from imgscan.cluster.hdbscan import hdbscan_labels
from imgscan.cluster.reachability import spanning_tree
from imgscan.records import Features
from imgscan.releases.table import RELEASES

Points = npt.NDArray[np.float32]


def mixture(count: int, dim: int, seed: int, groups: int = 4, spread: float = 0.25, unit: bool = True) -> Points:
    """Points around some directions, as features of pictures are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((groups, dim))
    points = centres[rng.integers(0, groups, count)] + spread * rng.standard_normal((count, dim))
    return (points / np.linalg.norm(points, axis=1, keepdims=True) if unit else points).astype(np.float32)


def duplicated(count: int, dim: int, seed: int) -> Points:
    """Every third point is one of the others again."""
    rng = np.random.default_rng(seed)
    points = mixture(count, dim, seed)
    points[::3] = points[rng.integers(0, count, len(points[::3]))]
    return points


def planted(within: float, side: int) -> tuple[Features, npt.NDArray[np.bool_]]:
    """64 x 64 cells of 256 channels, side x side of them around a direction of their own; `within`: mean cosine of a part."""
    generator = torch.Generator().manual_seed(1)
    forged = torch.zeros(64, 64, dtype=torch.bool)
    forged[10 : 10 + side, 20 : 20 + side] = True
    directions = torch.linalg.qr(torch.randn(256, 2, generator=generator)).Q.T
    content = torch.randn(4096, 16, generator=generator) @ torch.randn(16, 256, generator=generator)
    content *= (1 / within - 1) ** 0.5 / content.norm(dim=1).mean()
    vectors = torch.nn.functional.normalize(directions[forged.flatten().long()] + content, dim=1)
    return Features(vectors.T.reshape(256, 64, 64), (16.0, 16.0)), forged.numpy()


def lattice(side: int) -> Points:
    """All distances tie many times over."""
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2).astype(np.float32)


def reach(points: Points, neighbours: int) -> npt.NDArray[np.float64]:
    distance = cdist(points.astype(np.float64), points.astype(np.float64))
    core = np.sort(distance, axis=1)[:, neighbours]
    return np.maximum(np.maximum(distance, core[:, None]), core[None, :])


def prim(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sorted weights of a minimum spanning tree; the same for every such tree, ties or not."""
    least, inside, found = weights[0].copy(), np.zeros(len(weights), bool), []
    inside[0] = True
    for _ in range(len(weights) - 1):
        least[inside] = np.inf
        nearest = int(least.argmin())
        found.append(least[nearest])
        inside[nearest] = True
        least = np.minimum(least, weights[nearest])
    return np.sort(found)


FAR = np.concatenate([mixture(90, 8, 1, 1), mixture(40, 8, 2, 1) + 50, mixture(7, 8, 3, 1) - 90]).astype(np.float32)
CASES = {
    "two points": (mixture(2, 5, 0), 1),
    "three points": (mixture(3, 5, 0), 2),
    "few": (mixture(30, 3, 1), 5),
    "all neighbours listed": (mixture(18, 3, 1), 2),
    "plane": (mixture(400, 2, 2, unit=False), 4),
    "unit": (mixture(700, 64, 3), 8),
    "wide": (mixture(300, 300, 4), 8),
    "noise alone": (mixture(500, 16, 5, groups=1, spread=9.0), 3),
    "islands": (FAR, 4),
    "long core": (mixture(200, 4, 7), 150),
    "duplicates": (duplicated(300, 12, 8), 4),
    "many duplicates": (np.repeat(mixture(20, 6, 9), 30, axis=0), 8),
    "constant": (np.ones((200, 7), np.float32), 8),
    "lattice": (lattice(17), 4),
    "line": (np.cumsum(np.random.default_rng(1).random((300, 1)), 0).astype(np.float32), 1),
    "far from the origin": (mixture(300, 8, 10) + 1000, 5),
}


@pytest.mark.parametrize("budget", [None, 5_000], ids=["usual blocks", "tiny blocks"])
@pytest.mark.parametrize("case", CASES)
def test_the_tree_is_a_minimum_spanning_tree(case: str, budget: int | None) -> None:
    points, neighbours = CASES[case]
    tree = spanning_tree(torch.from_numpy(points), neighbours, budget)
    weights = reach(points, neighbours)
    a, b = tree[:, :2].astype(int).T
    assert len(tree) == len(points) - 1
    joined = np.zeros(weights.shape, bool)
    joined[a, b] = True
    assert connected_components(joined, directed=False)[0] == 1, "it spans"
    scale = float(np.abs(points).max())
    np.testing.assert_allclose(tree[:, 2], weights[a, b], atol=1e-6 * scale, err_msg="the weights are those of its edges")
    np.testing.assert_allclose(np.sort(tree[:, 2]), prim(weights), atol=1e-6 * scale, err_msg="and no tree is lighter")


def test_duplicates_are_at_distance_zero() -> None:
    tree = spanning_tree(torch.from_numpy(np.repeat(mixture(20, 6, 9), 30, axis=0)), 8)
    assert (tree[:, 2] == 0).sum() == 20 * 29


def same_groups(some: npt.NDArray[np.generic], others: npt.NDArray[np.generic]) -> bool:
    """Equal but for the names of the clusters; noise, -1, is noise in both."""
    pairs = set(zip(some.tolist(), others.tolist(), strict=True))
    named = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    return named and all((a == -1) == (b == -1) for a, b in pairs)


@pytest.mark.parametrize(
    ("single", "epsilon", "select"), [(True, 0.0, "eom"), (False, 0.0, "eom"), (False, 0.4, "eom"), (False, 0.0, "leaf")]
)
@pytest.mark.parametrize("seed", range(12))
def test_labels_equal_those_of_the_package(seed: int, single: bool, epsilon: float, select: str) -> None:
    rng = np.random.default_rng(seed)
    count, dim, groups = int(rng.integers(20, 900)), int(rng.integers(2, 130)), int(rng.integers(1, 7))
    neighbours, smallest = int(rng.integers(1, 15)), int(rng.integers(4, 30))
    make = duplicated if seed % 4 == 3 else mixture
    points = make(count, dim, seed) if make is duplicated else mixture(count, dim, seed, groups, float(rng.uniform(0.05, 0.6)))
    settings = ClusterSettings(smallest=smallest / count, neighbours=neighbours, single=single, epsilon=epsilon, select=select)
    assert settings.members(count) == smallest
    ours, persistence = hdbscan_labels(torch.from_numpy(points), settings)
    generic, boruvka = (
        hdbscan.HDBSCAN(
            min_cluster_size=smallest,
            min_samples=neighbours,
            algorithm=algorithm,
            approx_min_span_tree=False,
            allow_single_cluster=single,
            cluster_selection_epsilon=epsilon,
            cluster_selection_method=select,
        ).fit(points.astype(np.float64))
        for algorithm in ("generic", "boruvka_kdtree")
    )
    if not same_groups(generic.labels_, boruvka.labels_):
        pytest.skip("the package does not agree with itself: edges of one weight decide")
    assert same_groups(ours, generic.labels_)
    assert len(persistence) == ours.max() + 1
    if make is mixture:  # where distances tie, trees of one weight differ in who leaves a cluster first
        np.testing.assert_allclose(sorted(persistence), sorted(generic.cluster_persistence_), atol=1e-4)


@pytest.mark.parametrize(("count", "found"), [(1, -1), (8, -1), (9, 0)])
def test_too_few_points_are_noise(count: int, found: int) -> None:
    labels, _ = hdbscan_labels(torch.ones(count, 3), ClusterSettings(neighbours=8, single=True))
    assert set(labels.tolist()) == {found}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_an_error_that_says_so(bad: float) -> None:
    points = torch.ones(100, 3)
    points[7, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        hdbscan_labels(points, ClusterSettings())


def test_the_input_is_left_as_it_was() -> None:
    points = torch.from_numpy(mixture(200, 8, 0))
    before = points.clone()
    hdbscan_labels(points, ClusterSettings())
    assert torch.equal(points, before)


def test_a_point_that_every_list_misses_is_found() -> None:
    """Two dense balls and a bridge point nearer to the second: within the balls all lists are full of neighbours, so the edges
    between them can only come from a search."""
    rng = np.random.default_rng(0)
    balls = [rng.normal(centre, 0.01, (400, 3)) for centre in (0.0, 3.0)]
    points = np.concatenate([*balls, [[1.9, 1.9, 1.9]]]).astype(np.float32)
    tree = spanning_tree(torch.from_numpy(points), 5)
    np.testing.assert_allclose(np.sort(tree[:, 2])[-2:], prim(reach(points, 5))[-2:], atol=1e-6)


@pytest.mark.parametrize("name", ["focal-hrnet", "focal-vit"])
def test_features_of_a_release_are_told_apart_where_they_hold_together(name: str) -> None:
    """The settings on the card of an import: 200 of 4,096 cells are the smallest cluster, and one cluster is a possible answer.
    man/weights.md says what that costs."""
    settings = ClusterSettings(**RELEASES[name].settings["clustering"])
    assert settings.members(64 * 64) == 200
    features, forged = planted(0.8, 20)
    assert ((cluster(features, settings).labels > 0) == forged).all()
    for within, side in ((0.8, 0), (0.8, 14), (0.5, 0), (0.5, 20)):  # 14 x 14 cells are too few
        assert not cluster(planted(within, side)[0], settings).labels.any()
    loose, forged = planted(0.5, 20)
    assert ((cluster(loose, replace(settings, single=False)).labels > 0) == forged).all(), "as the package does by default"
