"""How long the first step of an attack is, for the attack and for the record."""

from taskgroup.attacks.base import AttackBudget

WITHOUT_STEPS = frozenset({"noise", "square"})
"""Attacks that take no step along a gradient."""
ADAPTIVE = frozenset({"apgd", "autoattack", "sea"})
"""Attacks that begin with steps of 2 epsilon and halve them."""
FGSM_RANDOM = 1.25
"""Step of FGSM from a random start, in multiples of epsilon (Wong et al. 2020)."""


def step_length(attack: str | None, budget: AttackBudget) -> float | None:
    """Length of the first step in the norm of the ball; None where there is none.

    Args:
        attack: Registry name; None is no attack.
        budget: Its budget. A given ``step_size`` is what is used, except by sea and autoattack.

    Example:
        >>> step_length("fgsm", AttackBudget(epsilon=0.5, random_start=False))
        0.5
        >>> step_length("pgd", AttackBudget(epsilon=0.5, steps=5))
        0.25
    """
    if attack is None or attack in WITHOUT_STEPS:
        return None
    if budget.step_size is not None and attack not in ("sea", "autoattack"):
        return budget.step_size
    if attack == "fgsm":
        return budget.epsilon * (FGSM_RANDOM if budget.random_start else 1.0)
    return 2 * budget.epsilon if attack in ADAPTIVE else budget.effective_step_size
