"""The study: which trial is next, and what Optuna is told about those that ran.

Knows Optuna and no Ray. Optuna's journal is rebuilt from the records whenever a study is opened.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import Trial

from taskgroup.config import parse
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.baselines import missing_baselines, plan_baselines
from taskgroup.search.plan.draw import Drawn, draw, replay
from taskgroup.search.plan.first_points import draw_first_points, missing_first_points
from taskgroup.search.plan.grid import grid_points
from taskgroup.search.plan.planning import plan_trial
from taskgroup.search.plan.sources import judged
from taskgroup.search.sampling.journal import StudyStorage
from taskgroup.search.sampling.samplers import build_sampler
from taskgroup.search.sampling.telling import describe, frozen_trial, tell_trial
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.constraint import clean_limit, is_natural_baseline
from taskgroup.study.selection import Limit
from taskgroup.training.config import TrialConfig


class Study:
    """Proposes trials and learns from their records.

    Trials that were interrupted come first, then baselines, then first points, then the sampler's.
    A baseline that is no point of the space is not told to Optuna: its sampler would learn
    something false. In a study with a constraint, complete trials are told once the baseline that
    it refers to has ended, since Optuna takes no constraint later and must not take a wrong one.
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
        self._objectives = [objective.as_study for objective in space.objectives]
        self._running: dict[int, Trial] = {}
        self._held: list[tuple[TrialResult, Trial | None]] = []
        self._limit: Limit | None = None
        self._is_limit_known = space.constraint is None
        self._study = _create(space, journal)
        self._waiting = [
            *(record for record in records if record.status == "interrupted"),
            *missing_baselines(space, records, first_number=first_number),
        ]
        known = {record.number for record in (*records, *self._waiting)}
        self._next = max([first_number, *(number + 1 for number in known)])
        room = None if space.search.trials is None else max(0, space.search.trials - len(known))
        points = missing_first_points(space, records, first_number=self._next)[:room]
        self._waiting += points
        self._next += len(points)
        self._grid = _missing_points(space, records) if space.search.sampler == "grid" else None
        self.total = self._total(records)
        for record in records:
            if record.status != "interrupted":
                self._settle(self.judge(record), None)

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
        describe(trial, record, self._objectives)
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
            describe(trial, record, self._objectives)
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
        self._settle(record, self._running.pop(record.number, None))
        return record

    def judge(self, record: TrialResult) -> TrialResult:
        """The record, failed if it is complete but lacks a finite value of an objective."""
        return judged(record, self._objectives)

    def _settle(self, record: TrialResult, trial: Trial | None) -> None:
        """Tell Optuna how a trial ended, now or once its constraint is known.

        Args:
            record: The trial's record.
            trial: Optuna's trial; None for one of an earlier session, or no point of the space.
        """
        if self._space.constraint is not None and _has_ended_as_reference(record):
            self._limit = clean_limit([record], self._objectives, self._space.constraint.clean_drop)
            self._is_limit_known = True
        self._held.append((record, trial))
        ready = [pair for pair in self._held if self._is_ready(pair[0])]
        self._held = [pair for pair in self._held if not self._is_ready(pair[0])]
        for held, running in ready:
            self._pass_on(held, running)

    def _is_ready(self, record: TrialResult) -> bool:
        return self._is_limit_known or record.status != "complete"

    def _pass_on(self, record: TrialResult, trial: Trial | None) -> None:
        """Tell Optuna about a trial, if it is a point of the space."""
        if trial is not None:
            tell_trial(self._study, trial, record, self._objectives, self._limit)
            return
        found = replay(self._space, record.parameters, parse(TrialConfig, record.config))
        if found is not None and record.status != "interrupted":
            self._study.add_trial(frozen_trial(record, found, self._objectives, self._limit))


def _has_ended_as_reference(record: TrialResult) -> bool:
    return is_natural_baseline(record) and record.status != "interrupted"


def _create(space: SearchSpace, journal: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.unlink(missing_ok=True)
    study = optuna.create_study(
        storage=StudyStorage(journal),
        sampler=build_sampler(space.search),
        study_name=space.name,
        directions=[objective.direction for objective in space.objectives],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.metric for objective in space.objectives])
    return study


def _missing_points(space: SearchSpace, records: Sequence[TrialResult]) -> list[Drawn]:
    """Grid points that no record, no baseline and no first point stands for."""
    seen = [parse(TrialConfig, record.config) for record in (*plan_baselines(space), *records)]
    seen += [drawn.config for drawn in draw_first_points(space)]
    known = {config.model_dump_json() for config in seen}
    return [point for point in grid_points(space) if point.config.model_dump_json() not in known]
