"""From a condition to the images that a network is scored on."""

from collections.abc import Mapping

from torch import Tensor

from taskgroup.attacks.base import ATTACKS, EnsembleAttack
from taskgroup.data.base import Batch
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.objective.combined import combined_objective
from taskgroup.evaluation.objective.network import fast_precision
from taskgroup.evaluation.scoring import seeded_draws
from taskgroup.evaluation.suites.conditions import Condition

WHOLE = ""
"""Member name of an attack that is no ensemble."""


def attacked_images(
    trained: TrainedModel, batch: Batch, condition: Condition, *, seed: int, number: int
) -> Mapping[str, Tensor]:
    """Attacked images ``(N, 3, H, W)`` by member of the attack; one for an attack without members.

    Args:
        trained: The network, fixed.
        batch: Clean images with a target per task.
        condition: What is done to them.
        seed: Seed of the evaluation.
        number: Place of the first image, which gives the batch its own random stream.

    Raises:
        ConfigError: The attack does not fit the task, or nobody knows it.
    """
    if condition.attack is None:
        return {WHOLE: batch.images}
    objective = combined_objective(
        trained.model,
        trained.tasks,
        batch.targets,
        batch.images,
        attacked_tasks=condition.attacked_tasks,
        combine=condition.combine,
        autocast=fast_precision(batch.images.device),
    )
    attack = ATTACKS[condition.attack]
    draws = seeded_draws(seed, number)
    if isinstance(attack, EnsembleAttack):
        return dict(attack.members(objective, batch.images, budget=condition.budget, draws=draws))
    return {WHOLE: attack(objective, batch.images, budget=condition.budget, draws=draws)}
