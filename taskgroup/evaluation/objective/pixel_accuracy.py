"""The share of right pixels, image by image, as SEA follows it from step to step.

Unlike the counts of a metric it needs no look at the data, so a GPU is never waited for.
"""

from torch import Tensor

from taskgroup.tasks.base import Target


def pixel_accuracy(prediction: Tensor, target: Target) -> Tensor:
    """Share of the valid pixels that are right, ``(N,)``; NaN where nothing is valid.

    Args:
        prediction: Logits ``(N, K, H, W)``, or ``(N, K)`` for one class per image.
        target: Classes ``(N, H, W)`` or ``(N,)``.
    """
    right = (prediction.argmax(1) == target.values) & target.valid
    return _count(right) / _count(target.valid)


def seed_pixel_accuracy(prediction: Tensor, target: Target, *, is_first: bool) -> Tensor:
    """The same as the published SEA code counts it: over all pixels, ``(N,)``.

    There an ignored pixel is wrong when an attack begins and right ever after, so that the start
    looks better to the attack than whatever it finds.
    """
    right = prediction.argmax(1) == target.values
    counted = right & target.valid if is_first else right | ~target.valid
    return _count(counted) / target.valid[0].numel()


def _count(pixels: Tensor) -> Tensor:
    return pixels.unsqueeze(-1).flatten(1).sum(1).float()
