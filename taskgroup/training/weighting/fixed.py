"""The weighted sum with the weights that the trial configuration gives."""

from torch import Tensor

from taskgroup.training.weighting.base import WEIGHTINGS, Weighting


@WEIGHTINGS.register("fixed")
class FixedWeighting(Weighting):
    """Sum of losses times loss weights."""

    def weights(self, losses: Tensor) -> Tensor:
        """The loss weights, whatever the losses are."""
        return self.loss_weights

    def forward(self, losses: Tensor) -> Tensor:
        """Weighted sum of losses ``(T,)``."""
        return (self.loss_weights * losses).sum()
