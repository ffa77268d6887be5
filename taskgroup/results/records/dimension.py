"""What was measured against the number of outputs, and between the gradients of tasks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from taskgroup.results.records.base import Int32, Record
from taskgroup.results.records.evaluation import Direction

Measure = Literal["gradient_norm", "robust_score"]
Counted = Literal["outputs", "tasks"]
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

    trial: Int32
    label: str
    role: Literal["winner", "baseline", "other"]
    measure: Measure
    counted: Counted
    count: int
    combine: str
    task: str
    score_name: str
    direction: Direction
    value: float
    low: float
    high: float
    clean: float | None
    images: int
    samples: float
    values: tuple[float, ...]
    attack: str
    norm: str
    epsilon: float
    steps: Int32
    restarts: Int32
    grid: str
    seed_compatible: bool
    seed: int
    seconds: float
    split: Literal["test", "confirm"] = "test"


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

    trial: Int32
    label: str
    role: Literal["winner", "baseline", "other"]
    quantity: Quantity
    task: str
    other: str
    value: float
    low: float
    high: float
    images: int
    seed_compatible: bool
    seed: int
    split: Literal["test", "confirm"] = "test"
