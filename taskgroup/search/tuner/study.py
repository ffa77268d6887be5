"""The study: which trial is next, and what Optuna is told about those that ran.

Knows Optuna and no Ray. Optuna's journal is rebuilt from the records whenever a study is opened.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from taskgroup.config import parse
from taskgroup.results.records import TrialResult
from taskgroup.search.baselines import missing_baselines, plan_baselines
from taskgroup.search.drawing import Drawn, Replay, draw, replay
from taskgroup.search.grid import grid_points
from taskgroup.search.planning import last_epoch, plan_trial
from taskgroup.search.space import SearchSpace
from taskgroup.search.tuner.journal import UnsyncedJournal
from taskgroup.search.tuner.samplers import build_sampler
from taskgroup.training.config import TrialConfig

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Study:
    """Proposes trials and learns from their records.

    Trials that were interrupted come first, then baselines, then the sampler's. A baseline that is
    no point of the space is not told to Optuna: its sampler would learn something false.
    """

    def __init__(
        self,
        space: SearchSpace,
        journal: Path,
        records: Sequence[TrialResult] = (),
        *,
        first_number: int = 0,
    ) -> None:
        """Open a study.

        Args:
            space: What is searched.
            journal: Where Optuna's journal is written; an older one is replaced.
            records: Trials of an earlier session; finished ones never run again.
            first_number: Least number of a new trial, where other stages have taken some.
        """
        self._space = space
        self._running: dict[int, Trial] = {}
        self._study = _create(space, journal)
        self._waiting = [
            *(record for record in records if record.status == "interrupted"),
            *missing_baselines(space, records, first_number=first_number),
        ]
        known = [record.number for record in (*records, *self._waiting)]
        self._next = max([first_number, *(number + 1 for number in known)])
        self._grid = _missing_points(space, records) if space.search.sampler == "grid" else None
        self.total = self._total(records)
        for record in records:
            if record.status != "interrupted":
                self._add_finished(record)

    def _total(self, records: Sequence[TrialResult]) -> int:
        """Trials of the whole study, those of earlier sessions included."""
        finished = sum(record.status != "interrupted" for record in records)
        if self._grid is not None:
            return finished + len(self._waiting) + len(self._grid)
        return max(self._space.search.trials or 0, finished + len(self._waiting))

    def ask(self) -> TrialResult | None:
        """The next trial to run; None when a grid has no more."""
        if self._waiting:
            return self._begin(self._waiting.pop(0))
        if self._grid is not None:
            return self._next_point(self._grid)
        trial = self._study.ask()
        record = plan_trial(self._take_number(), self._draw(trial))
        self._running[record.number] = trial
        _describe(trial, record)
        return record

    def _next_point(self, grid: list[Drawn]) -> TrialResult | None:
        if not grid:
            return None
        return self._begin(plan_trial(self._take_number(), grid.pop(0)))

    def _begin(self, record: TrialResult) -> TrialResult:
        """Have Optuna ask for just this trial, if it is a point of the space."""
        found = replay(self._space, record.parameters, parse(TrialConfig, record.config))
        if found is not None:
            self._study.enqueue_trial(found.given)
            trial = self._study.ask()
            self._draw(trial)
            self._running[record.number] = trial
            _describe(trial, record)
        return record

    def _draw(self, trial: Trial) -> Drawn:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return draw(self._space, trial)

    def _take_number(self) -> int:
        self._next += 1
        return self._next - 1

    def tell(self, record: TrialResult) -> TrialResult:
        """Learn from a trial that ended.

        Returns:
            The record to keep: a complete trial without a finite value of every objective failed.
        """
        record = self.judge(record)
        trial = self._running.pop(record.number, None)
        if trial is not None:
            self._finish(record, trial)
        return record

    def judge(self, record: TrialResult) -> TrialResult:
        """The record, failed if it is complete but lacks a finite value of an objective."""
        for objective in self._space.objectives:
            value = objective.as_study.value(record)
            if record.status == "complete" and not math.isfinite(value):
                reason = f"{objective.metric} must be finite, got {value}"
                return replace(record, status="failed", reason=reason)
        return record

    def _finish(self, record: TrialResult, trial: Trial) -> None:
        """Write what the record holds into Optuna's running trial."""
        _describe(trial, record)
        if record.status == "complete":
            values = [objective.as_study.value(record) for objective in self._space.objectives]
            self._study.tell(trial, values)
            return
        if len(self._space.objectives) == 1:
            for epoch, value in _intermediate(self._space, record).items():
                trial.report(value, epoch)
        self._study.tell(trial, state=_STATES[record.status])

    def _add_finished(self, record: TrialResult) -> None:
        """Tell Optuna about a trial of an earlier session, if it is a point of the space."""
        found = replay(self._space, record.parameters, parse(TrialConfig, record.config))
        if found is not None:
            self._study.add_trial(_frozen(self._space, self.judge(record), found))


def _create(space: SearchSpace, journal: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.unlink(missing_ok=True)
    return optuna.create_study(
        storage=JournalStorage(UnsyncedJournal(journal)),
        sampler=build_sampler(space.search),
        study_name=space.name,
        directions=[objective.direction for objective in space.objectives],
    )


def _missing_points(space: SearchSpace, records: Sequence[TrialResult]) -> list[Drawn]:
    """Grid points that no record and no baseline stands for."""
    seen = [parse(TrialConfig, record.config) for record in (*plan_baselines(space), *records)]
    return [point for point in grid_points(space) if point.config not in seen]


def _frozen(space: SearchSpace, record: TrialResult, found: Replay) -> FrozenTrial:
    """A record as a trial of Optuna's."""
    complete = record.status == "complete"
    values = [objective.as_study.value(record) for objective in space.objectives]
    names = {name: _distribution(*asked) for name, asked in found.asked.items()}
    return optuna.trial.create_trial(
        state=_STATES[record.status],
        values=values if complete else None,
        params=dict(found.given),
        distributions=names,
        user_attrs=_attributes(record),
        intermediate_values=_intermediate(space, record) if len(values) == 1 else {},
    )


def _distribution(kind: str, bounds: Sequence[Any]) -> BaseDistribution:
    if kind == "choice":
        return CategoricalDistribution(bounds)
    if kind == "int":
        return IntDistribution(*bounds)
    low, high = bounds
    return FloatDistribution(low, high, log=kind == "log")


def _intermediate(space: SearchSpace, record: TrialResult) -> dict[int, float]:
    """The first objective by epoch, where it was measured."""
    metric = space.objectives[0].metric
    return {row.epoch: row.metrics[metric] for row in record.epochs if metric in row.metrics}


def _describe(trial: Trial, record: TrialResult) -> None:
    for name, value in _attributes(record).items():
        trial.set_user_attr(name, value)


def _attributes(record: TrialResult) -> dict[str, Any]:
    return {
        "number": record.number,
        "label": record.label,
        "role": record.role,
        "task_set": "+".join(record.task_set),
        "epochs": f"{last_epoch(record)}/{record.planned_epochs}",
        "record": f"trials/{record.number:05d}.parquet",
        **({"reason": record.reason} if record.reason else {}),
    }
