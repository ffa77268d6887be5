"""Houdini: a smooth stand-in for the task's own error (Cisse et al. 2017, arXiv:1707.05373)."""

import math

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.logits import (
    classes_where,
    is_right,
    of_class,
    strongest_other,
)


@LOSSES.register("houdini")
def houdini(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Chance that Gaussian noise on the margin makes a pixel wrong, times ``1 - IoU``; ``(N,)``.

    The noise has unit variance. The IoU is that of the image, averaged over its classes, and a
    constant to the gradient.
    """
    classes = classes_where(prediction, target, valid)
    logits = prediction.float()
    # The paper compares with the predicted class, which leaves a right pixel without a gradient;
    # the strongest other class gives it one.
    margins = strongest_other(logits, classes) - of_class(logits, classes)
    chance = torch.special.ndtr(margins)
    with torch.no_grad():
        error = 1 - _mean_iou(logits.argmax(1), classes, valid, num_classes=logits.shape[1])
    # A perfect image has no error to multiply with; one pixel's worth lets its attack begin.
    return per_image(chance, valid) * error.clamp(min=1 / classes[0].numel())


@LOSSES.register("houdini_seed")
def houdini_seed(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Houdini as the MTRobust code (arXiv:2007.07236) has it, bugs included; ``(N,)``.

    The margin is to the predicted class, the task's term is the IoU in percent instead of the
    error, over all classes with absent ones as zero. The gradient was written by hand: it rises at
    the predicted class and falls at the label, where the fall overwrites the rise, so that a right
    pixel is pushed down at its label. A network with an IoU of zero has no gradient.
    """
    classes = classes_where(prediction, target, valid)
    scores = prediction.float().log_softmax(1)
    label, highest = of_class(scores, classes), scores.amax(1)
    margins = (label - highest).detach()
    slope = torch.exp(-margins.square() / 2) / math.sqrt(2 * math.pi)
    direction = torch.where(is_right(scores, classes), 0.0, highest) - label
    chance = 1 - torch.special.ndtr(margins) + slope * (direction - direction.detach())
    with torch.no_grad():
        predicted = scores.argmax(1)
        hits, union = _overlaps(predicted, classes, valid, num_classes=scores.shape[1])
        percent = 100 * (hits / (union + 1e-7)).mean(1)
    return per_image(chance, valid) * percent


def _mean_iou(predicted: Tensor, classes: Tensor, valid: Tensor, *, num_classes: int) -> Tensor:
    """IoU of each image averaged over the classes in it, ``(N,)``; 1 where nothing is valid."""
    hits, union = _overlaps(predicted, classes, valid, num_classes=num_classes)
    occurs = union > 0
    shares = (hits / union.clamp(min=1)).sum(1) / occurs.sum(1).clamp(min=1)
    return torch.where(occurs.any(1), shares, 1.0)


def _overlaps(
    predicted: Tensor, classes: Tensor, valid: Tensor, *, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Pixels of intersection and of union per image and class, ``(N, K)`` each."""
    hits = _count(classes, valid & (predicted == classes), num_classes)
    union = _count(classes, valid, num_classes) + _count(predicted, valid, num_classes) - hits
    return hits, union


def _count(classes: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """Counted pixels per image and class, ``(N, K)``."""
    zeros = torch.zeros(len(classes), num_classes, device=classes.device)
    flat = classes.unsqueeze(-1).flatten(1)
    return zeros.scatter_add(1, flat, counted.float().unsqueeze(-1).flatten(1))
