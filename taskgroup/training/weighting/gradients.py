"""Weightings that combine the gradients of the losses instead of the losses: torchjd's aggregators.

They need the step ``jacobian``.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from taskgroup.errors import ConfigError
from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask, Weighting

if TYPE_CHECKING:
    from torchjd.aggregation import WeightedAggregator as Aggregator


class GradientWeighting(Weighting):
    """Turns a Jacobian, one gradient per loss times its loss weight, into one direction.

    Attributes:
        aggregator: What does so; it holds no parameters.
    """

    aggregator: "Aggregator"

    def __init__(self, tasks: Sequence[WeightedTask]) -> None:
        super().__init__(tasks)
        try:
            import torchjd.aggregation
        except ImportError:
            raise ConfigError(
                "a weighting of gradients needs torchjd, which is not installed; "
                "pip install 'taskgroup[gradients]', or choose another training.weighting"
            ) from None
        self.aggregator = self.build(torchjd.aggregation)

    @abstractmethod
    def build(self, aggregation: Any) -> "Aggregator":
        """The aggregator, from torchjd's module ``aggregation``."""

    def weights(self, losses: Tensor) -> Tensor:
        """The loss weights; what the aggregator makes of them depends on gradients."""
        return self.loss_weights

    def forward(self, losses: Tensor) -> Tensor:
        """The weighted sum of losses ``(T,)``: what is watched, not what is minimised."""
        return (self.loss_weights * losses).sum()


@WEIGHTINGS.register("mean")
class MeanWeighting(GradientWeighting):
    """The mean of the gradients: the fixed weighting divided by the number of tasks."""

    def build(self, aggregation: Any) -> "Aggregator":
        """Torchjd's mean."""
        aggregator: Aggregator = aggregation.Mean()
        return aggregator


@WEIGHTINGS.register("upgrad")
class UPGradWeighting(GradientWeighting):
    """A direction along which no loss rises: each gradient projected on the cone of all.

    Source: Quinton and Rey, "Jacobian descent for multi-objective optimization" (2024,
    arXiv:2406.16232).
    """

    def build(self, aggregation: Any) -> "Aggregator":
        """Torchjd's UPGrad."""
        aggregator: Aggregator = aggregation.UPGrad()
        return aggregator
