"""What was measured against the number of outputs, and between the gradients of tasks."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pyarrow as pa

from taskgroup.errors import DataError
from taskgroup.results.records.base import Amount, Count, Count32, Record, TrialNumber
from taskgroup.results.records.evaluation import Direction
from taskgroup.results.records.ranges import SIGNED_UNIT, Range, check_interval

Measure = Literal["gradient_norm", "robust_score"]
Counted = Literal["outputs", "tasks"]
Combination = Literal["sum", "unit_gradient"]
Quantity = Literal["norm", "cosine", "joint_norm", "joint_cosine", "balanced_norm",
                   "balanced_cosine"]  # fmt: skip


@dataclass(frozen=True)
class DimensionRow(Record):
    """One number at one number of attacked outputs or tasks.

    Attributes:
        trial: Number of the trial, or -1 for a checkpoint from elsewhere.
        label: The trial's label.
        role: ``winner``, ``baseline`` or ``other``.
        measure: ``gradient_norm``, or ``robust_score`` on what was attacked.
        counted: What ``count`` counts: ``outputs`` (pixels of ``task``) or ``tasks``.
        count: How many outputs, or tasks, the loss is the mean of.
        combine: How several tasks become one: ``sum`` adds their losses, ``unit_gradient`` their
            gradients divided by their lengths.
        task: Whose outputs they are, and whose score it is.
        score_name: ``root_mean_square`` or ``mean`` of gradient norms, or a metric's score.
        direction: Whether more is better.
        value: The mean over images and samples, or the data-set score.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        clean: The score of the same outputs without attack; None for gradients.
        images: Images that have so many valid outputs.
        samples: Random choices of outputs per image, on average.
        values: Of a gradient norm, each image's mean over its samples (of squares, for
            ``root_mean_square``), NaN where it has too few outputs; empty for a score.
        attack: Registry name of the attack, or empty.
        norm: Norm of the ball; ``l2`` for a gradient.
        epsilon: Radius for pixels in [0, 1]; 0 without attack.
        steps: Gradient steps per restart.
        restarts: Restarts.
        grid: Name of the numbers of outputs, or ``chosen``.
        seed_compatible: Whether it is the published script's number.
        seed: Seed of orders, attacks and resampling.
        seconds: Time that it took; for gradients that of the whole curve.
        split: Split of the data set that the images come from.
    """

    stored_as: ClassVar[str] = "dimension"
    made_by: ClassVar[str] = "taskgroup dimension"

    trial: TrialNumber
    label: str
    role: Literal["winner", "baseline", "other"]
    measure: Measure
    counted: Counted
    count: Annotated[int, pa.int64(), Range(1)]
    combine: Combination
    task: str
    score_name: str
    direction: Direction
    value: float
    low: float
    high: float
    clean: float | None
    images: Count
    samples: Amount
    values: tuple[float, ...]
    attack: str
    norm: str
    epsilon: Amount
    steps: Count32
    restarts: Count32
    grid: str
    seed_compatible: bool
    seed: Count
    seconds: Amount
    split: Literal["test", "confirm"] = "test"

    def check(self) -> None:
        """An interval has its ends in order."""
        check_interval(self.low, self.high)


@dataclass(frozen=True)
class TaskGradientRow(Record):
    """One length or angle of a network's task gradients, averaged over images.

    Attributes:
        trial: Number of the trial, or -1 for a checkpoint from elsewhere.
        label: The trial's label.
        role: ``winner``, ``baseline`` or ``other``.
        quantity: ``norm`` of a task's gradient; ``cosine`` of two tasks' gradients; ``joint_norm``
            of the gradient of the mean loss and ``joint_cosine`` of a task's gradient with it;
            ``balanced_norm`` and ``balanced_cosine``: likewise with the mean of the gradients
            divided by their lengths.
        task: The task; empty for the norms of joint gradients.
        other: The second task of a cosine, else empty.
        value: Mean over images.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        images: Images where it is defined: both tasks labelled, no gradient zero.
        seed_compatible: Whether gradients were joined over pairs of images, as published.
        seed: Seed of resampling.
        split: Split of the data set that the images come from.
    """

    stored_as: ClassVar[str] = "task_gradient"
    made_by: ClassVar[str] = "taskgroup dimension"

    trial: TrialNumber
    label: str
    role: Literal["winner", "baseline", "other"]
    quantity: Quantity
    task: str
    other: str
    value: float
    low: float
    high: float
    images: Count
    seed_compatible: bool
    seed: Count
    split: Literal["test", "confirm"] = "test"

    def check(self) -> None:
        """Cosines lie in [-1, 1], and an interval has its ends in order."""
        check_interval(self.low, self.high)
        is_cosine = self.quantity.endswith("cosine")
        if is_cosine and self.value == self.value and self.value not in SIGNED_UNIT:
            raise DataError(f"value must lie in [-1, 1], being a cosine, but is {self.value:g}")
