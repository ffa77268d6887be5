"""The geometry of a threat model: its ball cut with the box [0, 1], steps and random points in it.

Every function is pure; images and perturbed images are ``(N, C, H, W)`` with pixels in [0, 1].
"""

import math
from typing import Literal

import torch
from torch import Tensor

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

ROUNDING = 2**-23
"""Largest error of one float32 operation on a pixel in [-1, 2]; other norms add up many of them."""
SPARSE_SHARE = 0.01
"""Share of the numbers that a step of l1 changes; SLIDE's percentile of 99."""


def project(perturbed: Tensor, images: Tensor, threat: ThreatModel) -> Tensor:
    """The point of the ball and of the box that an attack continues from.

    For linf and l1 it is the nearest one. For l2 the perturbation is shortened and then cut to the
    box, which stays in the ball because ``images`` lie in the box. A point inside both is returned
    as it is, bit for bit, so projecting twice changes nothing.
    """
    if threat.norm == "l1":
        return _nearest_in_l1(perturbed, images, threat.epsilon)
    if threat.norm == "linf":
        lower = (images - threat.epsilon).clamp_(min=0)
        upper = (images + threat.epsilon).clamp_(max=1)
        return torch.clamp(perturbed, lower, upper)
    change = perturbed - images
    length = _norms(change)
    scale = torch.where(length > threat.epsilon + _slack(images), threat.epsilon / length, 1.0)
    return torch.where(scale < 1, images + change * scale, perturbed).clamp_(0, 1)


def _nearest_in_l1(perturbed: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """The nearest point of the l1 ball and the box (Croce and Hein 2021, arXiv:2103.01208).

    Every change is shortened by one length and then cut to the box. That length solves a piecewise
    linear equation: between the breakpoints, where a number meets the box or its image, the l1 norm
    falls by the count of numbers between the two.
    """
    boxed = perturbed.clamp(0, 1)
    change = (perturbed - images).flatten(1).double()
    size = change.abs()
    room = torch.where(change > 0, 1 - images.flatten(1), images.flatten(1)).double()
    outside = (boxed - images).flatten(1).abs().double().sum(1) > epsilon + _slack(images, "l1")
    if not outside.any():
        return boxed
    begins = (size - room).clamp(min=0)
    points, order = torch.cat([begins, size], 1).sort(1)
    signs = torch.cat([torch.ones_like(size), -torch.ones_like(size)], 1).gather(1, order)
    falling = signs.cumsum(1)
    steps = points.diff(dim=1, prepend=points.new_zeros(len(points), 1))
    before = torch.cat([falling.new_zeros(len(points), 1), falling[:, :-1]], 1)
    length = torch.minimum(size, room).sum(1, keepdim=True) - (before * steps).cumsum(1)
    index = (length > epsilon).sum(1, keepdim=True).clamp(1, length.shape[1] - 1) - 1
    pace = falling.gather(1, index).clamp(min=1)
    shorter = points.gather(1, index) + (length.gather(1, index) - epsilon).clamp(min=0) / pace
    kept = torch.minimum((size - shorter).clamp(min=0), room) * change.sign()
    moved = (images + kept.view_as(images).to(images)).clamp(0, 1)
    return torch.where(outside[:, None, None, None], moved, boxed)


def steepest(gradient: Tensor, threat: ThreatModel) -> Tensor:
    """The direction of unit norm along which a linear function with this gradient rises most.

    Where a gradient is NaN it says nothing and counts as zero; infinite entries count as the
    largest number. An image without any gradient gets a zero direction: it stays where it is, and
    the evaluation's sanity checks report it.

    For l1 a single number would be the answer, and steps would be as slow; the direction is that of
    SLIDE instead, the signs of the largest hundredth (Tramer and Boneh 2019, arXiv:1904.13000).
    """
    finite = torch.nan_to_num(gradient, nan=0.0)
    if threat.norm == "linf":
        return finite.sign()
    if threat.norm == "l1":
        return largest_signs(finite, gradient.new_full((len(gradient),), SPARSE_SHARE))
    largest = finite.abs().amax(dim=(1, 2, 3), keepdim=True)
    tiny = torch.finfo(gradient.dtype).tiny
    finite = finite / largest.clamp(min=tiny)  # the squares of 1e-30 would vanish
    return finite / _norms(finite).clamp(min=tiny)


def largest_signs(gradient: Tensor, share: Tensor) -> Tensor:
    """Signs of each image's largest entries, as one direction of l1 norm 1; zero without any.

    Args:
        gradient: ``(N, C, H, W)``, without NaN.
        share: Share of the entries that are kept, at least one, ``(N,)`` in [0, 1].
    """
    size = gradient.flatten(1).abs()
    count = (share * size.shape[1]).long().clamp(1, size.shape[1])
    least = size.sort(1, descending=True).values.gather(1, (count - 1)[:, None])
    signs = gradient.flatten(1).sign() * (size >= least)
    return (signs / signs.abs().sum(1, keepdim=True).clamp(min=1)).view_as(gradient)


def random_inside(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Uniform points of the ball, then projected to the box; for l1 those of ``random_surface``."""
    if threat.norm == "l1":
        return random_surface(images, threat, draws)
    if threat.norm == "linf":
        noise = _uniform(images, draws)
    else:
        direction = steepest(_normal(images, draws), threat)
        dimension = images[0].numel()
        share = draws.image_rand(len(images))
        radius = share.pow(1 / dimension).to(images)
        noise = direction * radius[:, None, None, None]
    return project(images + threat.epsilon * noise, images, threat)


def random_surface(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Random corners of the linf ball or points of the l2 sphere, then projected to the box.

    For l1 the nearest points to normal noise, as in APGD-L1: few numbers change, by much.
    """
    if threat.norm == "l1":
        return project(images + _normal(images, draws), images, threat)
    noise = steepest(_normal(images, draws), threat)
    return project(images + threat.epsilon * noise, images, threat)


def apgd_start(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Where APGD begins: in the linf ball, as in SEA; else on the surface, as in AutoAttack."""
    draw = random_inside if threat.norm == "linf" else random_surface
    return draw(images, threat, draws)


def random_stretched(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Where AutoAttack begins, projected to the box.

    Uniform points of the linf ball, stretched until their largest entry reaches its surface; points
    of the l2 sphere and of l1.
    """
    if threat.norm != "linf":
        return random_surface(images, threat, draws)
    noise = _uniform(images, draws)
    largest = noise.abs().amax(dim=(1, 2, 3), keepdim=True)
    stretched = noise / largest.clamp(min=torch.finfo(noise.dtype).tiny)
    return project(images + threat.epsilon * stretched, images, threat)


def starting_point(images: Tensor, budget: AttackBudget, draws: Draws) -> Tensor:
    """Where PGD and its relatives begin: at random inside the ball, or at the images themselves.

    With ``seed_compatible`` a random start is none: the MTRobust code clips its noise with the
    bounds swapped, which leaves the upper corner of the box, whatever was drawn.

    Raises:
        ConfigError: That corner is asked for in another ball than linf.
    """
    if not budget.random_start:
        return images
    if not budget.seed_compatible:
        return random_inside(images, budget, draws)
    if budget.norm != "linf":
        raise ConfigError(
            f"seed_compatible must go with norm linf, got {budget.norm}: the published attacks "
            "start at a corner of that ball; remove it, or set random_start: false"
        )
    return (images + budget.epsilon).clamp(max=1)


def assert_inside(perturbed: Tensor, images: Tensor, threat: ThreatModel) -> Tensor:
    """Return ``perturbed`` after asserting that it lies in the ball and in [0, 1].

    The ball may be left by the rounding of float32 and no more.
    """
    change = perturbed - images
    if threat.norm == "linf":
        length = change.abs().amax()
    elif threat.norm == "l2":
        length = _norms(change).amax()
    else:
        length = change.flatten(1).abs().double().sum(1).amax()
    slack = ROUNDING if threat.norm == "linf" else 2 * _slack(images, threat.norm)
    assert bool(length <= threat.epsilon + slack), f"an attack left the ball: {float(length)}"
    assert bool((perturbed >= 0).all() & (perturbed <= 1).all()), "an attack left [0, 1]"
    return perturbed


def _norms(change: Tensor) -> Tensor:
    """Euclidean length per image, ``(N, 1, 1, 1)``."""
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return length


def _slack(images: Tensor, norm: Literal["l2", "l1"] = "l2") -> float:
    """What rounding each pixel once can add to a length."""
    count = math.prod(images.shape[1:])
    return ROUNDING * (math.sqrt(count) if norm == "l2" else count)


def _uniform(images: Tensor, draws: Draws) -> Tensor:
    """Numbers in [-1, 1], drawn in the same order for every memory format of ``images``."""
    drawn = draws.image_rand(*images.shape)
    return (drawn * 2 - 1).to(images)


def _normal(images: Tensor, draws: Draws) -> Tensor:
    """Standard normal numbers, drawn in the same order for every memory format of ``images``."""
    return draws.image_randn(*images.shape).to(images)
