"""From a trial configuration to what training changes: network, losses and optimiser."""

from collections.abc import Sequence

import torch

from taskgroup.models.build import build_model
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig
from taskgroup.training.losses import TradesLoss, TrainingLoss
from taskgroup.training.optimizers import build_optimizer
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.precision import autocast_dtype
from taskgroup.training.state import TrialState
from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask, Weighting


def build_state(
    config: TrialConfig,
    tasks: Sequence[Task],
    *,
    device: torch.device,
    group: WorkerGroup = ALONE,
) -> TrialState:
    """Untrained network, losses and optimiser of a trial.

    Args:
        config: The trial.
        tasks: Its task set, main task first.
        device: Where the network is put.
        group: The workers that train it.

    Raises:
        ConfigError: The model cannot be built as described.
    """
    model = build_model(config.model, tasks, seed=config.seed).to(device)
    loss = build_loss(config, model, tasks, group=group).to(device)
    return TrialState(config, tasks, model, loss, build_optimizer(loss, config.training))


def build_loss(
    config: TrialConfig,
    model: MultitaskModel,
    tasks: Sequence[Task],
    *,
    group: WorkerGroup = ALONE,
) -> TrainingLoss:
    """The wrapped forward pass that a trial trains with."""
    weighting = build_weighting(config, tasks)
    device = next(model.parameters()).device
    precision = autocast_dtype(config.training.precision, device)
    if config.adversary.is_trades:
        return TradesLoss(
            model,
            tasks,
            weighting,
            main_task=config.main_task,
            beta=config.adversary.beta,
            precision=precision,
            group=group,
        )
    return TrainingLoss(model, tasks, weighting, precision=precision, group=group)


def build_weighting(config: TrialConfig, tasks: Sequence[Task]) -> Weighting:
    """The rule that turns the losses of ``tasks`` into one."""
    weighted = [
        WeightedTask(
            name=task.name,
            loss_weight=config.loss_weights.get(task.name, 1.0),
            is_classification=task.info.num_classes is not None,
        )
        for task in tasks
    ]
    return WEIGHTINGS[config.training.weighting](weighted)
