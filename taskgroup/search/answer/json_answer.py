"""The answer of a search for programs: what ``--json`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from taskgroup.results.records import TrialResult
from taskgroup.search.answer.stage_lines import is_confirmed
from taskgroup.study.agreement import RungAgreement, proxy_agreement
from taskgroup.study.confirmation import Confirmed, MeanInterval, confirmed_task_sets
from taskgroup.study.selection import selection_rule

if TYPE_CHECKING:
    from taskgroup.search.answer.summary import StudyResult


def answer_json(result: StudyResult) -> dict[str, Any]:
    """The answer of a search as plain data; None stands for a number that is not known."""
    best = result.best
    return {
        "run": result.run.place,
        "trials": dict(Counter(trial.status for trial in result.trials)),
        "total": result.total,
        "interrupted": result.is_interrupted,
        "seconds": result.seconds,
        "engine_overhead_seconds": result.engine_overhead,
        "over_budget": result.is_over_budget,
        "rule": selection_rule(result.objectives, limits=result.limits),
        "infeasible": [trial.number for trial in result.infeasible],
        "rung_agreement": [_agreement_json(found) for found in result.agreements],
        "confirmed": is_confirmed(result.trials),
        "confirm_suite": result.suite.suite or None,
        "confirm_images": result.suite.images or None,
        "confirmation": [
            _confirmed_json(result, found)
            for found in confirmed_task_sets(result.trials, result.objectives, result.suite)
        ],
        "proxy_agreement": _proxy_json(result),
        "best": None if best is None else _trial_json(result, best),
        "pareto": [_trial_json(result, trial) for trial in result.pareto],
    }


def _agreement_json(found: RungAgreement) -> dict[str, Any]:
    numbers = {"spearman": found.spearman.value, "kendall": found.kendall}
    known = {name: None if value != value else value for name, value in numbers.items()}
    return {"epoch": found.epoch, "metric": found.metric, "trials": found.trials, **known}


def _confirmed_json(result: StudyResult, found: Confirmed) -> dict[str, Any]:
    metrics = [objective.metric for objective in result.objectives]
    return {
        "trial": found.first.parent,
        "label": found.first.label,
        "task_set": list(found.first.task_set),
        "scores": _intervals_json(metrics, found.scores),
        "against": None if found.partner is None else found.partner.label,
        "differences": _intervals_json(metrics, found.differences),
        "verdict": found.verdict,
        "suspicions": list(found.suspicions),
    }


def _proxy_json(result: StudyResult) -> dict[str, Any] | None:
    if not any(trial.stage == "proxy" for trial in result.trials):
        return None
    found = proxy_agreement(result.trials, result.objectives[0])
    return {
        "spearman": _known(found.value),
        "low": _known(found.low),
        "high": _known(found.high),
        "trials": found.pairs,
    }


def _trial_json(result: StudyResult, trial: TrialResult) -> dict[str, Any]:
    return {
        "number": trial.number,
        "label": trial.label,
        "task_set": list(trial.task_set),
        "parameters": dict(trial.parameters),
        "scores": {o.metric: o.value(trial) for o in result.objectives},
        "checkpoint": trial.checkpoint,
    }


def _intervals_json(
    metrics: Sequence[str], intervals: Sequence[MeanInterval]
) -> dict[str, dict[str, float | None]]:
    return {
        metric: {name: _known(value) for name, value in found._asdict().items()}
        for metric, found in zip(metrics, intervals, strict=False)
    }


def _known(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return None if value != value else value
