"""Surface orientation."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from taskgroup.metrics.angular import AngularMetric
from taskgroup.metrics.base import SumMetric
from taskgroup.tasks.base import TASKS, LossSums, Target, Task
from taskgroup.tasks.pixel_sums import sum_valid

SMALLEST_SQUARE = 1e-6
"""Added to the squared length: bounds the gradient at a prediction of zero by 1000 per pixel."""


@TASKS.register("normals")
class NormalsTask(Task):
    """Unit surface normals in the camera frame, trained with one minus the cosine.

    The loss of Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels" (2015), as
    in LibMTL: the prediction is brought to unit length first, so only its direction counts. The
    loss ``l1`` is that of Taskonomy and MTRobust, where the length counts, too.
    """

    losses: ClassVar[tuple[str, ...]] = ("cosine", "l1")

    @property
    def channels(self) -> int:
        """The three components; their length is free."""
        return 3

    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """One minus cosine of ``(N, 3, H, W)`` to unit vectors, in [0, 2]; 1 at length zero.

        With ``l1`` the absolute error, averaged over the components.
        """
        vectors = prediction.float()
        if self.info.loss == "l1":
            return sum_valid((vectors - target.values).abs().mean(1), target.valid)
        length = (vectors.square().sum(1) + SMALLEST_SQUARE).sqrt()
        cosine = (vectors * target.values).sum(1) / length
        return sum_valid(1 - cosine, target.valid)

    def readable(self, prediction: Tensor) -> Tensor:
        """Unit vectors ``(N, 3, H, W)``; a prediction of zero stays zero."""
        return normalize(prediction, dim=1)

    def metric(self) -> SumMetric:
        """Mean angle and share below 11.25 degrees."""
        return AngularMetric()
