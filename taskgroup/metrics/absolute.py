"""Mean absolute error of maps of numbers."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from taskgroup.metrics.base import Direction, SumMetric


class AbsoluteMetric(SumMetric):
    """Mean absolute error over channels and valid pixels; sums are (error, pixels)."""

    directions: ClassVar[Mapping[str, Direction]] = {"mae": "minimize"}

    def __init__(self) -> None:
        super().__init__(2)

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Sums ``(N, 2)`` of maps ``(N, C, H, W)`` against maps of the same shape."""
        error = (prediction.double() - values.double()).abs().mean(1).masked_fill(~valid, 0.0)
        return torch.stack([error.sum((1, 2)), valid.double().sum((1, 2))], 1)

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 2)``."""
        return {"mae": sums[..., 0] / sums[..., 1]}
