"""MLflow and Weights & Biases, by Ray's own callbacks, told what a reader wants to see.

Ray's callbacks log a trial's whole configuration and result; ours carry a record as text. So they
get a trial with a readable name and its drawn values, and each epoch's metrics with the epoch as
the step. Both packages are imported only where a space asks for them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback

from taskgroup.errors import ConfigError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.searcher import RECORD
from taskgroup.search.plan.planning import from_text, last_epoch, trial_name
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.watch.event_files import hyperparameters

STEP = "training_iteration"
"""Where Ray's callbacks find the step."""
EXTRAS = ("mlflow", "wandb")
"""Loggers that are packages of their own, each the name of package and extra."""


@dataclass(frozen=True)
class NamedTrial:
    """What a logger sees of a Ray trial; equal for all versions of one trial.

    Attributes:
        trial_id: Ray's name of the trial.
        name: What a reader calls it.
        config: The drawn values.
        local_path: Ray's folder for the trial on the driver.
        experiment_dir_name: What groups the trials of a run.
    """

    trial_id: str
    name: str = field(compare=False)
    config: Mapping[str, Any] = field(compare=False)
    local_path: str = field(compare=False)
    experiment_dir_name: str = field(compare=False)
    checkpoint: None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name


class RecordLogger(LoggerCallback):
    """Tells one of Ray's logger callbacks what the records say."""

    def __init__(self, logger: Any, run: str) -> None:
        """Wrap a callback.

        Args:
            logger: The callback.
            run: Name of the run.
        """
        self.logger = logger
        self._run = run

    def setup(self, *args: Any, **info: Any) -> None:
        """Let the logger connect."""
        self.logger.setup(*args, **info)

    def log_trial_start(self, trial: Trial) -> None:
        """Log the drawn values."""
        self.logger.log_trial_start(self._named(trial))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log the metrics of the last epoch."""
        if RECORD in result:
            numbers = epoch_numbers(from_text(result[RECORD]))
            self.logger.log_trial_result(iteration, self._named(trial), numbers)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Say that the trial ended."""
        self.logger.log_trial_end(self._named(trial), failed)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Let the logger finish its uploads."""
        self.logger.on_experiment_end([self._named(trial) for trial in trials], **info)

    def _named(self, trial: Trial) -> NamedTrial:
        record = from_text(trial.config[RECORD])
        return NamedTrial(
            trial.trial_id,
            trial_name(record),
            {**hyperparameters(record), "number": record.number},
            str(trial.local_path),
            self._run,
        )


def epoch_numbers(record: TrialResult) -> dict[str, float]:
    """The last epoch's metrics, with the epoch as Ray's step."""
    metrics = dict(record.epochs[-1].metrics) if record.epochs else {}
    return {**metrics, "epoch": last_epoch(record), STEP: last_epoch(record)}


def check_loggers(space: SearchSpace) -> None:
    """Check that what ``search.loggers`` asks for is installed; imports none of it.

    Raises:
        ConfigError: A package is missing.
    """
    for name in EXTRAS:
        if name in space.search.loggers and find_spec(name) is None:
            raise ConfigError(
                f"search.loggers must name what is installed, but {name} is not; "
                f"pip install 'taskgroup[{name}]', or leave it out"
            )


def ray_loggers(space: SearchSpace, run: RunDirectory) -> list[RecordLogger]:
    """The callbacks that ``search.loggers`` asks for, connected.

    Raises:
        ConfigError: One cannot connect: no key, or a server that does not answer.
    """
    makers = {"mlflow": _mlflow, "wandb": _wandb}
    return [
        RecordLogger(_connected(name, makers[name], space.name, run), run.name)
        for name in space.search.loggers
        if name in makers
    ]


def _connected(
    name: str, make: Callable[[str, RunDirectory], LoggerCallback], study: str, run: RunDirectory
) -> LoggerCallback:
    try:
        logger = make(study, run)
        logger.setup()
    except Exception as error:
        found = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"search.loggers: {name} must be able to start, but: {found}; set what it misses in "
            "the environment, or leave it out"
        ) from None
    return logger


def _mlflow(study: str, run: RunDirectory) -> LoggerCallback:
    """Logs to ``MLFLOW_TRACKING_URI``, else to where MLflow itself would, by the study's name."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"),
        experiment_name=study,
        tags={"taskgroup.run": run.name},
    )


def _wandb(study: str, run: RunDirectory) -> LoggerCallback:
    """Logs to the project ``WANDB_PROJECT``, else to one of the study's name; runs are groups."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(
        project=os.environ.get("WANDB_PROJECT") or study,
        group=run.name,
        dir=None if run.storage.folder is None else str(run.path.absolute()),
    )
