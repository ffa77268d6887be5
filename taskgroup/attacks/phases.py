"""Climbing in shrinking balls: a wide one gets an attack past poor maxima of the ball it must keep.

The schedule of SEA (Croce, Singh and Hein 2024, arXiv:2306.12941), for any way to climb.
"""

from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import AttackBudget, Objective, ThreatModel
from taskgroup.attacks.climbing import Climb
from taskgroup.attacks.geometry import apgd_start, assert_inside, project
from taskgroup.draws import Draws


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


class Climber(Protocol):
    """A way to climb in one ball, ``climb`` of APGD for instance."""

    def __call__(
        self,
        objective: Objective,
        images: Tensor,
        start: Tensor,
        *,
        threat: ThreatModel,
        steps: int,
        stop_at: float | None,
        stops: Literal["image", "batch"],
    ) -> Climb:
        """Where it ended; the arguments are those of ``apgd.climb``."""


def climb_phases(
    objective: Objective,
    images: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    draws: Draws,
    climber: Climber = climb,
    phases: tuple[Phase, ...] = SHRINKING,
    random_start: bool = True,
    stop_at: float | None = None,
    stops: Literal["image", "batch"] = "image",
) -> Climb:
    """Climb in one ball after the other, each from where the previous phase ended.

    A phase begins at the previous one's lowest score, projected into its own ball; what was best
    there does not count any more. ``n`` steps take ``n`` backward passes and one forward pass more
    per phase.

    Args:
        objective: What to raise, what to track, and a score that an attack lowers.
        images: ``(N, C, H, W)`` in [0, 1].
        threat: The ball of radius epsilon, in which the last phase must end.
        steps: Steps of all phases together.
        draws: Source of the random start.
        climber: How to climb; APGD by default.
        phases: Radii and shares of the steps; the last radius is 1.
        random_start: Begin at a random point of the first ball instead of the images.
        stop_at: In each phase an image whose score is this low or lower leaves the batch; None
            lets all images run. Zero fits accuracies, not errors.
        stops: Whether each image leaves by itself, or all together when the last one may.

    Returns:
        The end of the last phase.
    """
    assert phases[-1].radius == 1, "the last phase must end in the threat model"
    point: Tensor | None = None if random_start else images
    end: Climb | None = None
    for phase, count in zip(phases, phase_steps(phases, steps), strict=True):
        if count == 0:
            continue
        ball = threat.model_copy(update={"epsilon": phase.radius * threat.epsilon})
        start = apgd_start(images, ball, draws) if point is None else project(point, images, ball)
        end = climber(
            objective, images, start, threat=ball, steps=count, stop_at=stop_at, stops=stops
        )
        point = end.lowest
    assert end is not None, "there must be a step to take"
    return end


def lowest_of_phases(
    objective: Objective,
    images: Tensor,
    *,
    budget: AttackBudget,
    draws: Draws,
    climber: Climber = climb,
    stops: Literal["image", "batch"] = "image",
) -> Tensor:
    """A member of an ensemble: each image's lowest score of ``climb_phases``, at which it stops.

    Args:
        objective: What to raise, and the accuracy to lower; an image leaves at 0.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball, steps and start; with a radius of 0 the images come back.
        draws: Source of the random start.
        climber: How to climb.
        stops: Whether each image leaves by itself, or all together when the last one may.
    """
    if budget.epsilon == 0:
        return images.clone()
    end = climb_phases(
        objective,
        images,
        threat=budget,
        steps=budget.steps,
        draws=draws,
        climber=climber,
        random_start=budget.random_start,
        stop_at=0.0,
        stops=stops,
    )
    return assert_inside(end.lowest, images, budget)


def phase_steps(phases: tuple[Phase, ...], steps: int) -> tuple[int, ...]:
    """Steps of each phase, rounded down, the rest for the last; a phase may get none.

    Example:
        >>> phase_steps(SHRINKING, 300)
        (90, 90, 120)
    """
    first = [int(phase.share * steps) for phase in phases[:-1]]
    return (*first, steps - sum(first))
