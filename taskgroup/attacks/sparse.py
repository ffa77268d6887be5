"""APGD in l1: steps along the signs of the largest gradients, whose share adapts itself.

Croce and Hein 2021, "Mind the box" (arXiv:2103.01208). The ball cut with the box is not the ball:
its steepest direction changes many numbers, as many as the best point so far.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import Objective, ThreatModel
from taskgroup.attacks.climbing import Climb, State, choose, follow
from taskgroup.attacks.geometry import largest_signs, project

FIRST_SHARE = 0.2
"""Share of the numbers that the first steps change."""
INTERVAL = 0.04
"""Share of all steps between checkpoints."""
DENSER = 1.5
"""A step changes this many times fewer numbers than the best point has changed."""
SETTLED = 0.95
"""Share of changed numbers above which the best point counts as no sparser than before."""
SHORTER = 1.5
SHORTEST = 0.1
"""What a step is divided by when the sparsity has settled, and its least share of the first one."""


class Sparsity(NamedTuple):
    """How many numbers change, of ``M`` images; each ``(M,)``.

    Attributes:
        share: Share of the numbers that a step changes.
        changed: Numbers that the best point had changed at the last checkpoint.
    """

    share: Tensor
    changed: Tensor

    def select(self, index: Tensor) -> "Sparsity":
        """That of some of the images; ``index`` is ``(M,)`` bool."""
        return Sparsity(self.share[index], self.changed[index])


def sparse_climb(
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
    """One phase in an l1 ball from ``start``; arguments and result are those of ``apgd.climb``.

    The first step is epsilon long. At every checkpoint an image whose best point has become sparser
    returns to it with steps of that length; for the others they become shorter. The published code
    begins a second phase with the sparsity of its start; here every phase begins with a fifth of
    the numbers, which the first checkpoint replaces.
    """
    longest = threat.epsilon if step_size is None else step_size
    whole = images.new_full((len(images),), float(images[:1].numel()))
    way = SparseWay(
        threat,
        Sparsity(torch.full_like(whole, FIRST_SHARE), whole),
        interval=max(int(INTERVAL * steps), 1),
        longest=longest,
    )
    return follow(
        way,
        objective,
        images,
        start,
        step_size=longest,
        steps=steps,
        stop_at=stop_at,
        stops=stops,
    )


class SparseWay(NamedTuple):
    """Steps along the signs of the largest gradients.

    Attributes:
        threat: The ball.
        sparsity: How many numbers change.
        interval: Iterations between checkpoints.
        longest: Length of the first step.
    """

    threat: ThreatModel
    sparsity: Sparsity
    interval: int
    longest: float

    def select(self, index: Tensor) -> "SparseWay":
        """The sparsity of some of the images."""
        return self._replace(sparsity=self.sparsity.select(index))

    def next_point(self, state: State, number: int) -> tuple[Tensor, "SparseWay"]:
        """A projected step."""
        finite = torch.nan_to_num(state.gradient, nan=0.0)
        direction = largest_signs(finite, self.sparsity.share)
        ahead = state.point + state.step[:, None, None, None] * direction
        return project(ahead, state.images, self.threat), self

    def adapted(self, state: State, number: int) -> tuple[State, "SparseWay"]:
        """After a checkpoint another share of the numbers changes."""
        if number % self.interval:
            return state, self
        moved, sparsity = _adapted(state, self.sparsity, self.longest)
        return moved, self._replace(sparsity=sparsity)


def _adapted(state: State, sparsity: Sparsity, longest: float) -> tuple[State, Sparsity]:
    """After a checkpoint."""
    changed = (state.best != state.images).flatten(1).sum(1).to(sparsity.changed)
    sparser = changed < SETTLED * sparsity.changed
    shorter = (state.step / SHORTER).clamp(min=SHORTEST * longest)
    moved = state._replace(
        point=choose(sparser, state.best, state.point),
        gradient=choose(sparser, state.best_gradient, state.gradient),
        step=torch.where(sparser, longest, shorter),
    )
    share = changed / state.images[:1].numel() / DENSER
    return moved, Sparsity(share, changed)
