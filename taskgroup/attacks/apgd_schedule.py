"""When APGD looks back, and how SEA shares its steps among radii."""

from typing import NamedTuple

FIRST_INTERVAL = 0.22
SMALLEST_INTERVAL = 0.06
INTERVAL_DECREASE = 0.03
"""Shares of all steps; section 3 of Croce and Hein 2020, arXiv:2003.01690."""


class Phase(NamedTuple):
    """A part of an attack.

    Attributes:
        radius: Radius of its ball, in multiples of epsilon.
        share: Share of all steps; the last phase takes what is left.
    """

    radius: float
    share: float


SHRINKING = (Phase(2.0, 0.3), Phase(1.5, 0.3), Phase(1.0, 0.4))
"""The radii of SEA (arXiv:2306.12941): a wide ball gets an attack past poor local maxima."""


def checkpoints(steps: int) -> dict[int, int]:
    """The steps, counted from 1, after which APGD looks back, each with how many it looks at.

    Example:
        >>> list(checkpoints(100))
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    interval = max(int(FIRST_INTERVAL * steps), 1)
    smallest = max(int(SMALLEST_INTERVAL * steps), 1)
    decrease = max(int(INTERVAL_DECREASE * steps), 1)
    found: dict[int, int] = {}
    step = interval
    while step <= steps:
        found[step] = interval
        interval = max(interval - decrease, smallest)
        step += interval
    return found


def phase_steps(phases: tuple[Phase, ...], steps: int) -> tuple[int, ...]:
    """Steps of each phase, rounded down, the rest for the last; a phase may get none.

    Example:
        >>> phase_steps(SHRINKING, 300)
        (90, 90, 120)
    """
    first = [int(phase.share * steps) for phase in phases[:-1]]
    return (*first, steps - sum(first))
