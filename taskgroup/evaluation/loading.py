"""From a checkpoint to everything that scoring it needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.config import parse
from taskgroup.data.base import DatasetConfig, parse_dataset
from taskgroup.errors import DataError
from taskgroup.models.checkpoint import load_checkpoint, rebuild
from taskgroup.results.storage.places import Place
from taskgroup.tasks.base import Task, build_task


@dataclass(frozen=True)
class TrainedModel:
    """A network with what it was trained for.

    Attributes:
        model: The network, in evaluation mode, on the CPU.
        tasks: Its tasks, in the order of its heads.
        dataset: Where its test images come from.
        main_task: The task to protect.
        threat: The ball that it was validated in.
    """

    model: nn.Module
    tasks: tuple[Task, ...]
    dataset: DatasetConfig
    main_task: str
    threat: ThreatModel

    @property
    def main(self) -> Task:
        """The task to protect."""
        return next(task for task in self.tasks if task.name == self.main_task)

    @property
    def task_set(self) -> tuple[str, ...]:
        """Names of its tasks, the main one first."""
        others = (task.name for task in self.tasks if task.name != self.main_task)
        return (self.main_task, *others)


def load_trained(path: Place) -> TrainedModel:
    """Rebuild the network of a checkpoint.

    Raises:
        DataError: The file is missing, damaged, holds code, or was not written by a trial.
        ConfigError: It names a backbone or an option that this installation lacks.
    """
    checkpoint = load_checkpoint(path)
    model = rebuild(checkpoint)
    tasks = tuple(build_task(info) for info in checkpoint.tasks)
    try:
        dataset = parse_dataset(checkpoint.config.get("dataset"))
    except ValueError as error:
        raise _foreign(path, f"its dataset section is wrong: {error}") from None
    return TrainedModel(
        model=model,
        tasks=tasks,
        dataset=dataset,
        main_task=_main_task(checkpoint.config, tasks, path),
        threat=_threat(checkpoint.config, path),
    )


def _main_task(config: Mapping[str, Any], tasks: tuple[Task, ...], path: Place) -> str:
    main_task = config.get("main_task")
    if main_task not in [task.name for task in tasks]:
        raise _foreign(path, f"its main_task {main_task!r} is none of its tasks")
    return str(main_task)


def _threat(config: Mapping[str, Any], path: Place) -> ThreatModel:
    """The ball of the ``validation:`` section."""
    validation = config.get("validation")
    if not isinstance(validation, Mapping) or not {"norm", "epsilon"} <= set(validation):
        raise _foreign(path, "its validation section names no threat model")
    named = {key: validation[key] for key in ("norm", "epsilon")}
    return parse(ThreatModel, named, source=f"{path}: validation")


def _foreign(path: Place, found: str) -> DataError:
    return DataError(
        f"{path} must be a checkpoint of a taskgroup trial, but {found}; "
        "choose one below a run directory's checkpoints"
    )
