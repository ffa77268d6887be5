"""Projected ascent by Adam: steps of about one length per number, whatever the loss's scale.

Kingma and Ba 2015 (arXiv:1412.6980) with the largest second moment so far (AMSGrad, Reddi et al.
2018, arXiv:1904.09237). Unlike the sign of a gradient, Adam moves a number whose gradients cancel
less than one whose gradients agree. In l2, where a step of one length per number would be spent on
numbers that hardly matter, the second moment is one for the whole image.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import Objective, ThreatModel
from taskgroup.attacks.climbing import (
    Climb,
    State,
    begin,
    first_end,
    is_finished,
    without,
    write_end,
)
from taskgroup.attacks.geometry import project, steepest
from taskgroup.attacks.iterates import evaluate_only, input_gradient, is_stop_check

RATE = 1 / 4
"""Learning rate in multiples of the radius: 2/255 in a linf ball of 8/255."""
FIRST_DECAY, SECOND_DECAY = 0.9, 0.999
"""Shares of the moments that a step keeps; beta of Kingma and Ba."""
SMALLEST_ROOT = 1e-8
"""Added to the root of the second moment."""


class Moments(NamedTuple):
    """What Adam remembers of ``M`` images, each ``(M, C, H, W)``.

    Attributes:
        first: Running mean of the gradients.
        second: Running mean of their squares.
        largest: Largest ``second`` so far, number by number.
    """

    first: Tensor
    second: Tensor
    largest: Tensor

    def select(self, index: Tensor) -> "Moments":
        """Those of some of the images; ``index`` is ``(M,)`` bool."""
        return Moments(*(values[index] for values in self))

    def updated(self, gradient: Tensor) -> "Moments":
        """With one more gradient."""
        first = torch.lerp(gradient, self.first, FIRST_DECAY)
        second = torch.lerp(gradient.square(), self.second, SECOND_DECAY)
        return Moments(first, second, torch.maximum(self.largest, second))

    def direction(self, threat: ThreatModel, number: int) -> Tensor:
        """The step for a learning rate of 1, after ``number`` gradients."""
        if threat.norm == "l2":
            return steepest(self.first, threat)
        mean = self.first / (1 - FIRST_DECAY**number)
        root = (self.largest / (1 - SECOND_DECAY**number)).sqrt()
        return mean / (root + SMALLEST_ROOT)


def adam_climb(
    objective: Objective,
    images: Tensor,
    start: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    stop_at: float | None = None,
    stops: Literal["image", "batch"] = "image",
) -> Climb:
    """One phase of Adam from ``start``, a point of the ball; else as ``apgd.climb``.

    Every gradient is divided by its mean absolute value, image by image, and every step is
    projected. The learning rate is a quarter of the radius. In linf a step is that long in every
    number whose gradients agree; in l2 it goes along the running mean of the gradients and is that
    long in the norm.

    Args:
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        start: Same shape, inside the ball.
        threat: The ball, of linf or l2.
        steps: Gradient steps, at least one.
        stop_at: Score from which on an image leaves the batch; None lets all run.
        stops: Whether each image leaves by itself, or all together when the last one may.
    """
    images, start = images.detach(), start.detach()
    gradient, evaluation = input_gradient(objective, start, 0.0)
    state = begin(images, start, gradient, evaluation, step_size=RATE * threat.epsilon)
    moments, end = Moments(*(torch.zeros_like(images) for _ in range(3))), first_end(state)
    for number in range(1, steps + 1):
        if stop_at is not None and is_stop_check(number, images.device):
            finished = is_finished(state, stop_at, stops)
            state, objective = without(finished, state, objective, end)
            moments = moments.select(~finished)
        if len(state.place) == 0:
            break
        moments = moments.updated(_unit_mean(state.gradient))
        state = _stepped(state, objective, threat, moments, number=number, steps=steps)
    write_end(end, state)
    return end


def _stepped(
    state: State,
    objective: Objective,
    threat: ThreatModel,
    moments: Moments,
    *,
    number: int,
    steps: int,
) -> State:
    """One iteration; the last one needs no gradient."""
    ahead = state.point + state.step[:, None, None, None] * moments.direction(threat, number)
    point = project(ahead, state.images, threat)
    if number < steps:
        return state.moved(point, *input_gradient(objective, point, number / steps))
    return state.moved(point, state.gradient, evaluate_only(objective, point, 1.0))


def _unit_mean(gradient: Tensor) -> Tensor:
    """Each image's gradient over its mean absolute value; NaN says nothing and counts as zero.

    The largest entry is divided out first: the mean of numbers near the largest float overflows.
    """
    finite = torch.nan_to_num(gradient, nan=0.0)
    tiny = torch.finfo(gradient.dtype).tiny
    finite = finite / finite.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=tiny)
    return finite / finite.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=tiny)
