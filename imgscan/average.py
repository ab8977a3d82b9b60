"""The mean of several weights of one network, as one that costs no more than each of them.

Trainings that began from the same weights mostly end where the loss is low between them too, and their mean is often better
than the best of them: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022 (arXiv 2203.05482), here with equal shares; weights given twice count twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from imgscan.errors import InputError, OutputError
from imgscan.networks import load_network, size_of
from imgscan.training.card import keep
from imgscan.weights import Card

MEASURED = ("operating_points", "results", "recipe")  # of one of them, and not of their mean


def average(cards: Sequence[Card], out: Path) -> Path:
    """Write the mean of the weights of some cards, float16 where that holds them, with a card.

    Floats are averaged in float32, the running statistics of batch norm too, which Izmailov et al. (SWA, UAI 2018) measure anew on
    the training data; whole numbers, as the counters of batch norm, are the first's.  The card is the first one's, without what was
    measured of that one: `imgscan calibrate` measures thresholds.

    Args:
        cards: of one network in one size, at least two.
        out: folder, made where it is missing; receives weights.safetensors and weights.toml.

    Returns:
        The card.

    Raises:
        InputError: fewer than two, or networks that differ.
        WeightsError: see load_network.
        OutputError: it cannot be written, or there are weights already.
    """
    if len(cards) < 2:
        raise InputError(f"{len(cards)} weights have no mean; wanted at least two of one network")
    first = cards[0]
    for card in cards[1:]:
        if (card.network, size_of(card)) != (first.network, size_of(first)):
            raise InputError(
                f"{card.full_name} is another network than {first.full_name}; wanted weights of one network in one size"
            )
    for file in (out / "weights.safetensors", out / "weights.toml"):
        if os.path.lexists(file):
            raise OutputError(f"{file} is there already; choose another --out, or remove it")
    states = [load_network(card).state_dict() for card in cards]
    mean = {}
    for name, tensor in states[0].items():
        floats = tensor.dtype.is_floating_point
        mean[name] = torch.stack([state[name] for state in states]).mean(0) if floats else tensor.contiguous()
    learned = [card.data.get("training", {}) for card in cards]
    data = "+".join(dict.fromkeys(one["data"] for one in learned if isinstance(one.get("data"), str)))  # evaluate warns of it
    parts = [f"{card.full_name} {card.sha256[:12]}" for card in cards]
    files = {name: str(card.file) for name, card in zip(parts, cards, strict=True)}
    table = {key: value for key, value in first.data.items() if key not in MEASURED} | {
        "tag": "mean",
        "default": False,
        "licence": "; ".join(dict.fromkeys(card.licence for card in cards)),
        "training": ({"data": data} if data else {})
        | {"mean_of": {name: (f"{parts.count(name)} x " if parts.count(name) > 1 else "") + file for name, file in files.items()}},
    }
    allowed = [card.commercial for card in cards]
    table["commercial"] = None if None in allowed and False not in allowed else all(allowed)
    if any(card.commercial is False and "accepted" not in card.data for card in cards):
        table["accepted"] = None
    return keep(mean, {key: value for key, value in table.items() if value is not None}, out)
