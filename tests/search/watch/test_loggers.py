"""What MLflow and Weights & Biases are told."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.logger import LoggerCallback

from taskgroup.errors import ConfigError
from taskgroup.results.records import EpochRow
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.planning import to_text
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.watch import loggers
from taskgroup.search.watch.loggers import RecordLogger, check_loggers, ray_loggers


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_named_before_anything_starts(
    make_space: Callable[..., SearchSpace], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    space = make_space(f"search.loggers=[tensorboard, {name}]")
    with pytest.raises(ConfigError, match=rf"but {name} is not; pip install 'taskgroup\[{name}\]'"):
        check_loggers(space)
    check_loggers(make_space())


def test_unknown_logger_is_refused(make_space: Callable[..., SearchSpace]) -> None:
    with pytest.raises(ConfigError, match="loggers"):
        make_space("search.loggers=[comet]")


def test_packages_are_imported_only_when_asked(make_space: Callable[..., SearchSpace]) -> None:
    before = set(sys.modules)
    assert ray_loggers(make_space(), None) == []  # type: ignore[arg-type]
    assert ray_loggers(make_space("search.loggers=[]"), None) == []  # type: ignore[arg-type]
    assert not (set(sys.modules) - before) & {"mlflow", "wandb"}


class Told(LoggerCallback):
    """A logger that remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def log_trial_start(self, trial: Any) -> None:
        self.heard.append(("start", trial, dict(trial.config)))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self.heard.append(("result", trial, result))

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        self.heard.append(("end", trial, failed))


def test_loggers_hear_names_drawn_values_and_numbers(
    make_space: Callable[..., SearchSpace],
) -> None:
    record = plan_baselines(make_space())[2]
    ray_trial: Any = SimpleNamespace(
        trial_id="a1", config={RECORD: to_text(record)}, local_path="/nowhere"
    )
    told = Told()
    logger = RecordLogger(told, "little-1")
    logger.on_trial_start(0, [], ray_trial)
    row = EpochRow(3, {"segmentation/robust/miou": 0.5}, 1.0, 1)
    ended = to_text(type(record)(**{**vars(record), "epochs": (row,)}))
    logger.on_trial_result(3, [], ray_trial, {RECORD: ended, "date": "today", "pid": 1})
    logger.on_trial_error(3, [], ray_trial)
    (_, trial, config), (_, same, numbers), (_, _, failed) = told.heard
    assert str(trial) == "trial 2 · segmentation+depth+edges+normals · ε 2/255"
    assert trial == same, "a logger finds its own trial again"
    assert hash(trial) == hash(same)
    assert config["loss_weights.depth"] == record.parameters["loss_weights.depth"]
    assert config["number"] == 2
    assert RECORD not in config
    assert numbers == {"segmentation/robust/miou": 0.5, "epoch": 3, "training_iteration": 3}
    assert failed
