"""The one kind of metric that taskgroup uses: additive sums per image.

It keeps nothing, so that it needs no state of torchmetrics, whose import takes twice as long as
torch's.

Because a data-set score is a function of sums that add over images, the same numbers serve
distributed reduction, worst-case search over several attacks and bootstrap intervals.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

Direction = Literal["maximize", "minimize"]


class SumMetric(ABC):
    """A metric whose scores are functions of sums over images.

    Subclasses declare ``directions`` and write ``per_image`` and ``score``.

    Attributes:
        directions: Each score's name and whether more of it is better; the first is the main one.
        size: Number of sums ``S`` kept per image.
    """

    directions: ClassVar[Mapping[str, Direction]]

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Sums of each image, shape ``(N, S)``, float64; all zero where nothing is valid.

        Args:
            prediction: Maps ``(N, C, H, W)`` or vectors ``(N, C)``.
            values: Targets, class maps ``(N, H, W)`` or ``(N,)``, else ``(N, C, H, W)``.
            valid: Which pixels ``(N, H, W)`` or images ``(N,)`` count.
        """

    @abstractmethod
    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., S)``, each of shape ``(...)``; NaN where nothing was valid."""


class NoScore(SumMetric):
    """The metric of a task of which only the loss is known."""

    directions: ClassVar[Mapping[str, Direction]] = {}

    def __init__(self) -> None:
        super().__init__(0)

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Nothing, ``(N, 0)``."""
        return valid.new_zeros(len(valid), 0, dtype=torch.float64)

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """No score."""
        return {}
