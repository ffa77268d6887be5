"""``first_points:``: trials that a study begins with, such as published settings.

They come after the baselines and before the sampler's own, which learns from them. Each names some
keys that the space draws; every other key takes the middle of its distribution, and the task set
is every candidate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from taskgroup.config import flat, parse, parse_number
from taskgroup.errors import ConfigError
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.draw import Drawn, Middle, draw_tree
from taskgroup.search.plan.planning import plan_trial
from taskgroup.search.space.distributions import Distribution
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.training.config import TrialConfig

TASKS, WEIGHTS = "auxiliary_tasks", "loss_weights"


def draw_first_points(space: SearchSpace) -> list[Drawn]:
    """The trials that ``first_points:`` asks for, in its order.

    Raises:
        ConfigError: A point names a key or a value that the space cannot draw.
    """
    found = []
    for place, point in enumerate(space.first_points):
        pins: dict[str, Any] = {}
        for key, value in flat(point).items():
            node, answer = _node(space.tree, key), parse_number(value)
            _check(node, answer, f"first_points[{place}].{key}")
            pins |= _pins(space, key, answer)
        tasks = pins.pop(TASKS, space.candidates)
        found.append(draw_tree(space.tree, Middle(pins), tasks=tasks))
    return found


def missing_first_points(
    space: SearchSpace, records: Sequence[TrialResult], *, first_number: int
) -> list[TrialResult]:
    """The first points that neither a record nor a baseline stands for, numbered.

    Args:
        space: What is searched.
        records: Trials of the study so far; a point is known by its configuration.
        first_number: Number of the first of them.
    """
    if not space.first_points:
        return []
    seen = [parse(TrialConfig, r.config) for r in (*plan_baselines(space), *records)]
    numbers = count(first_number)
    found = []
    for drawn in draw_first_points(space):
        if drawn.config not in seen:
            seen.append(drawn.config)
            found.append(replace(plan_trial(0, drawn), number=next(numbers)))
    return found


def _node(tree: Mapping[str, Any], key: str) -> Any:
    """What the space has at a key; a weight for all tasks stands for the weight of each."""
    node: Any = tree
    for part in key.split("."):
        if isinstance(node, Distribution) and key.startswith(f"{WEIGHTS}."):
            return node
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _check(node: Any, value: Any, name: str) -> None:
    if not isinstance(node, Distribution):
        raise ConfigError(
            f"{name} must be a key that the space draws, got one that is "
            f"{'not there' if node is None else f'fixed to {node!r}'}; remove it from the point"
        )
    if not node.contains(value):
        raise ConfigError(
            f"{name} must be a value of the space's {node.key} {node.model_dump()[node.key]}, "
            f"got {value!r}; change one of them"
        )


def _pins(space: SearchSpace, key: str, value: Any) -> dict[str, Any]:
    """Answers by the names under which values are drawn."""
    if key == WEIGHTS:
        return {f"{WEIGHTS}.{name}": value for name in space.candidates}
    return {key: value}
