"""Learning rate schedules: pure functions of the step, and the plateau rule, which remembers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from imgscan.training.recipe import TrainSection

LOWEST_RATE = 1e-8  # of the plateau rule (FOCAL's released code)
WORTH = 1e-4  # relative rise of the score from which on the plateau rule counts it, as torch's ReduceLROnPlateau


def _constant(train: TrainSection, step: int, epoch: int) -> float:
    return 1.0


def _cosine(train: TrainSection, step: int, epoch: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / train.steps)))


def _step(train: TrainSection, step: int, epoch: int) -> float:
    return math.pow(train.factor, epoch // train.every)


def _poly(train: TrainSection, step: int, epoch: int) -> float:
    return math.pow(1 - min(1.0, step / train.steps), train.power)


# name -> (settings, step, epoch; both 0-based) -> factor of the learning rate
SCHEDULES: dict[str, Callable[[TrainSection, int, int], float]] = {
    "constant": _constant,
    "cosine": _cosine,  # half a cosine to zero
    "step": _step,  # x factor every `every` epochs (CFL-Net: 0.8 every 20)
    "poly": _poly,  # (1 - step / steps) ** power, per step (NCL: 0.9)
    "plateau": _constant,  # x what Plateau says
}


def rate_at(train: TrainSection, step: int, epoch: int) -> float:
    """Learning rate of step `step` in epoch `epoch` (both 0-based): a linear warm-up, then the schedule."""
    rise = min(1.0, (step + 1) / train.warmup) if train.warmup else 1.0
    return train.rate * rise * SCHEDULES[train.schedule](train, step, epoch)


@dataclass
class Plateau:
    """What validation scores do to a run: the best so far, when the rate falls, when patience ends."""

    best: float = -math.inf
    bad: int = 0  # validations since the best
    reference: float = -math.inf  # the latest best that was WORTH more than the one before
    since_fall: int = 0  # validations since that, or since the rate last fell
    factor: float = 1.0  # of the learning rate

    def note(self, score: float, train: TrainSection) -> bool:
        """Take in a validation score; True: it is the best so far."""
        # As torch's ReduceLROnPlateau: `every` bad validations are tolerated, the next one counts.
        if score > self.reference * (1 + WORTH):
            self.reference, self.since_fall = score, 0
        else:
            self.since_fall += 1
        if train.schedule == "plateau" and self.since_fall > train.every:
            self.factor = max(self.factor * train.factor, LOWEST_RATE / train.rate)
            self.since_fall = 0
        if score > self.best:
            self.best, self.bad = score, 0
            return True
        self.bad += 1
        return False

    def ended(self, train: TrainSection) -> bool:
        """Whether patience has run out."""
        return bool(train.patience) and self.bad >= train.patience
