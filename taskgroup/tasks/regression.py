"""Maps of numbers of order one, trained with the absolute error unless asked otherwise.

All come from Taskonomy (Zamir et al., 2018), which also trains them with L1, but for ``albedo``,
which comes from ASTMT. The data sets scale the targets to order one. With the loss ``mse`` and the
``std`` of the data set, autoencoding is that of MTRobust on Cityscapes: the mean squared error of
the normalised picture.
"""

from typing import ClassVar

from torch import Tensor

from taskgroup.metrics.absolute import AbsoluteMetric
from taskgroup.metrics.base import SumMetric
from taskgroup.tasks.base import TASKS, LossSums, Target, Task
from taskgroup.tasks.pixel_sums import sum_valid


class RegressionTask(Task):
    """Base of the tasks below, which differ in their number of channels only.

    Attributes:
        num_channels: Channels of the target map.
    """

    losses: ClassVar[tuple[str, ...]] = ("l1", "mse")
    has_std: ClassVar[bool] = True
    num_channels: ClassVar[int] = 1

    @property
    def channels(self) -> int:
        """Channels of the target map."""
        return self.num_channels

    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """Absolute or squared error of ``(N, C, H, W)``: mean over channels, sum over pixels."""
        error = prediction.float() - target.values
        if self.info.std:
            error = error / error.new_tensor(self.info.std).view(-1, 1, 1)
        costs = error.square() if self.info.loss == "mse" else error.abs()
        return sum_valid(costs.mean(1), target.valid)

    def metric(self) -> SumMetric:
        """Mean absolute error."""
        return AbsoluteMetric()


@TASKS.register("curvature")
class CurvatureTask(RegressionTask):
    """The two principal curvatures of the surface (``principal_curvature``)."""

    num_channels = 2


@TASKS.register("reshading")
class ReshadingTask(RegressionTask):
    """Shading of the bare geometry under a lamp at the camera."""


@TASKS.register("albedo")
class AlbedoTask(RegressionTask):
    """Surface colour in [0, 1] without light and shadow."""

    num_channels = 3


@TASKS.register("keypoints3d")
class Keypoints3dTask(RegressionTask):
    """How much the geometry stands out as an interest point (NARF, Steder et al., 2010)."""


@TASKS.register("keypoints2d")
class Keypoints2dTask(RegressionTask):
    """How much the picture stands out as an interest point, computed from the image."""

    label_free = True


@TASKS.register("edges")
class EdgesTask(RegressionTask):
    """Texture edges (``edge_texture``), computed from the image."""

    label_free = True


@TASKS.register("autoencoding")
class AutoencodingTask(RegressionTask):
    """The image itself, in [0, 1] (``autoencoder``)."""

    num_channels = 3
    label_free = True
