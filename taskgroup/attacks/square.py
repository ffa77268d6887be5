"""Square: random search with squares, which asks for scores only and never for a gradient."""

import math

import torch
from torch import Tensor

from taskgroup.attacks.base import ATTACKS, AttackBudget, Objective
from taskgroup.attacks.geometry import assert_inside, project
from taskgroup.attacks.gradients import evaluate_only
from taskgroup.attacks.worst import Worst

FIRST_SHARE = 0.8
"""Share of the image that the first square covers; p of the paper."""
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries after which the share is halved."""


@ATTACKS.register("square")
def square(
    objective: Objective, images: Tensor, *, budget: AttackBudget, generator: torch.Generator
) -> Tensor:
    """Change one square at a time and keep what raises the tracked loss.

    Andriushchenko et al. 2020 (arXiv:1912.00049), with ``budget.steps`` queries per restart:
    vertical stripes of +-epsilon first, then squares of one colour per channel, +-2 epsilon before
    the projection. The schedule of squares is not stretched to the number of queries. In the L2
    ball the same moves are projected; the paper's own L2 moves, which shift mass between windows,
    are stronger there.

    Args:
        objective: What tells better from worse; its gradient is never asked for.
        images: ``(N, C, H, W)`` in [0, 1].
        budget: Ball, queries and restarts.
        generator: Source of the squares.

    Returns:
        Perturbed images of the same shape, without a graph; the image where nothing is worse.
    """
    images = images.detach()
    if budget.epsilon == 0:
        return images.clone()
    worst = Worst.before(images).offered(images, evaluate_only(objective, images, 0.0).tracked)
    for _ in range(budget.restarts):
        worst = worst.offered(*_searched(objective, images, budget, generator))
    return assert_inside(worst.images, images, budget)


def _searched(
    objective: Objective, images: Tensor, budget: AttackBudget, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One restart: the worst perturbed images and their tracked losses."""
    count, channels, height, width = images.shape
    height_of_move = _height(images, budget)
    stripes = _signs((count, channels, 1, width), images, generator)
    point = project(images + height_of_move * stripes, images, budget)
    found = Worst.before(images).offered(point, evaluate_only(objective, point, 0.0).tracked)
    for query in range(1, budget.steps):
        moved = found.images.clone()
        side = _side(query, height, width)
        for image in range(count):
            top = int(torch.randint(height - side + 1, (1,), generator=generator))
            left = int(torch.randint(width - side + 1, (1,), generator=generator))
            window = (image, slice(None), slice(top, top + side), slice(left, left + side))
            colour = _signs((channels, 1, 1), images, generator)
            moved[window] = moved[window] + 2 * height_of_move * colour
        moved = project(moved, images, budget)
        tracked = evaluate_only(objective, moved, query / budget.steps).tracked
        found = found.offered(moved, tracked)
    return found.images, found.tracked


def _side(query: int, height: int, width: int) -> int:
    """Side of the square at a query, at least one pixel and within the image."""
    halvings = sum(query > halving for halving in HALVINGS)
    side = round(math.sqrt(FIRST_SHARE / 2**halvings * height * width))
    return max(1, min(side, height, width))


def _height(images: Tensor, budget: AttackBudget) -> float:
    """How far a pixel moves: epsilon, or what fills the L2 ball when every pixel moves."""
    if budget.norm == "linf":
        return budget.epsilon
    return float(budget.epsilon / images[0].numel() ** 0.5)


def _signs(shape: tuple[int, ...], images: Tensor, generator: torch.Generator) -> Tensor:
    """Random +-1, drawn on the generator's device."""
    drawn = torch.randint(2, shape, generator=generator, device=generator.device)
    return (2 * drawn - 1).to(images)
