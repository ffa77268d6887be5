"""Depth errors as in Eigen et al. (2014), pooled over the pixels of a data set."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from taskgroup.metrics.base import Direction, SumMetric


class DepthMetric(SumMetric):
    """Depth errors of Eigen, Puhrsch and Fergus, "Depth Map Prediction from a Single Image" (2014).

    With prediction d and target t in metres, over valid pixels of the whole data set:
    ``abs_rel`` = mean of abs(d - t) / t; ``rmse`` = root of the mean of (d - t)^2, in metres;
    ``delta1`` = share with max(d / t, t / d) < 1.25, where d <= 0 never counts as near;
    ``mae`` = mean of abs(d - t), in metres, the L1 error of MTRobust's tables.
    Sums are (relative error, squared error, near pixels, absolute error, pixels).
    """

    directions: ClassVar[Mapping[str, Direction]] = {
        "abs_rel": "minimize",
        "rmse": "minimize",
        "delta1": "maximize",
        "mae": "minimize",
    }

    def __init__(self) -> None:
        super().__init__(5)

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Sums ``(N, 5)`` of metres ``(N, 1, H, W)`` against metres above 0."""
        depth = prediction.squeeze(1).double()
        target = torch.where(valid, values.squeeze(1).double(), 1.0)
        error = (depth - target).abs().masked_fill(~valid, 0.0)
        near = valid & (depth < 1.25 * target) & (target < 1.25 * depth)
        terms = [error / target, error.square(), near.double(), error, valid.double()]
        return torch.stack([term.sum((1, 2)) for term in terms], 1)

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 5)``."""
        relative, squared, near, absolute, count = sums.unbind(-1)
        return {
            "abs_rel": relative / count,
            "rmse": (squared / count).sqrt(),
            "delta1": near / count,
            "mae": absolute / count,
        }
