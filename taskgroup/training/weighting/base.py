"""What a weighting is: a rule that turns the losses of the tasks into one loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from taskgroup.registry import Registry


@dataclass(frozen=True)
class WeightedTask:
    """What a weighting may know about one task.

    Attributes:
        name: Registry name of the task.
        loss_weight: The user's weight; 1 for the main task.
        is_classification: Whether the loss is a cross-entropy over classes.
    """

    name: str
    loss_weight: float
    is_classification: bool


class Weighting(nn.Module, ABC):
    """Turns task losses into one loss; its parameters are trained with the network.

    The result does not depend on the order of the tasks, but for rounding.
    """

    loss_weights: Tensor

    def __init__(self, tasks: Sequence[WeightedTask]) -> None:
        super().__init__()
        weights = torch.tensor([task.loss_weight for task in tasks])
        self.register_buffer("loss_weights", weights, persistent=False)

    @abstractmethod
    def weights(self, losses: Tensor) -> Tensor:
        """Weight of each task at losses ``(T,)``: ``(T,)``, finite, without gradient."""

    @abstractmethod
    def forward(self, losses: Tensor) -> Tensor:
        """The scalar to minimise for losses ``(T,)``, in the order of the tasks."""


WEIGHTINGS = Registry[type[Weighting]]("training.weighting")
