"""Fixtures of the search tests: a small space, pretended trainings, all stages without Ray."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.recording import WorkerClock, record_trial
from taskgroup.search.space.search_space import SearchSpace, read_space
from taskgroup.search.stages import stages_of
from taskgroup.training.config import TrialConfig


@pytest.fixture
def make_space(values: dict[str, Any]) -> Callable[..., SearchSpace]:
    """Builds the small space with some keys pinned, ``key=value`` each."""

    def make(*fixes: str, **changes: Any) -> SearchSpace:
        return read_space({**values, **changes}, fixes=fixes, source="little.yaml")

    return make


class PretendTraining:
    """Stands in for ``fit``: a score that grows with the epoch and falls with the task set."""

    def __init__(self, fail_at: Mapping[int, Exception] | None = None) -> None:
        self.fail_at = dict(fail_at or {})
        self.trained: list[TrialConfig] = []

    def __call__(
        self,
        config: TrialConfig,
        reporter: Any,
        *,
        checkpoint: Path | None = None,
        resume: Path | None = None,
    ) -> None:
        self.trained.append(config)
        reporter.started(7)
        for epoch in range(1, config.training.epochs + 1):
            if epoch in self.fail_at:
                raise self.fail_at[epoch]
            score = 0.1 * epoch / (1 + len(config.auxiliary_tasks))
            metrics = {"segmentation/robust/miou": score, "segmentation/clean/miou": 2 * score}
            reporter.epoch(EpochRow(epoch, metrics, 0.5, 1000))


@pytest.fixture
def pretend() -> type[PretendTraining]:
    """The class of pretended trainings."""
    return PretendTraining


STAGED: Mapping[str, Any] = {
    "adversary": {"attack": "pgd", "epsilon": {"choice": ["2/255", "4/255"]}, "steps": 3},
    "training": {"epochs": 4, "learning_rate": {"loguniform": [1e-3, 1e-2]}},
    "validation": {"attack": "pgd", "epsilon": "4/255", "steps": 10, "images": 8},
    "search": {
        "trials": 8,
        "sampler": "random",
        "proxy": {"width": 4, "epochs": 2, "image_size": 32, "attack_steps": 2, "top": 2},
        "confirm": {"top": 1, "seeds": 2},
    },
}


SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"


class Killed(BaseException):
    """Ends everything at once, as a signal would."""


class Scores:
    """Stands in for ``fit``: scores follow from the configuration; may be killed.

    Attributes:
        finished: Configurations trained to their end, in order.
        epochs_left: Epochs until ``Killed`` is raised; None never.
    """

    def __init__(self, epochs_left: int | None = None) -> None:
        self.epochs_left = epochs_left
        self.finished: list[Any] = []

    def __call__(
        self, config: Any, reporter: Any, *, checkpoint: Any = None, resume: Any = None
    ) -> None:
        reporter.started(7)
        natural = config.adversary.attack == "none"
        for epoch in range(1, config.training.epochs + 1):
            if self.epochs_left == 0:
                raise Killed
            self.epochs_left = None if self.epochs_left is None else self.epochs_left - 1
            score = 0.1 * natural + 10 * config.training.learning_rate * epoch + config.seed / 1e6
            score += 0.01 * len(config.auxiliary_tasks)
            if epoch == config.training.epochs:
                self.finished.append(config)
            metrics = {"segmentation/robust/miou": score, "segmentation/clean/miou": 2 * score}
            reporter.epoch(EpochRow(epoch, metrics, 0.5, 1000))


def run_stages(space: SearchSpace, run: RunDirectory, train: Any) -> None:
    """What a search does, one trial after another."""
    for open_stage in stages_of(space):
        stage = open_stage(run, run.trials())
        ended = sum(record.status != "interrupted" for record in stage.records)
        for _ in range(stage.total - ended):
            record = stage.source.ask()
            assert record is not None
            run.write_trial(record)
            found = record_trial(train, run, record, clock=WorkerClock(), emit=lambda _: None)
            run.write_trial(stage.source.tell(found))


@pytest.fixture
def staged(make_space: Callable[..., SearchSpace]) -> Callable[..., SearchSpace]:
    """Builds the small space with both further stages and some keys pinned."""

    def make(*fixes: str, **changes: Any) -> SearchSpace:
        return make_space(*fixes, **{**STAGED, **changes})

    return make


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "little", SPACE)


@pytest.fixture
def searched(staged: Callable[..., SearchSpace], run: RunDirectory) -> list[TrialResult]:
    """The records of a whole search with both further stages."""
    run_stages(staged(), run, Scores())
    return run.trials()


@pytest.fixture
def scores() -> type[Scores]:
    """The class of pretended trainings."""
    return Scores


@pytest.fixture
def go() -> Callable[[SearchSpace, RunDirectory, Any], None]:
    """Runs all stages of a space in a run directory."""
    return run_stages


@pytest.fixture
def killed() -> type[BaseException]:
    """What a pretended training raises when its epochs are over."""
    return Killed
