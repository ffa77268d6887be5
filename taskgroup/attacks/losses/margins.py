"""Differences of logits: the margin, its sigmoid, and the difference of logits ratio of AutoAttack.

The ratio divides a margin by the spread of the highest logits, so that scaling a network's logits,
which makes the gradient of cross-entropy vanish, changes nothing (Croce and Hein 2020,
arXiv:2003.01690).
"""

import torch
from torch import Tensor

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.logits import classes_where, of_class, strongest_other
from taskgroup.errors import ConfigError

SMALLEST_SPREAD = 1e-12
"""Added to the denominator, as in AutoAttack."""


@LOSSES.register("margin")
def margin(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """Highest other logit minus the logit of the class, ``(N,)``; positive where wrong."""
    classes = classes_where(prediction, target, valid)
    return per_image(_margins(prediction.float(), classes), valid)


@LOSSES.register("sigmoid_margin")
def sigmoid_margin(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Sigmoid of the margin, a smooth count of the pixels that are wrong; ``(N,)`` in [0, 1].

    Its gradient fades for pixels that are far from the boundary on either side, so an attack works
    on those that it can still turn, without a mask.
    """
    classes = classes_where(prediction, target, valid)
    return per_image(_margins(prediction.float(), classes).sigmoid(), valid)


@LOSSES.register("dlr")
def dlr(prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN) -> Tensor:
    """The margin divided by highest minus third highest logit, ``(N,)``.

    Raises:
        ConfigError: There are fewer than 4 classes.
    """
    classes = classes_where(prediction, target, valid)
    logits = prediction.float()
    highest = _highest(logits, 3)
    spread = highest[:, 0] - highest[:, 2] + SMALLEST_SPREAD
    return per_image(_margins(logits, classes) / spread, valid)


@LOSSES.register("targeted_dlr")
def targeted_dlr(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Logit of ``setting.towards`` minus that of the class, divided by a spread, ``(N,)``.

    The spread is the highest logit minus the mean of the third and the fourth.

    Raises:
        ConfigError: There are fewer than 4 classes, or no class to go towards.
    """
    classes = classes_where(prediction, target, valid)
    if setting.towards is None:
        raise ConfigError(
            "attack loss 'targeted_dlr' needs a class to go towards, got none; give "
            "Setting(towards=...), or choose 'dlr'"
        )
    logits = prediction.float()
    highest = _highest(logits, 4)
    spread = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2 + SMALLEST_SPREAD
    wanted = of_class(logits, setting.towards.where(valid, 0))
    return per_image((wanted - of_class(logits, classes)) / spread, valid)


def _margins(logits: Tensor, classes: Tensor) -> Tensor:
    return strongest_other(logits, classes) - of_class(logits, classes)


def _highest(logits: Tensor, count: int) -> Tensor:
    """The highest logits in falling order."""
    if logits.shape[1] < 4:
        raise ConfigError(
            f"the difference of logits ratio needs at least 4 classes, got {logits.shape[1]}; "
            "choose cross_entropy or margin"
        )
    return torch.topk(logits, count, dim=1).values
