"""Scores after an epoch: clean for every task, robust for the main task; always float32."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from taskgroup.data.base import VisionDataset
from taskgroup.draws import Share, derive_seed
from taskgroup.errors import DivergedError
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import Perturbation
from taskgroup.evaluation.scoring import score_model
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig, ValidationConfig
from taskgroup.training.parallel.group import ALONE, WorkerGroup


def is_robust_epoch(validation: ValidationConfig, epoch: int, epochs: int) -> bool:
    """Whether the robust score is measured after ``epoch`` of ``epochs``, counted from 1."""
    return epoch % validation.every == 0 or epoch == epochs


def is_scored_epoch(validation: ValidationConfig, epoch: int, epochs: int) -> bool:
    """Whether anything is measured after ``epoch``: on the confirm split only after the last.

    Nothing can be chosen by scores that do not exist.
    """
    return validation.split == "validation" or epoch == epochs


def clean_scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    device: torch.device,
    group: WorkerGroup = ALONE,
) -> dict[str, float]:
    """``<task>/clean/<score>`` of every task on the first validation images."""
    return _scores(config, model, tasks, dataset, perturbation=None, device=device, group=group)


def robust_scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    device: torch.device,
    group: WorkerGroup = ALONE,
) -> dict[str, float]:
    """``<main task>/robust/<score>`` under the validation attack on the main task.

    The attack's random starts are the same after every epoch, so that epochs can be compared.
    """
    perturbation = NetworkAttack(
        config.validation.attack, config.validation, (config.main_task,), is_joined=True
    )
    return _scores(
        config, model, tasks[:1], dataset, perturbation=perturbation, device=device, group=group
    )


def _scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    perturbation: Perturbation | None,
    device: torch.device,
    group: WorkerGroup,
) -> dict[str, float]:
    """Every worker scores its share of each batch; the sums of all give the scores."""
    parts = _parts(dataset, config, group)
    sums = _sums(config, model, tasks, dataset, parts, perturbation=perturbation, device=device)
    condition = "clean" if perturbation is None else "robust"
    reduced = {task.name: group.sum(sums[task.name].to(device)).cpu() for task in tasks}
    _check_finite(reduced, condition)
    return {
        f"{task.name}/{condition}/{name}": float(value)
        for task in tasks
        for name, value in task.metric().score(reduced[task.name]).items()
    }


def _check_finite(sums: Mapping[str, Tensor], condition: str) -> None:
    """Sums of all workers: every worker raises, or none does.

    Raises:
        DivergedError: A prediction was NaN or infinite.
    """
    broken = [name for name, values in sums.items() if not values.isfinite().all()]
    if broken:
        raise DivergedError(
            f"predictions must be finite to be scored, but the {condition} ones of "
            f"{', '.join(broken)} are NaN or infinite on validation images; lower "
            "training.learning_rate"
        )


def _sums(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    parts: Sequence[tuple[int, Share]],
    *,
    perturbation: Perturbation | None,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """Each metric's sums ``(S,)`` over this worker's images; zeros where it has none."""
    if not parts:
        return {task.name: torch.zeros(task.metric().size).double() for task in tasks}
    scores = score_model(
        model,
        tasks,
        (dataset.batch([start + row for row in share.rows]) for start, share in parts),
        shares=[share for _, share in parts],
        perturbation=perturbation,
        seed=derive_seed(config.seed, "validation"),
        device=device,
    )
    return {name: rows.sum(0) for name, rows in scores.sums.items()}


def _parts(
    dataset: VisionDataset, config: TrialConfig, group: WorkerGroup
) -> list[tuple[int, Share]]:
    """This worker's share of each batch of scored images, where it has any."""
    count = min(config.validation.images or len(dataset), len(dataset))
    dealt = group.deal(count, config.training.batch_size)
    return [(start, share) for start, share in dealt if len(share)]
