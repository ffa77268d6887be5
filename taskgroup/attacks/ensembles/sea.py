"""SEA: three attack losses, each raised by APGD with shrinking radii.

Croce, Singh and Hein 2024, arXiv:2306.12941. Each loss finds other weaknesses; a network is scored
by the worst of the three, image by image.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.iterates import lowest_scored
from taskgroup.attacks.phases import lowest_of_phases
from taskgroup.attacks.pixel_losses import raising
from taskgroup.draws import Draws

SEA_LOSSES = ("masked_balanced_cross_entropy", "masked_cross_entropy", "jensen_shannon")
"""The ensemble in its published order."""
SEED_LOSSES = (*SEA_LOSSES[:2], "jensen_shannon_seed")
"""The same with the published form of the last one, whose gradient is NaN at confident pixels."""


class Sea:
    """The three-loss ensemble for class maps; ``budget.steps`` steps per loss, 300 published.

    ``budget.restarts``, ``keep`` and ``step_size`` do not count.
    """

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: AttackBudget,
        draws: Draws,
    ) -> Tensor:
        """Each image's member with the lowest pixel accuracy."""
        scored = raising(objective, SEA_LOSSES[-1], attack="sea", score="accuracy")
        members = self.members(objective, images, budget=budget, draws=draws)
        return lowest_scored(scored, images, members)

    def members(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: AttackBudget,
        draws: Draws,
    ) -> Iterator[tuple[str, Tensor]]:
        """Attack loss and perturbed images of each member: lowest pixel accuracy of the last phase.

        Raises:
            ConfigError: The task has no class per pixel, or the objective combines several tasks.
        """
        images = images.detach()
        is_seed = budget.seed_compatible
        for loss in SEED_LOSSES if is_seed else SEA_LOSSES:
            raised = raising(
                objective, loss, attack="sea", score="seed_accuracy" if is_seed else "accuracy"
            )
            stops: Literal["image", "batch"] = "batch" if is_seed else "image"
            yield (
                loss,
                lowest_of_phases(raised, images, budget=budget, draws=draws, stops=stops),
            )


sea = Sea()
ATTACKS.register("sea")(sea)
