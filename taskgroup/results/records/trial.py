"""The record of a trial. It is the truth: Ray's and Optuna's files can be rebuilt from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa

from taskgroup.errors import DataError
from taskgroup.results.records.base import Amount, Count, Count32, Record
from taskgroup.results.records.ranges import Range

Status = Literal["complete", "pruned", "failed", "interrupted"]
Stage = Literal["proxy", "search", "confirm"]
SECTIONS = (
    "adversary",
    "dataset",
    "loss_weights",
    "model",
    "task_options",
    "training",
    "validation",
)
"""Keys of a configuration that hold keys themselves."""


@dataclass(frozen=True)
class EpochRow(Record):
    """One epoch of a trial.

    Attributes:
        epoch: Number of epochs finished, from 1.
        metrics: Numbers by name: ``<task>/train/loss``, ``<task>/clean/<score>``,
            ``<task>/robust/<score>``, ``learning_rate``, ``images_per_second``.
        seconds: Wall time of the epoch, validation included.
        peak_memory: Bytes: on a GPU the most allocated, else the process's resident peak.
    """

    epoch: Annotated[int, pa.int32(), Range(1)]
    metrics: Mapping[str, float]
    seconds: Amount
    peak_memory: Count


@dataclass(frozen=True)
class TrialResult(Record):
    """One configuration, trained and scored.

    Attributes:
        number: Number of the trial in its study, from 0.
        label: What a reader calls it: ``main only, natural`` or ``segmentation+depth``.
        role: Whether it is one of the fixed references or was drawn by the sampler.
        config: The whole trial configuration as plain data.
        parameters: The drawn values by dotted key (``adversary.epsilon``).
        main_task: The task to protect.
        auxiliary_tasks: The other tasks, sorted.
        output_dimension: Numbers predicted per image, over all heads.
        status: How it ended.
        reason: Why it ended so, for pruned, failed and interrupted trials.
        epochs: One row per finished epoch.
        planned_epochs: Epochs of a full-length trial: with the attack budget, the fidelity.
        seed: Seed of weights, order and attacks.
        started: When it began, ISO 8601 with time zone.
        seconds: Wall time from first batch to last record.
        overhead_seconds: Time between the previous record in the same worker and this trial's
            first batch; None for the first trial of a worker.
        peak_memory: Bytes, the maximum over epochs.
        stage: ``proxy`` on a cheap stand-in, ``search``, or ``confirm``: trained again at full
            length and scored on the confirm split.
        parent: Number of the trial that this one repeats in a later stage, or None.
        attempts: How often it was begun; more than 1 after an interruption.
        fidelity: What its scores cost, so that values of different cost are never mixed:
            ``epochs`` planned, ``attack_steps`` and ``validation_images`` of the validation.
        checkpoint: Path below the run directory, or None.
        versions: Version by package name.
    """

    stored_as: ClassVar[str] = "trial"

    number: Count32
    label: str
    role: Literal["baseline", "searched"]
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    main_task: str
    auxiliary_tasks: tuple[str, ...]
    output_dimension: Count
    status: Status
    reason: str | None = None
    epochs: tuple[EpochRow, ...] = ()
    planned_epochs: Count32 = 0
    seed: int = 0
    started: str = ""
    seconds: Amount = 0.0
    overhead_seconds: Amount | None = None
    peak_memory: Count = 0
    stage: Stage = "search"
    parent: Count32 | None = None
    attempts: Count32 = 0
    fidelity: Mapping[str, Amount] = field(default_factory=dict)
    checkpoint: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Epochs rise, sections are sections, the date is one, the checkpoint is in the run."""
        epochs = [row.epoch for row in self.epochs]
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise DataError(f"epochs must rise from row to row, but are {epochs}")
        for section in SECTIONS:
            value = self.config.get(section)
            if not isinstance(value, Mapping | None):
                raise DataError(f"config must hold {section} as keys, but has {value!r:.40}")
        if self.started and not _is_date(self.started):
            raise DataError(f"started must be a date in ISO 8601, but is {self.started!r:.40}")
        parts = PurePosixPath(self.checkpoint or "")
        if parts.is_absolute() or ".." in parts.parts:
            raise DataError(
                f"checkpoint must be below the run directory, but is {self.checkpoint!r:.80}"
            )

    @property
    def task_set(self) -> tuple[str, ...]:
        """The main task followed by the auxiliary tasks."""
        return (self.main_task, *self.auxiliary_tasks)

    @property
    def is_adversarial(self) -> bool:
        """Whether the trial trained on attacked images."""
        adversary = self.config.get("adversary") or {}
        return bool(adversary.get("attack", "none") != "none")

    def score(self, name: str) -> float | None:
        """The last epoch's value of a metric, or None if it was never measured."""
        values = [row.metrics[name] for row in self.epochs if name in row.metrics]
        return values[-1] if values else None


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
