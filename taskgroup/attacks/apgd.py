"""Auto-PGD: projected gradient ascent that chooses its own step size.

Steps, momentum and checkpoints are those of Croce and Hein 2020 (arXiv:2003.01690); a loss that is
tracked beside the one that is raised is that of SEA (Croce, Singh and Hein 2024, arXiv:2306.12941).
One engine serves every objective. An iteration costs one forward pass, whose loss, tracked loss and
score are all used.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective, ThreatModel
from taskgroup.attacks.climbing import Climb, State, choose, follow, from_starts
from taskgroup.attacks.compatibility import check_seed_compatible
from taskgroup.attacks.geometry import project, steepest
from taskgroup.attacks.sparse import sparse_climb
from taskgroup.draws import Draws

MOMENTUM = 0.75
"""Share of the new step in an iteration; the rest repeats the previous move."""
FIRST_INTERVAL = 0.22
SMALLEST_INTERVAL = 0.06
INTERVAL_DECREASE = 0.03
"""Shares of all steps between checkpoints; section 3 of Croce and Hein 2020, arXiv:2003.01690."""
RISES_WANTED = 0.75
"""Share of steps since the last checkpoint that must have raised the loss; rho of the paper."""


@ATTACKS.register("apgd")
def apgd(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Climb ``budget.steps`` times with a step size that starts at 2 epsilon and halves itself.

    In l1 it starts at epsilon, and with it the number of pixels that a step changes adapts.

    With ``keep: best`` each image's iterate with the highest tracked loss over all restarts is
    returned, the image itself included; with ``keep: last`` the last iterate of the last restart.
    A given ``budget.step_size`` is the first step's.

    Args:
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and effort. Without a random start one restart is as good as many.
        draws: Source of the random starts; not used when there are none.

    Returns:
        Perturbed images of the same shape, without a graph.
    """
    check_seed_compatible("apgd", budget)
    return from_starts(climb, objective, images, budget=budget, draws=draws)


def climb(
    objective: Objective,
    images: Tensor,
    start: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    step_size: float | None = None,
    stop_at: float | None = None,
    stops: Literal["image", "batch"] = "image",
) -> Climb:
    """One phase from ``start``, a point of the ball; the objective sees its progress from 0 to 1.

    In l1 it is ``sparse_climb``.

    Args:
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        start: Same shape, inside the ball.
        threat: The ball.
        steps: Gradient steps, at least one.
        step_size: Length of the first step, by default 2 epsilon, or epsilon in l1.
        stop_at: Score from which on an image leaves the batch; None lets all run.
        stops: Whether each image leaves by itself, or all together when the last one may.
    """
    if threat.norm == "l1":
        return sparse_climb(
            objective,
            images,
            start,
            threat=threat,
            steps=steps,
            step_size=step_size,
            stop_at=stop_at,
            stops=stops,
        )
    return follow(
        ApgdWay(threat, checkpoints(steps)),
        objective,
        images,
        start,
        step_size=2 * threat.epsilon if step_size is None else step_size,
        steps=steps,
        stop_at=stop_at,
        stops=stops,
    )


class ApgdWay(NamedTuple):
    """Steps with momentum, halved at checkpoints.

    Attributes:
        threat: The ball.
        intervals: The iterations with a checkpoint, each with the number since the last one.
    """

    threat: ThreatModel
    intervals: Mapping[int, int]

    def select(self, index: Tensor) -> "ApgdWay":
        """The same: the state holds all that differs between images."""
        return self

    def next_point(self, state: State, number: int) -> tuple[Tensor, "ApgdWay"]:
        """A step mixed with the previous move, of which there is none at first."""
        share = 1.0 if number == 1 else MOMENTUM
        return _next_point(state, self.threat, share=share), self

    def adapted(self, state: State, number: int) -> tuple[State, "ApgdWay"]:
        """After a checkpoint some images go back, with half the step."""
        if number not in self.intervals:
            return state, self
        return _after_checkpoint(state, self.intervals[number]), self


def _next_point(state: State, threat: ThreatModel, *, share: float) -> Tensor:
    """A projected step mixed with the previous move, projected again."""
    step = state.step[:, None, None, None] * steepest(state.gradient, threat)
    ahead = project(state.point + step, state.images, threat)
    mixed = share * (ahead - state.point) + (1 - share) * (state.point - state.before)
    return project(state.point + mixed, state.images, threat)


def _after_checkpoint(state: State, steps: int) -> State:
    """Halve the step of images that oscillate or stand still, and send them to their best.

    An image oscillates when at most three quarters of the last ``steps`` steps raised its
    tracked loss, and stands still when its best has not moved since the last checkpoint
    although the step was not halved then.
    """
    oscillates = state.rises <= RISES_WANTED * steps
    stands_still = ~state.halved & (state.checkpoint_tracked >= state.best_tracked)
    halved = oscillates | stands_still
    return state._replace(
        point=choose(halved, state.best, state.point),
        gradient=choose(halved, state.best_gradient, state.gradient),
        step=torch.where(halved, state.step / 2, state.step),
        checkpoint_tracked=state.best_tracked,
        halved=halved,
        rises=torch.zeros_like(state.rises),
    )


def checkpoints(steps: int) -> dict[int, int]:
    """The steps, counted from 1, after which APGD adapts its step size, each with its interval.

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
