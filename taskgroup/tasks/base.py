"""Contracts 1 and 2: targets with valid masks, losses as per-image sums and counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from taskgroup.metrics.base import Direction, SumMetric
from taskgroup.registry import Registry

IGNORE = 255
"""Class number of an invalid pixel in every class map."""


class Target(NamedTuple):
    """What one task should predict for a batch, and where that is known.

    Attributes:
        values: Class numbers ``(N, H, W)`` or ``(N,)`` (int64, 255 where invalid), or
            numbers ``(N, C, H, W)`` (float32, finite everywhere).
        valid: ``(N, H, W)`` or ``(N,)`` bool; a sample that lacks the task is all False.
    """

    values: Tensor
    valid: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Target":
        """The target with the same function applied to values and mask."""
        return Target(function(self.values), function(self.valid))


class LossSums(NamedTuple):
    """A loss before normalisation; both ``(N,)``, zero for an image with nothing valid."""

    loss_sum: Tensor
    valid_count: Tensor

    def mean(self) -> Tensor:
        """Sum of losses over sum of counts, a scalar; zero when nothing at all is valid."""
        return self.loss_sum.sum() / self.valid_count.sum().clamp(min=1)


@dataclass(frozen=True)
class TaskInfo:
    """What a data set says about one of its tasks; plain values, stored in checkpoints.

    Attributes:
        name: Registry name of the task.
        num_classes: Number of classes ``K``; None for regression.
        class_names: One name per class, or empty.
        class_shares: Share of each class among valid training pixels, or empty if unknown.
        background: Class number of the background, or None.
        class_weights: Loss weight of each class, or empty for equal weights.
    """

    name: str
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    class_shares: tuple[float, ...] = ()
    background: int | None = None
    class_weights: tuple[float, ...] = ()


class Task(ABC):
    """One task of a network: head size, loss and metric. Holds no state but its description.

    Attributes:
        info: What the data set says about the task.
        channels: Numbers that the head predicts per pixel (``map``) or per image (``vector``).
        output: ``map`` predictions are ``(N, C, H, W)``, ``vector`` ones ``(N, C)``.
        label_free: Whether targets are computed from the image alone.
    """

    output: ClassVar[Literal["map", "vector"]] = "map"
    label_free: ClassVar[bool] = False

    def __init__(self, info: TaskInfo) -> None:
        self.info = info

    @property
    def name(self) -> str:
        """Registry name of the task."""
        return self.info.name

    @property
    @abstractmethod
    def channels(self) -> int:
        """Numbers that the head predicts per pixel or per image."""

    @abstractmethod
    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """Per-image sum of pixel losses and number of valid pixels, both ``(N,)``, float32."""

    @abstractmethod
    def metric(self) -> SumMetric:
        """A fresh metric; its first score is the task's main score."""

    def readable(self, prediction: Tensor) -> Tensor:
        """A prediction in the form of the target: class numbers, or the numbers themselves."""
        return prediction if self.info.num_classes is None else prediction.argmax(1)

    @property
    def main_score(self) -> str:
        """Name of the score that stands for the task ("miou")."""
        return next(iter(self.metric().directions))

    @property
    def direction(self) -> Direction:
        """Whether more of the main score is better."""
        return self.metric().directions[self.main_score]


TASKS = Registry[type[Task]]("task")


def build_task(info: TaskInfo) -> Task:
    """The task that ``info`` describes."""
    return TASKS[info.name](info)
