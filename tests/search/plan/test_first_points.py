"""Trials that a study begins with: drawn, checked, asked once, told to the sampler."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgroup.errors import ConfigError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.plan.first_points import draw_first_points
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.sampling.proposals import Proposals
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]
SHARED = {"shared": {"choice": [0.1, 0.01, 0.001]}}
POINTS: list[dict[str, Any]] = [
    {"auxiliary_tasks": ["depth"], "loss_weights": {"shared": 0.001}},
    {"auxiliary_tasks": ["edges", "depth"], "adversary": {"epsilon": "2/255", "steps": 3}},
]


def finished(record: TrialResult) -> TrialResult:
    row = EpochRow(4, {"segmentation/robust/miou": 0.1, "segmentation/clean/miou": 0.2}, 1.0, 1)
    return replace(record, status="complete", reason=None, epochs=(row,))


def test_points_take_what_they_name_and_the_middle_of_the_rest(make_space: Make) -> None:
    first, second = draw_first_points(make_space(loss_weights=SHARED, first_points=POINTS))
    assert first.config.loss_weights == {"depth": 0.001}
    assert first.config.adversary.steps == 2
    assert second.config.auxiliary_tasks == ("depth", "edges")
    assert second.config.loss_weights == {"depth": 0.05, "edges": 0.05}
    assert (second.config.adversary.epsilon, second.config.adversary.steps) == (2 / 255, 3)


def test_a_point_without_tasks_trains_every_candidate(make_space: Make) -> None:
    (point,) = draw_first_points(make_space(first_points=[{"loss_weights": 0.05}]))
    assert point.config.loss_weights == {"depth": 0.05, "edges": 0.05, "normals": 0.05}


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_points_come_once_after_the_baselines(
    make_space: Make, tmp_path: Path, sampler: str
) -> None:
    pins = ["training.learning_rate=0.01", f"search.sampler={sampler}"]
    space = make_space(*pins, loss_weights=SHARED, first_points=[*POINTS, POINTS[0]])
    study = Proposals(space, tmp_path / "journal")
    asked = [study.ask() for _ in range(5)]
    records = [finished(record) for record in asked if record is not None]
    assert [record.role for record in records] == ["baseline"] * 3 + ["searched"] * 2
    assert [r.auxiliary_tasks for r in records[3:]] == [("depth",), ("depth", "edges")]
    assert [r.number for r in records] == [0, 1, 2, 3, 4]
    resumed = Proposals(space, tmp_path / "journal", records)
    following = resumed.ask()
    assert following is not None
    assert following.number == 5
    assert following.config not in [record.config for record in records]
    if sampler == "grid":
        assert resumed.total == Proposals(space, tmp_path / "journal").total


def test_points_leave_no_study_longer_than_asked(make_space: Make, tmp_path: Path) -> None:
    space = make_space("search.trials=4", loss_weights=SHARED, first_points=POINTS)
    assert Proposals(space, tmp_path / "journal").total == 4


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"loss_weights": {"shared": 0.5}}, r"first_points\[0\]\.loss_weights\.shared .* got 0\.5"),
        ({"auxiliary_tasks": ["parts"]}, r"auxiliary_tasks must be a value of .* got \['parts'\]"),
        ({"training": {"epochs": 9}}, r"training\.epochs must be a key .* fixed to 4; remove it"),
        ({"training": {"epoch": 9}}, r"training\.epoch must be a key .* not there"),
    ],
)
def test_mistakes_name_the_point(make_space: Make, point: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_names(make_space(loss_weights=SHARED, first_points=[point]))
