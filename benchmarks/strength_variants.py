"""``tempered`` in other balls, beside SEA, and with one part of it changed at a time."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from strength_networks import Subject
from torch import Tensor

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.attacks.ensembles.tempered import GAP, MEMBERS, temperature
from taskgroup.attacks.phases import SHRINKING, Phase, climb_phases
from taskgroup.attacks.pixel_losses import raising, with_losses
from taskgroup.data.base import Batch
from taskgroup.evaluation.objective.combined import combined_objective
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.perturbations.base import BatchSeed, NetworkUnderTest, RowFields

FEW_IMAGES = 16
RADII = (2, 4, 8, 16)
"""Radii of the L-infinity balls, in 1/255."""
TINY = 1e-9
ADAM, APGD = MEMBERS
BOTH = {ADAM: 50, APGD: 50}


@dataclass(frozen=True)
class Variant:
    """``tempered`` with a part exchanged; a perturbation as those of ``taskgroup.evaluation``.

    Attributes:
        threat: The ball.
        task: The main task.
        steps: Steps by member; a member without steps is left out.
        gap: Mean gap of the two largest logits that logits are brought to; None leaves them.
        phases: Balls and shares of the steps.
        is_batch: Whether all images have the temperature of the mean gap.
    """

    threat: ThreatModel
    task: str
    steps: Mapping[str, int] = field(default_factory=lambda: BOTH)
    gap: float | None = GAP
    phases: tuple[Phase, ...] = SHRINKING
    is_batch: bool = False

    name = "variant"
    passes = 0.0
    work: Mapping[str, Any] = field(default_factory=dict)

    def apply(
        self, network: NetworkUnderTest, batch: Batch, seed: BatchSeed
    ) -> Mapping[str, Tensor]:
        """Attacked images by member."""
        objective = combined_objective(
            network.model,
            network.tasks,
            batch.targets,
            batch.images,
            attacked_tasks=(self.task,),
            combine="sum",
            autocast=None,
        )
        gaps = with_losses(objective, attack="tempered").logit_gap(batch.images)
        if self.is_batch:
            gaps = gaps.mean().expand_as(gaps)
        scale = None if self.gap is None else temperature(gaps) * GAP / self.gap
        found, draws = {}, seed.draws()
        for name, steps in self.steps.items():
            member = MEMBERS[name]
            raised = raising(
                objective,
                member.loss,
                attack="tempered",
                tracks=member.tracks,
                temperature=scale,
                score="accuracy",
            )
            end = climb_phases(
                raised,
                batch.images,
                threat=self.threat,
                steps=steps,
                draws=draws,
                climber=member.climber,
                phases=self.phases,
                stop_at=0.0,
            )
            found[name] = end.lowest
        return found

    def is_inside(self, threat: ThreatModel) -> bool:
        """Whether its ball lies inside that of a threat model."""
        return self.threat.norm == threat.norm and self.threat.epsilon <= threat.epsilon

    def row(self) -> RowFields:
        """What records say of it."""
        return RowFields(kind="attack", attack=self.name)


def changed(threat: ThreatModel, task: str) -> dict[str, Variant]:
    """By name; the first is ``tempered`` itself. All take 100 passes."""
    alone = (Phase(1.0, 1.0),)
    return {
        "as it is": Variant(threat, task),
        "no temperature": Variant(threat, task, gap=None),
        "t x 4": Variant(threat, task, gap=GAP / 4),
        "t / 2": Variant(threat, task, gap=GAP * 2),
        "t / 4": Variant(threat, task, gap=GAP * 4),
        "t / 8": Variant(threat, task, gap=GAP * 8),
        "t of the batch": Variant(threat, task, is_batch=True),
        "no phases": Variant(threat, task, phases=alone),
        "Adam 100": Variant(threat, task, steps={ADAM: 100}),
        "APGD 100": Variant(threat, task, steps={APGD: 100}),
        "Adam 75, APGD 25": Variant(threat, task, steps={ADAM: 75, APGD: 25}),
    }


def balls(seen: Subject) -> dict[str, ThreatModel]:
    """Other L-infinity balls, and the L2 ball that the field pairs with the network's own."""
    found = {
        f"L-inf {radius}/255": ThreatModel(norm="linf", epsilon=radius / 255)
        for radius in RADII
        if abs(radius / 255 - seen.threat.epsilon) > TINY
    }
    side = seen.batch.images.shape[-1]
    radius = 0.5 * math.sqrt(side * side / 32**2) * seen.threat.epsilon / (8 / 255)
    return {**found, f"L2 {radius:g}": ThreatModel(norm="l2", epsilon=radius)}


def variants(seen: Subject) -> Iterator[tuple[str, Variant]]:
    """Name and attack of every variant."""
    if seen.case.has_variants:
        for name, variant in changed(seen.threat, seen.trained.main_task).items():
            yield f"variant {name}", variant


def other_balls(seen: Subject) -> Iterator[tuple[str, NetworkAttack]]:
    """Name and attack for every ball."""
    for name, ball in balls(seen).items() if seen.case.has_balls else ():
        for attack, steps in (("tempered", 50), ("sea", 300)):
            budget = AttackBudget(norm=ball.norm, epsilon=ball.epsilon, steps=steps)
            yield f"ball {name}: {attack}", NetworkAttack(attack, budget, (seen.case.main_task,))
