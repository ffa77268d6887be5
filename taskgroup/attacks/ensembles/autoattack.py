"""AutoAttack, version ``standard`` (Croce and Hein 2020, arXiv:2003.01690), and its cheapest part.

APGD on cross-entropy, targeted APGD, targeted FAB and Square, one after the other; only images
that are still classified right go on to the next. Targeted APGD raises a ratio of logits that takes
four classes; with fewer the margin is raised in its place.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, LogitObjective, Objective, ThreatModel
from taskgroup.attacks.compatibility import check_fit, check_norm, check_seed_compatible
from taskgroup.attacks.geometry import assert_inside, project, random_stretched
from taskgroup.attacks.iterates import is_stop_check
from taskgroup.attacks.square import random_search
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

TARGETS = 9
"""Classes that the targeted attacks go towards: the runners-up of the clean image."""
NEAREST_TARGETS = 4
"""The same for ``apgd_targeted``."""
RATIO_CLASSES = 4
"""Classes from which on the targeted ratio of logits is defined."""
QUERIES_PER_STEP = 50
"""Square's 5000 queries beside 100 gradient steps."""
LARGEST_SHARE = 0.1
"""Most of a step that is taken from the image instead of the current point; alpha_max."""
OVERSHOOT = 1.05
PULL_BACK = 0.9
TINY = 1e-12


class _Robust(NamedTuple):
    """Images that are still right, ``M`` of ``N``, and how to attack them.

    Attributes:
        objective: That of these images.
        whole: All images of the batch, ``(N, C, H, W)``.
        place: Which of them these are, ``(M,)`` int64.
        budget: Ball and effort.
        draws: Source of random numbers.
    """

    objective: LogitObjective
    whole: Tensor
    place: Tensor
    budget: AttackBudget
    draws: Draws

    @property
    def images(self) -> Tensor:
        """These images, ``(M, C, H, W)``."""
        return self.whole[self.place]

    def select(self, index: Tensor) -> "_Robust":
        """Some of them; ``index`` is ``(K,)`` int64 or ``(M,)`` bool."""
        objective: LogitObjective = self.objective.select(index)  # type: ignore[assignment]
        return self._replace(objective=objective, place=self.place[index])

    def random_points(self) -> Tensor:
        """Where APGD begins. Drawn for all images: what is left of a batch moves no image."""
        return random_stretched(self.whole, self.budget, self.draws)[self.place]


_Member = Callable[[_Robust], Tensor]


@ATTACKS.register("autoattack")
def autoattack(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """A misclassified point of the ball for each image that has one, else the image itself.

    An image on which the network gives NaN or infinity counts as misclassified, and its like do not
    keep the others from being attacked.

    Args:
        objective: Must have logits and labels.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and gradient steps, published 100; Square takes 50 queries per step.
        draws: Source of random starts and patches.

    Raises:
        ConfigError: The task is not a classification, or has a single class.
    """
    check_seed_compatible("autoattack", budget)
    check_norm("autoattack", budget)
    checked, num_classes = _checked("autoattack", objective, images)
    second = _apgd_targeted if num_classes >= RATIO_CLASSES else _apgd_margin
    members = (_apgd, second, _fab_targeted, _square)
    return _one_after_the_other(members, _all(checked, images, budget, draws))


@ATTACKS.register("apgd_targeted")
def apgd_targeted(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """Targeted APGD alone, towards the four most likely other classes: APGD-T of AutoAttack.

    With fewer than four classes APGD on cross-entropy and on the margin take its place, each with
    twice the steps. Arguments, result and errors are those of ``autoattack``; ``budget.steps`` is
    per class.
    """
    check_seed_compatible("apgd_targeted", budget)
    checked, num_classes = _checked("apgd_targeted", objective, images)
    robust = _all(checked, images, budget, draws)
    if num_classes >= RATIO_CLASSES:
        return _one_after_the_other((_apgd_nearest,), robust)
    twice = budget.model_copy(update={"steps": 2 * budget.steps})
    return _one_after_the_other((_apgd, _apgd_margin), robust._replace(budget=twice))


def _all(objective: LogitObjective, images: Tensor, budget: AttackBudget, draws: Draws) -> _Robust:
    """Every image of a batch."""
    place = torch.arange(len(images), device=images.device)
    return _Robust(objective, images.detach(), place, budget, draws)


def _one_after_the_other(members: Sequence[_Member], robust: _Robust) -> Tensor:
    """The first misclassified point that a member finds for each image, else the image itself."""
    found = robust.images.clone()
    if robust.budget.epsilon == 0:
        return found
    left = robust.select(_right(robust.objective, found))
    for member in members:
        if len(left.place) == 0:
            break
        left = _written(found, left, member(left))
    return assert_inside(found, robust.whole, robust.budget)


def _written(found: Tensor, robust: _Robust, attacked: Tensor) -> _Robust:
    """What is left after an attack; what it fooled is written into ``found``, ``(N, C, H, W)``."""
    fooled = ~_right(robust.objective, attacked)
    found[robust.place[fooled]] = attacked[fooled]
    return robust.select(~fooled)


def _checked(attack: str, objective: Objective, images: Tensor) -> tuple[LogitObjective, int]:
    """The objective, after a check of its task, and the number of its classes."""
    if not isinstance(objective, LogitObjective):
        raise ConfigError(
            f"attack {attack!r} needs logits of one classification task, but the objective "
            "combines several; attack the main task alone, or choose apgd"
        )
    check_fit(attack, objective.predicts)
    with torch.no_grad():
        num_classes = objective.logits(images[:1]).shape[1]
    check_fit(attack, "class", num_classes=num_classes)
    return objective, num_classes


@torch.no_grad()
def _right(objective: LogitObjective, images: Tensor) -> Tensor:
    """Whether images are classified right; a network that predicts NaN is wrong."""
    logits = objective.logits(images)
    return (logits.argmax(1) == objective.labels) & logits.isfinite().all(1)


def _apgd(robust: _Robust) -> Tensor:
    return _climbed(robust, robust.objective.with_loss("cross_entropy", tracks="raised"))


def _climbed(robust: _Robust, objective: Objective) -> Tensor:
    """One run of APGD from a random point that reaches the surface; images leave once wrong."""
    start = robust.random_points()
    end = climb(
        objective,
        robust.images,
        start,
        threat=robust.budget,
        steps=robust.budget.steps,
        stop_at=0.0,
    )
    return end.lowest


def _apgd_margin(robust: _Robust) -> Tensor:
    return _climbed(robust, robust.objective.with_loss("margin", tracks="raised"))


def _apgd_targeted(robust: _Robust) -> Tensor:
    return _apgd_towards(robust, TARGETS)


def _apgd_nearest(robust: _Robust) -> Tensor:
    return _apgd_towards(robust, NEAREST_TARGETS)


def _apgd_towards(robust: _Robust, count: int) -> Tensor:
    def attack(now: _Robust, towards: Tensor) -> Tensor:
        objective = now.objective.with_loss("targeted_dlr", tracks="raised", towards=towards)
        return _climbed(now, objective)

    return _towards_each(robust, attack, count)


def _fab_targeted(robust: _Robust) -> Tensor:
    def attack(now: _Robust, towards: Tensor) -> Tensor:
        return fab_targeted(
            now.objective, now.images, towards, threat=now.budget, steps=now.budget.steps
        )

    return _towards_each(robust, attack, TARGETS)


def _square(robust: _Robust) -> Tensor:
    queries = robust.budget.steps * QUERIES_PER_STEP
    return random_search(
        robust.objective.with_loss("margin", tracks="raised"),
        robust.images,
        budget=robust.budget.model_copy(update={"steps": queries, "restarts": 1}),
        draws=robust.draws,
        stop_at=0.0,
    )


def _towards_each(
    robust: _Robust, attack: Callable[[_Robust, Tensor], Tensor], count: int
) -> Tensor:
    """The attack towards one of ``count`` runners-up after the other, on images still right."""
    with torch.no_grad():
        order = robust.objective.logits(robust.images).argsort(dim=1, descending=True)
    ranks = torch.empty(len(robust.whole), order.shape[1], dtype=order.dtype, device=order.device)
    ranks[robust.place] = order
    found, left = robust.whole.clone(), robust
    for rank in range(1, min(count, order.shape[1] - 1) + 1):
        if len(left.place) == 0:
            break
        left = _written(found, left, attack(left, ranks[left.place, rank]))
    return found[robust.place]


def fab_targeted(
    objective: LogitObjective, images: Tensor, towards: Tensor, *, threat: ThreatModel, steps: int
) -> Tensor:
    """Targeted FAB: misclassified points in the ball; the image itself where none was found.

    It seeks the nearest point across the decision boundary (Croce and Hein 2020, arXiv:1907.02044).

    Each step goes to the hyperplane that the boundary towards one class looks like from here, with
    a share of the step from the image to the same hyperplane. A point across the boundary is pulled
    back towards the image. An image is finished as soon as it has a point in the ball.

    Args:
        objective: Logits and labels of the images.
        images: ``(N, C, H, W)`` in [0, 1].
        towards: Class to cross to, ``(N,)``.
        threat: The ball.
        steps: Steps at most.
    """
    found = images.clone()
    place = torch.arange(len(images), device=images.device)
    clean, point, best = images, images, images
    done = torch.zeros_like(place, dtype=torch.bool)
    for number in range(1, steps + 1):
        point = _stepped(objective, point, clean, towards, threat)
        with torch.no_grad():
            crossed = ~_right(objective, point)
        fits = crossed & (_lengths(point - clean, threat) <= threat.epsilon)
        best = torch.where(_wide(fits & ~done), project(point, clean, threat), best)
        done = done | fits
        point = torch.where(_wide(crossed), clean + PULL_BACK * (point - clean), point)
        if is_stop_check(number, images.device) and done.any():
            found[place] = best
            going = ~done
            place, clean, point, best = place[going], clean[going], point[going], best[going]
            towards, done = towards[going], done[going]
            objective = objective.select(going)  # type: ignore[assignment]
        if len(place) == 0:
            break
    found[place] = best
    return found


def _stepped(
    objective: LogitObjective, point: Tensor, clean: Tensor, towards: Tensor, threat: ThreatModel
) -> Tensor:
    """One biased step to the linearised boundary."""
    with torch.enable_grad():
        probe = point.detach().requires_grad_()
        logits = objective.logits(probe)
        rows = torch.arange(len(point), device=point.device)
        difference = logits[rows, towards] - logits[rows, objective.labels]
        (normal,) = torch.autograd.grad(difference.sum(), probe)
    missing = -difference.detach()
    from_clean = missing - (normal * (clean - point)).sum((1, 2, 3))
    ahead = to_hyperplane(point, normal, missing, threat)
    biased = to_hyperplane(clean, normal, from_clean, threat)
    first, second = _lengths(ahead, threat), _lengths(biased, threat)
    share = (first / (first + second).clamp(min=TINY)).clamp(0, LARGEST_SHARE)
    share = share[:, None, None, None]
    mixed = (1 - share) * (point + OVERSHOOT * ahead) + share * (clean + OVERSHOOT * biased)
    return mixed.clamp(0, 1)


def to_hyperplane(points: Tensor, normal: Tensor, missing: Tensor, threat: ThreatModel) -> Tensor:
    """The shortest move within the box that raises ``normal . x`` by ``missing``.

    A pixel moves in proportion to a common length (times its entry of the normal for l2) until it
    meets the box; that length solves a piecewise linear equation, exactly. Where the box is too
    small every pixel moves as far as it can.

    Args:
        points: ``(N, C, H, W)`` in [0, 1].
        normal: Same shape.
        missing: ``(N,)``, of either sign.
        threat: Names the norm that measures the move.
    """
    size, wanted = normal.flatten(1).abs(), missing.abs()
    sign = normal.flatten(1).sign() * missing.sign()[:, None]
    flat = points.flatten(1)
    room = torch.where(sign > 0, 1 - flat, flat)
    pace = torch.ones_like(size) if threat.norm == "linf" else size
    limit = torch.where(size > 0, room / pace.clamp(min=TINY), 0.0)
    gain = size * pace
    order = limit.argsort(1)
    limits, gains = limit.gather(1, order), gain.gather(1, order)
    stopped = (gains * limits).cumsum(1)
    moving = gains.sum(1, keepdim=True) - gains.cumsum(1)
    reached = stopped + moving * limits
    index = torch.searchsorted(reached, wanted[:, None]).clamp(max=reached.shape[1] - 1)
    before = (index - 1).clamp(min=0)
    base = torch.where(index > 0, stopped.gather(1, before), 0.0)
    pace_left = torch.where(index > 0, moving.gather(1, before), gains.sum(1, keepdim=True))
    length = (wanted[:, None] - base) / pace_left.clamp(min=TINY)
    return (sign * torch.minimum(length * pace, room)).view_as(points)


def _wide(flags: Tensor) -> Tensor:
    """Per image, to go with pixels."""
    return flags[:, None, None, None]


def _lengths(moves: Tensor, threat: ThreatModel) -> Tensor:
    """Length of each image's move, ``(N,)``."""
    flat = moves.flatten(1)
    return flat.abs().amax(1) if threat.norm == "linf" else flat.norm(dim=1)
