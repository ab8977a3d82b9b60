"""The training loop of every recipe: straight-line, on one process or torchrun's, resumable to the bit.

Everything random is a pure function of (seed, step, rank): the samples, the pixels a loss draws, dropout.  So a run that was
killed and resumed ends with the weights of one that was left alone, on a CPU with as many threads (CUDA's own kernels are not
deterministic).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from imgscan.datasets.entries import Entry
from imgscan.datasets.synth import SynthDataset
from imgscan.errors import ImgscanError, OutputError
from imgscan.models import build_named
from imgscan.training import checkpoint
from imgscan.training.checkpoint import Run
from imgscan.training.log import Log
from imgscan.training.objective import Trainee, counts
from imgscan.training.recipe import Recipe, TrainSection
from imgscan.training.schedule import rate_at
from imgscan.training.sequence import EntryDataset, Samples, batches
from imgscan.training.validation import preview, validate
from imgscan.training.world import World


@dataclass(frozen=True)
class Progress:
    """What the loop tells the rim after each logged step."""

    step: int
    steps: int
    loss: float | None  # mean since the last report; None: before the first step
    rate: float
    seconds: float  # of the run so far, resumed parts included
    pace: float  # pictures per second since the last report, of all processes
    score: float | None  # validation pixel AUC, where this step validated


Report = Callable[[Progress], None]


def start(recipe: Recipe, device: torch.device) -> Run:
    """A run at step 0."""
    torch.manual_seed(recipe.train.seed)
    model = build_named(recipe.model.network, recipe.model.size)
    if recipe.model.init:
        from imgscan.weights import load_state

        model.load_state_dict(load_state(Path(recipe.model.init)))
    model = model.to(device).to(memory_format=torch.channels_last)
    settings = recipe.train
    if settings.sync_bn and device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    average = copy.deepcopy(model).eval() if settings.ema else None
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    return Run(recipe, model, average, build_optimizer(model, settings), scaler)


def build_optimizer(model: nn.Module, train: TrainSection) -> torch.optim.Optimizer:
    """Adam or SGD over every parameter."""
    weights = [one for one in model.parameters() if one.requires_grad]
    if train.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=train.rate, momentum=train.momentum, weight_decay=train.decay)
    return torch.optim.Adam(weights, lr=train.rate, weight_decay=train.decay)


def in_steps(recipe: Recipe, pictures: int, processes: int) -> Recipe:
    """The recipe with `epochs` counted out as steps.

    Args:
        recipe: epochs 0 leaves the steps as they are.
        pictures: in an epoch.
        processes: that share a step.
    """
    if not recipe.train.epochs:
        return recipe
    return replace(recipe, train=replace(recipe.train, steps=recipe.train.epochs * steps_per_epoch(recipe, pictures, processes)))


def steps_per_epoch(recipe: Recipe, pictures: int, processes: int) -> int:
    """Optimizer steps that see every picture once, at least one."""
    return max(1, pictures // (recipe.train.batch * recipe.train.accumulate * processes))


def training_samples(recipe: Recipe, photos: Sequence[Path], entries: Sequence[Entry], processes: int) -> Samples:
    """All samples of a run: forgeries made from photographs, or the pictures of data sets."""
    train, data = recipe.train, recipe.data
    length = train.steps * train.accumulate * train.batch * processes
    if entries:
        return EntryDataset(entries, data, seed=train.seed, length=length)
    return SynthDataset(list(photos), side=data.side, seed=train.seed, length=length, untouched_share=data.untouched)


def train(
    run: Run,
    samples: Samples,
    validation: Samples,
    out: Path,
    world: World,
    *,
    epoch: int,
    minutes: float | None,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train until the recipe's steps, the minutes or the patience are used up.

    Args:
        run: from `start`, perhaps filled by checkpoint.load.
        samples: from training_samples.
        validation: from validation_samples.
        out: folder, made if missing; receives checkpoint.safetensors, best.safetensors, log.csv, events/, previews/.
        world: this process among the others.
        epoch: steps in an epoch.
        minutes: of this call; None: no limit.
        report: called every `log_every` steps, in the first process.
        stop: asked after every step; True ends the run with a checkpoint.

    Raises:
        ImgscanError: the loss is not a number (the batch is saved, the checkpoint before it stays), too many unreadable
            pictures, or a file that cannot be written.
    """
    recipe, settings = run.recipe, run.recipe.train
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out {out}: cannot be made: {error.strerror or error}") from error
    file = out / "checkpoint.safetensors"
    if settings.compile:
        run.model.compile()
    trainee: Any = Trainee(run.model, recipe)
    if world.size > 1:
        # FOCAL's HRNet carries branches that nothing reads, and NCL's pivot rests where a batch has no contour.
        seldom_used = recipe.method == "ncl" or recipe.model.size == "official"
        trainee = DistributedDataParallel(trainee, find_unused_parameters=seldom_used)
    trainee.train()
    data = batches(
        samples,
        settings,
        workers=recipe.data.workers,
        rank=world.rank,
        size=world.size,
        first=run.step,
        pin=world.device.type == "cuda",
    )
    began = last_save = last_report = time.monotonic()
    before, logged = run.seconds, run.step
    losses: list[float] = []
    with Log(out, recipe.data.unreadable) if world.first else nullcontext() as log:
        if run.step == 0:  # where it starts from: a run that never leaves this learns nothing
            run.last = validate(run.shipped, recipe, validation, world)
            if log is not None:
                log.line(step=0, epoch=0, loss=None, rate=0.0, seconds=0.0, pace=0.0, score=run.last)
                report(Progress(0, settings.steps, None, 0.0, 0.0, 0.0, run.last))
        while run.step < settings.steps:
            rate = rate_at(settings, run.step, run.step // epoch) * run.plateau.factor
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            counted = loss = 0.0
            for turn in range(settings.accumulate):
                rgb, labels, remarks = next(data)
                if log is not None:
                    log.remark(remarks)
                counted += counts(recipe, labels)
                seed = ((settings.seed + run.step) * settings.accumulate + turn) * world.size + world.rank
                torch.manual_seed(seed)  # dropout
                last = turn == settings.accumulate - 1
                with nullcontext() if last or world.size == 1 else trainee.no_sync():
                    part: Tensor = trainee(
                        rgb.to(world.device, non_blocking=True), labels.to(world.device, non_blocking=True), seed
                    )
                    torch.autograd.backward(run.scaler.scale(part / settings.accumulate))
                loss += float(part.detach()) / settings.accumulate
                if not math.isfinite(loss):
                    _keep_batch(rgb, labels, run.step, out, world)
            # One word among the processes a step: who has a loss, whose time is up, who was told to stop.
            now = time.monotonic()
            over = stop() or (minutes is not None and now - began > minutes * 60)
            counted, loss, asked, failed = world.total(counted, loss, float(over), float(not math.isfinite(loss)))
            if failed:
                raise ImgscanError(
                    f"the loss is not a number at step {run.step}; the batch is {out / 'bad-batch.safetensors'}, the last good "
                    f"checkpoint {file}"
                )
            if counted:  # a step without any forged pixel would still move the weights by their momentum
                _step(run, settings)
            run.optimizer.zero_grad()
            run.step += 1
            losses.append(loss / world.size)

            run.seconds = before + now - began
            ends = run.step >= settings.steps or asked > 0
            score = None
            if run.step % settings.validate_every == 0 or ends:
                score = run.last = validate(run.shipped, recipe, validation, world)
                if run.plateau.note(score, settings) and world.first:
                    header = {"step": str(run.step), "score": repr(score)}
                    checkpoint.write_tensors(dict(run.shipped.state_dict()), out / "best.safetensors", header, "the best weights")
                if world.first:
                    preview(run.shipped, recipe, validation, world.device, out / "previews" / f"{run.step:07d}.png")
                ends = ends or run.plateau.ended(settings)
            if log is not None and (run.step % settings.log_every == 0 or score is not None):
                pictures = (run.step - logged) * settings.batch * settings.accumulate * world.size
                pace = pictures / max(1e-9, now - last_report)
                mean = sum(losses) / len(losses)
                report(Progress(run.step, settings.steps, mean, rate, run.seconds, pace, score))
                log.line(step=run.step, epoch=run.step // epoch, loss=mean, rate=rate, seconds=run.seconds, pace=pace, score=score)
                logged, last_report = run.step, time.monotonic()
                losses.clear()
            if world.first and (ends or now - last_save > settings.save_minutes * 60):
                checkpoint.save(run, file)
                last_save = time.monotonic()
            if ends:
                return


def _step(run: Run, settings: TrainSection) -> None:
    """One step of the optimizer and of the average."""
    if settings.clip:
        run.scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.average is not None:
        follow(run.average, run.model, min(settings.ema, (run.step + 1) / (run.step + 10)))


def _keep_batch(rgb: Tensor, labels: Tensor, step: int, out: Path, world: World) -> None:
    """Save the batch whose loss is not a number, for whoever wants to know why."""
    name = "bad-batch.safetensors" if world.size == 1 else f"bad-batch.{world.rank}.safetensors"
    header = {"step": str(step)}
    checkpoint.write_tensors({"rgb": rgb, "labels": labels}, out / name, header, f"the batch of step {step}")


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """One step of the exponential moving average: floats move, counters are copied."""
    for slow, fast in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if slow.dtype.is_floating_point:
            slow.lerp_(fast, 1 - decay)
        else:
            slow.copy_(fast)
