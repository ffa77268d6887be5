"""From a loss per pixel to a sum and a count per image."""

from torch import Tensor

from taskgroup.tasks.base import LossSums


def sum_valid(losses: Tensor, valid: Tensor) -> LossSums:
    """Sum losses over the valid pixels of each image.

    Args:
        losses: ``(N, H, W)`` or ``(N,)``, float32.
        valid: Same shape, bool; elsewhere a loss counts nothing and gets no gradient.

    Returns:
        Sums and counts ``(N,)``, float32; both zero where nothing is valid.
    """
    kept = losses.masked_fill(~valid, 0.0)
    return LossSums(_sum_images(kept), _sum_images(valid.float()))


def _sum_images(values: Tensor) -> Tensor:
    """Sum all but the first axis."""
    return values.unsqueeze(-1).flatten(1).sum(1)
