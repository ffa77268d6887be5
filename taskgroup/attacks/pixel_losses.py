"""Attacks that are PGD on a loss of their own: SegPGD and CosPGD, for class maps."""

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, LossObjective, Objective
from taskgroup.attacks.pgd import pgd
from taskgroup.errors import ConfigError


@ATTACKS.register("segpgd")
def segpgd(
    objective: Objective, images: Tensor, *, budget: AttackBudget, generator: torch.Generator
) -> Tensor:
    """PGD that begins with the pixels that are right (Gu et al. 2022, arXiv:2207.12391).

    Iterates are judged by the task's own loss. Arguments and result are those of ``pgd``.

    Raises:
        ConfigError: The objective has no exchangeable loss, or its task no classes.
    """
    raised = raising(objective, "segpgd")
    return pgd(raised, images, budget=budget, generator=generator)


@ATTACKS.register("cospgd")
def cospgd(
    objective: Objective, images: Tensor, *, budget: AttackBudget, generator: torch.Generator
) -> Tensor:
    """PGD whose pixels weigh by the cosine to their label (arXiv:2302.02213), sigmoid form.

    Iterates are judged by the task's own loss. Arguments and result are those of ``pgd``.

    Raises:
        ConfigError: The objective has no exchangeable loss, or its task no classes.
    """
    raised = raising(objective, "cospgd")
    return pgd(raised, images, budget=budget, generator=generator)


def raising(objective: Objective, loss: str) -> Objective:
    """The objective with the named attack loss.

    Raises:
        ConfigError: The objective's loss cannot be exchanged.
    """
    if not isinstance(objective, LossObjective):
        raise ConfigError(
            f"this attack raises the loss {loss!r} of one main task, but the objective combines "
            "several; attack the main task alone, or choose apgd"
        )
    return objective.with_loss(loss)
