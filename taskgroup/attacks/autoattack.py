"""AutoAttack, version ``standard`` (Croce and Hein 2020, arXiv:2003.01690).

APGD on cross-entropy, targeted APGD, targeted FAB and Square, one after the other; only images
that are still classified right go on to the next.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from taskgroup.attacks.apgd import climb
from taskgroup.attacks.base import ATTACKS, AttackBudget, LogitObjective, Objective
from taskgroup.attacks.compatibility import check_fit, check_no_slips
from taskgroup.attacks.fab import fab_targeted
from taskgroup.attacks.geometry import assert_inside, random_stretched
from taskgroup.attacks.square import random_search
from taskgroup.errors import ConfigError, DivergedError

TARGETS = 9
"""Classes that the targeted attacks go towards: the runners-up of the clean image."""
QUERIES_PER_STEP = 50
"""Square's 5000 queries beside 100 gradient steps."""


class _Robust(NamedTuple):
    """Images that are still right, and how to attack them."""

    objective: LogitObjective
    images: Tensor
    budget: AttackBudget
    generator: torch.Generator


@ATTACKS.register("autoattack")
def autoattack(
    objective: Objective, images: Tensor, *, budget: AttackBudget, generator: torch.Generator
) -> Tensor:
    """A misclassified point of the ball for each image that has one, else the image itself.

    Args:
        objective: Must have logits and labels.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and gradient steps, published 100; Square takes 50 queries per step.
        generator: Source of random starts and patches.

    Raises:
        ConfigError: The task is no classification, or has fewer than 4 classes.
        DivergedError: The network gives NaN or infinite logits on the clean images.
    """
    check_no_slips("autoattack", budget)
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
        attacked = member(_Robust(chosen, images[place], budget, generator))
        fooled = ~_right(chosen, attacked)
        found[place[fooled]] = attacked[fooled]
        right[place[fooled]] = False
    return assert_inside(found, images, budget)


def _checked(objective: Objective, images: Tensor) -> LogitObjective:
    """The objective, after a look at its logits."""
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
            "look at its training, it cannot be scored"
        )
    return objective


@torch.no_grad()
def _right(objective: LogitObjective, images: Tensor) -> Tensor:
    """Whether images are classified right; a network that answers NaN is wrong."""
    logits = objective.logits(images)
    return (logits.argmax(1) == objective.labels) & logits.isfinite().all(1)


def _apgd(robust: _Robust) -> Tensor:
    return _climbed(robust, robust.objective.with_loss("cross_entropy", tracks="raised"))


def _climbed(robust: _Robust, objective: Objective) -> Tensor:
    """One run of APGD from a random point that reaches the surface; images leave once wrong."""
    start = random_stretched(robust.images, robust.budget, robust.generator)
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
        generator=robust.generator,
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
