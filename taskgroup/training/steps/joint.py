"""The losses of all tasks, weighed into one number, and one backward pass."""

from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.models.worker_norm import images_counted
from taskgroup.training.steps.base import STEPS, Step, StepParts, StepReport
from taskgroup.training.steps.losses import TaskSums, mean_losses


@STEPS.register("joint")
class JointStep(Step):
    """Minimises one weighted sum of all task losses on clean or attacked images."""

    def __init__(self, parts: StepParts) -> None:
        self._parts = parts
        self._sums = parts.group.wrap(self.task_sums())

    def task_sums(self) -> TaskSums:
        """The module whose passes several workers share."""
        parts = self._parts
        return TaskSums(
            parts.network, parts.tasks, precision=parts.precision, gather=parts.group.gather
        )

    def __call__(self, batch: Batch, draws: Draws) -> StepReport:
        """One forward and one backward pass of all tasks together."""
        parts = self._parts
        images = parts.adversary(batch, draws)
        with images_counted(parts.network, draws.has_images):
            own: Tensor = self._sums(batch.targets, draws, *images)
        # The wrapped module averages its gradients over workers; ours are to be summed. Those of
        # the weighting's own parameters are whole on every worker.
        sums = parts.group.share(own, factor=parts.group.size)
        losses = mean_losses(sums)
        total = parts.weighting(losses)
        parts.optimizer.zero_grad(set_to_none=True)
        parts.group.backward(total)
        parts.update()
        return StepReport(sums.detach(), parts.weighting.weights(losses.detach()))
