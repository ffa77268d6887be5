"""Optimisers; norms and biases never decay."""

import torch
from torch import nn

from taskgroup.training.config import TrainingConfig


def build_optimizer(
    module: nn.Module, training: TrainingConfig, *, fused: bool = True
) -> torch.optim.Optimizer:
    """The optimiser of every trainable parameter of ``module``.

    Parameters with fewer than two axes (biases, the scales of norms, log variances) are exempt
    from weight decay.

    Args:
        module: What is trained.
        training: The ``training:`` section.
        fused: Whether one kernel updates a parameter group; torch's needs a gradient for each of
            its parameters.
    """
    groups = parameter_groups(module, training.weight_decay)
    # One fused kernel per parameter group: a small network spends its step in call overhead.
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=training.learning_rate, momentum=training.momentum, fused=fused
        )
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=fused)


def parameter_groups(
    module: nn.Module, weight_decay: float
) -> list[dict[str, list[nn.Parameter] | float]]:
    """Trainable parameters in two groups: those that decay and those that do not."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in trainable if p.ndim > 1]
    exempt = [p for p in trainable if p.ndim <= 1]
    groups: list[dict[str, list[nn.Parameter] | float]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Change the learning rate of every group in place."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
