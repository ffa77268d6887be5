"""What Optuna is told about a trial: its state, values, fidelity and constraint.

Told while a study runs or rebuilt from records later, a trial looks the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import trial_file
from taskgroup.search.plan.draw import Replay
from taskgroup.search.plan.planning import last_epoch
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.selection import Limit
from taskgroup.wording import task_set_text

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.FAIL,  # it resumes as a new trial of Optuna's
}
CONSTRAINT = "clean_drop"
"""Optuna's name of the constraint; 0 or less is feasible."""


def tell_trial(
    study: optuna.Study,
    trial: Trial,
    record: TrialResult,
    objectives: Sequence[StudyObjective],
    limit: Limit | None,
) -> None:
    """Write how a trial ended into Optuna's running trial.

    Args:
        study: The study that asked for it.
        trial: Optuna's trial.
        record: The trial's record; it has ended.
        objectives: What the study optimises.
        limit: The study's constraint, if it has one that is known.
    """
    describe(trial, record, objectives)
    for name, value in constraints(record, limit).items():
        trial.set_constraint(name, value)
    for epoch, value in _intermediate(record, objectives).items():
        trial.report(value, epoch)
    if record.status == "complete":
        study.tell(trial, [objective.value(record) for objective in objectives])
    else:
        study.tell(trial, state=STATES[record.status])


def describe(trial: Trial, record: TrialResult, objectives: Sequence[StudyObjective]) -> None:
    """Write what is new about a trial into its user attributes."""
    known = trial.user_attrs
    for name, value in attributes(record, objectives).items():
        if name not in known or known[name] != value:
            trial.set_user_attr(name, value)


def frozen_trial(
    record: TrialResult,
    found: Replay,
    objectives: Sequence[StudyObjective],
    limit: Limit | None,
    *,
    system_attrs: Mapping[str, Any],
) -> FrozenTrial:
    """A record of an earlier session as a finished trial of Optuna's.

    Args:
        record: The trial's record; it has ended.
        found: How the space draws it.
        objectives: What the study optimises.
        limit: The study's constraint, if it has one that is known.
        system_attrs: What the sampler noted in it.
    """
    complete = record.status == "complete"
    return optuna.trial.create_trial(
        state=STATES[record.status],
        values=[objective.value(record) for objective in objectives] if complete else None,
        params=dict(found.given),
        distributions={name: _distribution(*asked) for name, asked in found.asked.items()},
        user_attrs=attributes(record, objectives),
        system_attrs=dict(system_attrs),
        intermediate_values=_intermediate(record, objectives),
        constraints=constraints(record, limit),
    )


def _distribution(kind: str, bounds: Sequence[Any]) -> BaseDistribution:
    if kind == "choice":
        return CategoricalDistribution(bounds)
    if kind == "int":
        return IntDistribution(*bounds)
    low, high = bounds
    return FloatDistribution(low, high, log=kind == "log")


def constraints(record: TrialResult, limit: Limit | None) -> dict[str, float]:
    """How far a complete trial exceeds the limit; a trial cut short was measured too early."""
    if limit is None or record.status != "complete":
        return {}
    excess = limit.excess(record)
    return {} if excess != excess else {CONSTRAINT: excess}


def attributes(record: TrialResult, objectives: Sequence[StudyObjective]) -> dict[str, Any]:
    """User attributes of a trial: what it is, what its values cost, where its record lies.

    Several objectives have no intermediate values in Optuna; their vectors by epoch stand here.
    """
    vectors = _vectors(record, objectives) if len(objectives) > 1 else {}
    return {
        "number": record.number,
        "label": record.label,
        "role": record.role,
        "stage": record.stage,
        "task_set": task_set_text(record.task_set),
        "seed": record.seed,
        "record": trial_file(record.number),
        "epochs_reached": last_epoch(record),
        **{f"fidelity.{name}": value for name, value in sorted(record.fidelity.items())},
        **({"vectors": vectors} if vectors else {}),
        **({"reason": record.reason} if record.reason else {}),
    }


def _vectors(record: TrialResult, objectives: Sequence[StudyObjective]) -> dict[str, list[float]]:
    """All objectives by epoch, where all were measured."""
    names = [objective.metric for objective in objectives]
    return {
        str(row.epoch): [row.metrics[name] for name in names]
        for row in record.epochs
        if all(name in row.metrics for name in names)
    }


def _intermediate(record: TrialResult, objectives: Sequence[StudyObjective]) -> dict[int, float]:
    """The only objective by epoch, where it was measured; nothing with several objectives."""
    if len(objectives) > 1:
        return {}
    metric = objectives[0].metric
    return {row.epoch: row.metrics[metric] for row in record.epochs if metric in row.metrics}
