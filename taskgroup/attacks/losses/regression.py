"""Losses of tasks that predict numbers: depth, normals, edges, two-class maps.

Beside the errors that such tasks are trained with, there is a loss for every score that they report
(``LOSS_OF_SCORE``): an attack on the absolute error does not find the worst share of near pixels.
A score that counts pixels below a threshold is raised through a sigmoid of the distance from it.
"""

import math

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.errors import ConfigError

SMALLEST_SQUARE = 1e-12
"""Added to squared lengths, so that their roots have a gradient at zero."""
SMALLEST_DEPTH = 1e-6
"""Least depth whose logarithm is taken; metres."""
NEAR_RATIO = 1.25
RATIO_WIDTH = 0.05
"""Threshold of ``delta1``, and how far from its logarithm the sigmoid is still steep."""
NEAR_ANGLE = math.radians(11.25)
ANGLE_WIDTH = math.radians(2.5)
"""The same for ``within_11_25``: about the same share of the threshold."""
LOSS_OF_SCORE = {
    "abs_rel": "abs_rel",
    "rmse": "mse",
    "delta1": "delta1",
    "mae": "l1",
    "angular_error": "angular",
    "within_11_25": "within_11_25",
    "f1": "binary_margin",
    "iou": "binary_margin",
    "accuracy": "binary_margin",
}
"""The attack loss that aims at each reported score of a task of numbers."""
OF_LOGITS = frozenset({"binary_margin"})
"""Those of them whose predictions are logits, of any scale."""


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
    return per_image(_angles(prediction, target), valid)


@LOSSES.register("abs_rel")
def abs_rel(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Absolute error over the target, ``(N,)``; targets are above 0."""
    error = _difference(prediction, target).abs() / target.clamp(min=SMALLEST_DEPTH)
    return per_image(error.mean(1), valid)


@LOSSES.register("delta1")
def delta1(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """A smooth count of pixels whose ratio to the target is 1.25 or more either way, ``(N,)``.

    Sigmoid of ``(|log ratio| - log 1.25) / 0.05``; a prediction of 0 or less is far.
    """
    _difference(prediction, target)
    floor = SMALLEST_DEPTH
    ratio = prediction.float().clamp(min=floor).log() - target.clamp(min=floor).log()
    beyond = (ratio.abs() - math.log(NEAR_RATIO)) / RATIO_WIDTH
    return per_image(beyond.sigmoid().mean(1), valid)


@LOSSES.register("within_11_25")
def within_11_25(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """A smooth count of pixels whose angle is 11.25 degrees or more, ``(N,)``.

    Sigmoid of the angle beyond that, over 2.5 degrees.
    """
    beyond = (_angles(prediction, target) - NEAR_ANGLE) / ANGLE_WIDTH
    return per_image(beyond.sigmoid(), valid)


@LOSSES.register("binary_margin")
def binary_margin(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """A smooth count of the wrong pixels of a two-class map, ``(N,)``.

    Sigmoid of the logit where the target is 0.5 or less, of minus the logit elsewhere.
    """
    _difference(prediction, target)
    towards = torch.where(target > 0.5, -1.0, 1.0)
    return per_image((prediction.float() * towards).sigmoid().mean(1), valid)


def _angles(prediction: Tensor, target: Tensor) -> Tensor:
    """Angle of each pixel in radians, ``(N, H, W)``."""
    _difference(prediction, target)
    first, second = _unit(prediction.float()), _unit(target)
    angle = 2 * torch.atan2(_length(first - second), _length(first + second))
    return angle.squeeze(1)


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
