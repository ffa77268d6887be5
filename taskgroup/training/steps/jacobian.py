"""The gradient of each loss by itself, combined into one direction."""

from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.models.worker_norm import images_counted
from taskgroup.training.steps.base import STEPS, Step, StepParts, StepReport
from taskgroup.training.steps.losses import TaskSums, mean_losses
from taskgroup.training.weighting.gradients import GradientWeighting


@STEPS.register("jacobian")
class JacobianStep(Step):
    """Losses stay a vector until an aggregator of torchjd has made one direction of their Jacobian.

    With several workers the Jacobians ``(T, P)`` of losses that are divided by the counts of all
    workers are added, and only then is anything computed from them: Gramians do not add.
    """

    def __init__(self, parts: StepParts) -> None:
        assert isinstance(parts.weighting, GradientWeighting)
        self._parts = parts
        self._weighting = parts.weighting
        self._sums = TaskSums(
            parts.network, parts.tasks, precision=parts.precision, gather=parts.group.gather
        )
        parts.group.align(parts.network)

    def __call__(self, batch: Batch, draws: Draws) -> StepReport:
        """One forward pass, a backward pass per task, one update."""
        from torchjd.autojac import backward, jac_to_grad

        parts = self._parts
        (images,) = parts.adversary(batch, draws)
        with images_counted(parts.network, draws.has_images):
            own = self._sums(batch.targets, draws, images)
        sums = parts.group.share(own)
        losses = mean_losses(sums)
        parameters = [p for p in parts.network.parameters() if p.requires_grad]
        parts.optimizer.zero_grad(set_to_none=True)
        backward(
            self._weighting.loss_weights * losses,
            inputs=parameters,
            parallel_chunk_size=1,  # our own backward functions do not batch
        )
        jacobians: list[Tensor] = [p.jac for p in parameters]  # type: ignore[attr-defined]
        parts.group.sum_in_place(jacobians)
        weights = jac_to_grad(parameters, self._weighting.aggregator)
        parts.update()
        return StepReport(sums.detach(), self._weighting.loss_weights * weights.detach())
