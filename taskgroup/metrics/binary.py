"""Scores of two-class maps: one logit per pixel against a target in [0, 1]."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from taskgroup.metrics.base import Direction, SumMetric


class BinaryMetric(SumMetric):
    """F1, intersection over union and accuracy at probability 0.5.

    Sums are (true positive, false positive, false negative, true negative) pixels. A target above
    0.5 is positive, a logit above 0 is predicted so. Counts are pooled over the data set: F1 is not
    a mean over images. Where neither side has a positive pixel, F1 and IoU are 1: nothing was to be
    found and nothing was found (torchmetrics says 0).
    """

    directions: ClassVar[Mapping[str, Direction]] = {
        "f1": "maximize",
        "iou": "maximize",
        "accuracy": "maximize",
    }

    def __init__(self) -> None:
        super().__init__(4)

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Sums ``(N, 4)`` of logits ``(N, 1, H, W)`` against targets ``(N, 1, H, W)``."""
        found = prediction.squeeze(1) > 0
        there = values.squeeze(1) > 0.5
        cells = [found & there, found & ~there, ~found & there, ~found & ~there]
        return torch.stack([(cell & valid).sum((1, 2)) for cell in cells], 1).double()

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 4)``."""
        hit, false_alarm, miss, rest = sums.unbind(-1)
        wrong = false_alarm + miss
        total = hit + wrong + rest
        return {
            "f1": _share(2 * hit, 2 * hit + wrong, total),
            "iou": _share(hit, hit + wrong, total),
            "accuracy": (hit + rest) / total,
        }


def _share(part: Tensor, whole: Tensor, total: Tensor) -> Tensor:
    """``part / whole``; 1 where the whole is empty, NaN where nothing was valid."""
    share = torch.where(whole > 0, part / whole.clamp(min=1), 1.0)
    return share.masked_fill(total == 0, float("nan"))
