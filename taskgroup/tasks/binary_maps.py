"""Two-class maps: what stands out, and where one thing hides another."""

import torch.nn.functional as F
from torch import Tensor

from taskgroup.metrics.base import SumMetric
from taskgroup.metrics.binary import BinaryMetric
from taskgroup.tasks.base import TASKS, LossSums, Target, Task
from taskgroup.tasks.pixel_sums import sum_valid

MAX_BALANCE = 0.95


@TASKS.register("saliency")
@TASKS.register("occlusion_edges")
class BinaryMapTask(Task):
    """Saliency (ASTMT's ``sal``) and occlusion edges (Taskonomy's ``edge_occlusion``).

    The loss is the class-balanced cross-entropy of Xie and Tu, "Holistically-Nested Edge Detection"
    (2015), image by image: positives weigh beta = the image's share of negatives, negatives
    1 - beta. Unlike there, beta stays within [0.05, 0.95] (0.95 is ASTMT's fixed weight for edges),
    so that an image without positives still teaches the network to stay silent.
    """

    @property
    def channels(self) -> int:
        """One logit."""
        return 1

    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """Balanced cross-entropy of logits ``(N, 1, H, W)`` against ``(N, 1, H, W)`` in [0, 1]."""
        logits = prediction.float().squeeze(1)
        positive = target.values.squeeze(1).masked_fill(~target.valid, 0.0)
        beta = _balance(positive, target.valid)
        misses = beta * positive * F.softplus(-logits)
        false_alarms = (1 - beta) * (1 - positive) * F.softplus(logits)
        return sum_valid(misses + false_alarms, target.valid)

    def readable(self, prediction: Tensor) -> Tensor:
        """Probabilities ``(N, 1, H, W)``."""
        return prediction.sigmoid()

    def metric(self) -> SumMetric:
        """F1, IoU and accuracy at probability 0.5."""
        return BinaryMetric()


def _balance(positive: Tensor, valid: Tensor) -> Tensor:
    """Share of negatives among the valid pixels of each image, ``(N, 1, 1)``, kept off 0 and 1."""
    share = positive.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
    return (1 - share).clamp(1 - MAX_BALANCE, MAX_BALANCE).view(-1, 1, 1)
