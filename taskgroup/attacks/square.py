"""Square: random search over square patches, without gradients (Andriushchenko et al. 2020).

arXiv:1912.00049, with the schedule of AutoAttack. A step is one query of the network. Patches are
drawn once per step for the whole batch, so an image's result does not depend on the others.
"""

import math

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective, ThreatModel
from taskgroup.attacks.compatibility import check_norm, check_seed_compatible
from taskgroup.attacks.geometry import assert_inside, project
from taskgroup.attacks.iterates import Worst, evaluate_only, is_stop_check
from taskgroup.draws import Draws

FIRST_SHARE = 0.8
"""Share of the image that the first patches cover."""
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the share is halved."""
TINY = 1e-12


@ATTACKS.register("square")
def square(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Accept a patch where it raises the tracked loss; ``budget.steps`` queries per restart.

    Each image's worst point is returned, the image itself included; ``keep``, ``step_size`` and
    ``random_start`` do not count.

    Args:
        objective: What is queried.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball and number of queries.
        draws: Source of the patches.
    """
    check_seed_compatible("square", budget)
    check_norm("square", budget)
    return random_search(objective, images, budget=budget, draws=draws)


def random_search(
    objective: Objective,
    images: Tensor,
    *,
    budget: AttackBudget,
    draws: Draws,
    stop_at: float | None = None,
) -> Tensor:
    """``square``, of which images leave whose score is ``stop_at`` or lower."""
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    found = Worst.before(images).offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts):
        end = _restart(objective, images, budget, draws, stop_at)
        found = found.offered(end.images, end.tracked)
    return assert_inside(found.images, images, budget)


def _restart(
    objective: Objective,
    images: Tensor,
    budget: AttackBudget,
    draws: Draws,
    stop_at: float | None,
) -> Worst:
    """The best of one run of queries."""
    place = torch.arange(len(images), device=images.device)
    clean, offer = images, _start(images, budget, draws)
    current, end = Worst.before(images), Worst.before(images.clone())
    going = torch.ones_like(place, dtype=torch.bool)
    for query in range(budget.steps):
        if query:
            offer = _changed(current.images, clean, budget, query, draws)
        evaluation = evaluate_only(objective, offer, query / budget.steps)
        current = current.offered(offer, evaluation.tracked)
        if stop_at is None:
            continue
        going = going & (evaluation.score > stop_at)
        if is_stop_check(query + 1, images.device) and not going.all():
            end.images[place] = current.images
            end.tracked[place] = current.tracked
            place, clean, objective = place[going], clean[going], objective.select(going)
            current = Worst(current.images[going], current.tracked[going])
            going = going[going]
            if len(place) == 0:
                return end
    return Worst(
        end.images.index_copy(0, place, current.images),
        end.tracked.index_copy(0, place, current.tracked),
    )


def side_of_patch(query: int, height: int, width: int, *, least: int = 1) -> int:
    """Side of the patch of a query, counted from 0.

    Example:
        >>> [side_of_patch(query, 32, 32) for query in (1, 11, 51, 5000)]
        [29, 20, 14, 3]
    """
    share = FIRST_SHARE / 2 ** sum(query > after for after in HALVED_AFTER)
    side: int = max(round(math.sqrt(share * height * width)), least)
    return min(side, height, width)


def _start(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Vertical stripes for linf, a grid of bumps for l2."""
    _, channels, height, width = images.shape
    if threat.norm == "linf":
        stripes = _signs((channels, 1, width), draws).to(images)
        return project(images + threat.epsilon * stripes, images, threat)
    side = max(1, min(height, width) // 5)
    change = images.new_zeros(channels, height, width)
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            bump = _bumps(side, draws).to(images) * _signs((channels, 1, 1), draws).to(images)
            change[:, top : top + side, left : left + side] = bump
    change = threat.epsilon * change / change.norm().clamp(min=TINY)
    return project(images + change, images, threat)


def _changed(
    current: Tensor, images: Tensor, threat: ThreatModel, query: int, draws: Draws
) -> Tensor:
    """The current points with one patch redrawn."""
    _, channels, height, width = images.shape
    if threat.norm == "l2":
        return _moved_mass(current, images, threat, query, draws)
    side = side_of_patch(query, height, width)
    top, left = _corner(height, width, side, draws)
    change = images.new_zeros(channels, height, width)
    signs = _signs((channels, 1, 1), draws).to(images)
    change[:, top : top + side, left : left + side] = 2 * threat.epsilon * signs
    return project(current + change, images, threat)


def _moved_mass(
    current: Tensor, images: Tensor, threat: ThreatModel, query: int, draws: Draws
) -> Tensor:
    """A bump is added in one window with the length that another window gives up."""
    _, channels, height, width = images.shape
    side = side_of_patch(query, height, width, least=3)
    here, there = (_window(height, width, side, draws) for _ in range(2))
    change = current - images
    both = torch.zeros(height, width, dtype=torch.bool, device=images.device)
    both[here] = True
    both[there] = True
    free = (threat.epsilon**2 - change.square().sum((1, 2, 3), keepdim=True)).clamp(min=0)
    length = (free / channels + (change * both).square().sum((2, 3), keepdim=True)).sqrt()
    bump = _bumps(side, draws).to(images) * _signs((channels, 1, 1), draws).to(images)
    old = change[(..., *here)]
    mixed = bump + old / _length(old)
    change[(..., *there)] = 0
    change[(..., *here)] = mixed / _length(mixed) * length
    total = change.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=TINY)
    return project(images + threat.epsilon * change / total, images, threat)


def _length(patches: Tensor) -> Tensor:
    """Length per image and channel."""
    length: Tensor = patches.square().sum((2, 3), keepdim=True).sqrt().clamp(min=TINY)
    return length


def _bumps(side: int, draws: Draws) -> Tensor:
    """A rising and a falling bump side by side, of length 1, ``(side, side)``."""
    half = side // 2
    bumps = torch.cat([_bump(half, side), -_bump(side - half, side)])
    bumps = bumps / torch.linalg.vector_norm(bumps)
    turned: Tensor = bumps.T if _draw(2, draws) else bumps
    return turned


def _bump(rows: int, columns: int) -> Tensor:
    """Concentric rectangles that fall off from the middle."""
    if rows == 0:
        return torch.zeros(0, columns)
    rings = max(rows // 2, columns // 2) + 1
    tails = (1 / torch.arange(1, rings + 1) ** 2).flip(0).cumsum(0).flip(0)
    down = (torch.arange(rows) - rows // 2).abs()
    across = (torch.arange(columns) - columns // 2).abs()
    bump = tails[torch.maximum(down[:, None], across[None])]
    scaled: Tensor = bump / torch.linalg.vector_norm(bump)
    return scaled


def _window(height: int, width: int, side: int, draws: Draws) -> tuple[slice, slice]:
    top, left = _corner(height, width, side, draws)
    return slice(top, top + side), slice(left, left + side)


def _corner(height: int, width: int, side: int, draws: Draws) -> tuple[int, int]:
    return _draw(height - side + 1, draws), _draw(width - side + 1, draws)


def _draw(count: int, draws: Draws) -> int:
    drawn = draws.randint(count, (1,))
    return int(drawn)


def _signs(shape: tuple[int, ...], draws: Draws) -> Tensor:
    drawn = draws.randint(2, shape)
    return drawn.float() * 2 - 1
