"""Random noise as strong as the threat model allows: the reference that an attack must beat."""

from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.compatibility import check_seed_compatible
from taskgroup.attacks.geometry import assert_inside, random_surface
from taskgroup.attacks.iterates import Worst, evaluate_only
from taskgroup.draws import Draws


@ATTACKS.register("noise")
def noise(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Random corners (linf) or surface points (l2) of the ball; no gradient is asked for.

    With ``keep: best`` each image's worst of ``budget.restarts`` draws is returned, the image
    itself included; with ``keep: last`` one draw, which the network has not seen.

    Args:
        objective: What tells the worst draw.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and number of draws.
        draws: Source of the noise.

    Returns:
        Perturbed images of the same shape, without a graph.
    """
    check_seed_compatible("noise", budget)
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    if budget.keep == "last":
        return assert_inside(random_surface(images, budget, draws), images, budget)
    worst = Worst.before(images).offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts):
        drawn = random_surface(images, budget, draws)
        worst = worst.offered(drawn, evaluate_only(objective, drawn, 1.0).tracked)
    return assert_inside(worst.images, images, budget)
