"""Scores after an epoch: clean for every task, robust for the main task; always float32."""

from collections.abc import Sequence

import torch
from torch import nn

from taskgroup.data.base import VisionDataset
from taskgroup.data.loading import batches
from taskgroup.evaluation.scoring import score_model
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig, ValidationConfig
from taskgroup.training.seeding import derive_seed


def is_robust_epoch(validation: ValidationConfig, epoch: int, epochs: int) -> bool:
    """Whether the robust score is measured after ``epoch`` of ``epochs``, counted from 1."""
    return epoch % validation.every == 0 or epoch == epochs


def clean_scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    device: torch.device,
) -> dict[str, float]:
    """``<task>/clean/<score>`` of every task on the first validation images."""
    return _scores(config, model, tasks, dataset, attack=None, device=device)


def robust_scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    device: torch.device,
) -> dict[str, float]:
    """``<main task>/robust/<score>`` under the validation attack on the main task.

    The attack's random starts are the same after every epoch, so that epochs can be compared.
    """
    return _scores(
        config, model, tasks[:1], dataset, attack=config.validation.attack, device=device
    )


def _scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    attack: str | None,
    device: torch.device,
) -> dict[str, float]:
    count = min(config.validation.images or len(dataset), len(dataset))
    scores = score_model(
        model,
        tasks,
        batches(dataset, batch_size=config.training.batch_size, indices=range(count)),
        main_task=config.main_task,
        attack=attack,
        budget=config.validation,
        attacked_tasks=(config.main_task,),
        seed=derive_seed(config.seed, "validation"),
        device=device,
    )
    condition = "clean" if attack is None else "robust"
    return {
        f"{task}/{condition}/{name}": value
        for task, values in scores.values.items()
        for name, value in values.items()
    }
