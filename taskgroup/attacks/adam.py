"""Projected ascent by Adam: steps of about one length per number, whatever the loss's scale.

Kingma and Ba 2015 (arXiv:1412.6980) with the largest second moment so far (AMSGrad, Reddi et al.
2018, arXiv:1904.09237). Unlike the sign of a gradient, Adam moves a number whose gradients cancel
less than one whose gradients agree. In l2, where a step of one length per number would be spent on
numbers that hardly matter, the second moment is one for the whole image.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import ADAM_RATE, AttackBudget, Objective, ThreatModel
from taskgroup.attacks.climbing import Climb, State, follow, from_starts
from taskgroup.attacks.geometry import project, steepest
from taskgroup.draws import Draws

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


def adam(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """PAdam (Halmosi, Mohos and Jelasity 2024, arXiv:2407.09150): Adam on gradients as they are.

    A given ``budget.step_size`` is the learning rate. Arguments and result are those of ``apgd``.
    """
    climber = partial(adam_climb, scaled=False)
    return from_starts(climber, objective, images, budget=budget, draws=draws)


def adam_climb(
    objective: Objective,
    images: Tensor,
    start: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    step_size: float | None = None,
    stop_at: float | None = None,
    stops: Literal["image", "batch"] = "image",
    scaled: bool = True,
) -> Climb:
    """One phase of Adam from ``start``, a point of the ball; else as ``apgd.climb``.

    Every step is projected. In linf a step is as long as the learning rate in every number whose
    gradients agree; in l2 it goes along the running mean of the gradients and is that long in the
    norm.

    Args:
        objective: What to raise and what to track.
        images: ``(N, C, H, W)`` in [0, 1].
        start: Same shape, inside the ball.
        threat: The ball, of linf or l2.
        steps: Gradient steps, at least one.
        step_size: The learning rate, by default a quarter of the radius.
        stop_at: Score from which on an image leaves the batch; None lets all run.
        stops: Whether each image leaves by itself, or all together when the last one may.
        scaled: Divide every gradient by its mean absolute value, image by image, so that each
            counts alike however large the loss is there.
    """
    nothing = torch.zeros_like(images)
    return follow(
        AdamWay(threat, Moments(nothing, nothing, nothing), scaled),
        objective,
        images,
        start,
        step_size=ADAM_RATE * threat.epsilon if step_size is None else step_size,
        steps=steps,
        stop_at=stop_at,
        stops=stops,
    )


class AdamWay(NamedTuple):
    """Steps along running means.

    Attributes:
        threat: The ball.
        moments: Means of the gradients and of their squares.
        scaled: Whether every gradient is divided by its mean absolute value first.
    """

    threat: ThreatModel
    moments: Moments
    scaled: bool

    def select(self, index: Tensor) -> "AdamWay":
        """The moments of some of the images."""
        return self._replace(moments=self.moments.select(index))

    def next_point(self, state: State, number: int) -> tuple[Tensor, "AdamWay"]:
        """A projected step, after the gradient has entered the moments."""
        gradient = _unit_mean(state.gradient) if self.scaled else _finite(state.gradient)
        moments = self.moments.updated(gradient)
        ahead = state.point + state.step[:, None, None, None] * moments.direction(
            self.threat, number
        )
        return project(ahead, state.images, self.threat), self._replace(moments=moments)

    def adapted(self, state: State, number: int) -> tuple[State, "AdamWay"]:
        """The learning rate stays."""
        return state, self


def _finite(gradient: Tensor) -> Tensor:
    """What is not finite says nothing and counts as zero."""
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _unit_mean(gradient: Tensor) -> Tensor:
    """Each image's gradient over its mean absolute value; NaN says nothing and counts as zero.

    The largest entry is divided out first: the mean of numbers near the largest float overflows.
    """
    finite = torch.nan_to_num(gradient, nan=0.0)
    tiny = torch.finfo(gradient.dtype).tiny
    finite = finite / finite.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=tiny)
    return finite / finite.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=tiny)
