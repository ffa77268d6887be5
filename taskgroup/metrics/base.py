"""The one kind of metric that taskgroup uses: additive sums per image.

Because a data-set score is a function of sums that add over images, the same numbers serve
distributed reduction, worst-case search over several attacks and bootstrap intervals.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

Direction = Literal["maximize", "minimize"]


class SumMetric(Metric):
    """A metric whose scores are functions of sums over images.

    Subclasses declare ``directions`` and write ``per_image`` and ``score``.

    Attributes:
        directions: Each score's name and whether more of it is better; the first is the main one.
        size: Number of sums ``S`` kept per image.
    """

    full_state_update = False
    directions: ClassVar[Mapping[str, Direction]]
    sums: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.add_state("sums", default=torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

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

    def update(self, prediction: Tensor, values: Tensor, valid: Tensor) -> None:
        """Add one batch's sums."""
        self.sums += self.per_image(prediction, values, valid).sum(0)

    def compute(self) -> dict[str, Tensor]:
        """Scores of everything added so far."""
        return self.score(self.sums)
