"""The changing state of a trial, and the checkpoint from which it continues bit for bit.

A checkpoint holds weights, optimiser, weighting and the rows so far. Schedules are functions of the
step and generators of the epoch, so the number of finished epochs is all the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from taskgroup.config import flat
from taskgroup.errors import CheckpointError, ConfigError, DataError
from taskgroup.models.checkpoint import (
    UNFIT,
    Checkpoint,
    load_checkpoint,
    rebuild,
    save_checkpoint,
)
from taskgroup.results.records import EpochRow
from taskgroup.results.records.plain import from_plain, to_plain
from taskgroup.results.storage.places import Place
from taskgroup.tasks.base import Task
from taskgroup.training.config import TrialConfig, completed
from taskgroup.training.steps.base import Step
from taskgroup.training.weighting.base import Weighting
from taskgroup.wording import counted

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
    try:
        _check_same_trial(state.config, checkpoint)
        rows = _rows(training, checkpoint)
        state.model.load_state_dict(rebuild(checkpoint).state_dict())
        _load_weighting(state.weighting, training["weighting"])
        _load_optimizer(state.optimizer, training["optimizer"])
        state.step.load_state_dict(training.get("step_state", {}))
    except CheckpointError:
        raise
    except (ConfigError, DataError) as error:
        raise CheckpointError(str(error)) from None
    except UNFIT as error:
        problem = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"{checkpoint.source} must hold the state of its trial to continue it, but does not "
            f"fit it ({problem}); start the trial again"
        ) from None
    return rows


def _load_weighting(weighting: Weighting, saved: Any) -> None:
    """Load the numbers of a weighting.

    Raises:
        ValueError: One is NaN or infinite.
    """
    weighting.load_state_dict(saved)
    if not all(bool(value.isfinite().all()) for value in weighting.state_dict().values()):
        raise ValueError("a number of the weighting is NaN or infinite")


def _load_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Load what an optimiser remembers of each parameter; its settings are those of the trial.

    Raises:
        ValueError: It remembers something else than an optimiser of this kind.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if type(optimizer) in REMEMBERED and parameters and not saved["state"]:
        raise ValueError("the optimiser has no memory")
    for place, memory in saved["state"].items():
        if REMEMBERED.get(type(optimizer), set(memory)) - set(memory):
            raise ValueError(f"the optimiser lacks part of its memory of parameter {place}")
        for name, value in memory.items():
            if value is not None and not _is_memory(name, value, parameters[place]):
                raise ValueError(f"{name} of parameter {place} is none of an optimiser")
    own = optimizer.state_dict()
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own["param_groups"]})


REMEMBERED: Mapping[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}
}
"""What an optimiser cannot do without once it has updated a parameter."""
_NEVER_NEGATIVE = ("step", "exp_avg_sq")


def _is_memory(name: str, value: Tensor, parameter: Tensor) -> bool:
    """Whether a tensor can be what an optimiser remembers of a parameter."""
    fits = value.shape == (() if name == "step" else parameter.shape)
    is_finite = value.is_floating_point() and bool(value.isfinite().all())
    return fits and is_finite and not (name in _NEVER_NEGATIVE and bool((value < 0).any()))


def read_rows(path: Place) -> tuple[EpochRow, ...]:
    """The epochs that a checkpoint has behind it, for the record of a trial that continues.

    Raises:
        DataError: The file is no checkpoint, or not one of training.
    """
    checkpoint = load_checkpoint(path)
    return _rows(_training_part(checkpoint), checkpoint)


def _rows(training: Mapping[str, Any], checkpoint: Checkpoint) -> tuple[EpochRow, ...]:
    """One row for each epoch that the checkpoint has behind it."""
    source, saved = checkpoint.source, training["rows"]
    plain = saved if isinstance(saved, list | tuple) else ()
    rows = tuple(from_plain(EpochRow, row, source=source) for row in plain)
    if [row.epoch for row in rows] != list(range(1, checkpoint.epoch + 1)):
        raise CheckpointError(
            f"{source} must hold a row for each of its {counted(checkpoint.epoch, 'epoch')}, found "
            f"those of {[row.epoch for row in rows]}; start the trial again"
        )
    return rows


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
