"""Input gradients: one forward pass gives the ascent direction and the numbers that go with it."""

import torch
from torch import Tensor

from taskgroup.attacks.base import Evaluation, Objective


def input_gradient(
    objective: Objective, images: Tensor, progress: float
) -> tuple[Tensor, Evaluation]:
    """Gradient of the summed losses with respect to ``images`` only, and the evaluation.

    The losses of a batch are independent, so the gradient of their sum holds each image's own.
    Gradients of parameters are neither computed nor touched. An objective that supplies
    ``gradient`` is asked for it instead. Nothing returned carries a graph; the gradient is zero
    where the loss does not depend on the image.

    Args:
        objective: What to raise.
        images: ``(N, C, H, W)``.
        progress: Share of the attack that is over, from 0 to 1.
    """
    supplied = getattr(objective, "gradient", None)
    if supplied is not None:
        gradient, evaluation = supplied(images, progress)
        return gradient.detach(), _detached(evaluation)
    with torch.enable_grad():
        probe = images.detach().requires_grad_()
        evaluation = objective(probe, progress)
        loss = evaluation.loss.sum()
        gradient = (
            torch.autograd.grad(loss, probe, allow_unused=True)[0] if loss.requires_grad else None
        )
    return torch.zeros_like(images) if gradient is None else gradient, _detached(evaluation)


@torch.no_grad()
def evaluate_only(objective: Objective, images: Tensor, progress: float) -> Evaluation:
    """The evaluation alone, without recording a graph."""
    return _detached(objective(images, progress))


def _detached(evaluation: Evaluation) -> Evaluation:
    return Evaluation(*(values.detach() for values in evaluation))
