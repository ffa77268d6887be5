"""Enumeration of a space."""

import itertools
from collections.abc import Callable

import pytest

from taskgroup.errors import ConfigError
from taskgroup.search import grid
from taskgroup.search.grid import check_grid, grid_points
from taskgroup.search.space import SearchSpace

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


def test_grid_refuses_keys_without_a_list_of_values(make_space: Make) -> None:
    with pytest.raises(ConfigError, match="got loguniform at loss_weights"):
        check_grid(make_space())


def test_grid_refuses_too_many_points(make_space: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "MAX_POINTS", 50)
    with pytest.raises(ConfigError, match="at most 50 combinations"):
        grid_points(make_space(*PINNED, "seed={randint: [0, 100000]}"))
