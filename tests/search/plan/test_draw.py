"""Drawing trials: which keys exist when, and that a draw can be replayed."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from taskgroup.search.plan.draw import Middle, Replay, draw, draw_tree, replay
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]


class Dice:
    """Draws at random and remembers what it was asked."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.asked: list[str] = []

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked.append(name)
        return self.random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.asked.append(name)
        return self.random.randint(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked.append(name)
        return self.random.choice(choices)


@pytest.mark.parametrize("seed", range(20))
def test_weights_exist_for_chosen_tasks_only(make_space: Make, seed: int) -> None:
    dice = Dice(seed)
    drawn = draw(make_space(), dice)
    chosen = drawn.config.auxiliary_tasks
    assert set(drawn.config.loss_weights) == set(chosen)
    assert {n for n in dice.asked if n.startswith("loss_weights")} == {
        f"loss_weights.{name}" for name in chosen
    }
    booleans = {n: v for n, v in drawn.parameters.items() if n.startswith("auxiliary_tasks.")}
    assert booleans == {
        f"auxiliary_tasks.{name}": name in chosen for name in ("depth", "normals", "edges")
    }


@pytest.mark.parametrize("seed", range(20))
def test_attack_keys_exist_in_adversarial_trials_only(make_space: Make, seed: int) -> None:
    dice = Dice(seed)
    drawn = draw(make_space("adversary.attack={choice: [none, fgsm, pgd]}"), dice)
    attack = drawn.config.adversary.attack
    asked = {name for name in dice.asked if name.startswith("adversary.")}
    expected = {
        "none": {"adversary.attack"},
        "fgsm": {"adversary.attack", "adversary.epsilon"},
        "pgd": {"adversary.attack", "adversary.epsilon", "adversary.steps"},
    }
    assert asked == expected[attack]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_momentum_exists_with_sgd_only(make_space: Make, optimizer: str) -> None:
    space = make_space("training.momentum={uniform: [0.5, 0.9]}", f"training.optimizer={optimizer}")
    assert ("training.momentum" in draw(space, Dice(0)).parameters) == (optimizer == "sgd")


def test_shared_weight_is_split_evenly(make_space: Make) -> None:
    space = make_space(loss_weights={"shared": {"uniform": [0.2, 0.6]}})
    drawn = draw_tree(space.tree, Middle(), tasks=("depth", "edges"))
    assert drawn.config.loss_weights == {"depth": 0.2, "edges": 0.2}
    assert drawn.parameters["loss_weights.shared"] == pytest.approx(0.4)


def test_weights_may_differ_by_task(make_space: Make) -> None:
    weights = {"depth": 0.5, "edges": {"uniform": [1, 3]}, "normals": {"choice": ["1/4"]}}
    drawn = draw_tree(make_space(loss_weights=weights).tree, Middle(), tasks=("depth", "edges"))
    assert drawn.config.loss_weights == {"depth": 0.5, "edges": 2.0}


def test_weight_is_one_where_the_space_names_none(values: dict[str, Any]) -> None:
    from taskgroup.search.space.search_space import read_space

    del values["loss_weights"]
    drawn = draw_tree(read_space(values, source="x").tree, Middle(), tasks=("depth",))
    assert drawn.config.loss_weights == {"depth": 1.0}


def test_listed_attacked_tasks_shrink_to_the_task_set(make_space: Make) -> None:
    space = make_space("adversary.attacked_tasks=[segmentation, depth]")
    without = draw_tree(space.tree, Middle(), tasks=("edges",)).config.adversary
    assert without.attacked_tasks == ("segmentation",)
    only_auxiliary = make_space("adversary.attacked_tasks=[depth]")
    fallen_back = draw_tree(only_auxiliary.tree, Middle(), tasks=()).config.adversary
    assert fallen_back.attacked_tasks == "main"


def test_middle_is_geometric_for_logarithms_and_first_for_choices(make_space: Make) -> None:
    config = draw_tree(make_space().tree, Middle(), tasks=("depth",)).config
    assert config.training.learning_rate == pytest.approx(10**-2.5)
    assert config.loss_weights["depth"] == pytest.approx(0.1)
    assert config.adversary.epsilon == pytest.approx(2 / 255)
    assert config.adversary.steps == 2


@pytest.mark.parametrize("seed", range(10))
def test_every_draw_replays_from_its_parameters(make_space: Make, seed: int) -> None:
    space = make_space(auxiliary_tasks={"subset": ["depth", "normals", "edges"], "max_size": 2})
    drawn = draw(space, Dice(seed))
    assert draw(space, Replay(drawn.parameters)).config == drawn.config
    found = replay(space, drawn.parameters, drawn.config)
    assert found is not None
    assert found.given == dict(drawn.parameters)


def test_task_lists_may_be_chosen_whole(make_space: Make) -> None:
    space = make_space(auxiliary_tasks={"choice": [["depth"], ["depth", "edges"]]})
    assert space.candidates == ("depth", "edges")
    drawn = draw(space, Dice(3))
    found = replay(space, drawn.parameters, drawn.config)
    assert found is not None
    assert found.given["auxiliary_tasks"] in ('["depth"]', '["depth", "edges"]')


def test_what_a_space_cannot_draw_does_not_replay(make_space: Make) -> None:
    space = make_space(auxiliary_tasks={"subset": ["depth", "edges"], "max_size": 1})
    both = draw_tree(space.tree, Middle(), tasks=("depth", "edges"))
    assert replay(space, both.parameters, both.config) is None
    other = make_space("training.learning_rate={choice: [0.5]}")
    fitting = draw_tree(make_space().tree, Middle(), tasks=())
    assert replay(other, fitting.parameters, fitting.config) is None
