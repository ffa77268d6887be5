"""The three attacks of MTRobust's released Cityscapes evaluation (arXiv:2007.07236), by its names.

They are PGD, MIM and Houdini. With ``seed_compatible`` they repeat what that code did: it took
images that were normalised by mean and standard deviation for images in [-1, 1]. So the radius is
twice epsilon in units of the standard deviation, bright pixels (above mean + std) are moved down by
it and dark ones (below mean - std) up to that edge whatever the network says, out of any ball.
"""

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.iterates import input_gradient
from taskgroup.attacks.mim import SEED_DECAY, mim
from taskgroup.attacks.pgd import pgd
from taskgroup.attacks.pixel_losses import houdini, raising
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

MEAN = (0.29010095242892997, 0.32808144844279574, 0.28696394422942517)
STD = (0.1829540508368939, 0.18656561047509476, 0.18447508988480435)
"""Of Cityscapes, for pixels in [0, 1], as in the released code."""


@ATTACKS.register("mtrobust_pgd")
def mtrobust_pgd(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """PGD; with ``seed_compatible`` in the wrong box, where the result leaves the ball.

    Then starts are the upper corner, the last iterate of one run is returned, and of the budget
    only epsilon, steps and step size count. Arguments and result are those of ``pgd``.

    Raises:
        ConfigError: ``seed_compatible`` with another norm than linf.
    """
    if not budget.seed_compatible:
        return pgd(objective, images, budget=budget, draws=draws)
    return in_wrong_box(objective, images, budget=budget, decay=0.0)


@ATTACKS.register("mtrobust_mim")
def mtrobust_mim(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """MIM; with ``seed_compatible`` in the wrong box, with decay 0.5 and raw gradients.

    Else as ``mtrobust_pgd``.
    """
    if not budget.seed_compatible:
        return mim(objective, images, budget=budget, draws=draws)
    return in_wrong_box(objective, images, budget=budget, decay=SEED_DECAY)


@ATTACKS.register("mtrobust_houdini")
def mtrobust_houdini(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """Houdini; with ``seed_compatible`` the published loss, and ``mtrobust_mim`` on it.

    Raises:
        ConfigError: As ``houdini``, and as ``mtrobust_pgd``.
    """
    if not budget.seed_compatible:
        return houdini(objective, images, budget=budget, draws=draws)
    raised = raising(objective, "houdini_seed", attack="mtrobust_houdini")
    return in_wrong_box(raised, images, budget=budget, decay=SEED_DECAY)


def in_wrong_box(
    objective: Objective, images: Tensor, *, budget: AttackBudget, decay: float
) -> Tensor:
    """Sign ascent on normalised images that are taken for images in [-1, 1].

    Args:
        objective: What to raise; it sees pixels in [0, 1].
        images: ``(N, 3, H, W)`` in [0, 1].
        budget: Radius, steps and step size, for pixels in [0, 1] as they were meant.
        decay: Share of the gradients so far that is kept from step to step.

    Returns:
        The last iterate, in [0, 1] but not in the ball.

    Raises:
        ConfigError: Another norm than linf.
    """
    if budget.norm != "linf":
        raise ConfigError(
            f"seed_compatible must go with norm linf, got {budget.norm}: the published attacks "
            "exist for no other norm; remove it"
        )
    clean = images.detach()
    if budget.epsilon == 0:
        return clean.clone()
    mean, std = (clean.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
    normalised = (clean - mean) / std
    upper = (normalised + 2 * budget.epsilon).clamp(max=1)
    lower = (normalised - 2 * budget.epsilon).clamp(min=-1)
    # The noise of the random start is clipped with the bounds swapped; whatever was drawn, that
    # leaves the upper bound, or x - radius for a bright pixel, whose upper bound lies lower.
    last = clip_in_turn(normalised, upper, lower)
    total = torch.zeros_like(clean)
    for step in range(budget.steps):
        gradient, _ = input_gradient(objective, last * std + mean, step / budget.steps)
        total = decay * total + gradient * std  # of the normalised image, as the code has it
        moved = last + 2 * budget.effective_step_size * total.sign()
        last = clip_in_turn(moved, lower, upper)
    return (last * std + mean).clamp(0, 1)


def clip_in_turn(images: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Clip from above and then from below, so that the lower bound wins where it is higher."""
    return torch.maximum(torch.minimum(images, upper), lower)
