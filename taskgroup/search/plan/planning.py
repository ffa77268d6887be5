"""A trial before it runs: its record, with nothing measured yet."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from taskgroup.config import parse_number
from taskgroup.results.records import Stage, TrialResult
from taskgroup.results.records.plain import from_plain, to_plain
from taskgroup.search.plan.draw import Drawn
from taskgroup.training.config import TrainingConfig, TrialConfig
from taskgroup.wording import format_value, task_set_text

UNFINISHED = "not finished: still running, or the search was stopped"


def plan_trial(
    number: int,
    drawn: Drawn,
    *,
    label: str = "",
    role: Literal["baseline", "searched"] = "searched",
    stage: Stage = "search",
    parent: int | None = None,
) -> TrialResult:
    """The record of a trial that has not begun.

    Args:
        number: Number of the trial in its study.
        drawn: Its configuration and what was drawn.
        label: What a reader calls it; by default its task set, and ``natural`` without an attack.
        role: Whether it is a fixed reference.
        stage: Part of the search that it belongs to.
        parent: Number of the trial that it repeats in a later stage.
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
        stage=stage,
        parent=parent,
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


def with_epochs(training: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """A ``training:`` section of another length whose schedule keeps its shape.

    Args:
        training: The section; keys whose value is a distribution are left alone.
        epochs: Its new length; warm-up and step epochs change in proportion.

    Example:
        >>> with_epochs({"epochs": 90, "step_epochs": [30, 60], "warmup_epochs": 3}, 9)
        {'epochs': 9, 'step_epochs': [3, 6], 'warmup_epochs': 0.3}
    """
    share = epochs / training.get("epochs", TrainingConfig().epochs)
    if share == 1:
        return {**training, "epochs": epochs}
    changed = {**training, "epochs": epochs}
    steps, warmup = training.get("step_epochs"), parse_number(training.get("warmup_epochs"))
    if isinstance(steps, list | tuple):
        changed["step_epochs"] = sorted({max(1, round(step * share)) for step in steps})
    if isinstance(warmup, int | float):
        changed["warmup_epochs"] = round(warmup * share, 9)
    return changed


def label_of(drawn: Drawn) -> str:
    """The task set, such as ``segmentation+depth``, and whether it trains naturally."""
    natural = drawn.config.adversary.attack == "none"
    return task_set_text(drawn.config.task_set) + (", natural" if natural else "")


def trial_name(record: TrialResult) -> str:
    """A trial in one line of a dashboard or a logger, ``trial 17 · segmentation+depth · ε 4/255``.

    A trial that trains without an attack says ``natural``, one of another stage names the stage.
    """
    adversary = record.config.get("adversary") or {}
    radius = format_value("epsilon", adversary.get("epsilon"))
    threat = f"ε {radius}" if record.is_adversarial else "natural"
    parts = [f"trial {record.number}", task_set_text(record.task_set), threat]
    return " · ".join(parts if record.stage == "search" else [*parts, record.stage])


def to_text(record: TrialResult) -> str:
    """A record as JSON, to pass it between processes."""
    return json.dumps(to_plain(record))


def from_text(text: str) -> TrialResult:
    """The record that :func:`to_text` wrote."""
    return from_plain(TrialResult, json.loads(text))


def last_epoch(record: TrialResult) -> int:
    """Number of the last epoch measured; 0 before the first."""
    return record.epochs[-1].epoch if record.epochs else 0
