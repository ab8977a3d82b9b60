"""The training loop of FOCAL: straight-line, one process, resumable to the bit.

Everything random is a pure function of (seed, step): the forgeries, the pixels the loss draws.  So a run that was killed and
resumed ends with the weights of one that was left alone, on a CPU with as many threads (CUDA's own kernels are not deterministic).
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from imgscan.datasets.synth import SynthDataset
from imgscan.errors import ImgscanError, OutputError
from imgscan.losses.focal import focal_loss
from imgscan.models import build_named
from imgscan.training import checkpoint
from imgscan.training.checkpoint import Run
from imgscan.training.recipe import Recipe, TrainSection

VALIDATION_SEED = 20_231_109  # the validation forgeries are the same in every run
Report = Callable[["Progress"], None]


class Progress:
    """What the loop tells the rim after each logged step."""

    def __init__(self, step: int, steps: int, loss: float, rate: float, seconds: float, pace: float, score: float | None) -> None:
        self.step, self.steps, self.loss, self.rate = step, steps, loss, rate
        self.seconds = seconds  # of the run so far, resumed parts included
        self.pace = pace  # pictures per second since the last report
        self.score = score  # validation pixel AUC, where this step validated


def start(recipe: Recipe, device: torch.device) -> Run:
    """A run at step 0."""
    torch.manual_seed(recipe.train.seed)
    model = build_named(recipe.model.network, recipe.model.size)
    if recipe.model.init:
        from imgscan.weights import load_state

        model.load_state_dict(load_state(Path(recipe.model.init)))
    model = model.to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval() if recipe.train.ema else None
    return Run(recipe, model, average, torch.optim.Adam(model.parameters(), lr=recipe.train.rate))


def rate_at(train: TrainSection, step: int) -> float:
    """Learning rate of step `step` (0-based): linear warm-up, then constant or a half cosine to zero."""
    rise = min(1.0, (step + 1) / train.warmup) if train.warmup else 1.0
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / train.steps))) if train.schedule == "cosine" else 1.0
    return train.rate * rise * fall


def batches(recipe: Recipe, stride: int, roots: list[Path], first: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from step `first` on: rgb B x 3 x side x side uint8, labels B x h x w int64."""
    train, data = recipe.train, recipe.data
    length = train.steps * train.batch
    dataset = SynthDataset(roots, side=data.side, stride=stride, seed=train.seed, length=length, untouched_share=data.untouched)
    rest = Subset(dataset, range(first * train.batch, length))
    return iter(DataLoader(rest, train.batch, num_workers=data.workers, prefetch_factor=4 if data.workers else None))


@torch.no_grad()
def validate(model: nn.Module, recipe: Recipe, roots: list[Path], device: torch.device) -> float:
    """Mean pixel AUC on a fixed set of forgeries made from the validation photographs.

    The score of a cell is its distance from the picture's mean feature, 1 - cosine: most of a picture is pristine, so the mean
    stands for it.  No clustering, so the number says how separable the features are and nothing else.
    """
    from sklearn.metrics import roc_auc_score

    stride = int(model.stride)  # type: ignore[arg-type]
    made = SynthDataset(roots, side=recipe.data.side, stride=stride, seed=VALIDATION_SEED, length=recipe.data.validation)
    was_training = model.training
    model.eval()
    aucs = []
    for rgb, labels in DataLoader(made, 8):
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.train.amp):
            features = model((rgb.to(device).float() / 255).contiguous(memory_format=torch.channels_last))
        mean = nn.functional.normalize(features.mean((2, 3), keepdim=True), dim=1)
        distance = (1 - (features * mean).sum(1)).cpu()
        for score, label in zip(distance, labels, strict=True):
            clear = label >= 0
            if (label[clear] > 0).any() and (label[clear] == 0).any():
                aucs.append(roc_auc_score((label[clear] > 0).numpy(), score[clear].numpy()))
    model.train(was_training)
    return float(sum(aucs) / max(1, len(aucs)))


def train(
    run: Run,
    roots: list[Path],
    validation: list[Path],
    out: Path,
    device: torch.device,
    *,
    minutes: float | None,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train until the recipe's steps or the minutes are used up; checkpoints go to out/checkpoint.safetensors.

    Args:
        run: from `start`, perhaps filled by checkpoint.load.
        roots: folders of pristine photographs to train on.
        validation: folders of pristine photographs to validate on; empty: no validation.
        out: folder, made if missing; also receives log.csv.
        device: where the network is.
        minutes: of this call; None: no limit.
        report: called every `log_every` steps.
        stop: asked after every step; True ends the run with a checkpoint.

    Raises:
        ImgscanError: the loss is not a number (the checkpoint before it stays).
    """
    recipe, settings = run.recipe, run.recipe.train
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be made: {error.strerror or error}") from error
    file = out / "checkpoint.safetensors"
    log = out / "log.csv"
    run.model.train()
    began = last_save = last_report = time.monotonic()
    before = run.seconds
    losses: list[Tensor] = []
    logged = run.step
    for rgb, labels in batches(recipe, int(run.model.stride), roots, run.step):  # type: ignore[arg-type]
        rate = rate_at(settings, run.step)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed(settings.seed + run.step)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.amp):
            pictures = (rgb.to(device, non_blocking=True).float() / 255).contiguous(memory_format=torch.channels_last)
            features = run.model(pictures)
        loss = focal_loss(
            features,
            labels.to(device),
            temperature=recipe.loss.temperature,
            max_keys=recipe.loss.max_keys,
            both_ways=recipe.loss.both_ways,
            floor=recipe.loss.floor if recipe.loss.floor > -1 else None,
            generator=generator,
        )
        torch.autograd.backward(loss)
        if settings.clip:
            nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip)
        run.optimizer.step()
        run.optimizer.zero_grad()
        if run.average is not None:
            follow(run.average, run.model, min(settings.ema, (run.step + 1) / (run.step + 10)))
        run.step += 1
        losses.append(loss.detach())

        now = time.monotonic()
        run.seconds = before + now - began
        ends = run.step >= settings.steps or stop() or (minutes is not None and now - began > minutes * 60)
        if run.step % settings.log_every == 0 or ends:
            mean = float(torch.stack(losses).mean())
            losses.clear()
            _check_finite(mean, run.step, file)
            score = None
            if validation and (run.step % settings.validate_every == 0 or ends):
                score = validate(run.average or run.model, recipe, validation, device)
                run.best, run.last = max(run.best, score), score
            pace = (run.step - logged) * settings.batch / max(1e-9, now - last_report)
            logged, last_report = run.step, time.monotonic()
            report(Progress(run.step, settings.steps, mean, rate, run.seconds, pace, score))
            with log.open("a", newline="") as lines:
                row = [run.step, f"{mean:.5f}", f"{rate:.3e}", f"{run.seconds:.0f}", "" if score is None else f"{score:.4f}"]
                csv.writer(lines).writerow(row)
        if ends or now - last_save > settings.save_minutes * 60:
            if losses:  # since the last report; weights after a loss that is no number must not replace good ones
                _check_finite(float(torch.stack(losses).mean()), run.step, file)
            checkpoint.save(run, file)
            last_save = time.monotonic()
        if ends:
            return


def _check_finite(loss: float, step: int, file: Path) -> None:
    if not math.isfinite(loss):
        raise ImgscanError(f"the loss is {loss} near step {step}; the last good checkpoint is {file}")


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """One step of the exponential moving average: floats move, counters are copied."""
    for slow, fast in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if slow.dtype.is_floating_point:
            slow.lerp_(fast, 1 - decay)
        else:
            slow.copy_(fast)
