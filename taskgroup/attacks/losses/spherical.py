"""The logit of the class on the unit sphere; masked (MSL) it was in the first SEA ensemble."""

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.logits import classes_where, is_right, of_class

SMALLEST_LENGTH = 1e-12


@LOSSES.register("spherical")
def spherical(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Minus the logit of the class over the length of all logits, in [-1, 1]; ``(N,)``."""
    classes = classes_where(prediction, target, valid)
    return per_image(_pixels(prediction.float(), classes), valid)


@LOSSES.register("masked_spherical")
def masked_spherical(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """MSL: the same on the pixels that are right, ``(N,)`` (arXiv:2306.12941v1)."""
    classes = classes_where(prediction, target, valid)
    right = is_right(prediction, classes) & valid
    return per_image(_pixels(prediction.float(), classes), right)


def _pixels(logits: Tensor, classes: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(logits, dim=1).clamp(min=SMALLEST_LENGTH)
    return -of_class(logits, classes) / length
