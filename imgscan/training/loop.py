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
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from imgscan.datasets.entries import Entry
from imgscan.datasets.synth import SynthDataset
from imgscan.devices import bf16_is_fast
from imgscan.errors import ConfigError, ImgscanError, OutputError
from imgscan.models import TRUNK_PARTS, build_named
from imgscan.training import checkpoint
from imgscan.training.checkpoint import Run
from imgscan.training.initial import initialise
from imgscan.training.log import Log
from imgscan.training.objective import Trainee, check, counts, part
from imgscan.training.recipe import Recipe, TrainSection
from imgscan.training.schedule import rate_at
from imgscan.training.sequence import Batch, EntryDataset, Samples, batches
from imgscan.training.validation import preview, validate
from imgscan.training.world import World

SILENCE = 60.0  # seconds after which progress is reported between two lines of the log, as in recipes of a paper's size on a CPU
LEAST_SCALE = 2.0**-24  # of the loss in fp16, whose smallest number that is: below it nothing is left of a gradient of 1


@dataclass(frozen=True)
class Progress:
    """What the loop tells the rim after each logged step."""

    step: int
    steps: int
    loss: float | None  # mean since the last report; None: no step had one
    rate: float
    pace: float  # pictures per second since the last report, of all processes
    score: float | None  # validation pixel AUC, where this step validated
    waited: float = 0.0  # share of the time since the last report in which the device had no pictures, 0..1


Report = Callable[[Progress], None]


def start(recipe: Recipe, device: torch.device, *, resumes: bool = False) -> Run:
    """A run at step 0; one that `resumes` will be filled by checkpoint.load and does not read `init` again.

    Raises:
        ConfigError: settings that do not fit each other.
    """
    recipe = with_precision(recipe, device)
    torch.manual_seed(recipe.train.seed)
    model = build_named(recipe.model.network, recipe.model.size)
    check(recipe, model, device)
    if recipe.model.init and not resumes:
        initialise(model, recipe.model)
    if recipe.model.frozen:
        part(model, recipe.model.frozen).requires_grad_(False)
    model = model.to(device).to(memory_format=torch.channels_last)
    settings = recipe.train
    if settings.sync_bn and device.type == "cuda":
        # Of timm: what torch has would lose the activation within the norms of EfficientNet.
        model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    average = copy.deepcopy(model).eval() if settings.ema else None
    scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
    return Run(recipe, model, average, build_optimizer(model, settings), scaler)


def with_precision(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with the arithmetic that `auto` means on this device, so that checkpoint and card say what it was."""
    if recipe.train.precision != "auto":
        return recipe
    return replace(recipe, train=replace(recipe.train, precision="bf16" if bf16_is_fast(device) else "float32"))


def build_optimizer(model: nn.Module, train: TrainSection) -> torch.optim.Optimizer:
    """Adam or SGD over every parameter that is not frozen; ConfigError: all are.

    A group's `mult` is what the rate of the schedule is multiplied by: `head_lr_mult` behind the trunk.
    """
    left = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    if not left:
        raise ConfigError("model.frozen: nothing of the network is left to train")
    alike: dict[float, list[nn.Parameter]] = {}
    for name, one in left:
        behind = name.split(".")[0] not in (*TRUNK_PARTS, "view")  # a noise view is before the trunk
        alike.setdefault(train.head_lr_mult if behind else 1.0, []).append(one)
    weights = [{"params": some, "lr": train.rate * mult, "mult": mult} for mult, some in alike.items()]
    if train.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=train.rate, momentum=train.momentum, weight_decay=train.decay)
    fused = left[0][1].is_cuda  # one kernel a step in place of a dozen
    return torch.optim.Adam(weights, lr=train.rate, weight_decay=train.decay, fused=fused)


def in_steps(recipe: Recipe, pictures: int, processes: int) -> Recipe:
    """The recipe with `epochs` and `validations` counted out as steps.

    Args:
        recipe: where they are 0, `steps` and `validate_every` hold.
        pictures: in an epoch.
        processes: that share a step.
    """
    train, epoch = recipe.train, steps_per_epoch(recipe, pictures, processes)
    if train.epochs:
        train = replace(train, steps=train.epochs * epoch)
    if train.validations:
        train = replace(train, validate_every=max(1, epoch // train.validations))
    return replace(recipe, train=train)


def steps_per_epoch(recipe: Recipe, pictures: int, processes: int) -> int:
    """Optimizer steps that see every picture once, at least one."""
    return max(1, pictures // (recipe.train.batch * recipe.train.accumulate * processes))


def training_samples(
    recipe: Recipe, photos: Sequence[Path], entries: Sequence[Entry], processes: int, hard: Sequence[Path] = ()
) -> Samples:
    """All samples of a run: forgeries made from photographs, of which `hard` are left untouched more often, or data sets."""
    train, data = recipe.train, recipe.data
    together = train.batch * processes  # in one forward pass
    length = train.steps * train.accumulate * together
    if entries:
        return EntryDataset(entries, data, seed=train.seed, length=length, alike=together)
    return SynthDataset(
        list(photos),
        side=data.side,
        seed=train.seed,
        length=length,
        untouched_share=data.untouched,
        families=data.families,
        hard=hard,
        sides=data.turns,
        alike=together,
    )


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
        report: called every `log_every` steps and after each validation, in every process, and after SILENCE.
        stop: asked in every step; True ends the run after it, with a checkpoint.

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
        trainee = DistributedDataParallel(trainee, find_unused_parameters=_has_idle_parameters(recipe))
    trainee.train()
    given = batches(
        samples,
        settings,
        workers=recipe.data.workers,
        rank=world.rank,
        size=world.size,
        first=run.step,
        pin=world.device.type == "cuda",
    )
    began = last_save = last_log = last_report = time.monotonic()
    before, logged = run.seconds, run.step
    losses: list[float] = []
    waited = 0.0
    # Closed also where an error's traceback would keep it: loader processes that nobody ends would hold up the end of this one.
    with Log(out, recipe.data.unreadable, world, run.step) as log, closing(given) as data:
        log.remark([f"{path}: cannot be opened" for path in getattr(samples, "unreadable", [])])
        if run.step == 0:  # where it starts from: a run that never leaves this learns nothing
            run.last = validate(run.shipped, recipe, validation, world, log)
            log.line(step=0, epoch=0, loss=None, rate=0.0, seconds=0.0, pace=0.0, score=run.last)
            report(Progress(0, settings.steps, None, 0.0, 0.0, run.last))
            last_log = last_report = time.monotonic()  # no part of the pace
        while run.step < settings.steps and not run.plateau.ended(settings):  # a run that patience ended stays ended
            rate = rate_at(settings, run.step, run.step // epoch) * run.plateau.factor
            for group in run.optimizer.param_groups:
                group["lr"] = rate * group["mult"]
            asked_for = time.monotonic()
            turns = [next(data) for _ in range(settings.accumulate)]
            waited += time.monotonic() - asked_for
            # A word among the processes before a step: what could not be read, whose time is up, who has a loss at all.
            now = time.monotonic()
            over = stop() or (minutes is not None and now - began > minutes * 60)
            mine = [counts(recipe, labels, int(getattr(run.model, "stride", 1))) for _, labels, _ in turns]
            counted, asked, remarks = world.total(sum(mine), float(over), sum(any(r) for _, _, r in turns))
            if remarks:
                log.remark([one for _, _, r in turns for one in r])
            if counted:  # a step without a loss would still move the weights by their momentum
                losses.append(_learn(run, trainee, turns, mine, counted, file, world) / world.size)
            run.optimizer.zero_grad()
            run.step += 1

            now = time.monotonic()
            run.seconds = before + now - began
            ends = run.step >= settings.steps
            score = None
            if run.step % settings.validate_every == 0 or ends:
                score = run.last = validate(run.shipped, recipe, validation, world, log)
                if run.plateau.note(score, settings) and world.first:
                    header = {"step": str(run.step), "score": repr(score)}
                    checkpoint.write_tensors(dict(run.shipped.state_dict()), out / "best.safetensors", header, "the best weights")
                ends = ends or run.plateau.ended(settings)
            elif asked:
                # First of all the checkpoint: whoever sent SIGTERM may not wait.  This score is for the log only; a run left alone
                # would not have it, so neither the rate nor the best weights may depend on it.
                if world.first:
                    checkpoint.save(run, file)
                score = validate(run.shipped, recipe, validation, world, log)
                run.last = score
            if score is not None and world.first:
                preview(run.shipped, recipe, validation, world.device, out / "previews" / f"{run.step:07d}.png")
            logs = run.step % settings.log_every == 0 or score is not None
            if logs or now - last_report > SILENCE:
                pictures = (run.step - logged) * settings.batch * settings.accumulate * world.size
                pace = pictures / max(1e-9, now - last_log)
                mean = sum(losses) / len(losses) if losses else None
                share = waited / max(1e-9, now - last_log)
                report(Progress(run.step, settings.steps, mean, rate, pace, score, share))
                last_report = time.monotonic()
            if logs:
                log.line(step=run.step, epoch=run.step // epoch, loss=mean, rate=rate, seconds=run.seconds, pace=pace, score=score)
                logged, last_log, waited = run.step, last_report, 0.0
                losses.clear()
            if world.first and (ends or asked or now - last_save > settings.save_minutes * 60):
                checkpoint.save(run, file)
                last_save = time.monotonic()
            if ends or asked:
                return


def _learn(run: Run, trainee: Any, turns: Sequence[Batch], mine: Sequence[int], counted: float, file: Path, world: World) -> float:
    """The gradients of all turns and a step by them; the loss, summed over the processes.

    Args:
        mine: what of each turn has a loss, in this process.
        counted: that of all turns and processes together.
        file: the checkpoint, beside which a batch is kept.

    Raises:
        ImgscanError: the loss or its gradient is not a number in one of the processes; the batch is kept.
    """
    recipe, settings = run.recipe, run.recipe.train
    loss, bad = 0.0, None
    for turn, (rgb, labels, _) in enumerate(turns):
        seed = ((settings.seed + run.step) * settings.accumulate + turn) * world.size + world.rank
        torch.manual_seed(seed)  # dropout
        with nullcontext() if turn == len(turns) - 1 or world.size == 1 else trainee.no_sync():
            its: Tensor = trainee(rgb.to(world.device, non_blocking=True), labels.to(world.device, non_blocking=True), seed)
            # DDP averages over the processes; FOCAL's mean is over the pictures that have both classes (Eq. 3).
            share = mine[turn] * world.size / counted if recipe.method == "focal" else 1 / settings.accumulate
            torch.autograd.backward(run.scaler.scale(its * share))
        loss += float(its.detach()) * share
        if bad is None and not math.isfinite(loss):
            bad = turn
    sound = bad is None and _sound(run, settings)
    loss, failed = world.total(loss, float(not sound))
    if failed:
        where = file.parent if sound else _keep_batch(turns[bad or 0], run.step, file.parent, world)
        last = f"the last good checkpoint is {file}" if file.exists() else "there is no checkpoint yet"
        raise ImgscanError(
            f"the loss or its gradient is not a number at step {run.step}; the batch is kept in {where}, {last}; "
            "a lower train.rate or train.clip often helps"
        )
    _step(run, settings)
    return loss


def _has_idle_parameters(recipe: Recipe) -> bool:
    """Whether some parameters may get no gradient in a step.

    FOCAL's official HRNet carries branches that nothing reads, NCL's pivot rests where a batch has no contour, CFL-Net's projection
    where there is no contrast.
    """
    without_contrast = recipe.method == "cfl-net" and not recipe.loss.weight
    return recipe.method == "ncl" or recipe.model.size == "official" or without_contrast


def _sound(run: Run, settings: TrainSection) -> bool:
    """Clip the gradients; False when they are not finite, which a finite loss does not rule out.

    In fp16 they may be too large for it: the scaler passes over such a step and halves its scale.  Where that is below LEAST_SCALE
    and they still are not finite, no scale will make them so, and the run would pass over every step to its end.
    """
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip or math.inf)
    return bool(norm.isfinite()) or (run.scaler.is_enabled() and run.scaler.get_scale() >= LEAST_SCALE)


def _step(run: Run, settings: TrainSection) -> None:
    """One step of the optimizer and of the average."""
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.average is not None:
        follow(run.average, run.model, min(settings.ema, (run.step + 1) / (run.step + 10)))


def _keep_batch(batch: Batch, step: int, out: Path, world: World) -> Path:
    """Save the batch whose loss or gradient is not a number, for whoever wants to know why."""
    path = out / ("bad-batch.safetensors" if world.size == 1 else f"bad-batch.{world.rank}.safetensors")
    rgb, labels, _ = batch
    checkpoint.write_tensors({"rgb": rgb, "labels": labels}, path, {"step": str(step)}, f"the batch of step {step}")
    return path


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """One step of the exponential moving average: floats move, counters are copied."""
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [pair for pair in pairs if pair[0].dtype.is_floating_point]
    move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # all tensors at once, which counts on a GPU
    move([slow for slow, _ in floats], [fast for _, fast in floats], 0)
    counters = [pair for pair in pairs if not pair[0].dtype.is_floating_point]
    if counters:
        torch._foreach_copy_([slow for slow, _ in counters], [fast for _, fast in counters])
