"""Projected gradient ascent: PGD, its single step (FGSM) and its start at the image (BIM)."""

from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective, step_length
from taskgroup.attacks.geometry import assert_inside, project, starting_point, steepest
from taskgroup.attacks.iterates import Worst, evaluate_only, input_gradient
from taskgroup.draws import Draws


@ATTACKS.register("pgd")
def pgd(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Climb ``budget.steps`` times along the steepest direction, ``budget.restarts`` times over.

    Madry et al. 2018, arXiv:1706.06083. Restart after restart draws its start from ``generator``,
    so the first of five restarts is the same as a single one. With ``keep: best`` each image's
    iterate with the highest tracked loss over all steps and restarts is returned, the image itself
    included; with ``keep: last`` the last iterate of the last restart.

    Args:
        objective: What to raise.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and effort.
        draws: Source of the random starts; not used when there are none.

    Returns:
        Perturbed images of the same shape, without a graph.
    """
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    worst = Worst.before(images)
    if budget.keep == "best":
        worst = worst.offered(images, evaluate_only(objective, images, 0.0).tracked)
    last = images
    for _ in range(budget.restarts):
        start = starting_point(images, budget, draws)
        last, worst = _climb(objective, images, start, budget=budget, worst=worst)
    return assert_inside(worst.images if budget.keep == "best" else last, images, budget)


@ATTACKS.register("fgsm")
def fgsm(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Take one step along the steepest direction; ``steps`` and ``restarts`` do not count.

    The fast gradient sign method (Goodfellow et al. 2015). With a random start it is FGSM-RS, the
    one-step attack that trains robust networks when its step is 1.25 epsilon (Wong et al. 2020,
    arXiv:2001.03994).

    The step is ``budget.step_size`` long, by default epsilon from the image itself and
    1.25 epsilon from a random start.

    Args:
        objective: What to raise.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball, start, step and which iterate is kept.
        draws: Source of the random start; not used when there is none.

    Returns:
        Perturbed images of the same shape, without a graph.
    """
    length = step_length("fgsm", budget)
    one_step = budget.model_copy(update={"steps": 1, "restarts": 1, "step_size": length})
    return pgd(objective, images, budget=one_step, draws=draws)


@ATTACKS.register("bim")
def bim(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """PGD from the images themselves (Kurakin et al. 2017, arXiv:1607.02533).

    ``random_start`` and ``restarts`` do not count; else as ``pgd``.
    """
    from_images = budget.model_copy(update={"random_start": False, "restarts": 1})
    return pgd(objective, images, budget=from_images, draws=draws)


def _climb(
    objective: Objective, images: Tensor, start: Tensor, *, budget: AttackBudget, worst: Worst
) -> tuple[Tensor, Worst]:
    """One restart: the last iterate, and the worst of its iterates and those before."""
    perturbed = start
    for step in range(budget.steps):
        gradient, evaluation = input_gradient(objective, perturbed, step / budget.steps)
        if budget.keep == "best":
            worst = worst.offered(perturbed, evaluation.tracked)
        ascent = budget.effective_step_size * steepest(gradient, budget)
        perturbed = project(perturbed + ascent, images, budget)
    if budget.keep == "best":
        worst = worst.offered(perturbed, evaluate_only(objective, perturbed, 1.0).tracked)
    return perturbed, worst
