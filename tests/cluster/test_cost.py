import numpy as np
import pytest
import torch

from imgscan.cluster import ClusterSettings
from imgscan.cluster import cost as module
from imgscan.cluster.cost import FINEST, affordable_grid, made_up

CPU = torch.device("cpu")


class Clock:
    """Says that clustering N points takes `base` + `slope` N^2 seconds."""

    def __init__(self, base: float, slope: float) -> None:
        self.base, self.slope, self.now = base, slope, 0.0

    def labels(self, points: torch.Tensor, settings: ClusterSettings) -> None:
        self.now += self.base + self.slope * len(points) ** 2

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("base", "slope", "seconds", "grid"),
    [
        (0.0, 1e-8, 1e-8 * 64**4, 64),
        (0.0, 1e-8, 1e-8 * 71**4, 64),
        (0.1, 1e-8, 0.1 + 1.01e-8 * 128**4, 128),
        (0.0, 1e-12, 1.0, FINEST),
        (5.0, 1e-8, 1.0, 16),
        (0.3, 0.0, 1.0, FINEST),
    ],
)
def test_the_grid_follows_the_measured_cost(
    monkeypatch: pytest.MonkeyPatch, base: float, slope: float, seconds: float, grid: int
) -> None:
    clock = Clock(base, slope)
    monkeypatch.setitem(module.CLUSTERINGS, "hdbscan", clock.labels)
    assert affordable_grid(ClusterSettings(), 8, CPU, seconds, clock) == grid


def test_made_up_features_are_unit_vectors_of_two_kinds() -> None:
    points = made_up(2000, 64)
    np.testing.assert_allclose(points.norm(dim=1), 1, atol=1e-5)
    first = points @ points[0]
    assert 0.1 < float((first > 0.45).float().mean()) < 0.9, "some are of its kind and some are not"
    assert torch.equal(points, made_up(2000, 64))
