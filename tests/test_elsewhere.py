"""Extract and cluster on a GPU that is not there (tests/claimed.py): what comes back is on the CPU, and the same."""

from itertools import chain

import pytest
import torch
from torch import nn

from imgscan.cluster import ClusterSettings, cluster_many
from imgscan.cluster.cost import made_up
from imgscan.extract import extract_each
from imgscan.models import build_named
from imgscan.records import Features
from tests.claimed import GPU, claiming, moved
from tests.test_extract import tiles

CPU = torch.device("cpu")


def test_features_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several networks that share what they are shown, with and without a mask head."""
    torch.manual_seed(0)
    named = (("focal-hrnet", "tiny"), ("focal-hrnet", "tiny-headed"), ("cfl-net", "tiny"))
    networks: list[nn.Module] = [build_named(*one).eval() for one in named]
    expected = extract_each(networks, tiles(3), CPU, batch=2, amp=False)
    asked = extract_each.__wrapped__  # type: ignore[attr-defined]  # without inference mode, which has no tensors of this kind
    with claiming(monkeypatch), torch.no_grad():
        found = asked([moved(one) for one in networks], tiles(3), GPU, batch=2, amp=False)
    for one, other in zip(chain(*expected), chain(*found), strict=True):
        assert type(other.vectors) is torch.Tensor
        torch.testing.assert_close(one.vectors, other.vectors)
        assert (one.probability is None) == (other.probability is None)


@pytest.mark.parametrize("method", ["hdbscan", "kmeans", "bisecting", "birch", "hierarchical"])
def test_clusters_come_back(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    features = [Features(made_up(144, 8, seed).T.reshape(8, 12, 12), (8.0, 8.0)) for seed in (0, 1)]
    settings = ClusterSettings(method=method, clusters=3)
    expected = cluster_many(features, settings)
    with claiming(monkeypatch):
        found = cluster_many(features, settings, GPU)
    for one, other in zip(expected, found, strict=True):
        assert (one.labels == other.labels).all()
