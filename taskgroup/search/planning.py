"""A trial before it runs: its record, with nothing measured yet."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.drawing import Drawn
from taskgroup.training.config import TrialConfig

UNFINISHED = "not finished: still running, or the search was stopped"


def plan_trial(
    number: int,
    drawn: Drawn,
    *,
    label: str = "",
    role: Literal["baseline", "searched"] = "searched",
) -> TrialResult:
    """The record of a trial that has not begun.

    Args:
        number: Number of the trial in its study.
        drawn: Its configuration and what was drawn.
        label: What a reader calls it; by default its task set, and ``natural`` without an attack.
        role: Whether it is a fixed reference.
    """
    config = drawn.config
    return TrialResult(
        number=number,
        label=label or label_of(drawn),
        role=role,
        config=config.model_dump(mode="json"),
        parameters=dict(drawn.parameters),
        main_task=config.main_task,
        auxiliary_tasks=config.auxiliary_tasks,
        output_dimension=0,
        status="interrupted",
        reason=UNFINISHED,
        planned_epochs=config.training.epochs,
        fidelity=fidelity_of(config),
        seed=config.seed,
    )


def fidelity_of(config: TrialConfig) -> dict[str, float]:
    """What a score of a trial costs: epochs, attack steps and, where known, validation images."""
    validation = config.validation
    images = validation.images or getattr(config.dataset, validation.split, None)
    return {
        "epochs": config.training.epochs,
        "attack_steps": validation.steps * validation.restarts,
        **({"validation_images": images} if images else {}),
    }


def label_of(drawn: Drawn) -> str:
    """The task set, such as ``segmentation+depth``, and whether it trains naturally."""
    natural = drawn.config.adversary.attack == "none"
    return "+".join(drawn.config.task_set) + (", natural" if natural else "")


def to_text(record: TrialResult) -> str:
    """A record as JSON, to pass it between processes."""
    return json.dumps(asdict(record))


def from_text(text: str) -> TrialResult:
    """The record that :func:`to_text` wrote."""
    values: Mapping[str, Any] = json.loads(text)
    record = TrialResult(**values)
    return replace(
        record,
        auxiliary_tasks=tuple(record.auxiliary_tasks),
        epochs=tuple(EpochRow(**row) for row in values["epochs"]),
    )


def last_epoch(record: TrialResult) -> int:
    """Number of the last epoch measured; 0 before the first."""
    return record.epochs[-1].epoch if record.epochs else 0
