"""A condition: what is done to images before a network is scored on them."""

import math
from dataclasses import dataclass
from typing import Literal

from taskgroup.attacks.base import ThreatModel
from taskgroup.evaluation.perturbations.base import Perturbation

Role = Literal[
    "clean", "noise", "fast", "strong", "tasks", "black_box", "sweep", "known_bugs", "corruption"
]
"""Part of a condition in the suite: see ``Condition.role``."""
Work = tuple[Perturbation, int | None]
"""What is done to how many images."""

MULTIPLES = (0.0, 0.5, 1.0, 2.0, 4.0)
HUGE_LINF = 1.0
"""Radius that reaches every image in [0, 1]."""


@dataclass(frozen=True)
class Condition:
    """What is done to images before a network is scored on them, and what for.

    Attributes:
        name: ``clean``, ``noise``, ``apgd``, ``sea``, ...
        perturbation: What is done.
        role: ``strong`` conditions are what the verdict rests on; ``tasks`` attack several
            tasks at once; ``noise``, ``fast`` (one step) and ``black_box`` must not beat the strong
            ones; ``sweep`` is one radius of many; ``known_bugs`` reproduces bugs of published code,
            which may leave the ball; ``corruption`` is no attack and has no part in a verdict.
        images: The first so many images are enough, for checks; None takes all.
    """

    name: str
    perturbation: Perturbation
    role: Role = "strong"
    images: int | None = None

    @property
    def work(self) -> Work:
        """What is done, whatever it is called."""
        return self.perturbation, self.images

    def is_inside(self, threat: ThreatModel) -> bool:
        """Whether what it does to an image is allowed in a threat model."""
        return self.role != "known_bugs" and self.perturbation.is_inside(threat)


def sweep_radii(threat: ThreatModel, *, num_pixels: int) -> tuple[float, ...]:
    """Radii of the sweep, ascending, the last one huge.

    Args:
        threat: The ball that the multiples are taken of.
        num_pixels: Numbers per image, ``3 H W``: how large the largest l2 or l1 ball is.
    """
    huge = huge_radius(threat.norm, num_pixels=num_pixels)
    return tuple(sorted({min(multiple * threat.epsilon, huge) for multiple in MULTIPLES} | {huge}))


def huge_radius(norm: str, *, num_pixels: int) -> float:
    """A radius that reaches every image from every other one."""
    return {"linf": HUGE_LINF, "l2": math.sqrt(num_pixels), "l1": float(num_pixels)}[norm]
