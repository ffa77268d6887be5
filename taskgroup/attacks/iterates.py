"""What attacks ask of an iterate: its gradient, its evaluation, whether it is the worst so far."""

from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from taskgroup.attacks.base import Evaluation, GradientObjective, Objective

STOP_CHECK_EVERY = 8
"""Iterations between checks for finished images where a check must wait for a device."""


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
    if isinstance(objective, GradientObjective):
        supplied, evaluation = objective.gradient(images, progress)
        return supplied.detach(), _detached(evaluation)
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


class Worst(NamedTuple):
    """The iterate of each image with the highest tracked loss so far.

    Attributes:
        images: ``(N, C, H, W)``.
        tracked: Its tracked loss, ``(N,)``.
    """

    images: Tensor
    tracked: Tensor

    @classmethod
    def before(cls, images: Tensor) -> Self:
        """Nothing tracked yet: any iterate is worse."""
        return cls(images, images.new_full((len(images),), -torch.inf, dtype=torch.float32))

    def offered(self, images: Tensor, tracked: Tensor) -> "Worst":
        """The worse of the kept iterate and this one; the older one on a tie.

        A loss of NaN counts as infinite: the network broke there, which is what an attacker wants,
        and dropping it would pass for robustness.
        """
        tracked = torch.nan_to_num(tracked, nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
        worse = tracked > self.tracked
        return Worst(
            torch.where(worse[:, None, None, None], images, self.images),
            torch.where(worse, tracked, self.tracked),
        )


def lowest_scored(
    objective: Objective, images: Tensor, members: Iterable[tuple[str, Tensor]]
) -> Tensor:
    """Each image's member with the lowest score, the first of equals, ``(N, C, H, W)``.

    Args:
        objective: What scores.
        images: The clean images.
        members: Names and perturbed images, as an ensemble gives them.
    """
    worst, lowest = images.detach().clone(), images.new_full((len(images),), torch.inf)
    for _, found in members:
        evaluation = evaluate_only(objective, found, 1.0)
        score = evaluation.score.masked_fill(evaluation.tracked.isnan(), -torch.inf)
        lower = score < lowest
        worst = torch.where(lower[:, None, None, None], found, worst)
        lowest = torch.where(lower, score, lowest)
    return worst


def is_stop_check(number: int, device: torch.device) -> bool:
    """Whether an attack checks for finished images in iteration ``number``, counted from 1.

    Always on a CPU; a check makes the host wait for a GPU.
    """
    return device.type == "cpu" or number % STOP_CHECK_EVERY == 1
