"""What a run leaves behind: float16 weights and the card that describes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from imgscan import __version__
from imgscan.cluster_names import HEAD
from imgscan.datasets import SYNTH
from imgscan.digests import file_sha256
from imgscan.drawn import DRAWN
from imgscan.errors import OutputError
from imgscan.models import NETWORKS
from imgscan.networks import save_state
from imgscan.releases.table import RELEASES
from imgscan.store import replacing
from imgscan.toml import to_toml
from imgscan.training.checkpoint import Run

_HALF = 65_504.0  # float16's largest number
# How FOCAL with a mask head is shown pictures and decides, as chosen for what ships: train/README.md.
SHOWN = {"whole": 768, "beyond": "both", "control": 30}
DECIDES = {"threshold": 0.3, "peak": 0.005, "together": True, "drawn": DRAWN}


def write_weights(
    run: Run, out: Path, data: str, roots: list[Path], pictures: int, *, validation: int = 0, unreadable: int = 0
) -> Path:
    """Write out/weights.safetensors (float16) and out/weights.toml, its card.

    Which weights: the averaged ones if there are some, with keep = "best" those of the best validation.  A batch norm counter or a
    value beyond float16's range stays as it is.

    `pictures` is how many there were to train on, of which `unreadable` were passed over, `validation` how many validated it.

    The card has no operating points: those are measured (`imgscan calibrate`), never invented.

    Returns:
        The card's path; `--model NETWORK@that/path` uses it.
    """
    model: Any = run.shipped
    state = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    best = out / "best.safetensors"
    # Without a validation of its own, a file of that name is an earlier run's.
    kept = run.recipe.train.keep == "best" and best.exists() and math.isfinite(run.plateau.best)
    steps, score = run.step, run.last
    if kept:  # the file says what it holds: a run that was killed and goes on may not have come to that step again
        state, (steps, score) = load_file(best), _best_of(best)
    section = run.recipe.model
    size = NETWORKS[section.network].SIZES[section.size]
    # As it was trained: on native pixels (forgeries made on the fly, windows of pictures) or on whole pictures resized.
    focal, trained = run.recipe.method == "focal", run.recipe.data
    native = (data == SYNTH or trained.fit == "crop") and model.multiple < 1024
    side = max(512 if focal else 256, trained.side) if native else trained.side
    headed = getattr(model, "head", None) is not None
    if headed:
        decided: Mapping[str, Any] = {"clustering": {"method": HEAD}, "localize": dict(DECIDES)}
    elif not focal:
        decided = {"localize": {"drawn": DRAWN}}
    else:  # weights of one's own are clustered as the authors' are
        decided = RELEASES["focal-vit"].settings if section.size == "official" else {}
    table: dict[str, Any] = {
        "name": section.network,
        "tag": "mine",
        "network": section.network,
        "size": section.size,
        "file": "",
        "sha256": "",
        "licence": "unknown: state the licences of the training pictures here"
        + (f", and that of {section.init}" * bool(section.init)),
        "default": False,
        "bf16": focal and section.size != "official",
        "backbone": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(size).items()},
        "input": {"mode": "native" if native else "resize", "side": side, "multiple": model.multiple}
        | ({"overlap": 64} if native else {})
        | (SHOWN if native and headed else {}),
        "features": {"dim": int(getattr(model, "dim", 0) or model.size.dim), "stride": int(model.stride)},
        **decided,
        "training": {
            "imgscan": __version__,
            "data": data,
            "roots": [str(root) for root in roots],
            "pictures": pictures,
            **({"unreadable": unreadable} if unreadable else {}),
            **({"validation_pictures": validation} if validation else {}),
            "steps": steps,
            "hours": round(run.seconds / 3600, 2),
            "validation_auc": round(score, 4),  # of these weights
            "best_validation_auc": round(max(run.plateau.best, run.last, score), 4),  # on the way
        },
        "recipe": run.recipe.as_dict(),
    }
    return keep(state, table, out)


def _best_of(file: Path) -> tuple[int, float]:
    """After how many steps the best weights were kept, and their score."""
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    return int(header["step"]), float(header["score"])


def keep(state: dict[str, Tensor], table: dict[str, Any], out: Path) -> Path:
    """Write out/weights.safetensors, float16 where that holds a tensor, and out/weights.toml, the table with the file and its hash.

    Returns:
        The card's path.

    Raises:
        OutputError: one of them cannot be written.
    """
    half = {k: v.half() if v.dtype == torch.float32 and float(v.abs().max()) < _HALF else v for k, v in state.items()}
    file, card = out / "weights.safetensors", out / "weights.toml"
    try:
        with replacing(file) as new:
            save_state(half, new)
        with replacing(card) as new:
            new.write_text(to_toml(table | {"file": file.name, "sha256": file_sha256(file)}), "utf-8", errors="replace")
    except SafetensorError as error:
        raise OutputError(f"{file}: cannot be written: {error}") from error
    return card
