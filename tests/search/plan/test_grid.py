"""Enumeration of a space."""

import itertools
from collections.abc import Callable

import pytest

from taskgroup.errors import ConfigError
from taskgroup.search.plan import grid
from taskgroup.search.plan.grid import check_grid, grid_points
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]
PINNED = ("training.learning_rate=0.01", "adversary.steps=1", "loss_weights=0.5")


def test_grid_takes_every_task_set_and_value_once(make_space: Make) -> None:
    points = grid_points(make_space(*PINNED))
    found = {(p.config.auxiliary_tasks, round(p.config.adversary.epsilon * 255)) for p in points}
    names = ("depth", "edges", "normals")
    sets = [s for size in range(4) for s in itertools.combinations(names, size)]
    assert found == set(itertools.product(sets, (2, 4)))
    assert len(points) == len(found)


def test_grid_respects_size_limits_and_conditions(make_space: Make) -> None:
    limits = {"subset": ["depth", "normals", "edges"], "min_size": 1, "max_size": 1}
    space = make_space(
        "training.learning_rate=0.01",
        "adversary.steps={randint: [1, 2]}",
        "adversary.epsilon=0.01",
        "adversary.attack={choice: [none, pgd]}",
        "loss_weights={choice: [0.1, 1]}",
        auxiliary_tasks=limits,
    )
    # three tasks, two weights, and natural or PGD with one or two steps
    assert len(grid_points(space)) == 3 * 2 * 3


def test_grid_has_the_main_task_alone_once_whatever_is_attacked(make_space: Make) -> None:
    space = make_space(
        "training.learning_rate=0.01",
        "adversary.epsilon=0.01",
        "adversary.steps=1",
        "loss_weights={shared: 1}",
        "adversary.attack={choice: [none, pgd]}",
        "adversary.attacked_tasks={choice: [main, all, [depth]]}",
        auxiliary_tasks={"subset": ["depth"]},
    )
    points = grid_points(space)
    alone = [point for point in points if not point.config.auxiliary_tasks]
    assert [point.config.adversary.attacked_tasks for point in alone] == ["main", "main"]
    assert [point.parameters.get("adversary.attacked_tasks") for point in alone] == [None, "main"]
    attacked = [p.config.adversary for p in points if p.config.auxiliary_tasks]
    assert [a.attacked_tasks for a in attacked if a.attack == "pgd"] == ["main", "all", ("depth",)]


def test_grid_refuses_keys_without_a_list_of_values(make_space: Make) -> None:
    with pytest.raises(ConfigError, match="got loguniform at loss_weights"):
        check_grid(make_space())


def test_grid_refuses_too_many_points(make_space: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MAX_POINTS", 50)
    with pytest.raises(ConfigError, match="at most 50 combinations"):
        grid_points(make_space(*PINNED, "seed={randint: [0, 100000]}"))
