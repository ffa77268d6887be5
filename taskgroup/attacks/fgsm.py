"""The fast gradient sign method: one step to the edge of the ball (Goodfellow et al. 2015).

With a random start it is FGSM-RS, the one-step attack that trains robust networks when its step
is 1.25 epsilon (Wong et al. 2020, arXiv:2001.03994).
"""

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.pgd import pgd
from taskgroup.attacks.step_length import step_length


@ATTACKS.register("fgsm")
def fgsm(
    objective: Objective, images: Tensor, *, budget: AttackBudget, generator: torch.Generator
) -> Tensor:
    """Take one step along the steepest direction; ``steps`` and ``restarts`` do not count.

    The step is ``budget.step_size`` long, by default epsilon from the image itself and
    1.25 epsilon from a random start.

    Args:
        objective: What to raise.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball, start, step and which iterate is kept.
        generator: Source of the random start; not used when there is none.

    Returns:
        Perturbed images of the same shape, without a graph.
    """
    length = step_length("fgsm", budget)
    one_step = budget.model_copy(update={"steps": 1, "restarts": 1, "step_size": length})
    return pgd(objective, images, budget=one_step, generator=generator)
