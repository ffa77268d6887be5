"""Contracts 1 and 2: targets with valid masks, losses as per-image sums and counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
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

    def invalid(self) -> "Target":
        """The same values, none of which counts."""
        return Target(self.values, torch.zeros_like(self.valid))


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
        loss: One of the task's ``losses``; empty for its own.
        std: What the error of each channel is divided by before the loss, or empty.
    """

    name: str
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    class_shares: tuple[float, ...] = ()
    background: int | None = None
    class_weights: tuple[float, ...] = ()
    loss: str = ""
    std: tuple[float, ...] = ()


Gather = Callable[[Tensor], Tensor]
"""The rows of all workers, in the order of the batch, from those of this one."""


class Task(ABC):
    """One task of a network: head size, loss and metric. Holds no state but its description.

    What a network outputs for a task is read by that task alone. Most output one prediction and
    have a loss per image; a task that overrides ``training_loss`` may see several views of an image
    and compare the images of a batch.

    Attributes:
        info: What the data set says about the task.
        channels: Numbers that the head predicts per pixel (``map``) or per image (``vector``).
        output: ``map`` predictions are ``(N, C, H, W)``, ``vector`` ones ``(N, C)``.
        label_free: Whether targets are computed from the image alone.
        views: Versions of each image that the training loss takes, each with a network pass.
        losses: Names of the losses to choose from, the task's own first; none if it has only one.
        has_std: Whether ``TaskInfo.std`` says anything to this task.
    """

    output: ClassVar[Literal["map", "vector"]] = "map"
    label_free: ClassVar[bool] = False
    views: ClassVar[int] = 1
    losses: ClassVar[tuple[str, ...]] = ()
    has_std: ClassVar[bool] = False

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

    def view(self, images: Tensor, number: int, draws: Draws) -> Tensor:
        """Version ``number`` of images ``(N, 3, H, W)``, for tasks of several views."""
        return images

    def training_loss(self, outputs: Sequence[Any], target: Target, gather: Gather) -> LossSums:
        """The loss that training minimises; attacks raise ``loss``, whose terms are per image.

        Args:
            outputs: What the network gave for each view.
            target: This worker's targets.
            gather: Rows of all workers, for a loss that compares the images of a batch; each worker
                then sums over its own images.

        Returns:
            Sums and counts ``(N,)``, float32.
        """
        (output,) = outputs
        return self.loss(output, target)

    @abstractmethod
    def metric(self) -> SumMetric:
        """A fresh metric; its first score is the task's main score. ``NoScore`` has none."""

    def readable(self, prediction: Tensor) -> Tensor:
        """A prediction in the form of the target: class numbers, or the numbers themselves."""
        return prediction if self.info.num_classes is None else prediction.argmax(1)

    @property
    def main_score(self) -> str:
        """Name of the score that stands for the task ("miou").

        Raises:
            ConfigError: The task has a loss and no score.
        """
        for name in self.metric().directions:
            return name
        raise ConfigError(
            f"main_task must have a score, but {self.name!r} has a loss only; make it an auxiliary "
            "task"
        )

    @property
    def direction(self) -> Direction:
        """Whether more of the main score is better."""
        return self.metric().directions[self.main_score]


TASKS = Registry[type[Task]]("task")


def build_task(info: TaskInfo) -> Task:
    """The task that ``info`` describes."""
    return TASKS[info.name](info)


def output_dimension(tasks: Sequence[Task], size: tuple[int, int]) -> int:
    """Numbers predicted per image, over all heads.

    Args:
        tasks: The task set.
        size: Height and width of an image.
    """
    height, width = size
    return sum(task.channels * (height * width if task.output == "map" else 1) for task in tasks)
