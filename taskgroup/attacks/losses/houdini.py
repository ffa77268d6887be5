"""Houdini: a smooth stand-in for the task's own error (Cisse et al. 2017, arXiv:1707.05373)."""

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.logits import classes_where, of_class, strongest_other


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


def _mean_iou(predicted: Tensor, classes: Tensor, valid: Tensor, *, num_classes: int) -> Tensor:
    """IoU of each image averaged over the classes in it, ``(N,)``; 1 where nothing is valid."""
    hits = _count(classes, valid & (predicted == classes), num_classes)
    union = _count(classes, valid, num_classes) + _count(predicted, valid, num_classes) - hits
    occurs = union > 0
    shares = (hits / union.clamp(min=1)).sum(1) / occurs.sum(1).clamp(min=1)
    return torch.where(occurs.any(1), shares, 1.0)


def _count(classes: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """Counted pixels per image and class, ``(N, K)``."""
    zeros = torch.zeros(len(classes), num_classes, device=classes.device)
    flat = classes.unsqueeze(-1).flatten(1)
    return zeros.scatter_add(1, flat, counted.float().unsqueeze(-1).flatten(1))
