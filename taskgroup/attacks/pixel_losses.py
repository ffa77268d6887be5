"""Attacks of class maps that are PGD, Adam or MIM on a loss: SegPGD, CosPGD, PAdam, Houdini."""

from typing import Literal

from torch import Tensor

from taskgroup.attacks.adam import adam
from taskgroup.attacks.base import ATTACKS, AttackBudget, LossObjective, Objective, Scoring
from taskgroup.attacks.compatibility import check_fit, check_norm, check_seed_compatible
from taskgroup.attacks.mim import SEED_DECAY, with_momentum
from taskgroup.attacks.pgd import pgd
from taskgroup.draws import Draws
from taskgroup.errors import ConfigError


@ATTACKS.register("segpgd")
def segpgd(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """PGD that begins with the pixels that are right (Gu et al. 2022, arXiv:2207.12391).

    Iterates are ranked by the task's own loss. Arguments and result are those of ``pgd``.

    Raises:
        ConfigError: The objective has no exchangeable loss, or its task no classes.
    """
    raised = raising(objective, "segpgd", attack="segpgd")
    return pgd(raised, images, budget=budget, draws=draws)


@ATTACKS.register("cospgd")
def cospgd(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """PGD whose pixels weigh by the cosine to their label (arXiv:2302.02213), sigmoid form.

    Iterates are ranked by the task's own loss. Arguments and result are those of ``pgd``.

    Raises:
        ConfigError: The objective has no exchangeable loss, or its task no classes.
    """
    raised = raising(objective, "cospgd", attack="cospgd")
    return pgd(raised, images, budget=budget, draws=draws)


@ATTACKS.register("cospgd_softmax")
def cospgd_softmax(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """CosPGD with the softmax of the logits instead of their sigmoids.

    Arguments, result and errors are those of ``cospgd``.
    """
    raised = raising(objective, "cospgd_softmax", attack="cospgd_softmax")
    return pgd(raised, images, budget=budget, draws=draws)


@ATTACKS.register("padam_ce")
def padam_ce(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """Projected Adam on the cross-entropy of class maps (arXiv:2407.09150).

    Arguments and result are those of ``adam``.

    Raises:
        ConfigError: The objective has no exchangeable loss, or its task no class per pixel; an l1
            ball, or ``seed_compatible``.
    """
    return _padam(objective, images, "cross_entropy", attack="padam_ce", budget=budget, draws=draws)


@ATTACKS.register("padam_cos")
def padam_cos(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """``padam_ce`` on one minus the cosine between logits and class, whose scale cancels.

    Up to the 1 it is the spherical loss. Iterates are ranked by the task's own loss.
    """
    return _padam(objective, images, "spherical", attack="padam_cos", budget=budget, draws=draws)


def _padam(
    objective: Objective,
    images: Tensor,
    loss: str,
    *,
    attack: str,
    budget: AttackBudget,
    draws: Draws,
) -> Tensor:
    check_seed_compatible(attack, budget)
    check_norm(attack, budget)
    return adam(raising(objective, loss, attack=attack), images, budget=budget, draws=draws)


@ATTACKS.register("houdini")
def houdini(objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws) -> Tensor:
    """MIM on the Houdini loss (Cisse et al. 2017, arXiv:1707.05373), a stand-in for 1 - IoU.

    Iterates are ranked by the task's own loss. Arguments and result are those of ``mim``.

    Raises:
        ConfigError: The objective has no exchangeable loss, or its task no class per pixel.
    """
    raised = raising(objective, "houdini", attack="houdini")
    return with_momentum(raised, images, budget=budget, draws=draws)


@ATTACKS.register("houdini_seed")
def houdini_seed(
    objective: Objective, images: Tensor, *, budget: AttackBudget, draws: Draws
) -> Tensor:
    """``mim_seed`` on the Houdini loss of the MTRobust code; errors are those of ``houdini``."""
    raised = raising(objective, "houdini_seed", attack="houdini_seed")
    return with_momentum(
        raised,
        images,
        budget=budget,
        draws=draws,
        decay=SEED_DECAY,
        normalised=False,
    )


def raising(
    objective: Objective,
    loss: str,
    *,
    attack: str,
    tracks: Literal["task", "raised"] = "task",
    temperature: Tensor | None = None,
    score: Scoring = "main",
) -> Objective:
    """The objective of a class map with the named attack loss.

    Args:
        objective: Whose loss is exchanged.
        loss: Name of the loss.
        attack: Who asks, for messages.
        tracks: Loss that ranks iterates: the task's own or the one that is raised.
        temperature: What the loss sees the logits divided by, ``(N,)``; None is 1.
        score: What the evaluation's score is.

    Raises:
        ConfigError: The objective's loss cannot be exchanged, or its task has no class per pixel.
    """
    exchangeable = with_losses(objective, attack=attack)
    return exchangeable.with_loss(loss, tracks=tracks, temperature=temperature, score=score)


def with_losses(objective: Objective, *, attack: str) -> LossObjective:
    """The objective, after a check that its loss can be exchanged and that the attack fits.

    Raises:
        ConfigError: It combines several tasks, or its task is of another kind than the attack's.
    """
    if not isinstance(objective, LossObjective):
        raise ConfigError(
            f"attack {attack!r} raises losses of one main task, but the objective combines "
            "several; attack the main task alone, or choose apgd"
        )
    check_fit(attack, objective.predicts)
    return objective
