"""How far a prediction moves under attack: what TRADES minimises, and its attack maximises."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from taskgroup.attacks.base import Evaluation
from taskgroup.evaluation.objective.network import autocast
from taskgroup.tasks.base import Target


@dataclass(frozen=True)
class DivergenceObjective:
    """Divergence of one task's softmax from the clean prediction, per image.

    Attributes:
        model: The network.
        clean: Logits of the clean images, ``(N, K, H, W)`` or ``(N, K)``, without gradient.
        valid: ``(N, H, W)`` or ``(N,)`` bool.
        task: Name of the task.
        precision: Number format of forward passes; None is float32.
    """

    model: nn.Module
    clean: Tensor
    valid: Tensor
    task: str
    precision: torch.dtype | None = None

    @classmethod
    def around(
        cls,
        model: nn.Module,
        images: Tensor,
        target: Target,
        *,
        task: str,
        precision: torch.dtype | None = None,
    ) -> "DivergenceObjective":
        """The objective around the predictions of clean images ``(N, 3, H, W)``."""
        with torch.no_grad(), autocast(images.device, precision):
            clean = model(images, [task])[task]
        return cls(model, clean, target.valid, task, precision)

    def __call__(self, images: Tensor, progress: float) -> Evaluation:
        """Mean divergence over all pixels, per image; the score is its negative."""
        with autocast(images.device, self.precision):
            attacked = self.model(images, [self.task])[self.task]
        num_pixels = self.valid[0].numel()
        loss = softmax_divergence(self.clean, attacked, self.valid) / num_pixels
        return Evaluation(loss, loss.detach(), -loss.detach())

    def select(self, index: Tensor) -> "DivergenceObjective":
        """The objective of some of the images."""
        return DivergenceObjective(
            self.model, self.clean[index], self.valid[index], self.task, self.precision
        )


def softmax_divergence(clean: Tensor, attacked: Tensor, valid: Tensor) -> Tensor:
    """Sum KL(softmax(clean) || softmax(attacked)) over the valid pixels of each image.

    Args:
        clean: Logits ``(N, K, H, W)`` or ``(N, K)``.
        attacked: Logits of the same shape.
        valid: ``(N, H, W)`` or ``(N,)`` bool.

    Returns:
        ``(N,)`` float32, at least 0 but for rounding; 0 where nothing is valid.
    """
    reference = F.log_softmax(clean.float(), 1)
    moved = F.log_softmax(attacked.float(), 1)
    pixels = (reference.exp() * (reference - moved)).sum(1)
    rows = pixels.masked_fill(~valid, 0.0).reshape(len(pixels), math.prod(pixels.shape[1:]))
    return rows.sum(1)
