"""Auto-PGD: projected gradient ascent that chooses its own step size.

Steps, momentum and looks back are those of Croce and Hein 2020 (arXiv:2003.01690); the shrinking
radii, and a loss that is tracked beside the one that is raised, those of SEA (Croce, Singh and
Hein 2024, arXiv:2306.12941). One engine serves every objective. An iteration costs one forward
pass, whose loss, tracked loss and score are all used.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.apgd_schedule import SHRINKING, Phase, checkpoints, phase_steps
from taskgroup.attacks.apgd_state import State, begin
from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective, ThreatModel
from taskgroup.attacks.compatibility import check_no_slips
from taskgroup.attacks.geometry import (
    assert_inside,
    project,
    random_inside,
    random_surface,
    steepest,
)
from taskgroup.attacks.gradients import evaluate_only, input_gradient
from taskgroup.attacks.looking import is_look
from taskgroup.attacks.worst import Worst

MOMENTUM = 0.75
"""Share of the new step in an iteration; the rest repeats the previous move."""


class Climb(NamedTuple):
    """Where a phase ended, for ``N`` images.

    Attributes:
        best: Iterates with the highest tracked loss, ``(N, C, H, W)``.
        tracked: Their tracked losses, ``(N,)``.
        lowest: Iterates with the lowest score; the same as ``best`` where there is no score.
        score: Their scores, ``(N,)``; NaN when there is none.
        last: The last iterates.
    """

    best: Tensor
    tracked: Tensor
    lowest: Tensor
    score: Tensor
    last: Tensor


@ATTACKS.register("apgd")
def apgd(
    objective: Objective, images: Tensor, *, budget: AttackBudget, generator: torch.Generator
) -> Tensor:
    """Climb ``budget.steps`` times with a step size that starts at 2 epsilon and halves itself.

    With ``keep: best`` each image's iterate with the highest tracked loss over all restarts is
    returned, the image itself included; with ``keep: last`` the last iterate of the last restart.
    A given ``budget.step_size`` is the first step's.

    Args:
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and effort. Without a random start one restart is as good as many.
        generator: Source of the random starts; not used when there are none.

    Returns:
        Perturbed images of the same shape, without a graph.
    """
    check_no_slips("apgd", budget)
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    worst, last = Worst.before(images), images
    if budget.keep == "best" and budget.random_start:
        worst = worst.offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts if budget.random_start else 1):
        start = _random_start(images, budget, generator) if budget.random_start else images
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


def apgd_phases(
    objective: Objective,
    images: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    generator: torch.Generator,
    phases: tuple[Phase, ...] = SHRINKING,
    random_start: bool = True,
    choose: Literal["score", "tracked"] = "score",
    stop_at: float | None = None,
    stops: Literal["image", "batch"] = "image",
) -> Climb:
    """Climb in one ball after the other, each from where the previous phase ended.

    A phase begins at the previous one's lowest score, or highest tracked loss, projected into its
    own ball; what was best there does not count any more. ``n`` steps take ``n`` backward passes
    and one forward pass more per phase.

    Args:
        objective: What to raise, what to track, and a score that an attack lowers.
        images: ``(N, C, H, W)`` in [0, 1].
        threat: The ball of radius epsilon, in which the last phase must end.
        steps: Steps of all phases together.
        generator: Source of the random start.
        phases: Radii and shares of the steps; the last radius is 1.
        random_start: Begin at a random point of the first ball instead of the images.
        choose: Which iterate a phase hands on. SEA hands on the lowest score, AutoAttack the
            highest tracked loss; an error, which is worse when it is high, needs ``tracked``.
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
        if point is None:
            start = _random_start(images, ball, generator)
        else:
            start = project(point, images, ball)
        end = climb(
            objective, images, start, threat=ball, steps=count, stop_at=stop_at, stops=stops
        )
        point = end.lowest if choose == "score" else end.best
    assert end is not None, "there must be a step to take"
    return end


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

    Args:
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        start: Same shape, inside the ball.
        threat: The ball.
        steps: Gradient steps, at least one.
        step_size: Length of the first step, by default 2 epsilon.
        stop_at: Score from which on an image leaves the batch; None lets all run.
        stops: Whether each image leaves by itself, or all together when the last one may.
    """
    images, start = images.detach(), start.detach()
    gradient, evaluation = input_gradient(objective, start, 0.0)
    length = 2 * threat.epsilon if step_size is None else step_size
    state = begin(images, start, gradient, evaluation, step_size=length)
    end = _first_end(state)
    looks = checkpoints(steps)
    for number in range(1, steps + 1):
        if stop_at is not None and is_look(number, images.device):
            finished = state.lowest_score <= stop_at
            if stops == "batch":
                finished = finished.all().expand_as(finished)
            state, objective = _without(finished, state, objective, end)
        if len(state.place) == 0:
            break
        state = _stepped(state, objective, threat, number=number, steps=steps)
        if number < steps and number in looks:
            state = state.looked_back(looks[number])
    _write(end, state)
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


def _without(
    finished: Tensor, state: State, objective: Objective, end: Climb
) -> tuple[State, Objective]:
    """Drop the images that cannot get worse, after writing down where they ended."""
    if not finished.any():
        return state, objective
    _write(end, state.select(finished))
    return state.select(~finished), objective.select(~finished)


def _first_end(state: State) -> Climb:
    """Room for the ends of all images."""
    tracked, score = state.best_tracked.clone(), state.lowest_score.clone()
    return Climb(state.best.clone(), tracked, state.lowest.clone(), score, state.point.clone())


def _write(end: Climb, state: State) -> None:
    """Write the ends of the state's images into ``end``."""
    ends = (state.best, state.best_tracked, state.lowest, state.lowest_score, state.point)
    for values, found in zip(end, ends, strict=True):
        values[state.place] = found


def _random_start(images: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """Uniform in the linf ball, as in SEA; on the l2 sphere, as in AutoAttack."""
    draw = random_inside if threat.norm == "linf" else random_surface
    return draw(images, threat, generator)
