"""What losses read off logits; all are per pixel, ``(N, H, W)``, or per image, ``(N,)``."""

import torch
from torch import Tensor

from taskgroup.errors import ConfigError


def classes_where(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Class numbers with zero where invalid.

    Raises:
        ConfigError: The target holds no classes, or there are fewer than two logits.
    """
    shape = (len(prediction), *prediction.shape[2:])
    if target.is_floating_point() or tuple(target.shape) != shape or prediction.shape[1] < 2:
        raise ConfigError(
            "this attack loss needs logits of at least 2 classes and class numbers, got a "
            f"prediction {tuple(prediction.shape)} and a target {tuple(target.shape)} of "
            f"{target.dtype}; choose l1, mse or angular for a regression task"
        )
    return target.where(valid, 0)


def of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of each pixel's class."""
    return logits.gather(1, classes.unsqueeze(1)).squeeze(1)


def without_class(logits: Tensor, classes: Tensor) -> Tensor:
    """The logits with minus infinity at each pixel's class, so that the others are left."""
    return logits.scatter(1, classes.unsqueeze(1), -torch.inf)


def strongest_other(logits: Tensor, classes: Tensor) -> Tensor:
    """The highest logit beside that of each pixel's class."""
    return without_class(logits, classes).amax(1)


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Log of the class's probability over that of all others, ``log(p / (1 - p))``.

    The others are summed by themselves. From ``1 - p`` a confident pixel, whose ``p`` rounds to 1
    from a logit gap of 17 on, would lose its small gradient and with it the sign of its step.
    """
    return of_class(logits, classes) - without_class(logits, classes).logsumexp(1)


def is_right(logits: Tensor, classes: Tensor) -> Tensor:
    """Whether the class has the highest logit; bool, without a gradient."""
    return logits.argmax(1) == classes


def logit_gap(logits: Tensor, valid: Tensor) -> Tensor:
    """Highest minus second highest logit, the mean over valid pixels, ``(N,)``; 0 without any.

    Args:
        logits: ``(N, K, H, W)`` or ``(N, K)``; a single one stands beside a logit of 0.
        valid: ``(N, H, W)`` or ``(N,)`` bool.
    """
    seen = logits.float()
    if seen.shape[1] == 1:
        seen = torch.cat([seen, torch.zeros_like(seen)], 1)
    highest = seen.topk(2, dim=1).values
    gaps = (highest[:, 0] - highest[:, 1]).masked_fill(~valid, 0.0).unsqueeze(-1).flatten(1).sum(1)
    return gaps / valid.unsqueeze(-1).flatten(1).sum(1).clamp(min=1)
