"""Class maps: one class per pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from taskgroup.errors import ConfigError
from taskgroup.metrics.base import SumMetric
from taskgroup.metrics.confusion import BackgroundConfusionMetric, ConfusionMetric
from taskgroup.tasks.base import TASKS, LossSums, Target, Task, TaskInfo
from taskgroup.tasks.pixel_sums import sum_valid

FASTER_AS_ROWS = 16
"""Classes from which a channels-last map is treated as a list of pixels: torch then fills its
vector registers and is twice as fast (one AVX-512 core, 19 classes); below, it is far slower."""


@TASKS.register("segmentation")
@TASKS.register("parts")
class SegmentationTask(Task):
    """Semantic segmentation and object parts.

    Fully convolutional pixel-wise cross-entropy (Long, Shelhamer and Darrell, 2015); the main score
    is the data-set mean intersection over union of PASCAL VOC. With class weights a pixel's loss is
    multiplied by its class's weight; the count stays the number of valid pixels.
    """

    @property
    def channels(self) -> int:
        """One logit per class."""
        return num_classes(self.info)

    def loss(self, prediction: Tensor, target: Target) -> LossSums:
        """Cross-entropy of logits ``(N, K, H, W)`` against classes ``(N, H, W)``."""
        return cross_entropy(prediction, target, self.info.class_weights)

    def metric(self) -> SumMetric:
        """Mean IoU, mean class accuracy, pixel accuracy; also without the background, if any."""
        if self.info.background is None:
            return ConfusionMetric(self.channels)
        return BackgroundConfusionMetric(self.channels, self.info.background)


def num_classes(info: TaskInfo) -> int:
    """Number of classes of a task that has some.

    Raises:
        ConfigError: The description names none.
    """
    if info.num_classes is None or info.num_classes < 2:
        raise ConfigError(
            f"task {info.name!r} needs at least 2 classes, got {info.num_classes}; "
            "the data set must declare num_classes"
        )
    return info.num_classes


def cross_entropy(
    prediction: Tensor, target: Target, class_weights: tuple[float, ...] = ()
) -> LossSums:
    """Sum the cross-entropy of each image.

    Args:
        prediction: Logits ``(N, K, H, W)`` or ``(N, K)``.
        target: Classes ``(N, H, W)`` or ``(N,)``; their values are only read where valid.
        class_weights: One factor per class, or empty.

    Returns:
        Sums and counts ``(N,)``, float32.
    """
    logits = prediction.float()
    classes = target.values.where(target.valid, 0)
    losses = _pixel_losses(logits, classes)
    if class_weights:
        losses = losses * torch.tensor(class_weights, device=losses.device)[classes]
    return sum_valid(losses, target.valid)


def _pixel_losses(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of every pixel, in the order of memory that torch is fastest in."""
    side_by_side = logits.ndim == 4 and logits.is_contiguous(memory_format=torch.channels_last)
    if not side_by_side or logits.shape[1] < FASTER_AS_ROWS:
        return F.cross_entropy(logits, classes, reduction="none")
    rows = logits.movedim(1, -1).flatten(0, -2)
    return F.cross_entropy(rows, classes.flatten(), reduction="none").view(classes.shape)
