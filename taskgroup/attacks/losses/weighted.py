"""Cross-entropy with pixel weights that depend on the prediction: SegPGD and CosPGD."""

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.cross_entropy import pixel_cross_entropy
from taskgroup.attacks.losses.logits import classes_where, is_right, of_class

SMALLEST_LENGTH = 1e-12


@LOSSES.register("segpgd")
def segpgd(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """First the pixels that are right, in the end all alike, ``(N,)``.

    Right pixels weigh ``1 - progress / 2``, wrong ones ``progress / 2``: masked cross-entropy at
    the start, half the cross-entropy at the end (Gu et al. 2022, arXiv:2207.12391).
    """
    classes = classes_where(prediction, target, valid)
    wrong_weight = setting.progress / 2
    right = is_right(prediction, classes)
    weights = torch.where(right, 1 - wrong_weight, wrong_weight)
    return per_image(weights * pixel_cross_entropy(prediction, classes), valid)


@LOSSES.register("cospgd")
def cospgd(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Pixels weigh as much as the cosine between the logits' sigmoids and the class, ``(N,)``.

    The weight has no gradient (Agnihotri, Jung and Keuper 2024, arXiv:2302.02213; squashed by a
    sigmoid as in the SEA code).
    """
    return _by_cosine(prediction, target, valid, shares=prediction.float().sigmoid())


@LOSSES.register("cospgd_softmax")
def cospgd_softmax(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """CosPGD with the softmax of the logits instead of their sigmoids, ``(N,)``."""
    return _by_cosine(prediction, target, valid, shares=prediction.float().softmax(1))


def _by_cosine(prediction: Tensor, target: Tensor, valid: Tensor, *, shares: Tensor) -> Tensor:
    classes = classes_where(prediction, target, valid)
    length = torch.linalg.vector_norm(shares.detach(), dim=1).clamp(min=SMALLEST_LENGTH)
    weights = of_class(shares.detach(), classes) / length
    return per_image(weights * pixel_cross_entropy(prediction, classes), valid)
