"""From a condition to the images that a network is scored on."""

from collections.abc import Mapping

from torch import Tensor

from taskgroup.data.base import Batch
from taskgroup.evaluation.conditions import Condition
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.network import fast_precision
from taskgroup.evaluation.scoring import Attacker

WHOLE = ""
"""Member name of an attack that is no ensemble."""


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
    """
    if condition.attack is None:
        return {WHOLE: batch.images}
    attacker = Attacker(
        condition.attack,
        condition.budget,
        condition.attacked_tasks,
        main_task=trained.main_task,
        seed=seed,
        autocast=fast_precision(batch.images.device),
        combine=condition.combine,
    )
    return attacker.members(trained.model, trained.tasks, batch, number)
