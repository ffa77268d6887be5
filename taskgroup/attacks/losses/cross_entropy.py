"""Cross-entropy and its masked and class-balanced forms.

The masked forms count only pixels that are still right: what is wrong already needs no push. They
can fall while an attack succeeds, so an attack tracks the plain cross-entropy beside them. With
Jensen-Shannon they make up the SEA attack (Croce, Singh and Hein 2024, arXiv:2306.12941).
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import softplus

from taskgroup.attacks.losses.base import LOSSES, PLAIN, Setting, per_image
from taskgroup.attacks.losses.logits import classes_where, is_right, log_odds
from taskgroup.errors import ConfigError


@LOSSES.register("cross_entropy")
def cross_entropy(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Minus the log-probability of the class, ``(N,)``."""
    classes = classes_where(prediction, target, valid)
    return per_image(pixel_cross_entropy(prediction, classes), valid)


@LOSSES.register("balanced_cross_entropy")
def balanced_cross_entropy(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """Cross-entropy times the weight of the pixel's class, ``(N,)``."""
    classes = classes_where(prediction, target, valid)
    weights = weights_of(classes, setting, prediction.shape[1])
    return per_image(weights * pixel_cross_entropy(prediction, classes), valid)


@LOSSES.register("masked_cross_entropy")
def masked_cross_entropy(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """MCE of SEA: cross-entropy of the pixels that are right, ``(N,)``."""
    classes = classes_where(prediction, target, valid)
    right = is_right(prediction, classes) & valid
    return per_image(pixel_cross_entropy(prediction, classes), right)


@LOSSES.register("masked_balanced_cross_entropy")
def masked_balanced_cross_entropy(
    prediction: Tensor, target: Tensor, valid: Tensor, setting: Setting = PLAIN
) -> Tensor:
    """MCE-Bal of SEA: the same times the weight of the pixel's class, ``(N,)``.

    With weights inverse to the classes' pixel counts it aims at the mean IoU, which never exceeds
    the mean over classes of the share of their pixels that are right.
    """
    classes = classes_where(prediction, target, valid)
    right = is_right(prediction, classes) & valid
    weights = weights_of(classes, setting, prediction.shape[1])
    return per_image(weights * pixel_cross_entropy(prediction, classes), right)


def pixel_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of each pixel, its gradient exact at any confidence."""
    return softplus(-log_odds(logits.float(), classes))


def weights_of(classes: Tensor, setting: Setting, num_classes: int) -> Tensor:
    """The weight of each pixel's class.

    Raises:
        ConfigError: There is not one weight per class.
    """
    if len(setting.class_weights) != num_classes:
        raise ConfigError(
            f"a balanced attack loss needs one weight for each of {num_classes} classes, got "
            f"{len(setting.class_weights)}; name the data set's class_shares, or choose the loss "
            "without 'balanced_'"
        )
    return _on_device(setting.class_weights, classes.device)[classes]


@lru_cache(maxsize=16)
def _on_device(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """The weights as a tensor, copied once: a copy in every step would wait for a GPU."""
    return torch.tensor(weights, device=device)
