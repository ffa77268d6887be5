"""AutoAttack, version ``standard`` (Croce and Hein 2020, arXiv:2003.01690).

APGD on cross-entropy, targeted APGD, targeted FAB and Square, one after the other; only images
that are still classified right go on to the next.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, LogitObjective, Objective, ThreatModel
from taskgroup.attacks.compatibility import check_fit, check_seed_compatible
from taskgroup.attacks.geometry import assert_inside, project, random_stretched
from taskgroup.attacks.iterates import is_stop_check
from taskgroup.attacks.square import random_search
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError, DivergedError

TARGETS = 9
"""Classes that the targeted attacks go towards: the runners-up of the clean image."""
QUERIES_PER_STEP = 50
"""Square's 5000 queries beside 100 gradient steps."""
LARGEST_SHARE = 0.1
"""Most of a step that is taken from the image instead of the current point; alpha_max."""
OVERSHOOT = 1.05
PULL_BACK = 0.9
TINY = 1e-12


class _Robust(NamedTuple):
    """Images that are still right, and how to attack them."""

    objective: LogitObjective
    images: Tensor
    budget: AttackBudget
    draws: Draws


@ATTACKS.register("autoattack")
def autoattack(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """A misclassified point of the ball for each image that has one, else the image itself.

    Args:
        objective: Must have logits and labels.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and gradient steps, published 100; Square takes 50 queries per step.
        draws: Source of random starts and patches.

    Raises:
        ConfigError: The task is not a classification, or has fewer than 4 classes.
        DivergedError: The network gives NaN or infinite logits on the clean images.
    """
    check_seed_compatible("autoattack", budget)
    images = images.detach()
    right = _right(_checked(objective, images), images)
    found = images.clone()
    if budget.epsilon == 0:
        return found
    assert isinstance(objective, LogitObjective)
    for member in (_apgd, _apgd_targeted, _fab_targeted, _square):
        place = right.nonzero().squeeze(1)
        if len(place) == 0:
            break
        chosen: LogitObjective = objective.select(place)  # type: ignore[assignment]
        attacked = member(_Robust(chosen, images[place], budget, draws))
        fooled = ~_right(chosen, attacked)
        found[place[fooled]] = attacked[fooled]
        right[place[fooled]] = False
    return assert_inside(found, images, budget)


def _checked(objective: Objective, images: Tensor) -> LogitObjective:
    """The objective, after a check of its logits."""
    if not isinstance(objective, LogitObjective):
        raise ConfigError(
            "attack 'autoattack' needs logits of one classification task, but the objective "
            "combines several; attack the main task alone, or choose apgd"
        )
    check_fit("autoattack", objective.predicts)
    with torch.no_grad():
        logits = objective.logits(images)
    check_fit("autoattack", "class", num_classes=logits.shape[1])
    if not logits.isfinite().all():
        raise DivergedError(
            "an attacked network must give finite logits, got NaN or infinity on clean images; "
            "check its training; it cannot be scored"
        )
    return objective


@torch.no_grad()
def _right(objective: LogitObjective, images: Tensor) -> Tensor:
    """Whether images are classified right; a network that predicts NaN is wrong."""
    logits = objective.logits(images)
    return (logits.argmax(1) == objective.labels) & logits.isfinite().all(1)


def _apgd(robust: _Robust) -> Tensor:
    return _climbed(robust, robust.objective.with_loss("cross_entropy", tracks="raised"))


def _climbed(robust: _Robust, objective: Objective) -> Tensor:
    """One run of APGD from a random point that reaches the surface; images leave once wrong."""
    start = random_stretched(robust.images, robust.budget, robust.draws)
    end = climb(
        objective,
        robust.images,
        start,
        threat=robust.budget,
        steps=robust.budget.steps,
        stop_at=0.0,
    )
    return end.lowest


def _apgd_targeted(robust: _Robust) -> Tensor:
    def attack(now: _Robust, towards: Tensor) -> Tensor:
        objective = now.objective.with_loss("targeted_dlr", tracks="raised", towards=towards)
        return _climbed(now, objective)

    return _towards_each(robust, attack)


def _fab_targeted(robust: _Robust) -> Tensor:
    def attack(now: _Robust, towards: Tensor) -> Tensor:
        return fab_targeted(
            now.objective, now.images, towards, threat=now.budget, steps=now.budget.steps
        )

    return _towards_each(robust, attack)


def _square(robust: _Robust) -> Tensor:
    queries = robust.budget.steps * QUERIES_PER_STEP
    return random_search(
        robust.objective.with_loss("margin", tracks="raised"),
        robust.images,
        budget=robust.budget.model_copy(update={"steps": queries, "restarts": 1}),
        draws=robust.draws,
        stop_at=0.0,
    )


def _towards_each(robust: _Robust, attack: Callable[[_Robust, Tensor], Tensor]) -> Tensor:
    """The attack towards one runner-up after the other, on images still right."""
    with torch.no_grad():
        order = robust.objective.logits(robust.images).argsort(dim=1, descending=True)
    found = robust.images.clone()
    place = torch.arange(len(found), device=found.device)
    for rank in range(1, min(TARGETS, order.shape[1] - 1) + 1):
        chosen: LogitObjective = robust.objective.select(place)  # type: ignore[assignment]
        now = robust._replace(objective=chosen, images=robust.images[place])
        attacked = attack(now, order[place, rank])
        fooled = ~_right(chosen, attacked)
        found[place[fooled]] = attacked[fooled]
        place = place[~fooled]
        if len(place) == 0:
            break
    return found


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
            crossed = objective.logits(point).argmax(1) != objective.labels
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
