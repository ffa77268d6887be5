"""From what was measured to the rows that a run keeps."""

from collections.abc import Iterator

import torch
from torch import Tensor

from taskgroup.evaluation.conditions import Condition
from taskgroup.evaluation.loading import TrainedModel
from taskgroup.evaluation.sanity import verdict
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suite import Measured
from taskgroup.results.records import EvaluationRow
from taskgroup.study.intervals import bootstrap_intervals
from taskgroup.tasks.base import Task

WORST_CASE = "worst_case"


def make_rows(
    subject: Subject, trained: TrainedModel, measured: Measured, *, seed: int
) -> list[EvaluationRow]:
    """One row per condition, task and score, main task first, and the main score's worst case.

    Every row carries a bootstrap interval over images and the verdict on the network. Only the
    clean ones say ``ok`` where something was found: no attack stands behind them.
    """
    found = verdict(measured.findings)
    tasks = sorted(trained.tasks, key=lambda task: task.name != trained.main_task)
    rows: list[EvaluationRow] = []
    for outcome in measured.outcomes:
        for task in tasks:
            rows += _rows(
                subject,
                outcome.condition,
                task,
                outcome.scores.sums[task.name],
                norm=trained.threat.norm,
                seed=seed,
                seconds=outcome.seconds,
                found=found if outcome.condition.attack else "ok",
            )
    return [*rows, *_worst_row(subject, trained, measured, seed=seed, found=found)]


def _worst_row(
    subject: Subject, trained: TrainedModel, measured: Measured, *, seed: int, found: str
) -> Iterator[EvaluationRow]:
    """The main score when each image meets the worst of all attacks inside the ball."""
    task = trained.main
    inside = [
        outcome
        for outcome in measured.outcomes
        if outcome.condition.budget.epsilon <= trained.threat.epsilon
    ]
    strongest = max(inside, key=lambda outcome: outcome.condition.passes).condition
    seconds = sum(outcome.seconds for outcome in inside)
    condition = Condition(WORST_CASE, strongest.attack, strongest.budget, trained.task_set)
    rows = _rows(
        subject,
        condition,
        task,
        measured.worst,
        norm=trained.threat.norm,
        seed=seed,
        seconds=seconds,
        found=found,
    )
    return (row for row in rows if row.score_name == task.main_score)


def _rows(
    subject: Subject,
    condition: Condition,
    task: Task,
    sums: Tensor,
    *,
    norm: str,
    seed: int,
    seconds: float,
    found: str,
) -> list[EvaluationRow]:
    metric = task.metric()
    values = metric.score(sums.sum(0))
    intervals = bootstrap_intervals(
        sums.numpy(), lambda drawn: metric.score(torch.from_numpy(drawn)), seed=seed
    )
    return [
        EvaluationRow(
            trial=subject.trial,
            label=subject.label,
            role=subject.role,
            condition=condition.name,
            attacked_tasks=condition.attacked_tasks,
            norm=norm,
            epsilon=condition.budget.epsilon,
            steps=condition.steps,
            restarts=condition.restarts,
            task=task.name,
            score_name=name,
            direction=metric.directions[name],
            score=float(values[name]),
            low=intervals[name].low,
            high=intervals[name].high,
            images=len(sums),
            seed=seed,
            verdict=found,
            seconds=seconds,
        )
        for name in metric.directions
    ]
