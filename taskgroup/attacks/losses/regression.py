"""Losses of tasks that predict numbers: depth, normals, edges."""

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.errors import ConfigError

SMALLEST_SQUARE = 1e-12
"""Added to squared lengths, so that their roots have a gradient at zero."""


@LOSSES.register("l1")
def l1(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Absolute error, the mean over channels, ``(N,)``, in the unit of the task."""
    return per_image(_difference(prediction, target).abs().mean(1), valid)


@LOSSES.register("mse")
def mse(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Squared error, the mean over channels, ``(N,)``; its gradient is zero where it is zero."""
    return per_image(_difference(prediction, target).square().mean(1), valid)


@LOSSES.register("angular")
def angular(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Angle in radians between vectors of any length, ``(N,)``; a prediction of zero has pi / 2.

    Kahan's formula: unlike the arc cosine and one minus the cosine, it keeps its gradient when
    both vectors nearly coincide or oppose each other.
    """
    _difference(prediction, target)
    first, second = _unit(prediction.float()), _unit(target)
    angle = 2 * torch.atan2(_length(first - second), _length(first + second))
    return per_image(angle.squeeze(1), valid)


def _difference(prediction: Tensor, target: Tensor) -> Tensor:
    """Prediction minus target, after a check that they are alike."""
    if prediction.shape != target.shape or not target.is_floating_point():
        raise ConfigError(
            "this attack loss needs numbers of the prediction's shape, got a prediction "
            f"{tuple(prediction.shape)} and a target {tuple(target.shape)} of {target.dtype}; "
            "choose cross_entropy or another loss of classes"
        )
    return prediction.float() - target


def _length(vectors: Tensor) -> Tensor:
    return (vectors.square().sum(1, keepdim=True) + SMALLEST_SQUARE).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / _length(vectors)
