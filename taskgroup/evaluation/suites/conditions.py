"""A condition: what is done to images before a network is scored on them."""

import math
from dataclasses import dataclass
from typing import Literal

from taskgroup.attacks.base import AttackBudget, ThreatModel

Role = Literal["clean", "noise", "fast", "strong", "tasks", "black_box", "sweep", "known_bugs"]
"""Part of a condition in the suite: see ``Condition.role``."""
Combine = Literal["sum", "unit_gradient", "loss_ratio", "worst_task"]

MULTIPLES = (0.0, 0.5, 1.0, 2.0, 4.0)
HUGE_LINF = 1.0
"""Radius that reaches every image in [0, 1]."""


@dataclass(frozen=True)
class Condition:
    """What is done to images before a network is scored on them.

    Attributes:
        name: ``clean``, ``noise``, ``apgd``, ``sea``, ...
        attack: Registry name of the attack; None leaves images as they are.
        budget: Ball and effort; for clean images the ball has radius 0.
        attacked_tasks: Tasks whose losses the attack raises.
        role: ``strong`` conditions are what the verdict rests on; ``tasks`` attack several
            tasks at once; ``noise``, ``fast`` (one step) and ``black_box`` must not beat the strong
            ones; ``sweep`` is one radius of many; ``known_bugs`` reproduces bugs of published code,
            which may leave the ball.
        combine: How several attacked tasks become one ascent direction.
        images: The first so many images are enough, for checks; None takes all.
    """

    name: str
    attack: str | None
    budget: AttackBudget
    attacked_tasks: tuple[str, ...] = ()
    role: Role = "strong"
    combine: Combine = "sum"
    images: int | None = None

    @property
    def work(self) -> tuple[object, ...]:
        """What is done, whatever it is called."""
        return self.attack, self.budget, self.attacked_tasks, self.combine, self.images

    @property
    def steps(self) -> int:
        """Gradient steps per restart, or queries; 0 for an attack that takes none."""
        if self.attack in (None, "noise"):
            return 0
        return 1 if self.attack == "fgsm" else self.budget.steps

    @property
    def restarts(self) -> int:
        """Restarts, or draws of noise; 0 without an attack."""
        return self.budget.restarts if self.attack is not None else 0

    @property
    def passes(self) -> float:
        """About how many forward passes an image takes; a backward pass counts as two."""
        return 1 + _PASSES.get(self.attack or "", 3.0) * max(self.steps, 1) * self.restarts

    def is_inside(self, threat: ThreatModel) -> bool:
        """Whether what it does to an image is allowed in a threat model."""
        if self.role == "known_bugs":
            return False
        same = self.budget.norm == threat.norm or self.budget.epsilon == 0
        return same and self.budget.epsilon <= threat.epsilon


_PASSES = {"square": 1.0, "noise": 1.0, "sea": 9.0, "autoattack": 40.0}
"""Forward passes per step and restart, where these are not a pass forward and back."""


def sweep_radii(threat: ThreatModel, *, num_pixels: int) -> tuple[float, ...]:
    """Radii of the sweep, ascending, the last one huge.

    Args:
        threat: The ball that the multiples are taken of.
        num_pixels: Numbers per image, ``3 H W``: how large the largest l2 ball is.
    """
    huge = huge_radius(threat.norm, num_pixels=num_pixels)
    return tuple(sorted({min(multiple * threat.epsilon, huge) for multiple in MULTIPLES} | {huge}))


def huge_radius(norm: str, *, num_pixels: int) -> float:
    """A radius that reaches every image from every other one."""
    return HUGE_LINF if norm == "linf" else math.sqrt(num_pixels)
