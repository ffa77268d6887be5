"""Scores after an epoch: clean for every task, robust for the main task; always float32."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from taskgroup.data.base import Batch, VisionDataset
from taskgroup.errors import DivergedError
from taskgroup.evaluation.scoring import score_model
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig, ValidationConfig
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.parallel.sharing import Share, WholeDraws, deal
from taskgroup.training.seeding import derive_seed


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
    return _scores(config, model, tasks, dataset, attack=None, device=device, group=group)


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
    attack = config.validation.attack
    return _scores(config, model, tasks[:1], dataset, attack=attack, device=device, group=group)


def _scores(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    dataset: VisionDataset,
    *,
    attack: str | None,
    device: torch.device,
    group: WorkerGroup,
) -> dict[str, float]:
    """Every worker scores its share of each batch; the sums of all give the scores."""
    batches = _Shares(dataset, config, group)
    with nullcontext() if group.size == 1 else batches.draws:
        sums = _sums(config, model, tasks, batches, attack=attack, device=device)
    condition = "clean" if attack is None else "robust"
    reduced = {task.name: group.sum(sums[task.name]) for task in tasks}
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
    batches: "_Shares",
    *,
    attack: str | None,
    device: torch.device,
) -> dict[str, torch.Tensor]:
    """Each metric's sums ``(S,)`` over this worker's images; zeros where it has none."""
    if batches.is_empty:
        return {task.name: torch.zeros(task.metric().size).double() for task in tasks}
    scores = score_model(
        model,
        tasks,
        batches,
        main_task=config.main_task,
        attack=attack,
        budget=config.validation,
        attacked_tasks=(config.main_task,),
        seed=derive_seed(config.seed, "validation"),
        device=device,
    )
    return {name: rows.sum(0) for name, rows in scores.sums.items()}


class _Shares:
    """This worker's share of each batch of scored images.

    Attributes:
        draws: Draws noise for the batch that was taken last.
        is_empty: Whether this worker has no image at all.
    """

    def __init__(self, dataset: VisionDataset, config: TrialConfig, group: WorkerGroup) -> None:
        count = min(config.validation.images or len(dataset), len(dataset))
        self._dataset = dataset
        self._shares = list(deal(group, count, config.training.batch_size))
        self.draws = WholeDraws(Share(0, range(0)))
        self.is_empty = not any(len(share) for _, share in self._shares)

    def __iter__(self) -> Iterator[Batch]:
        for start, share in self._shares:
            if len(share):
                self.draws.share = share
                yield self._dataset.batch([start + row for row in share.rows])
