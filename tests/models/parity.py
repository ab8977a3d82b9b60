"""Comparison with what the released code answered, as the files of shared/reference/parity hold it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def stats_of(tensor: torch.Tensor) -> np.ndarray:
    """Mean, standard deviation, L2 norm, least and largest value, as the files have them."""
    values = tensor.double().numpy()
    return np.array([values.mean(), values.std(), np.sqrt((values**2).sum()), values.min(), values.max()])


def assert_same(fixture: Mapping[str, Any], name: str, tensor: torch.Tensor, within: float) -> None:
    """Shape, numbers and statistics of an answer; `within`: standard deviations that a number may be off by."""
    assert list(tensor.shape) == fixture[f"{name}/shape"].tolist(), name
    stats = fixture[f"{name}/stats"]
    b, c, y, x = fixture[f"{name}/strides"]
    assert np.abs(tensor[::b, ::c, ::y, ::x].numpy() - fixture[f"{name}/values"]).max() < within * stats[1], name
    assert_alike(stats, tensor, within, name)


def assert_same_stage(fixture: Mapping[str, Any], name: str, tensor: torch.Tensor, within: float) -> None:
    """Shape and statistics of what a stage within the network answered."""
    assert list(tensor.shape) == fixture[f"stage_shape/{name}"].tolist(), name
    assert_alike(fixture[f"stage_stats/{name}"], tensor, within, name)


def assert_alike(stats: np.ndarray, tensor: torch.Tensor, within: float, name: str) -> None:
    """The five statistics; the norm grows with the root of the count, and so may its error."""
    off = np.abs(stats_of(tensor) - stats) / stats[1]
    off[2] /= tensor.numel() ** 0.5
    assert off.max() < within, f"{name}: {off}"


def stages(fixture: Mapping[str, Any]) -> list[str]:
    """The names of the stages that the file tells of."""
    return [key.removeprefix("stage_stats/") for key in fixture if key.startswith("stage_stats/")]
