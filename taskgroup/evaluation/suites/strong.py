"""The attacks on the main task that a suite goes by, by kind of task and norm."""

from typing import Literal

from taskgroup.attacks.base import AttackBudget, ThreatModel
from taskgroup.attacks.compatibility import WITHOUT_L1, check_fit
from taskgroup.evaluation.objective.task_objective import predicted_by
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.tasks.base import Task

Suite = Literal["quick", "standard", "full", "mtrobust", "mtrobust_seed"]
SUITES: tuple[Suite, ...] = ("quick", "standard", "full", "mtrobust", "mtrobust_seed")
LIGHT: tuple[Suite, ...] = ("quick", "mtrobust", "mtrobust_seed")
Kind = Literal["dense", "classification", "regression"]
Effort = tuple[tuple[str, int], ...]
"""Attacks with their steps, the main one first."""

QUICK: dict[Kind, Effort] = {
    "dense": (("tempered", 50),),
    "classification": (("apgd_targeted", 25),),
    "regression": (("apgd_metrics", 50),),
}
STANDARD: dict[Kind, Effort] = {
    "dense": (("tempered", 300), ("sea", 300)),
    "classification": (("autoattack", 100),),
    "regression": (("apgd_metrics", 300),),
}
FULL_ALSO: dict[Kind, Effort] = {
    "dense": (("segpgd", 100), ("cospgd", 100), ("padam_ce", 200), ("padam_cos", 200))
}
IN_L1 = {"tempered": "sea", "autoattack": "apgd_targeted"}
"""What takes the place of an attack that has no step for an l1 ball; others are left out."""


def kind_of(task: Task) -> Kind:
    """Which attacks fit a task: class maps, one class per image, or numbers."""
    if task.info.num_classes is None:
        return "regression"
    return "classification" if task.output == "vector" else "dense"


def strong_conditions(suite: Suite, threat: ThreatModel, main_task: Task) -> tuple[Condition, ...]:
    """The attacks on the main task whose scores a suite goes by.

    The first is the main one, whose images other networks are shown, too.

    Raises:
        ConfigError: The main task has a single class, which nothing can be mistaken for.
    """
    kind = kind_of(main_task)
    planned = (QUICK if suite in LIGHT else STANDARD)[kind]
    if suite == "full":
        planned += FULL_ALSO.get(kind, ())
    found = {}
    for name, steps in planned:
        attack = IN_L1.get(name, name) if threat.norm == "l1" else name
        if threat.norm == "l1" and attack in WITHOUT_L1:
            continue
        check_fit(attack, predicted_by(main_task), num_classes=main_task.info.num_classes)
        budget = AttackBudget(norm=threat.norm, epsilon=threat.epsilon, steps=steps)
        found[attack] = Condition(attack, NetworkAttack(attack, budget, (main_task.name,)))
    return tuple(found.values())
