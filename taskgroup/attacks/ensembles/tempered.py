"""Two attacks on tempered logits for class maps: Adam on MCE-Bal, APGD on the sigmoid margin.

Both divide each image's logits by a temperature that makes their losses the same for a network and
for one whose logits are a thousand times smaller or ten times larger. docs/attacks.md derives it.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.adam import adam_climb
from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.compatibility import check_norm, check_seed_compatible
from taskgroup.attacks.iterates import lowest_scored
from taskgroup.attacks.phases import Climber, lowest_of_phases
from taskgroup.attacks.pixel_losses import raising, with_losses
from taskgroup.draws import Draws

GAP = 16.0
"""Mean gap between the two highest logits that a clean image is brought to."""


class Member(NamedTuple):
    """How a member climbs, the loss that it raises, and the one that ranks its iterates."""

    climber: Climber
    loss: str
    tracks: Literal["task", "raised"]


MEMBERS = {
    "adam_masked_balanced_cross_entropy": Member(
        adam_climb, "masked_balanced_cross_entropy", "task"
    ),
    "apgd_sigmoid_margin": Member(climb, "sigmoid_margin", "raised"),
}
"""APGD halves its steps by what it tracks, which must not change with the scale of the logits. Adam
tracks nothing but whether the network broke, which a masked loss can hide."""


class Tempered:
    """The two-member ensemble for class maps; ``budget.steps`` steps per member.

    Both climb in balls of 2, 1.5 and 1 epsilon, one after the other, and return each image's
    iterate with the lowest pixel accuracy. ``budget.restarts``, ``keep`` and ``step_size`` do not
    count.
    """

    def __call__(
        self, objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
    ) -> Tensor:
        """Each image's member with the lowest pixel accuracy."""
        check_seed_compatible("tempered", budget)
        check_norm("tempered", budget)
        scored = raising(objective, "sigmoid_margin", attack="tempered", score="accuracy")
        members = self.members(objective, images, budget=budget, draws=draws)
        return lowest_scored(scored, images, members)

    def members(
        self, objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
    ) -> Iterator[tuple[str, Tensor]]:
        """Name and perturbed images of each member: lowest pixel accuracy of the last phase.

        Raises:
            ConfigError: The task has no class per pixel, or the objective combines several tasks.
        """
        images = images.detach()
        scale = temperature(with_losses(objective, attack="tempered").logit_gap(images))
        for name, member in MEMBERS.items():
            raised = raising(
                objective,
                member.loss,
                attack="tempered",
                tracks=member.tracks,
                temperature=scale,
                score="accuracy",
            )
            found = lowest_of_phases(
                raised, images, budget=budget, draws=draws, climber=member.climber
            )
            yield name, found


def temperature(gaps: Tensor) -> Tensor:
    """What to divide logits by, ``(N,)``; 1 where a network tells no class from another or broke.

    Args:
        gaps: Mean gap between the two highest logits of each clean image, ``(N,)``.

    Example:
        >>> temperature(torch.tensor([8.0, 0.0, torch.nan]))
        tensor([0.5000, 1.0000, 1.0000])
    """
    tells = gaps.isfinite() & (gaps > 0)
    return torch.where(tells, gaps / GAP, 1.0)


tempered = Tempered()
ATTACKS.register("tempered")(tempered)
