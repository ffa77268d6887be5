"""The wrapped forward pass of a training step: network, task losses and weighting in one module.

Sums and counts stay apart until the end, so that several workers normalise by what all of them saw
and every worker weighs the same losses.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskgroup.evaluation.objective.network import autocast
from taskgroup.tasks.base import LossSums, Target, Task
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.weighting.base import Weighting


class StepLosses(NamedTuple):
    """What one training step computes.

    Attributes:
        total: The scalar to minimise.
        sums: Sum of losses and number of valid pixels of each task over all workers, ``(T, 2)``,
            detached; they add over steps.
    """

    total: Tensor
    sums: Tensor


class TrainingLoss(nn.Module):
    """The losses of all tasks on one batch of images.

    Args:
        model: The network; maps images and task names to predictions.
        tasks: The task set, in the order of ``weighting``.
        weighting: Turns task losses into one.
        precision: Number format of the network's autocast; None computes in float32. Losses are
            always float32.
        group: The workers that share each batch. The gradients of their backward passes add up
            to that of the whole batch.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[Task],
        weighting: Weighting,
        *,
        precision: torch.dtype | None = None,
        group: WorkerGroup = ALONE,
    ) -> None:
        super().__init__()
        self.model = model
        self.weighting = weighting
        self._tasks = tuple(tasks)
        self._precision = precision
        self._group = group

    def forward(self, targets: Mapping[str, Target], images: Tensor) -> StepLosses:
        """Losses of images ``(N, 3, H, W)``, clean or attacked."""
        predictions = self.predict(images, [task.name for task in self._tasks])
        return self.combine(self.task_sums(predictions, targets))

    def predict(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Predictions of some tasks, in the precision of training."""
        with autocast(images.device, self._precision):
            predictions: dict[str, Tensor] = self.model(images, names)
        return predictions

    def task_sums(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, Target]
    ) -> list[LossSums]:
        """Loss sums and counts of every task, each ``(N,)``."""
        return [task.loss(predictions[task.name], targets[task.name]) for task in self._tasks]

    def combine(self, task_sums: Sequence[LossSums]) -> StepLosses:
        """One loss from the sums and counts of every task."""
        own = [torch.stack([part.sum() for part in sums]) for sums in task_sums]
        sums = self._group.share(torch.stack(own))
        loss_sums, counts = sums.unbind(1)
        losses = loss_sums / torch.where(counts > 0, counts, 1.0)
        return StepLosses(self.weighting(losses), sums.detach())


class TradesLoss(TrainingLoss):
    """Losses on clean images plus ``beta`` times the main task's divergence under attack.

    The divergence is KL(clean softmax || attacked softmax), summed over the main task's valid
    pixels and normalised like its loss. For class maps this is TRADES pixel by pixel.

    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy",
    ICML 2019 (arXiv:1901.08573).
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[Task],
        weighting: Weighting,
        *,
        main_task: str,
        beta: float,
        precision: torch.dtype | None = None,
        group: WorkerGroup = ALONE,
    ) -> None:
        super().__init__(model, tasks, weighting, precision=precision, group=group)
        self._main_index = [task.name for task in tasks].index(main_task)
        self._main_task = main_task
        self._beta = beta

    def forward(
        self, targets: Mapping[str, Target], images: Tensor, attacked: Tensor | None = None
    ) -> StepLosses:
        """Losses of clean images and of their attacked twins, both ``(N, 3, H, W)``."""
        assert attacked is not None
        predictions = self.predict(images, [task.name for task in self._tasks])
        sums = self.task_sums(predictions, targets)
        # A second pass, as in the published code: clean and attacked images do not share
        # batch-norm statistics.
        moved = self.predict(attacked, [self._main_task])[self._main_task]
        valid = targets[self._main_task].valid
        divergence = softmax_divergence(predictions[self._main_task], moved, valid)
        main = sums[self._main_index]
        sums[self._main_index] = LossSums(main.loss_sum + self._beta * divergence, main.valid_count)
        return self.combine(sums)


def softmax_divergence(clean: Tensor, attacked: Tensor, valid: Tensor) -> Tensor:
    """Sum KL(softmax(clean) || softmax(attacked)) over the valid pixels of each image.

    Args:
        clean: Logits ``(N, K, H, W)`` or ``(N, K)``.
        attacked: Logits of the same shape.
        valid: ``(N, H, W)`` or ``(N,)`` bool.

    Returns:
        ``(N,)`` float32, at least 0 but for rounding; 0 where nothing is valid.
    """
    reference = F.log_softmax(clean.float(), 1)
    moved = F.log_softmax(attacked.float(), 1)
    pixels = (reference.exp() * (reference - moved)).sum(1)
    kept: Tensor = pixels.masked_fill(~valid, 0.0).reshape(len(pixels), -1).sum(1)
    return kept
