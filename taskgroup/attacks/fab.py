"""FAB: the nearest point across the decision boundary (Croce and Hein 2020, arXiv:1907.02044)."""

import torch
from torch import Tensor

from taskgroup.attacks.base import LogitObjective, ThreatModel
from taskgroup.attacks.geometry import project
from taskgroup.attacks.looking import is_look

LARGEST_SHARE = 0.1
"""Most of a step that is taken from the image instead of the current point; alpha_max."""
OVERSHOOT = 1.05
PULL_BACK = 0.9
TINY = 1e-12


def fab_targeted(
    objective: LogitObjective, images: Tensor, towards: Tensor, *, threat: ThreatModel, steps: int
) -> Tensor:
    """Misclassified points in the ball; the image itself where none was found.

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
        if is_look(number, images.device) and done.any():
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
