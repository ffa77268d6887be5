"""Auto-PGD: projected gradient ascent that chooses its own step size.

Steps, momentum and checkpoints are those of Croce and Hein 2020 (arXiv:2003.01690); a loss that is
tracked beside the one that is raised is that of SEA (Croce, Singh and Hein 2024, arXiv:2306.12941).
One engine serves every objective. An iteration costs one forward pass, whose loss, tracked loss and
score are all used.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Evaluation, Objective, ThreatModel
from taskgroup.attacks.compatibility import check_seed_compatible
from taskgroup.attacks.geometry import (
    apgd_start,
    assert_inside,
    project,
    steepest,
)
from taskgroup.attacks.iterates import Worst, evaluate_only, input_gradient, is_stop_check
from taskgroup.draws import Draws

MOMENTUM = 0.75
"""Share of the new step in an iteration; the rest repeats the previous move."""
FIRST_INTERVAL = 0.22
SMALLEST_INTERVAL = 0.06
INTERVAL_DECREASE = 0.03
"""Shares of all steps between checkpoints; section 3 of Croce and Hein 2020, arXiv:2003.01690."""
RISES_WANTED = 0.75
"""Share of steps since the last checkpoint that must have raised the loss; rho of the paper."""


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


class State(NamedTuple):
    """What APGD remembers of the images still attacked, ``M`` of ``N``, the first axis of all.

    Attributes:
        place: Number of the image in the batch, ``(M,)`` int64.
        images: The unperturbed images, ``(M, C, H, W)``.
        point: The current iterate.
        before: The iterate that the last step began at.
        gradient: Gradient of the attack loss at ``point``.
        step: Length of the next step, ``(M,)``.
        best: The iterate with the highest tracked loss.
        best_gradient: The gradient there.
        best_tracked: The tracked loss there, ``(M,)``.
        lowest: The iterate with the lowest score, the latest of equals; ``best`` where there is
            no score.
        lowest_score: The score there, ``(M,)``; NaN when there is none.
        checkpoint_tracked: ``best_tracked`` at the last checkpoint.
        halved: Whether the step was halved there.
        rises: Steps since then that raised the tracked loss, ``(M,)`` int64.
        tracked: The tracked loss after the last step, ``(M,)``.
    """

    place: Tensor
    images: Tensor
    point: Tensor
    before: Tensor
    gradient: Tensor
    step: Tensor
    best: Tensor
    best_gradient: Tensor
    best_tracked: Tensor
    lowest: Tensor
    lowest_score: Tensor
    checkpoint_tracked: Tensor
    halved: Tensor
    rises: Tensor
    tracked: Tensor

    def select(self, index: Tensor) -> "State":
        """The state of some of the images; ``index`` is ``(M,)`` bool."""
        return State(*(values[index] for values in self))

    def moved(self, point: Tensor, gradient: Tensor, evaluation: Evaluation) -> "State":
        """After a step to ``point``."""
        tracked, score = _ordered(evaluation.tracked), _scored(evaluation)
        higher = tracked > self.best_tracked
        unscored = score.isnan() | self.lowest_score.isnan()
        lower = torch.where(unscored, higher, score <= self.lowest_score)
        return self._replace(
            point=point,
            before=self.point,
            gradient=gradient,
            best=_choose(higher, point, self.best),
            best_gradient=_choose(higher, gradient, self.best_gradient),
            best_tracked=torch.where(higher, tracked, self.best_tracked),
            lowest=_choose(lower, point, self.lowest),
            lowest_score=torch.where(lower, score, self.lowest_score),
            rises=self.rises + (tracked > self.tracked),
            tracked=tracked,
        )

    def after_checkpoint(self, steps: int) -> "State":
        """Halve the step of images that oscillate or stand still, and send them to their best.

        An image oscillates when at most three quarters of the last ``steps`` steps raised its
        tracked loss, and stands still when its best has not moved since the last checkpoint
        although the step was not halved then.
        """
        oscillates = self.rises <= RISES_WANTED * steps
        stands_still = ~self.halved & (self.checkpoint_tracked >= self.best_tracked)
        halved = oscillates | stands_still
        return self._replace(
            point=_choose(halved, self.best, self.point),
            gradient=_choose(halved, self.best_gradient, self.gradient),
            step=torch.where(halved, self.step / 2, self.step),
            checkpoint_tracked=self.best_tracked,
            halved=halved,
            rises=torch.zeros_like(self.rises),
        )


@ATTACKS.register("apgd")
def apgd(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Climb ``budget.steps`` times with a step size that starts at 2 epsilon and halves itself.

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
            state = state.after_checkpoint(intervals[number])
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


def is_finished(state: State, stop_at: float, stops: Literal["image", "batch"]) -> Tensor:
    """Which images may leave, ``(M,)``: those that scored so low, or all once every one has."""
    finished = state.lowest_score <= stop_at
    return finished if stops == "image" else finished.all().expand_as(finished)


def without(
    finished: Tensor, state: State, objective: Objective, end: Climb
) -> tuple[State, Objective]:
    """Drop the images that cannot get worse, after writing down where they ended."""
    if not finished.any():
        return state, objective
    write_end(end, state.select(finished))
    return state.select(~finished), objective.select(~finished)


def first_end(state: State) -> Climb:
    """Room for the ends of all images."""
    tracked, score = state.best_tracked.clone(), state.lowest_score.clone()
    return Climb(state.best.clone(), tracked, state.lowest.clone(), score, state.point.clone())


def write_end(end: Climb, state: State) -> None:
    """Write the ends of the state's images into ``end``."""
    ends = (state.best, state.best_tracked, state.lowest, state.lowest_score, state.point)
    for values, found in zip(end, ends, strict=True):
        values[state.place] = found


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


def begin(
    images: Tensor, start: Tensor, gradient: Tensor, evaluation: Evaluation, *, step_size: float
) -> State:
    """The state at the start of an attack on images ``(N, C, H, W)``."""
    tracked = _ordered(evaluation.tracked)
    count, device = len(images), images.device
    return State(
        place=torch.arange(count, device=device),
        images=images,
        point=start,
        before=start,
        gradient=gradient,
        step=images.new_full((count,), step_size),
        best=start,
        best_gradient=gradient,
        best_tracked=tracked,
        lowest=start,
        lowest_score=_scored(evaluation),
        checkpoint_tracked=tracked,
        halved=torch.ones(count, dtype=torch.bool, device=device),
        rises=torch.zeros(count, dtype=torch.int64, device=device),
        # AutoAttack's first comparison is with a loss of zero, not with that of the start.
        tracked=torch.zeros_like(tracked),
    )


def _ordered(tracked: Tensor) -> Tensor:
    """Tracked losses that compare: a network that returns NaN broke, which is the highest loss."""
    return torch.nan_to_num(tracked, nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _scored(evaluation: Evaluation) -> Tensor:
    """Scores that compare: where a network broke its classes mean nothing, no score is lower."""
    broke = evaluation.tracked.isnan() & ~evaluation.score.isnan()
    return evaluation.score.masked_fill(broke, -torch.inf)


def _choose(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Image by image."""
    return torch.where(condition[:, None, None, None], yes, no)
