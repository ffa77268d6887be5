"""Draws a trial from a space, key by key, so that a key exists only where it matters.

Loss weights exist only for chosen tasks, attack keys only in adversarial trials, the momentum only
with sgd. The chooser decides the values: an Optuna trial, the middle, an enumeration.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from taskgroup.config import parse
from taskgroup.search.space.distributions import Chooser, Distribution, Subset
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.training.config import AdversaryConfig, TrainingConfig, TrialConfig

DEPENDENT: Mapping[str, tuple[str, frozenset[str]]] = {
    "adversary.beta": ("adversary.method", frozenset({"trades"})),
    "adversary.steps": ("adversary.attack", frozenset({"pgd"})),
    "training.momentum": ("training.optimizer", frozenset({"sgd"})),
    "training.step_epochs": ("training.schedule", frozenset({"step"})),
    "training.step_factor": ("training.schedule", frozenset({"step"})),
    "training.poly_power": ("training.schedule", frozenset({"poly"})),
}
"""Keys that exist only while another key has one of some values."""

_CONTROLS = ("adversary.attack", *dict.fromkeys(control for control, _ in DEPENDENT.values()))
_DEFAULTS = {
    "adversary.attack": AdversaryConfig().attack,
    "adversary.method": AdversaryConfig().method,
    "training.optimizer": TrainingConfig().optimizer,
    "training.schedule": TrainingConfig().schedule,
}


@dataclass(frozen=True)
class Drawn:
    """One drawn trial.

    Attributes:
        config: The trial's configuration, checked.
        parameters: What was drawn, by dotted key; one truth value per candidate task.
    """

    config: TrialConfig
    parameters: Mapping[str, Any]


@dataclass
class _Draw:
    """A draw under way: values settled so far, by dotted key."""

    chooser: Chooser
    parameters: dict[str, Any] = field(default_factory=dict)
    controls: dict[str, Any] = field(default_factory=lambda: dict(_DEFAULTS))

    def value(self, node: Any, name: str) -> Any:
        """The value of a node of the space's tree."""
        if isinstance(node, Mapping):
            return self._section(node, name)
        value = node
        if isinstance(node, Subset):
            value = self.subset(node, name)
        elif isinstance(node, Distribution):
            value = self.parameters[name] = node.draw(self.chooser, name)
        if name in _CONTROLS:
            self.controls[name] = value
        return value

    def subset(self, node: Subset, name: str) -> tuple[str, ...]:
        """The chosen members; the truth values recorded are those after the size limits."""
        chosen = node.draw(self.chooser, name)
        self.parameters |= {f"{name}.{member}": member in chosen for member in node.subset}
        return chosen

    def _section(self, node: Mapping[str, Any], name: str) -> dict[str, Any]:
        drawn = {}
        for key in sorted(node, key=lambda key: f"{name}.{key}" not in _CONTROLS):
            if self._exists(f"{name}.{key}"):
                drawn[key] = self.value(node[key], f"{name}.{key}")
        return drawn

    def _exists(self, name: str) -> bool:
        is_budget = name.startswith("adversary.") and name != "adversary.attack"
        if is_budget and self.controls["adversary.attack"] == "none":
            return False
        if name not in DEPENDENT:
            return True
        control, values = DEPENDENT[name]
        return self.controls[control] in values


def draw(space: SearchSpace, chooser: Chooser) -> Drawn:
    """Draw one trial of a space."""
    return draw_tree(space.tree, chooser)


def draw_tree(
    tree: Mapping[str, Any], chooser: Chooser, *, tasks: Sequence[str] | None = None
) -> Drawn:
    """Draw one trial of a space's tree.

    Args:
        tree: The trial's keys, with distributions at some leaves.
        chooser: Who decides.
        tasks: Auxiliary tasks to take instead of drawing them; size limits do not hold for them.
    """
    state = _Draw(chooser)
    chosen = _tasks(state, tree["auxiliary_tasks"], tasks)
    weights = _weights(state, tree["loss_weights"], chosen)
    values = {
        key: state.value(node, key)
        for key, node in tree.items()
        if key not in ("auxiliary_tasks", "loss_weights", "task_options")
    }
    values |= {"auxiliary_tasks": chosen, "loss_weights": weights}
    task_set = (tree["main_task"], *chosen)
    options = {k: v for k, v in tree.get("task_options", {}).items() if k in task_set}
    values["task_options"] = state.value(options, "task_options")
    if "adversary" in values:
        values["adversary"] = _restrict_attacked(values["adversary"], task_set)
    return Drawn(parse(TrialConfig, values), state.parameters)


def _tasks(state: _Draw, node: Any, given: Sequence[str] | None) -> tuple[str, ...]:
    """The auxiliary tasks, sorted."""
    if given is None:
        return tuple(sorted(state.value(node, "auxiliary_tasks") or ()))
    if isinstance(node, Subset):
        state.parameters |= {f"auxiliary_tasks.{name}": name in given for name in node.subset}
    elif isinstance(node, Distribution):
        options = [option for option in node.extremes() if sorted(option) == sorted(given)]
        if options:
            state.parameters["auxiliary_tasks"] = options[0]
    return tuple(sorted(given))


def _weights(state: _Draw, node: Any, chosen: Sequence[str]) -> dict[str, float]:
    """A weight per chosen task: one draw each, or a shared budget split evenly."""
    if not chosen:
        return {}
    if isinstance(node, Mapping) and set(node) == {"shared"}:
        total = state.value(node["shared"], "loss_weights.shared")
        return dict.fromkeys(chosen, total / len(chosen))
    nodes = node if isinstance(node, Mapping) else dict.fromkeys(chosen, node)
    return {name: state.value(nodes[name], f"loss_weights.{name}") for name in chosen}


def _restrict_attacked(section: Mapping[str, Any], task_set: Sequence[str]) -> Mapping[str, Any]:
    """Listed attacked tasks that this trial does not train are left out; main if none is left.

    The main task alone attacks itself, whatever the space says, so that a grid has it once.
    """
    if "attacked_tasks" not in section:
        return section
    if len(task_set) == 1:
        return {**section, "attacked_tasks": "main"}
    attacked = section["attacked_tasks"]
    if not isinstance(attacked, list | tuple):
        return section
    kept = tuple(name for name in attacked if name in task_set)
    return {**section, "attacked_tasks": kept or "main"}


class Middle:
    """Chooses the middle: of logarithms where a key is drawn so, the first of several values.

    Attributes:
        pins: Values to choose instead, by dotted key.
    """

    def __init__(self, pins: Mapping[str, Any] | None = None) -> None:
        self.pins = pins or {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """The arithmetic middle, or the geometric one."""
        middle = (low * high) ** 0.5 if log else (low + high) / 2
        return float(self.pins.get(name, middle))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """The middle, rounded down."""
        return int(self.pins.get(name, (low + high) // 2))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The first value."""
        return self.pins.get(name, choices[0])


class AtRandom:
    """Chooses every value as likely as any other, or its logarithm where a key is drawn so."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number between the bounds."""
        share = self._random.random()
        return min(high, low * (high / low) ** share if log else low + (high - low) * share)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """An integer between the bounds."""
        return self._random.randint(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the values."""
        return self._random.choice(choices)


class Replay:
    """Chooses what an earlier draw recorded; KeyError on a key that it lacks or cannot take.

    Attributes:
        asked: Kind (float, log, int, choice) and bounds or options of every key asked for.
        given: The answers.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self.asked: dict[str, tuple[str, tuple[Any, ...]]] = {}
        self.given: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """The recorded number."""
        self.asked[name] = ("log" if log else "float", (low, high))
        return float(self._answer(name, low <= self._parameters[name] <= high))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """The recorded integer."""
        self.asked[name] = ("int", (low, high))
        return int(self._answer(name, low <= self._parameters[name] <= high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """The recorded value."""
        self.asked[name] = ("choice", tuple(choices))
        return self._answer(name, _label(self._parameters[name]) in choices)

    def _answer(self, name: str, is_possible: bool) -> Any:
        if not is_possible:
            raise KeyError(name)
        self.given[name] = _label(self._parameters[name])
        return self.given[name]


def _label(value: object) -> object:
    """A value as a chooser sees it: lists as text."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def replay(space: SearchSpace, parameters: Mapping[str, Any], config: TrialConfig) -> Replay | None:
    """How a space draws ``config`` from recorded parameters; None if it cannot.

    A baseline that exceeds a size limit, or trains naturally in a space that always attacks, is no
    point of the space, and a sampler must not learn from it as if it were.
    """
    chooser = Replay(parameters)
    try:
        drawn = draw(space, chooser)
    except KeyError:
        return None
    return chooser if drawn.config == config else None
