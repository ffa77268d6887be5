"""TRADES: clean losses, and the divergence of the main prediction under attack."""

from taskgroup.training.steps.base import STEPS
from taskgroup.training.steps.joint import JointStep
from taskgroup.training.steps.losses import TaskSums, TradesSums


@STEPS.register("trades")
class TradesStep(JointStep):
    """A joint step on clean images and their attacked twins; the divergence joins the main loss."""

    def task_sums(self) -> TaskSums:
        """The module that sees clean and attacked images in one forward pass."""
        parts = self._parts
        return TradesSums(
            parts.network,
            parts.tasks,
            main_task=parts.config.main_task,
            beta=parts.config.adversary.beta,
            precision=parts.precision,
            gather=parts.group.gather,
        )
