"""Scores of outputs that are attacked together: ``M`` pixels of one task, or several tasks."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from taskgroup.attacks.base import AttackBudget
from taskgroup.data.base import Batch
from taskgroup.evaluation.dimension.sampling import REPEAT_STRIDE, STARTS, random_ranks
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.objective.combined import Combine
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import WHOLE, BatchSeed
from taskgroup.evaluation.scoring import predict
from taskgroup.tasks.base import Target, Task

PIXEL_SCORE = "accuracy"


class ScoreSums(NamedTuple):
    """A metric's sums of each image, on the CPU, float64.

    Attributes:
        clean: Without attack, ``(N, S)``.
        attacked: Under attack, ``(N, S)``.
    """

    clean: Tensor
    attacked: Tensor


def pixel_score(task: Task) -> str:
    """The score of some outputs of a task: accuracy where it has one, else its main score.

    A mean over outputs has the same expectation for every number of them; a ratio of sums such as
    mIoU changes with the classes that happen to be among a few.
    """
    return PIXEL_SCORE if PIXEL_SCORE in task.metric().directions else task.main_score


def attack_pixels(
    trained: TrainedModel,
    task: Task,
    batch: Batch,
    prediction: Tensor,
    *,
    outputs: int,
    attack: str,
    budget: AttackBudget,
    seed: int,
    repeat: int,
) -> ScoreSums:
    """Attack ``outputs`` random valid pixels of each image, and score these pixels alone.

    The loss is that of the chosen pixels; all others are ignored like unlabelled ones. An image
    with fewer valid pixels has no sums (zero). Pixels of a repeat are nested: those of a larger
    number hold those of a smaller one.

    Args:
        trained: The network, fixed.
        task: A task of one output per pixel.
        batch: Clean images.
        prediction: Of the task for them, ``(N, C, H, W)``; the same for every attack.
        outputs: How many pixels.
        attack: Registry name of the attack.
        budget: Ball and effort.
        seed: Draws pixels and random starts.
        repeat: Number of the draw.
    """
    target = batch.targets[task.name]
    ranks = random_ranks(target.valid, batch.index, seed=seed, repeat=repeat)
    has_enough = target.valid.flatten(1).sum(1) >= outputs
    chosen = (ranks < outputs) & has_enough[:, None, None]
    masked = Batch(batch.images, {task.name: Target(target.values, chosen)}, batch.index)
    attacked = _attacked(
        trained, masked, (task.name,), "sum", attack, budget, seed=seed, repeat=repeat
    )
    return _scored(trained, task, masked, prediction, attacked)


def attack_tasks(
    trained: TrainedModel,
    task: Task,
    batch: Batch,
    prediction: Tensor,
    *,
    attacked_tasks: Sequence[str],
    combine: Combine,
    attack: str,
    budget: AttackBudget,
    seed: int,
) -> ScoreSums:
    """Attack several tasks together, and score ``task`` alone, of which ``prediction`` is clean."""
    attacked = _attacked(
        trained, batch, attacked_tasks, combine, attack, budget, seed=seed, repeat=0
    )
    return _scored(trained, task, batch, prediction, attacked)


def task_subsets(
    task_set: Sequence[str], task: str, size: int, *, most: int, seed: int
) -> list[tuple[str, ...]]:
    """Different sets of ``size`` tasks with ``task`` among them: all, or ``most`` that are drawn.

    Example:
        >>> task_subsets(("segmentation", "depth", "edges"), "segmentation", 2, most=5, seed=0)
        [('segmentation', 'depth'), ('segmentation', 'edges')]
    """
    others = [name for name in task_set if name != task]
    found = list(combinations(others, size - 1))
    if len(found) > most:
        rng = np.random.default_rng(seed)
        found = [found[place] for place in sorted(rng.permutation(len(found))[:most])]
    return [(task, *chosen) for chosen in found]


def _attacked(
    trained: TrainedModel,
    batch: Batch,
    attacked_tasks: Sequence[str],
    combine: Combine,
    attack: str,
    budget: AttackBudget,
    *,
    seed: int,
    repeat: int,
) -> Tensor:
    number = int(batch.index[0]) + STARTS + repeat * REPEAT_STRIDE
    perturbation = NetworkAttack(attack, budget, tuple(attacked_tasks), combine, is_joined=True)
    network = trained.under_test(batch.images.device)
    return perturbation.apply(network, batch, BatchSeed(seed, number))[WHOLE]


@torch.no_grad()
def _scored(
    trained: TrainedModel, task: Task, batch: Batch, prediction: Tensor, attacked: Tensor
) -> ScoreSums:
    metric, target = task.metric(), batch.targets[task.name]
    fooled = predict(trained.model, attacked, [task.name])[task.name]
    return ScoreSums(
        *(
            metric.per_image(map_, target.values, target.valid).cpu()
            for map_ in (prediction, fooled)
        )
    )
