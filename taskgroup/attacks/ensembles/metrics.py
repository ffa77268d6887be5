"""APGD on every reported score of a task of numbers, and on the absolute error.

An attack that raises one error leaves another score better than it could be: pixels that are far
off already raise the absolute error further, and are no fewer by that.
"""

from collections.abc import Iterator

from torch import Tensor

from taskgroup.attacks.apgd import apgd
from taskgroup.attacks.base import ATTACKS, AttackBudget, LossObjective, Objective
from taskgroup.attacks.compatibility import check_seed_compatible
from taskgroup.attacks.ensembles.tempered import temperature
from taskgroup.attacks.iterates import Worst, evaluate_only
from taskgroup.attacks.losses.regression import LOSS_OF_SCORE, OF_LOGITS
from taskgroup.attacks.pixel_losses import with_losses
from taskgroup.draws import Draws

ALWAYS = "l1"
"""Raised whatever is reported, but for tasks of logits: MTRobust's loss of depth and normals."""
OWN = "task_loss"
"""Member that raises the task's own loss: where a score is reported that no attack loss aims at."""


class Metrics:
    """One run of APGD with ``budget`` per loss; for depth, normals, edges and the like."""

    def __call__(
        self, objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
    ) -> Tensor:
        """Each image's worst member by the loss of the main score."""
        check_seed_compatible("apgd_metrics", budget)
        raised = _raised(with_losses(objective, attack="apgd_metrics"), images)
        main = next(iter(raised.values()))
        worst = Worst.before(images.detach())
        for _, found in self.members(objective, images, budget=budget, draws=draws):
            worst = worst.offered(found, evaluate_only(main, found, 1.0).tracked)
        return worst.images.clone()

    def members(
        self, objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
    ) -> Iterator[tuple[str, Tensor]]:
        """Attack loss and perturbed images of each member.

        Raises:
            ConfigError: The task predicts classes, or the objective combines several tasks.
        """
        checked = with_losses(objective, attack="apgd_metrics")
        for loss, raised in _raised(checked, images).items():
            yield loss, apgd(raised, images, budget=budget, draws=draws)


def losses_of(scores: tuple[str, ...]) -> tuple[str, ...]:
    """The attack losses that aim at some scores, the main score's first, each once.

    Example:
        >>> losses_of(("abs_rel", "rmse", "delta1", "mae"))
        ('abs_rel', 'mse', 'delta1', 'l1')
        >>> losses_of(("f1", "iou", "accuracy"))
        ('binary_margin', 'task_loss')
        >>> losses_of(("my_score",))
        ('task_loss',)
    """
    found = [LOSS_OF_SCORE.get(score, OWN) for score in scores] or [OWN]
    found.append(OWN if OF_LOGITS.intersection(found) or OWN in found else ALWAYS)
    return tuple(dict.fromkeys(found))


def _raised(objective: LossObjective, images: Tensor) -> dict[str, Objective]:
    """The objective of each member; each ranks iterates by what it raises."""
    found: dict[str, Objective] = {}
    for loss in losses_of(objective.scores):
        if loss == OWN:
            found[loss] = objective
            continue
        scale = temperature(objective.logit_gap(images)) if loss in OF_LOGITS else None
        found[loss] = objective.with_loss(loss, tracks="raised", temperature=scale)
    return found


metrics = Metrics()
ATTACKS.register("apgd_metrics")(metrics)
