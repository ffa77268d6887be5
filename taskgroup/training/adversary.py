"""What training attacks do to a batch: nothing, attacked images, or clean and attacked twins.

Attacks differentiate with respect to the images alone: parameters are frozen and the network is in
evaluation mode meanwhile, and both are restored before the optimiser's step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.data.base import Batch
from taskgroup.draws import Draws, Share
from taskgroup.evaluation.objective.network import fixed_network
from taskgroup.evaluation.objective.task_objective import TaskObjective, resolve_attacked
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig
from taskgroup.training.divergence import DivergenceObjective


class Adversary(Protocol):
    """Prepares the images of a training step."""

    def __call__(self, batch: Batch, draws: Draws) -> tuple[Tensor, ...]:
        """The images that the training loss takes, each ``(N, 3, H, W)``.

        ``draws`` says which part of a batch of several workers ``batch`` is. A worker that has no
        image attacks none.
        """
        ...


def build_adversary(
    config: TrialConfig,
    model: nn.Module,
    tasks: Sequence[Task],
    *,
    precision: torch.dtype | None,
) -> Adversary:
    """The adversary that a trial configuration asks for; ``tasks`` is the task set."""
    adversary = config.adversary
    if adversary.attack == "none":
        return NaturalAdversary()
    if adversary.is_trades:
        return TradesAttack(
            model, config.main_task, adversary.attack, budget=adversary, precision=precision
        )
    return TrainingAttack(
        model,
        tasks,
        resolve_attacked(adversary.attacked_tasks, config.main_task, config.task_set),
        attack=adversary.attack,
        budget=adversary,
        clean_share=adversary.clean_share,
        precision=precision,
    )


class NaturalAdversary:
    """Leaves the images as they are."""

    def __call__(self, batch: Batch, draws: Draws) -> tuple[Tensor, ...]:
        """The clean images."""
        return (batch.images,)


@dataclass(frozen=True)
class TrainingAttack:
    """Replaces images by attacked ones (PGD-AT, or fast FGSM training with one step).

    Sources: Madry et al., ICLR 2018 (arXiv:1706.06083); Wong, Rice and Kolter, ICLR 2020
    (arXiv:2001.03994).

    Attributes:
        model: The network, in any mode.
        tasks: The task set.
        attacked_tasks: Tasks whose losses the attack raises.
        attack: Registry name of the attack.
        budget: Threat model and effort.
        clean_share: Share of each batch that stays clean, in [0, 1]; rounded to whole images.
        precision: Number format of the attack's forward passes; None is float32.
    """

    model: nn.Module
    tasks: Sequence[Task]
    attacked_tasks: Sequence[str]
    attack: str
    budget: AttackBudget
    clean_share: float = 0.0
    precision: torch.dtype | None = None

    def __call__(self, batch: Batch, draws: Draws) -> tuple[Tensor, ...]:
        """Clean images, then attacked ones, in the order of the batch (which is shuffled)."""
        share = Share.all_of(len(batch)) if draws.share is None else draws.share
        all_clean = round(self.clean_share * share.whole)
        num_clean = share.first(all_clean)
        if num_clean == len(share):
            return (batch.images,)
        rest = batch if num_clean == 0 else batch.select(torch.arange(num_clean, len(batch)))
        attacked = self._attack(rest, draws.of(share.without_first(all_clean)))
        return (torch.cat([batch.images[:num_clean], attacked]) if num_clean else attacked,)

    def _attack(self, batch: Batch, draws: Draws) -> Tensor:
        objective = TaskObjective(
            self.model,
            self.tasks,
            batch.targets,
            main_task=None,
            attacked_tasks=self.attacked_tasks,
            autocast=self.precision,
        )
        with fixed_network(self.model):
            attack = ATTACKS[self.attack]
            return attack(objective, batch.images, budget=self.budget, draws=draws)


@dataclass(frozen=True)
class TradesAttack:
    """Pairs clean images with images whose main prediction is far from the clean one.

    Attributes:
        model: The network, in any mode.
        main_task: The task to protect; its head predicts logits.
        attack: Registry name of the attack.
        budget: Threat model and effort; it needs a random start, because the divergence has no
            slope at the clean image.
        precision: Number format of the attack's forward passes; None is float32.
    """

    model: nn.Module
    main_task: str
    attack: str
    budget: AttackBudget
    precision: torch.dtype | None = None

    def __call__(self, batch: Batch, draws: Draws) -> tuple[Tensor, ...]:
        """Clean images and their attacked twins."""
        if not draws.has_images:
            return batch.images, batch.images
        with fixed_network(self.model):
            objective = DivergenceObjective.around(
                self.model,
                batch.images,
                batch.targets[self.main_task],
                task=self.main_task,
                precision=self.precision,
            )
            attack = ATTACKS[self.attack]
            attacked = attack(objective, batch.images, budget=self.budget, draws=draws)
        return batch.images, attacked
