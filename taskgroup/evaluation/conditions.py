"""The conditions that every evaluated network is scored under, one list for all networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from taskgroup.attacks.base import AttackBudget, ThreatModel

STEPS = 20
RESTARTS = 5
MULTIPLES = (0.0, 0.5, 1.0, 2.0, 4.0)
HUGE_LINF = 1.0
"""Radius that reaches every image in [0, 1]."""


@dataclass(frozen=True)
class Condition:
    """What is done to images before a network is scored on them.

    Attributes:
        name: ``clean``, ``noise``, ``fgsm``, ``pgd`` (on the main task), ``pgd_all`` (on all
            tasks), ``sweep`` (on the main task, one radius of many).
        attack: Registry name of the attack; None leaves images as they are.
        budget: Ball and effort; for clean images the ball has radius 0.
        attacked_tasks: Tasks whose losses the attack raises.
    """

    name: str
    attack: str | None
    budget: AttackBudget
    attacked_tasks: tuple[str, ...] = ()

    @property
    def work(self) -> tuple[str | None, AttackBudget, tuple[str, ...]]:
        """What is done, whatever it is called."""
        return self.attack, self.budget, self.attacked_tasks

    @property
    def steps(self) -> int:
        """Gradient steps per restart; 0 for an attack that takes none."""
        return {"pgd": self.budget.steps, "fgsm": 1}.get(self.attack or "", 0)

    @property
    def restarts(self) -> int:
        """Restarts, or draws of noise; 0 without an attack."""
        return self.budget.restarts if self.attack is not None else 0

    @property
    def passes(self) -> int:
        """About how many forward passes it takes, with a backward pass counted as two."""
        return 1 + (2 + (3 * self.steps + 1) * self.restarts if self.attack is not None else 0)


def standard_conditions(
    threat: ThreatModel, main_task: str, task_set: Sequence[str], *, num_pixels: int
) -> tuple[Condition, ...]:
    """Clean, noise, FGSM, PGD-20 with 5 restarts on the main task and on all, and the sweep.

    The sweep runs PGD-20 with one restart at 0, 1/2, 1, 2 and 4 times the threat model's radius and
    at one that reaches every image. Radii that coincide are measured once.

    Args:
        threat: The ball that the study trained and searched for.
        main_task: The task to protect.
        task_set: Every task of the network.
        num_pixels: Numbers per image, ``3 H W``: how large the largest l2 ball is.
    """
    main, every = (main_task,), tuple(task_set)
    ball = AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=STEPS)
    once = ball.model_copy(update={"steps": 1, "random_start": False})
    strong = ball.model_copy(update={"restarts": RESTARTS})
    radii = sweep_radii(threat, num_pixels=num_pixels)
    return (
        _clean(ball),
        Condition("noise", "noise", once, main),
        Condition("fgsm", "fgsm", once, main),
        Condition("pgd", "pgd", strong, main),
        Condition("pgd_all", "pgd", strong, every),
        *(_sweep(ball.with_epsilon(radius), main) for radius in radii),
    )


def _sweep(budget: AttackBudget, main: tuple[str, ...]) -> Condition:
    """One radius of the sweep; none at all is the clean condition."""
    return Condition("sweep", "pgd", budget, main) if budget.epsilon else _clean(budget, "sweep")


def _clean(budget: AttackBudget, name: str = "clean") -> Condition:
    return Condition(name, None, budget.with_epsilon(0.0))


def sweep_radii(threat: ThreatModel, *, num_pixels: int) -> tuple[float, ...]:
    """Radii of the sweep, ascending, the last one huge."""
    huge = HUGE_LINF if threat.norm == "linf" else math.sqrt(num_pixels)
    return tuple(sorted({min(multiple * threat.epsilon, huge) for multiple in MULTIPLES} | {huge}))
