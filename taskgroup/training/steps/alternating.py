"""One update per task in turn."""

import torch
from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError
from taskgroup.models.worker_norm import images_counted
from taskgroup.training.config import TrialConfig
from taskgroup.training.steps.base import STEPS, Step, StepParts, StepReport
from taskgroup.training.steps.losses import TaskSums, mean_losses


@STEPS.register("alternating")
class AlternatingStep(Step):
    """For each task a forward pass, a backward pass and an update, main task first.

    All tasks see the same images, which were attacked before the first update. An update touches
    what its task uses: other heads keep their values and their momentum.

    Source: how ASTMT trains (Maninis, Radosavovic and Kokkinos, CVPR 2019, arXiv:1904.08918).
    """

    is_partial = True

    @classmethod
    def check(cls, config: TrialConfig) -> None:
        """Only fixed weights can scale losses that are never seen together."""
        if config.training.weighting != "fixed":
            raise ConfigError(
                "training.step 'alternating' sees one loss at a time and goes with weighting "
                f"'fixed' only, got {config.training.weighting!r}; remove training.weighting"
            )

    def __init__(self, parts: StepParts) -> None:
        self._parts = parts
        self._sums = TaskSums(
            parts.network, parts.tasks, precision=parts.precision, gather=parts.group.gather
        )
        parts.group.align(parts.network)

    def __call__(self, batch: Batch, draws: Draws) -> StepReport:
        """As many updates as there are tasks; the losses are those right before each."""
        parts = self._parts
        (images,) = parts.adversary(batch, draws)
        weights = parts.weighting.loss_weights
        found = [
            self._one(batch, draws, images, task.name, weight)
            for task, weight in zip(parts.tasks, weights, strict=True)
        ]
        return StepReport(torch.cat(found), weights)

    def _one(self, batch: Batch, draws: Draws, images: Tensor, name: str, weight: Tensor) -> Tensor:
        """Update for one task; returns its sums ``(1, 2)`` over workers."""
        parts = self._parts
        with images_counted(parts.network, draws.has_images):
            own = self._sums(batch.targets, draws, images, name)
        sums = parts.group.share(own)
        parts.optimizer.zero_grad(set_to_none=True)
        parts.group.backward(weight * mean_losses(sums).sum())
        parts.group.sum_gradients(parts.network.parameters())
        parts.update()
        return sums.detach()
