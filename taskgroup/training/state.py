"""The changing state of a trial, and the checkpoint from which it continues bit for bit.

A checkpoint holds weights, optimiser, weighting and the rows so far. Schedules are functions of the
step and generators of the epoch, so the number of finished epochs is all the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from taskgroup.config import flat
from taskgroup.errors import CheckpointError, DataError
from taskgroup.models.checkpoint import Checkpoint, load_checkpoint, rebuild, save_checkpoint
from taskgroup.results.records import EpochRow
from taskgroup.results.records.plain import from_plain, to_plain
from taskgroup.results.storage.places import Place
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig, completed
from taskgroup.training.steps.base import Step
from taskgroup.training.weighting.base import Weighting

FREE_KEYS = ("dataset.root", "dataset.download", "training.epochs", "validation")
"""What may differ between a checkpoint's trial and the one that resumes it."""


@dataclass(frozen=True)
class TrialState:
    """What training changes; the objects are updated in place.

    Attributes:
        config: The trial.
        tasks: Its task set, main task first.
        model: The network.
        weighting: The rule over its losses.
        optimizer: Updates both.
        step: One update of everything above.
    """

    config: TrialConfig
    tasks: Sequence[Task]
    model: nn.Module
    weighting: Weighting
    optimizer: torch.optim.Optimizer
    step: Step

    def train(self) -> None:
        """Put network and weighting into training mode."""
        self.model.train()
        self.weighting.train()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the network, then of the weighting."""
        yield from self.model.parameters()
        yield from self.weighting.parameters()


def save_state(state: TrialState, rows: Sequence[EpochRow], path: Place) -> None:
    """Write the state after the epochs of ``rows`` to ``path``."""
    state_of_step = state.step.state_dict()
    checkpoint = Checkpoint(
        config=state.config.model_dump(mode="json"),
        tasks=tuple(task.info for task in state.tasks),
        weights=state.model.state_dict(),
        epoch=len(rows),
        training={
            "optimizer": state.optimizer.state_dict(),
            "weighting": state.weighting.state_dict(),
            "rows": [to_plain(row) for row in rows],
            **({"step_state": dict(state_of_step)} if state_of_step else {}),
        },
    )
    save_checkpoint(checkpoint, path)


def restore_state(state: TrialState, checkpoint: Checkpoint) -> tuple[EpochRow, ...]:
    """Load a checkpoint into ``state`` in place and return the rows of the finished epochs.

    Raises:
        CheckpointError: It is not one of training, belongs to another trial or does not fit it.
    """
    training = _training_part(checkpoint)
    _check_same_trial(state.config, checkpoint)
    try:
        state.model.load_state_dict(rebuild(checkpoint).state_dict())
        state.weighting.load_state_dict(training["weighting"])
        state.optimizer.load_state_dict(training["optimizer"])
        state.step.load_state_dict(training.get("step_state", {}))
        return _rows(training, checkpoint.source)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"{checkpoint.source} must hold the state of its trial to continue it, but does not "
            f"fit it ({problem}); start the trial again"
        ) from None


def read_rows(path: Place) -> tuple[EpochRow, ...]:
    """The epochs that a checkpoint has behind it, for the record of a trial that continues.

    Raises:
        DataError: The file is no checkpoint, or not one of training.
    """
    checkpoint = load_checkpoint(path)
    return _rows(_training_part(checkpoint), checkpoint.source)


def _rows(training: Mapping[str, Any], source: str) -> tuple[EpochRow, ...]:
    return tuple(from_plain(EpochRow, row, source=source) for row in training["rows"])


def _training_part(checkpoint: Checkpoint) -> Mapping[str, Any]:
    training = checkpoint.training or {}
    if not {"optimizer", "weighting", "rows"} <= set(training):
        raise CheckpointError(
            f"{checkpoint.source} must hold the state of a training to continue it, but has "
            "weights only; start the trial again"
        )
    return training


def _check_same_trial(config: TrialConfig, checkpoint: Checkpoint) -> None:
    ours = flat(config.model_dump(mode="json"))
    theirs = flat(completed(checkpoint.config, source=checkpoint.source))
    for key in sorted(set(ours) | set(theirs)):
        if key.startswith(FREE_KEYS) or ours.get(key) == theirs.get(key):
            continue
        raise CheckpointError(
            f"{checkpoint.source} must come from the same trial to continue it, but its {key} "
            f"is {theirs.get(key)!r} instead of {ours.get(key)!r}; resume with its own "
            "configuration"
        )
