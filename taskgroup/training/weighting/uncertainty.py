"""Weights from learned noise levels: a task that the network cannot fit weighs less.

Source: Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for scene
geometry and semantics", CVPR 2018 (arXiv:1705.07115), equations 7 and 10.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask, Weighting


@WEIGHTINGS.register("uncertainty")
class UncertaintyWeighting(Weighting):
    """Learns one log variance ``s`` per task.

    A classification loss counts ``exp(-s) * loss + s / 2``, any other
    ``exp(-s) * loss / 2 + s / 2``. The paper has no other weights; here each task's term is
    multiplied by its loss weight, which leaves the best ``s`` where it was.
    """

    def __init__(self, tasks: Sequence[WeightedTask]) -> None:
        super().__init__(tasks)
        scales = torch.tensor([1.0 if task.is_classification else 0.5 for task in tasks])
        self.register_buffer("scales", scales, persistent=False)
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))

    scales: Tensor

    def weights(self, losses: Tensor) -> Tensor:
        """What each loss is multiplied by at the present noise levels."""
        return (self.loss_weights * self.scales * torch.exp(-self.log_variances)).detach()

    def forward(self, losses: Tensor) -> Tensor:
        """Weighted losses ``(T,)`` plus the penalty on large variances, summed."""
        terms = self.scales * torch.exp(-self.log_variances) * losses + self.log_variances / 2
        return (self.loss_weights * terms).sum()
