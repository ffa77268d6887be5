"""One class per image."""

from typing import ClassVar, Literal

from torch import Tensor

from taskgroup.metrics.accuracy import AccuracyMetric
from taskgroup.metrics.base import SumMetric
from taskgroup.tasks.base import TASKS, LossSums, Target, Task
from taskgroup.tasks.segmentation import cross_entropy, num_classes


@TASKS.register("classification")
@TASKS.register("superclass")
class ClassificationTask(Task):
    """Image classification and its coarser version (CIFAR-100's superclasses): cross-entropy."""

    output: ClassVar[Literal["map", "vector"]] = "vector"

    @property
    def channels(self) -> int:
        """One logit per class."""
        return num_classes(self.info)

    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """Cross-entropy of logits ``(N, K)`` against classes ``(N,)``."""
        return cross_entropy(prediction, target, self.info.class_weights)

    def metric(self) -> SumMetric:
        """Share of images classified rightly."""
        return AccuracyMetric()
