"""The answer of a search for programs: what ``--json`` prints."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from taskgroup.results.records import TrialResult
from taskgroup.search.answer.result import SearchResult
from taskgroup.study.agreement import RungAgreement
from taskgroup.study.confirmation import Confirmed
from taskgroup.study.seed_means import MeanInterval
from taskgroup.study.study import Study


def answer_json(result: SearchResult) -> dict[str, Any]:
    """The answer of a search as plain data; None stands for a number that is not known."""
    study = result.study
    best = study.best
    return {
        "run": study.place,
        "trials": dict(Counter(trial.status for trial in study.trials)),
        "total": result.total,
        "interrupted": result.is_interrupted,
        "seconds": result.seconds,
        "engine_overhead_seconds": study.engine_overhead,
        "over_budget": result.is_over_budget,
        "rule": study.rule,
        "infeasible": [trial.number for trial in study.infeasible],
        "rung_agreement": [_agreement_json(found) for found in result.agreements],
        "final_spread": None if study.final_spread is None else asdict(study.final_spread),
        "confirmed": study.is_confirmed,
        "confirm_suite": study.suite.suite or None,
        "confirm_images": study.suite.images or None,
        "confirmation": [_confirmed_json(study, found) for found in study.confirmed],
        "proxy_agreement": _proxy_json(study),
        "best": None if best is None else _trial_json(study, best),
        "pareto": [_trial_json(study, trial) for trial in study.pareto],
    }


def _agreement_json(found: RungAgreement) -> dict[str, Any]:
    numbers = {"spearman": found.spearman.value, "kendall": found.kendall}
    known = {name: None if value != value else value for name, value in numbers.items()}
    return {"epoch": found.epoch, "metric": found.metric, "trials": found.trials, **known}


def _confirmed_json(study: Study, found: Confirmed) -> dict[str, Any]:
    metrics = [objective.metric for objective in study.objectives]
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


def _proxy_json(study: Study) -> dict[str, Any] | None:
    if not study.has_stage("proxy"):
        return None
    found = study.proxy_agreement
    return {
        "spearman": _known(found.value),
        "low": _known(found.low),
        "high": _known(found.high),
        "trials": found.pairs,
    }


def _trial_json(study: Study, trial: TrialResult) -> dict[str, Any]:
    found = study.finding(trial)
    return {
        "number": trial.number,
        "label": trial.label,
        "task_set": list(trial.task_set),
        "parameters": dict(trial.parameters),
        "seeds": [one.seed for one in study.configuration(trial).trials],
        "scores": {o.metric: study.value(o, trial) for o in study.objectives},
        "is_bound": study.is_void(trial),
        "gradients": None if found is None else found.finding,
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
