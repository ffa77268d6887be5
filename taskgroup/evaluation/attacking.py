"""From a condition to the images that a network is scored on."""

from collections.abc import Mapping

from torch import Tensor

from taskgroup.attacks.apgd import apgd_phases
from taskgroup.attacks.base import ATTACKS
from taskgroup.attacks.geometry import assert_inside
from taskgroup.data.base import Batch
from taskgroup.errors import ConfigError
from taskgroup.evaluation.combined import combined_objective
from taskgroup.evaluation.conditions import Condition
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.network import fast_precision
from taskgroup.evaluation.objective import TaskObjective
from taskgroup.evaluation.scoring import seeded_generator

WHOLE = ""
"""Member name of an attack that is no ensemble."""
SEA = "sea"
SEA_LOSSES = ("masked_balanced_cross_entropy", "masked_cross_entropy", "jensen_shannon")
"""The ensemble of Croce, Singh and Hein (2024, arXiv:2306.12941), in its published order."""


def attacked_images(
    trained: TrainedModel, batch: Batch, condition: Condition, *, seed: int, number: int
) -> Mapping[str, Tensor]:
    """Attacked images ``(N, 3, H, W)`` by member of the attack; one for an attack without members.

    Args:
        trained: The network, held still.
        batch: Clean images with a target per task.
        condition: What is done to them.
        seed: Seed of the evaluation.
        number: Place of the first image, which gives the batch its own random stream.

    Raises:
        ConfigError: The attack does not fit the task, or nobody knows it.
    """
    if condition.attack is None:
        return {WHOLE: batch.images}
    if condition.attack == SEA and SEA not in ATTACKS:
        return _sea(trained, batch, condition, seed=seed, number=number)
    objective = combined_objective(
        trained.model,
        trained.tasks,
        batch.targets,
        batch.images,
        attacked_tasks=condition.attacked_tasks,
        combine=condition.combine,
        autocast=fast_precision(batch.images.device),
    )
    attacked = ATTACKS[condition.attack](
        objective,
        batch.images,
        budget=condition.budget,
        generator=seeded_generator(seed, number),
    )
    return {WHOLE: attacked}


def _sea(
    trained: TrainedModel, batch: Batch, condition: Condition, *, seed: int, number: int
) -> dict[str, Tensor]:
    """APGD with shrinking radii on each of the three losses."""
    task = trained.main
    if task.info.num_classes is None or task.output == "vector":
        raise ConfigError(
            f"attack 'sea' needs a class map, but task {task.name!r} is none; take apgd"
        )
    attacked = {}
    # Without known class shares all classes weigh alike, and the first loss is the second.
    for loss in SEA_LOSSES if task.info.class_shares else SEA_LOSSES[1:]:
        objective = TaskObjective(
            trained.model,
            trained.tasks,
            batch.targets,
            main_task=task.name,
            attacked_tasks=condition.attacked_tasks,
            loss=loss,
            autocast=fast_precision(batch.images.device),
        )
        end = apgd_phases(
            objective,
            batch.images,
            threat=condition.budget,
            steps=condition.budget.steps,
            generator=seeded_generator(seed, number),
            stop_at=0.0,
        )
        attacked[loss] = assert_inside(end.lowest, batch.images, condition.budget)
    return attacked
