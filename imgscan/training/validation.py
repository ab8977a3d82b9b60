"""Validation during training: how well scores separate forged from pristine pixels, and pictures of that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from imgscan.datasets.entries import Entry, read_entry
from imgscan.datasets.synth import Sample, SynthDataset, cell_labels
from imgscan.errors import InputError
from imgscan.models.segmentation import Segmentation
from imgscan.store import replacing
from imgscan.training.log import Log
from imgscan.training.objective import autocast
from imgscan.training.recipe import DataSection, Recipe
from imgscan.training.sequence import Samples, fit, to_sample
from imgscan.training.world import World

NO_FORGERIES = "the validation split has no forged pictures; wanted at least one with a mask"
VALIDATION_SEED = 20_231_109  # the validation forgeries are the same in every run
BATCH = 8
_MOST = 65_536  # pixels of a picture that its AUC is computed on


class ValidationEntries(Dataset[Sample]):
    """Forged pictures of the validation split, as many as wanted, evenly spread, never augmented."""

    def __init__(self, entries: Sequence[Entry], data: DataSection) -> None:
        forged = [entry for entry in entries if entry.mask is not None]
        if not forged:
            raise InputError(NO_FORGERIES)
        self.entries = forged[:: -(-len(forged) // data.validation)]
        self.data = data

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        rgb, forged = read_entry(self.entries[index])
        return to_sample(*fit(rgb, forged.astype(np.uint8), self.data, None))


def validation_samples(recipe: Recipe, photos: Sequence[Path], entries: Sequence[Entry]) -> Samples:
    """The fixed samples of a run: of a data set's validation split, or forgeries made from photographs kept aside."""
    if entries:
        return ValidationEntries(entries, recipe.data)
    if not photos:
        raise InputError(NO_FORGERIES)
    data = recipe.data
    return SynthDataset(list(photos), side=data.side, seed=VALIDATION_SEED, length=data.validation, families=data.families)


@torch.no_grad()
def scores(network: nn.Module, rgb: Tensor, device: torch.device, precision: str) -> Tensor:
    """B x h x w: how forged each cell or pixel looks, higher is more.

    A mask head answers with its probability.  Features answer with the distance from the picture's mean feature, 1 - cosine: most
    of a picture is pristine, so the mean stands for it.  No clustering, so the number says how separable the features are.
    """
    with autocast(device, precision):
        answer: Any = network((rgb.to(device).float() / 255).contiguous(memory_format=torch.channels_last))
    if isinstance(answer, Segmentation):
        return answer.logits.float().softmax(1)[:, 1].cpu()
    mean = F.normalize(answer.mean((2, 3), keepdim=True), dim=1)
    distance: Tensor = (1 - (answer * mean).sum(1)).float().cpu()
    return distance


def validate(network: nn.Module, recipe: Recipe, samples: Samples, world: World, log: Log) -> float:
    """Mean pixel AUC over the pictures that have both classes; every process takes its share.

    Features are scored cell by cell, where cells on a contour may not count; probabilities pixel by pixel.  A network that answers
    with what is not a number scores 0.

    Raises:
        InputError: there is no such picture.
    """
    world.share_buffers(network)
    was_training = network.training
    network.eval()
    total = count = 0.0
    remarks: list[str] = []
    mine = range(world.rank, len(samples), world.size)
    for first in range(0, len(mine), BATCH):
        read = []
        for index in mine[first : first + BATCH]:
            try:
                read.append(samples[index])
            except InputError as error:
                remarks.append(str(error))
        if not read:
            continue
        rgb, labels = _stack(read)
        answer = scores(network, rgb, world.device, recipe.train.precision)
        ignore = recipe.loss.contour == "ignore"
        truths = labels if answer.shape == labels.shape else cell_labels(labels, labels.shape[-1] // answer.shape[-1], ignore)
        for score, truth in zip(answer, truths, strict=True):
            value = auc(truth, score)
            if value is not None:
                total, count = total + value, count + 1
    network.train(was_training)
    total, count = world.total(total, count)
    log.remark(remarks)
    if not count:
        raise InputError("no validation picture shows both forged and pristine pixels; imgscan data check says what is wrong")
    return total / count


def auc(labels: Tensor, score: Tensor) -> float | None:
    """Pixel AUC of one picture; labels > 0 forged, 0 pristine, < 0 ignored; None: one class only.  0: a score is not a number."""
    from sklearn.metrics import roc_auc_score

    truth, value = labels.flatten().to(torch.int64), score.flatten()
    step = -(-len(truth) // _MOST)
    truth, value = truth[::step], value[::step]
    clear = truth >= 0
    if not (truth[clear] > 0).any() or not (truth[clear] == 0).any():
        return None
    if not bool(value.isfinite().all()):
        return 0.0
    return float(roc_auc_score((truth[clear] > 0).numpy(), value[clear].numpy()))


def preview(network: nn.Module, recipe: Recipe, samples: Samples, device: torch.device, path: Path) -> None:
    """Draw the first few validation pictures to a PNG: picture, truth, score (each picture's scores stretched to 0..255)."""
    count = min(recipe.train.previews, len(samples))
    if not count:
        return
    was_training = network.training
    network.eval()
    rows = []
    for number in range(count):
        try:
            rgb, labels = _stack([samples[number]])
        except InputError:
            continue  # in the ledger since the validation
        score = scores(network, torch.cat((rgb, rgb)), device, recipe.train.precision)[:1]  # a batch: as in training
        low, high = score.min(), score.max()
        grey = F.interpolate(((score - low) / (high - low).clamp(min=1e-9))[None], size=rgb.shape[-2:])[0, 0]
        truth = (labels[0] > 0).to(torch.uint8) * 255
        rows.append(torch.cat((rgb[0], truth.expand(3, -1, -1), (grey * 255).to(torch.uint8).expand(3, -1, -1)), 2))
    network.train(was_training)
    if not rows:
        return
    sheet = torch.cat(rows, 1).permute(1, 2, 0).contiguous().numpy()
    with replacing(path) as new:
        Image.fromarray(sheet).save(new, "PNG")


def _stack(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    return torch.stack([rgb for rgb, _, _ in samples]), torch.stack([labels for _, labels, _ in samples])
