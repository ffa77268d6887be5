"""MIM: iterated FGSM with momentum (Dong et al. 2018, arXiv:1710.06081)."""

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.geometry import assert_inside, project, starting_point, steepest
from taskgroup.attacks.iterates import Worst, evaluate_only, input_gradient
from taskgroup.draws import Draws

DECAY = 1.0
"""Share of the gradients so far that is kept; mu of Dong et al."""
SEED_DECAY = 0.5
"""The same in the MTRobust code."""


@ATTACKS.register("mim")
def mim(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """PGD along the sum of all gradients so far, each of l1 norm 1.

    Arguments and result are those of ``pgd``.
    """
    return with_momentum(objective, images, budget=budget, draws=draws)


@ATTACKS.register("mim_seed")
def mim_seed(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """MIM as in MTRobust (arXiv:2007.07236): decay 0.5, and gradients as long as they are."""
    return with_momentum(
        objective, images, budget=budget, draws=draws, decay=SEED_DECAY, normalised=False
    )


def with_momentum(
    objective: Objective,
    images: Tensor,
    *,
    budget: AttackBudget,
    draws: Draws,
    decay: float = DECAY,
    normalised: bool = True,
) -> Tensor:
    """Climb along a decaying sum of gradients, ``budget.restarts`` times over.

    Args:
        objective: What to raise.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and effort.
        draws: Source of the random starts.
        decay: Share of the sum that is kept from step to step.
        normalised: Divide each image's gradient by its l1 norm first.
    """
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    worst, last = Worst.before(images), images
    if budget.keep == "best":
        worst = worst.offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts):
        last = starting_point(images, budget, draws)
        total = torch.zeros_like(images)
        for step in range(budget.steps):
            gradient, evaluation = input_gradient(objective, last, step / budget.steps)
            if budget.keep == "best":
                worst = worst.offered(last, evaluation.tracked)
            gradient = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            total = decay * total + (_of_length_one(gradient) if normalised else gradient)
            ahead = last + budget.effective_step_size * steepest(total, budget)
            last = project(ahead, images, budget)
        if budget.keep == "best":
            worst = worst.offered(last, evaluate_only(objective, last, 1.0).tracked)
    return assert_inside(worst.images if budget.keep == "best" else last, images, budget)


def _of_length_one(gradient: Tensor) -> Tensor:
    """Each image's gradient divided by its l1 norm; zero stays zero."""
    largest = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)
    return scaled / scaled.abs().sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
