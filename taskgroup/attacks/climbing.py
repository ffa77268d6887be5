"""Climbing: the loop of APGD, APGD in l1 and Adam, which differ in the way they take.

The loop keeps what is worst, lets finished images leave and asks the way for the next point.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from taskgroup.attacks.base import AttackBudget, Evaluation, Objective
from taskgroup.attacks.geometry import apgd_start, assert_inside
from taskgroup.attacks.iterates import Worst, evaluate_only, input_gradient, is_stop_check
from taskgroup.draws import Draws


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
    """What a climb remembers of the images still attacked, ``M`` of ``N``, the first axis of all.

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
            best=choose(higher, point, self.best),
            best_gradient=choose(higher, gradient, self.best_gradient),
            best_tracked=torch.where(higher, tracked, self.best_tracked),
            lowest=choose(lower, point, self.lowest),
            lowest_score=torch.where(lower, score, self.lowest_score),
            rises=self.rises + (tracked > self.tracked),
            tracked=tracked,
        )


class Way(Protocol):
    """How to climb: what the next point is. A value; it may remember something of each image."""

    def select(self, index: Tensor) -> "Way":
        """The way of some of the images; ``index`` is ``(M,)`` bool."""
        ...

    def next_point(self, state: State, number: int) -> tuple[Tensor, "Way"]:
        """Where iteration ``number``, counted from 1, leads inside the ball, and the way on."""
        ...

    def adapted(self, state: State, number: int) -> tuple[State, "Way"]:
        """State and way after iteration ``number``, which is not the last."""
        ...


def follow(
    way: Way,
    objective: Objective,
    images: Tensor,
    start: Tensor,
    *,
    step_size: float,
    steps: int,
    stop_at: float | None,
    stops: Literal["image", "batch"],
) -> Climb:
    """One phase along a way; the arguments are those of ``apgd.climb``.

    An iteration takes one forward and one backward pass; the last one needs no gradient.
    """
    images, start = images.detach(), start.detach()
    gradient, evaluation = input_gradient(objective, start, 0.0)
    state = begin(images, start, gradient, evaluation, step_size=step_size)
    end = first_end(state)
    for number in range(1, steps + 1):
        if stop_at is not None and is_stop_check(number, images.device):
            finished = is_finished(state, stop_at, stops)
            if finished.any():
                write_end(end, state.select(finished))
                state, way = state.select(~finished), way.select(~finished)
                objective = objective.select(~finished)
        if len(state.place) == 0:
            break
        point, way = way.next_point(state, number)
        if number == steps:
            state = state.moved(point, state.gradient, evaluate_only(objective, point, 1.0))
            break
        state = state.moved(point, *input_gradient(objective, point, number / steps))
        state, way = way.adapted(state, number)
    write_end(end, state)
    return end


def from_starts(
    climber: Callable[..., Climb],
    objective: Objective,
    images: Tensor,
    *,
    budget: AttackBudget,
    draws: Draws,
) -> Tensor:
    """Climb from ``budget.restarts`` random starts, or once from the images.

    With ``keep: best`` each image's iterate with the highest tracked loss over all restarts is
    returned, the image itself included; with ``keep: last`` the last iterate of the last restart.

    Args:
        climber: ``apgd.climb`` or another that takes its ``threat``, ``steps`` and ``step_size``.
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and effort.
        draws: Source of the random starts; not used when there are none.
    """
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    worst, last = Worst.before(images), images
    if budget.keep == "best" and budget.random_start:
        worst = worst.offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts if budget.random_start else 1):
        start = apgd_start(images, budget, draws) if budget.random_start else images
        end = climber(
            objective,
            images,
            start,
            threat=budget,
            steps=budget.steps,
            step_size=budget.step_size,
        )
        worst, last = worst.offered(end.best, end.tracked), end.last
    return assert_inside(worst.images if budget.keep == "best" else last, images, budget)


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


def choose(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Image by image."""
    return torch.where(condition[:, None, None, None], yes, no)


def is_finished(state: State, stop_at: float, stops: Literal["image", "batch"]) -> Tensor:
    """Which images may leave, ``(M,)``: those that scored so low, or all once every one has."""
    finished = state.lowest_score <= stop_at
    return finished if stops == "image" else finished.all().expand_as(finished)


def first_end(state: State) -> Climb:
    """Room for the ends of all images."""
    tracked, score = state.best_tracked.clone(), state.lowest_score.clone()
    return Climb(state.best.clone(), tracked, state.lowest.clone(), score, state.point.clone())


def write_end(end: Climb, state: State) -> None:
    """Write the ends of the state's images into ``end``."""
    ends = (state.best, state.best_tracked, state.lowest, state.lowest_score, state.point)
    for values, found in zip(end, ends, strict=True):
        values[state.place] = found
