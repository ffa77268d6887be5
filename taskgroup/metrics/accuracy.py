"""Accuracy of one class per image."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from taskgroup.metrics.base import Direction, SumMetric


class AccuracyMetric(SumMetric):
    """Share of images whose largest logit is the right class; sums are (correct, valid)."""

    directions: ClassVar[Mapping[str, Direction]] = {"accuracy": "maximize"}

    def __init__(self) -> None:
        super().__init__(2)

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Sums ``(N, 2)`` of logits ``(N, K)`` against classes ``(N,)``."""
        correct = valid & (prediction.argmax(1) == values)
        return torch.stack([correct, valid], 1).double()

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 2)``."""
        return {"accuracy": sums[..., 0] / sums[..., 1]}
