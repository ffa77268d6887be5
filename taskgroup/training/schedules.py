"""Learning-rate schedules: pure functions of the training step, so that resuming is exact."""

import math
from dataclasses import dataclass

from taskgroup.training.config import TrainingConfig

ONE_CYCLE_RISE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises (torch's default)."""
ONE_CYCLE_START = 1 / 25
"""First factor of a one-cycle schedule (torch's default)."""
ONE_CYCLE_END = 1 / 25e4
"""Last factor of a one-cycle schedule (torch's default)."""


@dataclass(frozen=True)
class Schedule:
    """Learning-rate factors of one training.

    Attributes:
        training: The section that names the schedule and its parameters.
        steps_per_epoch: Optimiser steps in an epoch.
    """

    training: TrainingConfig
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.training.epochs * self.steps_per_epoch

    @property
    def warmup_steps(self) -> int:
        """Steps of the linear warm-up."""
        return round(self.training.warmup_epochs * self.steps_per_epoch)

    def factor(self, step: int) -> float:
        """What the peak learning rate is multiplied by at ``step``, counted from 0.

        In [0, 1]. Warm-up rises linearly to the schedule, which covers the steps after it.
        """
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return self._after_warmup(step)

    def learning_rate(self, step: int) -> float:
        """Learning rate at ``step``."""
        return self.training.learning_rate * self.factor(step)

    def _after_warmup(self, step: int) -> float:
        if self.training.schedule == "constant":
            return 1.0
        if self.training.schedule == "step":
            return self._stairs(step)
        done = step - self.warmup_steps
        steps = max(self.total_steps - self.warmup_steps, 1)
        if self.training.schedule == "poly":
            return float((1 - done / steps) ** self.training.poly_power)
        if self.training.schedule == "cosine":
            return _cosine(1.0, 0.0, done / steps)
        return one_cycle(done, steps)

    def _stairs(self, step: int) -> float:
        """Epochs are counted from the start of training, warm-up included."""
        epoch = step // self.steps_per_epoch
        passed = sum(epoch >= boundary for boundary in self.training.step_epochs)
        return float(self.training.step_factor**passed)


def one_cycle(step: int, steps: int) -> float:
    """Rise and fall of Smith's one-cycle policy, as torch's ``OneCycleLR`` anneals it.

    The momentum stays as it is (torch would cycle it): AdamW has none to cycle.

    Source: Smith and Topin, "Super-convergence", 2018 (arXiv:1708.07120).
    """
    peak = max(ONE_CYCLE_RISE * steps - 1, 0.0)
    if step <= peak:
        return _cosine(ONE_CYCLE_START, 1.0, step / max(peak, 1e-9))
    share = (step - peak) / max(steps - 1 - peak, 1e-9)
    return _cosine(1.0, ONE_CYCLE_END, min(share, 1.0))


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from ``start`` (share 0) to ``end`` (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
