"""The geometry of a threat model: its ball cut with the box [0, 1], steps and random points in it.

Every function is pure; images and perturbed images are ``(N, C, H, W)`` with pixels in [0, 1].
"""

import math

import torch
from torch import Tensor

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError

ROUNDING = 2**-23
"""Largest error of one float32 operation on a pixel in [-1, 2]; l2 norms add up many of them."""


def project(perturbed: Tensor, images: Tensor, threat: ThreatModel) -> Tensor:
    """The point of the ball and of the box that an attack continues from.

    For linf it is the nearest point. For l2 the perturbation is shortened and then cut to the box,
    which stays in the ball because ``images`` lie in the box. A point inside both is returned as
    it is, bit for bit, so projecting twice changes nothing.
    """
    if threat.norm == "linf":
        lower = (images - threat.epsilon).clamp_(min=0)
        upper = (images + threat.epsilon).clamp_(max=1)
        return torch.clamp(perturbed, lower, upper)
    change = perturbed - images
    length = _norms(change)
    scale = torch.where(length > threat.epsilon + _slack(images), threat.epsilon / length, 1.0)
    return torch.where(scale < 1, images + change * scale, perturbed).clamp_(0, 1)


def steepest(gradient: Tensor, threat: ThreatModel) -> Tensor:
    """The direction of unit norm along which a linear function with this gradient rises most.

    Where a gradient is NaN it says nothing and counts as zero; infinite entries count as the
    largest number. An image without any gradient gets a zero direction: it stays where it is, and
    the evaluation's sanity checks report it.
    """
    finite = torch.nan_to_num(gradient, nan=0.0)
    if threat.norm == "linf":
        return finite.sign()
    largest = finite.abs().amax(dim=(1, 2, 3), keepdim=True)
    tiny = torch.finfo(gradient.dtype).tiny
    finite = finite / largest.clamp(min=tiny)  # the squares of 1e-30 would vanish
    return finite / _norms(finite).clamp(min=tiny)


def random_inside(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Uniform points of the ball, then projected to the box."""
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
    """Random corners of the linf ball or points of the l2 sphere, then projected to the box."""
    noise = steepest(_normal(images, draws), threat)
    return project(images + threat.epsilon * noise, images, threat)


def apgd_start(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Where APGD begins: in the linf ball, as in SEA; on the l2 sphere, as in AutoAttack."""
    draw = random_inside if threat.norm == "linf" else random_surface
    return draw(images, threat, draws)


def random_stretched(images: Tensor, threat: ThreatModel, draws: Draws) -> Tensor:
    """Where AutoAttack begins, projected to the box.

    Uniform points of the linf ball, stretched until their largest entry reaches its surface; points
    of the l2 sphere.
    """
    if threat.norm == "l2":
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
    length = change.abs().amax() if threat.norm == "linf" else _norms(change).amax()
    slack = ROUNDING if threat.norm == "linf" else 2 * _slack(images)
    assert bool(length <= threat.epsilon + slack), f"an attack left the ball: {float(length)}"
    assert bool((perturbed >= 0).all() & (perturbed <= 1).all()), "an attack left [0, 1]"
    return perturbed


def _norms(change: Tensor) -> Tensor:
    """Euclidean length per image, ``(N, 1, 1, 1)``."""
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return length


def _slack(images: Tensor) -> float:
    """What rounding each pixel once can add to an l2 length."""
    return ROUNDING * math.sqrt(math.prod(images.shape[1:]))


def _uniform(images: Tensor, draws: Draws) -> Tensor:
    """Numbers in [-1, 1], drawn in the same order for every memory format of ``images``."""
    drawn = draws.image_rand(*images.shape)
    return (drawn * 2 - 1).to(images)


def _normal(images: Tensor, draws: Draws) -> Tensor:
    """Standard normal numbers, drawn in the same order for every memory format of ``images``."""
    return draws.image_randn(*images.shape).to(images)
