"""Auto-PGD: projected gradient ascent that chooses its own step size.

Steps, momentum and checkpoints are those of Croce and Hein 2020 (arXiv:2003.01690); a loss that is
tracked beside the one that is raised is that of SEA (Croce, Singh and Hein 2024, arXiv:2306.12941).
One engine serves every objective. An iteration costs one forward pass, whose loss, tracked loss and
score are all used.
"""

from typing import Literal

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective, ThreatModel
from taskgroup.attacks.climbing import (
    Climb,
    State,
    begin,
    choose,
    first_end,
    is_finished,
    without,
    write_end,
)
from taskgroup.attacks.compatibility import check_seed_compatible
from taskgroup.attacks.geometry import (
    apgd_start,
    assert_inside,
    project,
    steepest,
)
from taskgroup.attacks.iterates import Worst, evaluate_only, input_gradient, is_stop_check
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
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    worst, last = Worst.before(images), images
    if budget.keep == "best" and budget.random_start:
        worst = worst.offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts if budget.random_start else 1):
        start = apgd_start(images, budget, draws) if budget.random_start else images
        end = climb(
            objective,
            images,
            start,
            threat=budget,
            steps=budget.steps,
            step_size=budget.step_size,
        )
        worst, last = worst.offered(end.best, end.tracked), end.last
    return assert_inside(worst.images if budget.keep == "best" else last, images, budget)


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
    images, start = images.detach(), start.detach()
    gradient, evaluation = input_gradient(objective, start, 0.0)
    length = 2 * threat.epsilon if step_size is None else step_size
    state = begin(images, start, gradient, evaluation, step_size=length)
    end = first_end(state)
    intervals = checkpoints(steps)
    for number in range(1, steps + 1):
        if stop_at is not None and is_stop_check(number, images.device):
            finished = is_finished(state, stop_at, stops)
            state, objective = without(finished, state, objective, end)
        if len(state.place) == 0:
            break
        state = _stepped(state, objective, threat, number=number, steps=steps)
        if number < steps and number in intervals:
            state = _after_checkpoint(state, intervals[number])
    write_end(end, state)
    return end


def _stepped(
    state: State, objective: Objective, threat: ThreatModel, *, number: int, steps: int
) -> State:
    """One iteration; the last one needs no gradient."""
    point = _next_point(state, threat, share=1.0 if number == 1 else MOMENTUM)
    if number < steps:
        return state.moved(point, *input_gradient(objective, point, number / steps))
    return state.moved(point, state.gradient, evaluate_only(objective, point, 1.0))


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
