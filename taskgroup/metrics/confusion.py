"""Scores of class maps, from three counts per image and class.

torchmetrics' ``MulticlassJaccardIndex`` has the same definition but keeps no per-image sums, and
its sample-wise ``multiclass_stat_scores`` gives the same counts in twice the time.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from taskgroup.errors import DataError
from taskgroup.metrics.base import Direction, SumMetric


class ConfusionMetric(SumMetric):
    """Mean intersection over union, mean class accuracy and pixel accuracy.

    The sums of an image are, class by class, its correct pixels, its target pixels and its
    predicted pixels: ``S = 3 K``. Ignored pixels are in none of them.

    - ``miou``: intersection over union, averaged over the classes that occur in the targets or the
      predictions (``MulticlassJaccardIndex``).
    - ``mean_accuracy``: recall, averaged over the classes that occur in the targets. torchmetrics
      also averages over classes that are only predicted; the field does not.
    - ``accuracy``: share of correct pixels.
    """

    directions: ClassVar[Mapping[str, Direction]] = {
        "miou": "maximize",
        "mean_accuracy": "maximize",
        "accuracy": "maximize",
    }

    def __init__(self, num_classes: int) -> None:
        super().__init__(3 * num_classes)
        self.num_classes = num_classes

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Counts ``(N, 3 K)`` of logits ``(N, K, H, W)`` against classes ``(N, H, W)``.

        Raises:
            DataError: A valid pixel's class is not one of the ``K``, or there are not ``K`` logits.
        """
        self._check(prediction, values, valid)
        predicted = prediction.argmax(1)
        correct = valid & (predicted == values)
        counts = [
            self._count(values, correct),
            self._count(values, valid),
            self._count(predicted, valid),
        ]
        return torch.cat(counts, 1)

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 3 K)``."""
        correct, target, predicted = torch.split(sums, self.num_classes, -1)
        return {
            "miou": _mean_ratio(correct, target + predicted - correct),
            "mean_accuracy": _mean_ratio(correct, target),
            "accuracy": correct.sum(-1) / target.sum(-1),
        }

    def _check(self, prediction: Tensor, values: Tensor, valid: Tensor) -> None:
        """Refuse classes that have no place in the sums; the only wait for a GPU."""
        last = self.num_classes - 1
        wrong = valid & ((values < 0) | (values > last))
        if wrong.any():
            raise DataError(
                f"labels must be classes from 0 to {last}, or 255 where there is none, got class "
                f"{int(values[wrong][0])} for a head of {self.num_classes} classes; map it to 255 "
                "in the labels, or choose the data set that the network was built for"
            )
        if prediction.shape[1] != self.num_classes:
            raise DataError(
                f"a prediction must have one logit for each of {self.num_classes} classes, got "
                f"{prediction.shape[1]}; choose the data set that the network was built for"
            )

    def _count(self, classes: Tensor, mask: Tensor) -> Tensor:
        """Pixels of each class in each image under the mask, ``(N, K)`` float64."""
        places = classes.where(mask, self.num_classes).flatten(1)  # a column for all others
        counts = places.new_zeros(len(classes), self.num_classes + 1, dtype=torch.float64)
        counts.scatter_add_(1, places, counts.new_ones(()).expand_as(places))
        return counts[:, :-1]


class BackgroundConfusionMetric(ConfusionMetric):
    """The same scores, and two without the background class.

    - ``miou_foreground``: as ``miou``, over the other classes.
    - ``accuracy_foreground``: share of correct pixels among those that are not background.
    """

    directions: ClassVar[Mapping[str, Direction]] = {
        **ConfusionMetric.directions,
        "miou_foreground": "maximize",
        "accuracy_foreground": "maximize",
    }

    def __init__(self, num_classes: int, background: int) -> None:
        super().__init__(num_classes)
        self.background = background

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 3 K)``."""
        others = [c for c in range(self.num_classes) if c != self.background]
        counts = sums.view(*sums.shape[:-1], 3, self.num_classes)[..., others]
        correct, target, predicted = counts.unbind(-2)
        return super().score(sums) | {
            "miou_foreground": _mean_ratio(correct, target + predicted - correct),
            "accuracy_foreground": correct.sum(-1) / target.sum(-1),
        }


def _mean_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Mean over the last axis of the ratios whose denominator is positive; NaN if none is."""
    occurs = denominator > 0
    ratio = torch.where(occurs, numerator / denominator.clamp(min=1), 0.0)
    return ratio.sum(-1) / occurs.sum(-1)
