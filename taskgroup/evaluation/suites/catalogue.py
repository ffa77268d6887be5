"""Which conditions a network is scored under: quick, standard, full, mtrobust, mtrobust_seed."""

import math
from collections.abc import Sequence

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.errors import ConfigError
from taskgroup.evaluation.objective.combined import Combine
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.suites.conditions import Condition, Role, sweep_radii
from taskgroup.evaluation.suites.strong import (
    LIGHT,
    Suite,
    kind_of,
    strong_conditions,
)
from taskgroup.tasks.base import Task

ONE_BALL: tuple[Suite, ...] = ("standard", *LIGHT)
SWEEP_STEPS = 20
TASKS_STEPS: dict[Suite, int] = {"standard": 100, "full": 100, **dict.fromkeys(LIGHT, 20)}
QUERIES: dict[Suite, int] = {"standard": 1000, "full": 1000, **dict.fromkeys(LIGHT, 100)}
PUBLISHED = (
    *(("bim", 3), ("pgd", 10), ("pgd", 20), ("pgd", 50), ("pgd", 100), ("mim", 20)),
    *(("houdini", 20),),
)
"""Attacks with their steps in the tables of Mao et al. (ECCV 2020), beside FGSM."""
PUBLISHED_STEP = 1 / 4
"""Their step in units of the radius: 1 of 4, or 2 of 8."""
WITH_KNOWN_BUGS = {
    **{"pgd_seed": "pgd", "mim_seed": "mim_seed", "houdini_seed": "houdini_seed"},
    **{name: name for name in ("mtrobust_pgd", "mtrobust_mim", "mtrobust_houdini")},
}
"""Their attacks as released: from a corner, then also in the box of the Cityscapes evaluation."""
WITH_KNOWN_BUGS_STEPS = 20
QUERIED_IMAGES = 64
"""A black-box attack only checks the others; a few images show whether it beats them."""
COMBINATIONS: dict[Suite, tuple[Combine, ...]] = {
    "standard": ("relative", "sum", "unit_gradient", "worst_task"),
    "full": ("relative", "sum", "unit_gradient", "worst_task", "loss_ratio"),
    **dict.fromkeys(LIGHT, ("relative",)),
}
FULL_MULTIPLES = (0.5, 1.0, 2.0)
REFERENCE_L2 = 0.5
"""L2 radius that the field pairs with 8/255 on images of 32 pixels (RobustBench)."""
REFERENCE_L1 = 12.0
"""L1 radius that the field takes on images of 32 pixels (Croce and Hein 2021)."""
REFERENCE_LINF = 8 / 255
REFERENCE_NUMBERS = 3 * 32 * 32
Planned = tuple[str, str, AttackBudget]
"""A condition's name, its attack, and the attack's budget."""


def suite_conditions(
    suite: Suite,
    threat: ThreatModel,
    main_task: Task,
    attacked_tasks: Sequence[str],
    *,
    num_pixels: int,
) -> tuple[Condition, ...]:
    """Every condition of a suite; what coincides is listed once per name and run once.

    Args:
        suite: How much is done.
        threat: The ball that the network is evaluated in.
        main_task: The task to protect.
        attacked_tasks: The tasks that are attacked together beside the main task alone.
        num_pixels: Numbers per image, ``3 H W``.

    Raises:
        ConfigError: ``mtrobust_seed`` in another ball than one of linf, or a main task of a single
            class.
    """
    balls = (threat,) if suite in ONE_BALL else full_balls(threat, num_pixels)
    found = _checks(suite, threat, main_task.name)
    for ball in balls:
        found += strong_conditions(suite, ball, main_task)
        found += _several_tasks(suite, ball, attacked_tasks)
    if suite.startswith("mtrobust"):
        found += _published(threat, main_task, attacked_tasks)
    if suite == "mtrobust_seed":
        found += _with_known_bugs(threat, main_task, attacked_tasks)
    found += _sweep(threat, main_task.name, num_pixels=num_pixels)
    return tuple(found)


def full_balls(threat: ThreatModel, num_pixels: int) -> tuple[ThreatModel, ...]:
    """Half, once and twice the radius, in the norm of the threat model and in another one.

    The other norm is l2 for linf, else linf. Its radius is the field's pair, L2 0.5 or L1 12 beside
    8/255 on images of 32 pixels, scaled with the radius and with the root of the number of pixels
    for L2, with the number for L1.
    """
    share = num_pixels / REFERENCE_NUMBERS
    pair = (
        REFERENCE_L1 * share if threat.norm == "l1" else REFERENCE_L2 * math.sqrt(share)
    ) / REFERENCE_LINF
    if threat.norm == "linf":
        other = ThreatModel(norm="l2", epsilon=threat.epsilon * pair)
    else:
        other = ThreatModel(norm="linf", epsilon=min(1.0, threat.epsilon / pair))
    return tuple(
        ball.model_copy(update={"epsilon": multiple * ball.epsilon})
        for ball in (threat, other)
        for multiple in sorted(FULL_MULTIPLES, key=lambda multiple: multiple != 1)
        if ball.norm != "linf" or multiple * ball.epsilon <= 1
    )


def _checks(suite: Suite, threat: ThreatModel, main: str) -> list[Condition]:
    """No attack, and the weak ones that the strong ones must beat; in l1 Square has no step."""
    once = _once(threat)
    queries = once.model_copy(update={"steps": QUERIES[suite]})
    found = [
        Condition("clean", _no_attack(threat), "clean"),
        Condition("noise", NetworkAttack("noise", once, (main,)), "noise"),
        Condition("fgsm", NetworkAttack("fgsm", once, (main,)), "fast"),
    ]
    if threat.norm != "l1":
        square = NetworkAttack("square", queries, (main,))
        found.append(Condition("square", square, "black_box", QUERIED_IMAGES))
    return found


def _no_attack(threat: ThreatModel) -> NetworkAttack:
    return NetworkAttack(None, _once(threat).with_epsilon(0.0))


def _once(threat: ThreatModel) -> AttackBudget:
    """One step from the image itself."""
    return AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=1, random_start=False)


def _published(
    threat: ThreatModel, main_task: Task, attacked_tasks: Sequence[str]
) -> list[Condition]:
    """The attacks of the published tables, on the main task and on several.

    FGSM on the main task is among the checks of every suite.
    """
    budget = AttackBudget(
        norm=threat.norm, epsilon=threat.epsilon, step_size=PUBLISHED_STEP * threat.epsilon
    )
    planned = [
        (name, name, budget.model_copy(update={"steps": steps})) for name, steps in PUBLISHED
    ]
    several = [("fgsm", "fgsm", _once(threat)), *planned]
    return [
        *_alone(planned, main_task, role="strong"),
        *_together(several, attacked_tasks, role="tasks"),
    ]


def _with_known_bugs(
    threat: ThreatModel, main_task: Task, attacked_tasks: Sequence[str]
) -> list[Condition]:
    """The same with the bugs of the published code; no score that counts comes from them."""
    if threat.norm != "linf":
        raise ConfigError(
            f"suite 'mtrobust_seed' must go with norm linf, got {threat.norm}: the published "
            "attacks exist for no other norm; choose suite mtrobust"
        )
    budget = AttackBudget(
        epsilon=threat.epsilon,
        steps=WITH_KNOWN_BUGS_STEPS,
        step_size=PUBLISHED_STEP * threat.epsilon,
        keep="last",
        seed_compatible=True,
    )
    planned = [(name, attack, budget) for name, attack in WITH_KNOWN_BUGS.items()]
    return [
        *_alone(planned, main_task, role="known_bugs"),
        *_together(planned, attacked_tasks, role="known_bugs"),
    ]


def _alone(planned: Sequence[Planned], main_task: Task, *, role: Role) -> list[Condition]:
    """Attacks on the main task; Houdini only where that is a class map."""
    return [
        Condition(name, NetworkAttack(attack, budget, (main_task.name,)), role)
        for name, attack, budget in planned
        if "houdini" not in attack or kind_of(main_task) == "dense"
    ]


def _together(planned: Sequence[Planned], tasks: Sequence[str], *, role: Role) -> list[Condition]:
    """Attacks on the raw sum of several losses, as published; not Houdini, the loss of one task."""
    return [
        Condition(f"{name}_tasks", NetworkAttack(attack, budget, tuple(tasks)), role)
        for name, attack, budget in planned
        if "houdini" not in attack and len(tasks) > 1
    ]


def _several_tasks(suite: Suite, threat: ThreatModel, tasks: Sequence[str]) -> list[Condition]:
    """Attacks on several tasks at once, one per way of combining them; none on a single task."""
    if len(tasks) < 2:
        return []
    budget = AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=TASKS_STEPS[suite])
    return [
        Condition(_tasks_name(way), NetworkAttack("apgd", budget, tuple(tasks), way), "tasks")
        for way in COMBINATIONS[suite]
    ]


def _tasks_name(way: Combine) -> str:
    return "apgd_tasks" if way == "relative" else f"apgd_tasks_{way}"


def _sweep(threat: ThreatModel, main: str, *, num_pixels: int) -> list[Condition]:
    """Growing radii on the main task; none at all is the clean condition."""
    budget = AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=SWEEP_STEPS)
    radii = sweep_radii(threat, num_pixels=num_pixels)
    attacks = [
        NetworkAttack("apgd", budget.with_epsilon(radius), (main,))
        if radius
        else _no_attack(threat)
        for radius in radii
    ]
    return [Condition("sweep", attack, "sweep") for attack in attacks]
