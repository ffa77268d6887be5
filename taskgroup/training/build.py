"""From a trial configuration to what training changes: network, weighting, optimiser, step."""

from collections.abc import Sequence

import torch
from torch import nn

from taskgroup.models.build import build_model
from taskgroup.models.worker_norm import convert_batch_norms
from taskgroup.tasks.base import Task
from taskgroup.training.adversary import build_adversary
from taskgroup.training.config import TrialConfig
from taskgroup.training.optimizers import build_optimizer
from taskgroup.training.parallel.group import ALONE, WorkerGroup
from taskgroup.training.precision import autocast_dtype
from taskgroup.training.state import TrialState
from taskgroup.training.steps.base import STEPS, build_step, check_step, step_name
from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask, Weighting


def build_state(
    config: TrialConfig,
    tasks: Sequence[Task],
    *,
    device: torch.device,
    group: WorkerGroup = ALONE,
) -> TrialState:
    """Untrained network, weighting, optimiser and step of a trial.

    Args:
        config: The trial.
        tasks: Its task set, main task first.
        device: Where the network is put.
        group: The workers that train it.

    Raises:
        ConfigError: The model cannot be built as described, or the trial's keys contradict each
            other.
    """
    check_step(config)
    network: nn.Module = build_model(config.model, tasks, seed=config.seed).to(device)
    if group.size > 1:
        network = convert_batch_norms(network, device)
    weighting = build_weighting(config, tasks).to(device)
    fused = not STEPS[step_name(config)].is_partial
    module = nn.ModuleList([network, weighting])
    optimizer = build_optimizer(module, config.training, fused=fused)
    precision = autocast_dtype(config.training.precision, device)
    adversary = build_adversary(config, network, tasks, precision=precision)
    step = build_step(config, network, tasks, adversary, weighting, optimizer, group=group)
    return TrialState(config, tasks, network, weighting, optimizer, step)


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
