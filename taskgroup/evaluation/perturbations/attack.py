"""An attack on a network as a perturbation: images that raise the losses of some tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from taskgroup.attacks.base import (
    ATTACK_VERSION,
    ATTACKS,
    AttackBudget,
    EnsembleAttack,
    ThreatModel,
    step_length,
)
from taskgroup.data.base import Batch
from taskgroup.evaluation.objective.combined import Combine, combined_objective
from taskgroup.evaluation.perturbations.base import (
    WHOLE,
    BatchSeed,
    NetworkUnderTest,
    RowFields,
)


@dataclass(frozen=True)
class NetworkAttack:
    """A registered attack with its budget and the tasks whose losses it raises.

    Attributes:
        attack: Registry name; None leaves images as they are, in a ball of radius 0.
        budget: Ball and effort.
        attacked_tasks: Tasks whose losses the attack raises.
        combine: How several attacked tasks become one ascent direction.
        is_joined: Whether the members of an ensemble become one, which has each image's worst.
    """

    attack: str | None
    budget: AttackBudget
    attacked_tasks: tuple[str, ...] = ()
    combine: Combine = "sum"
    is_joined: bool = False

    @property
    def name(self) -> str:
        """Registry name; empty without an attack."""
        return self.attack or ""

    @property
    def passes(self) -> float:
        """A backward pass counts as two forward, a further attacked task as a quarter."""
        per_step = _PASSES.get(self.name, 3.0)
        tasks = 1 + 0.25 * max(len(self.attacked_tasks) - 1, 0)
        return (1 + per_step * max(self._steps, 1) * self._restarts) * tasks

    @property
    def work(self) -> Mapping[str, Any]:
        """The attack, the version of its numbers, and its budget; clean images have no version."""
        joined = ["joined"] if self.is_joined else []
        version = {} if self.attack is None else {"attack_version": ATTACK_VERSION}
        return {
            "condition": [self.attack, self.attacked_tasks, self.combine, *joined],
            "budget": self.budget.model_dump(mode="json"),
            **version,
        }

    def apply(
        self, network: NetworkUnderTest, batch: Batch, seed: BatchSeed
    ) -> Mapping[str, Tensor]:
        """Attacked images by member; one for an attack without members, or whose are joined.

        Raises:
            ConfigError: The attack does not fit the task, or nobody knows it.
        """
        if self.attack is None:
            return {WHOLE: batch.images}
        objective = combined_objective(
            network.model,
            network.tasks,
            batch.targets,
            batch.images,
            attacked_tasks=self.attacked_tasks,
            combine=self.combine,
            autocast=network.precision,
            randomness=seed.randomness() if network.is_randomised else None,
        )
        attack, draws = ATTACKS[self.attack], seed.draws()
        if isinstance(attack, EnsembleAttack) and not self.is_joined:
            return dict(attack.members(objective, batch.images, budget=self.budget, draws=draws))
        return {WHOLE: attack(objective, batch.images, budget=self.budget, draws=draws)}

    def is_inside(self, threat: ThreatModel) -> bool:
        """Whether its ball lies inside that of a threat model; clean images lie in every one."""
        same = self.budget.norm == threat.norm or self.budget.epsilon == 0
        return same and self.budget.epsilon <= threat.epsilon

    def row(self) -> RowFields:
        """Ball, effort and tasks."""
        return RowFields(
            kind="attack",
            attack=self.name,
            norm=self.budget.norm,
            epsilon=self.budget.epsilon,
            steps=self._steps,
            restarts=self._restarts,
            attacked_tasks=self.attacked_tasks,
            step_size=step_length(self.attack, self.budget),
            attack_version=0 if self.attack is None else ATTACK_VERSION,
        )

    @property
    def _steps(self) -> int:
        if self.attack in (None, "noise"):
            return 0
        return 1 if self.attack == "fgsm" else self.budget.steps

    @property
    def _restarts(self) -> int:
        return self.budget.restarts if self.attack is not None else 0


_PASSES = {
    **{"square": 1.0, "noise": 1.0, "sea": 9.0, "tempered": 6.0, "autoattack": 40.0},
    **{"apgd_targeted": 8.0, "apgd_metrics": 12.0},
}
"""Forward passes per step and restart, where these are not a pass forward and back.

Of ``apgd_targeted`` for an image that is fooled midway, of ``apgd_metrics`` for four losses.
"""
