"""SEA: three attack losses, each raised by APGD with shrinking radii.

Croce, Singh and Hein 2024, arXiv:2306.12941. Each loss finds other weaknesses; a network is judged
by the worst of the three, image by image.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from taskgroup.attacks.apgd import apgd_phases
from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.geometry import assert_inside
from taskgroup.attacks.gradients import evaluate_only
from taskgroup.attacks.pixel_losses import raising

SEA_LOSSES = ("masked_balanced_cross_entropy", "masked_cross_entropy", "jensen_shannon")
"""The ensemble in its published order."""


class Sea:
    """The three-loss ensemble for class maps; ``budget.steps`` steps per loss, 300 published."""

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: AttackBudget,
        generator: torch.Generator,
    ) -> Tensor:
        """Each image's member with the lowest score."""
        worst, lowest = images.detach().clone(), torch.full((len(images),), torch.inf)
        scored = raising(objective, SEA_LOSSES[-1])
        lowest = lowest.to(images.device)
        for _, found in self.members(objective, images, budget=budget, generator=generator):
            score = evaluate_only(scored, found, 1.0).score
            lower = score < lowest
            worst = torch.where(lower[:, None, None, None], found, worst)
            lowest = torch.where(lower, score, lowest)
        return worst

    def members(
        self,
        objective: Objective,
        images: Tensor,
        *,
        budget: AttackBudget,
        generator: torch.Generator,
    ) -> Iterator[tuple[str, Tensor]]:
        """Attack loss and perturbed images of each member; lowest score of the last phase.

        Raises:
            ConfigError: The task has no classes, or the objective combines several tasks.
        """
        images = images.detach()
        for loss in SEA_LOSSES:
            if budget.epsilon == 0:
                yield loss, images.clone()
                continue
            end = apgd_phases(
                raising(objective, loss),
                images,
                threat=budget,
                steps=budget.steps,
                generator=generator,
                random_start=budget.random_start,
                stop_at=0.0,
            )
            yield loss, assert_inside(end.lowest, images, budget)


sea = ATTACKS.register("sea")(Sea())
