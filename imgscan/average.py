"""The mean of several weights of one network, as one that costs no more than each of them.

Trainings that began from the same weights mostly end where the loss is low between them too, and their mean is often better
than the best of them: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022 (arXiv 2203.05482), here with equal shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from imgscan.errors import InputError, OutputError
from imgscan.store import replacing
from imgscan.toml import to_toml
from imgscan.weights import Card, file_sha256, load_network

MEASURED = ("operating_points", "results", "recipe")  # of one of them, and not of their mean
_HALF = 65_504.0  # the largest float16


def average(cards: Sequence[Card], out: Path) -> Path:
    """Write the mean of the weights of some cards, float16 where that holds them, with a card.

    Floats are averaged in float32; whole numbers, as the counters of batch norm, are the first's.  The card is the first one's,
    without what was measured of that one: `imgscan calibrate` measures thresholds.

    Args:
        cards: of one network in one size, at least two.
        out: folder, made where it is missing; receives weights.safetensors and weights.toml.

    Returns:
        The card.

    Raises:
        InputError: fewer than two, or networks that differ.
        WeightsError: see load_network.
        OutputError: it cannot be written.
    """
    if len(cards) < 2:
        raise InputError(f"{len(cards)} weights have no mean; wanted at least two of one network")
    first = cards[0]
    for card in cards[1:]:
        if (card.network, card.backbone) != (first.network, first.backbone):
            raise InputError(
                f"{card.full_name} is another network than {first.full_name}; wanted weights of one network in one size"
            )
    states = [load_network(card).state_dict() for card in cards]
    mean = {}
    for name, tensor in states[0].items():
        if tensor.dtype.is_floating_point:
            tensor = torch.stack([state[name] for state in states]).mean(0)
            tensor = tensor.half() if float(tensor.abs().max()) < _HALF else tensor
        mean[name] = tensor.contiguous()
    file, path = out / "weights.safetensors", out / "weights.toml"
    table = {key: value for key, value in first.data.items() if key not in MEASURED} | {
        "tag": "mean",
        "file": file.name,
        "default": False,
        "licence": "; ".join(dict.fromkeys(card.licence for card in cards)),
        "training": {"mean_of": {card.full_name + f" {card.sha256[:12]}": str(card.file) for card in cards}},
    }
    try:
        with replacing(file) as new:
            save_file(mean, new)
        table["sha256"] = file_sha256(file)
        with replacing(path) as new:
            new.write_text(to_toml(table), "utf-8", errors="replace")
    except SafetensorError as error:
        raise OutputError(f"{file}: cannot be written: {error}") from error
    return path
