"""The fixed first trials of a study, against which every gain is measured.

Main task alone, natural; main task alone, adversarial; all candidates with equal weights; and each
candidate alone with the main task once the study has room. They take the middle of every other
distribution, or what ``baseline:`` says, and size limits of the task set do not hold for them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal

from taskgroup.config import flat, parse
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.draw import Drawn, Middle, draw_tree
from taskgroup.search.plan.planning import plan_trial
from taskgroup.search.space.distributions import Distribution
from taskgroup.search.space.fixes import with_value
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.training.config import TrialConfig, ValidationConfig

NATURAL_LABEL = "main only, natural"
ADVERSARIAL_LABEL = "main only, adversarial"
ALL_LABEL = "all candidates, equal weights"


def plan_baselines(space: SearchSpace) -> list[TrialResult]:
    """The baselines of a study in their order, numbered from 0, at most ``search.trials``."""
    drawn = [
        (NATURAL_LABEL, _baseline(space, (), "natural")),
        (ADVERSARIAL_LABEL, _baseline(space, (), "adversarial")),
    ]
    names = space.candidates
    if names:
        drawn.append((ALL_LABEL, _equal_weights(_baseline(space, names, "space"))))
    if (space.search.trials or 0) >= 3 * (len(names) + 2) and len(names) > 1:
        drawn += [("", _baseline(space, (name,), "space")) for name in names]
    planned = [
        plan_trial(number, trial, label=label, role="baseline")
        for number, (label, trial) in enumerate(drawn)
    ]
    return planned[: space.search.trials]


def missing_baselines(
    space: SearchSpace, records: Sequence[TrialResult], *, first_number: int = 0
) -> list[TrialResult]:
    """The baselines that no record stands for, as when a study begins or was made longer.

    Args:
        space: What is searched.
        records: Trials of the study so far; a baseline is known by its configuration. A complete
            searched trial of the same one stands for it.
        first_number: Least number that may be given.

    Returns:
        Planned records with the least numbers that no record has.
    """
    standing = [r for r in records if r.role == "baseline" or r.status == "complete"]
    known = {parse(TrialConfig, record.config).model_dump_json() for record in standing}
    taken = {record.number for record in records}
    free = (number for number in count(first_number) if number not in taken)
    return [
        replace(planned, number=next(free))
        for planned in plan_baselines(space)
        if parse(TrialConfig, planned.config).model_dump_json() not in known
    ]


def middle_trial(space: SearchSpace) -> Drawn:
    """One trial of the space itself, every distribution at its middle, all candidates trained."""
    return _baseline(space, space.candidates, "space")


def _baseline(
    space: SearchSpace, tasks: Sequence[str], kind: Literal["natural", "adversarial", "space"]
) -> Drawn:
    """Draw the middle; ``space`` attacks if any trial of the space does."""
    tree, pins = _overridden(space)
    section = tree.get("adversary") or {}
    attack = section.get("attack", "none")
    options = attack.extremes() if isinstance(attack, Distribution) else (attack,)
    attacks = [option for option in options if option != "none"]
    if kind == "natural" and "none" in options:
        pins["adversary.attack"] = "none"
    elif kind == "natural":
        tree["adversary"] = {"attack": "none"}
    elif attacks:
        pins.setdefault("adversary.attack", attacks[0])
        if pins["adversary.attack"] == "none":
            pins["adversary.attack"] = attacks[0]
    elif kind == "adversarial":
        tree["adversary"] = _threat_of_validation(space)
    return draw_tree(tree, Middle(pins), tasks=tasks)


def _threat_of_validation(space: SearchSpace) -> dict[str, Any]:
    """PGD inside the threat model that scores trials, for spaces that never attack in training."""
    threat = parse(ValidationConfig, space.tree.get("validation", {}))
    return {"attack": "pgd", "norm": threat.norm, "epsilon": threat.epsilon}


def _overridden(space: SearchSpace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tree and the pins that ``baseline:`` asks for: pins where a distribution allows them."""
    tree = dict(space.tree)
    pins: dict[str, Any] = {}
    for key, value in flat(space.baseline).items():
        node = _node(tree, key)
        if not isinstance(node, Distribution) or not node.contains(value):
            tree = with_value(tree, key, value)
        elif key == "loss_weights":
            pins |= {f"loss_weights.{name}": value for name in space.candidates}
        else:
            pins[key] = value
    return tree, pins


def _node(tree: Mapping[str, Any], key: str) -> Any:
    node: Any = tree
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _equal_weights(drawn: Drawn) -> Drawn:
    """The same trial with every weight at the geometric mean of all."""
    weights = drawn.config.loss_weights
    if len(set(weights.values())) <= 1:
        return drawn
    mean = math.prod(weights.values()) ** (1 / len(weights))
    values = drawn.config.model_dump() | {"loss_weights": dict.fromkeys(weights, mean)}
    parameters = {
        name: mean if name.startswith("loss_weights.") else value
        for name, value in drawn.parameters.items()
    }
    return Drawn(parse(TrialConfig, values), parameters)
