"""Distance along the optical axis, and along the ray."""

from torch import Tensor

from taskgroup.metrics.base import SumMetric
from taskgroup.metrics.depth import DepthMetric
from taskgroup.tasks.base import TASKS, LossSums, Target, Task
from taskgroup.tasks.pixel_sums import sum_valid


@TASKS.register("depth")
@TASKS.register("depth_euclidean")
class DepthTask(Task):
    """Depth in metres (``depth_euclidean``: along the ray), trained with the absolute error.

    ASTMT, MTRobust and Taskonomy train depth with L1 too. It is in metres, so a loss weight means
    the same on every data set, and the few pixels at object borders that are wrong by metres do
    not rule the gradient as they do in a squared error. Two data sets that MTRobust encodes
    otherwise say so: Cityscapes (disparity) and Taskonomy (logarithm, unless asked for metres).
    """

    @property
    def channels(self) -> int:
        """One number, metres."""
        return 1

    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """Absolute error of ``(N, 1, H, W)`` metres."""
        error = (prediction.float() - target.values).abs().squeeze(1)
        return sum_valid(error, target.valid)

    def metric(self) -> SumMetric:
        """abs_rel, rmse and delta1 of Eigen et al., and the mean absolute error."""
        return DepthMetric()
