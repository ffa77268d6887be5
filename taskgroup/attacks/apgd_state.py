"""What APGD remembers of each image."""

from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.base import Evaluation

RISES_WANTED = 0.75
"""Share of steps since the last look that must have raised the loss; rho of the paper."""


class State(NamedTuple):
    """The images still attacked, ``M`` of ``N``; every field has them on its first axis.

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
        looked_tracked: ``best_tracked`` when APGD last looked back.
        halved: Whether the step was halved then.
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
    looked_tracked: Tensor
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

    def looked_back(self, steps: int) -> "State":
        """Halve the step of images that oscillate or stand still, and send them to their best.

        An image oscillates when at most three quarters of the last ``steps`` steps raised its
        tracked loss, and stands still when its best has not moved since the last look although the
        step was not halved then.
        """
        oscillates = self.rises <= RISES_WANTED * steps
        stands_still = ~self.halved & (self.looked_tracked >= self.best_tracked)
        halved = oscillates | stands_still
        return self._replace(
            point=_choose(halved, self.best, self.point),
            gradient=_choose(halved, self.best_gradient, self.gradient),
            step=torch.where(halved, self.step / 2, self.step),
            looked_tracked=self.best_tracked,
            halved=halved,
            rises=torch.zeros_like(self.rises),
        )


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
        looked_tracked=tracked,
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
