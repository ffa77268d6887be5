"""Which trial is next, and what Optuna is told about those that ran.

Knows Optuna and no Ray. Optuna's journal is rebuilt from the records whenever a study is opened.
"""

import warnings
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from random import Random

import optuna
from optuna.trial import Trial, TrialState

from taskgroup.config import parse
from taskgroup.draws import derive_seed
from taskgroup.results.records import TrialResult
from taskgroup.search.plan.baselines import missing_baselines
from taskgroup.search.plan.draw import AtRandom, Drawn, draw, replay
from taskgroup.search.plan.first_points import missing_first_points
from taskgroup.search.plan.grid import MAX_POINTS, all_draws, grid_points, is_finite
from taskgroup.search.plan.planning import plan_trial
from taskgroup.search.plan.sources import fail_unless_finite
from taskgroup.search.sampling.journal import StudyStorage
from taskgroup.search.sampling.samplers import build_sampler, sampler_notes
from taskgroup.search.sampling.telling import describe, frozen_trial, tell_trial
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.selection import Limit, clean_limit, is_natural_baseline
from taskgroup.training.config import TrialConfig

SAMPLER_DRAWS = 10
"""Proposals of a sampler that may repeat earlier trials before a draw at random takes over."""
RANDOM_DRAWS = 1000
"""Draws at random that may repeat earlier trials before a space counts as exhausted."""


class Proposals:
    """Proposes trials and learns from their records.

    Trials that were interrupted come first, then baselines, then first points, then the sampler's.
    No configuration is proposed twice, since the same seed would only repeat its scores.
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
        self._objectives = space.objectives
        self._running: dict[int, Trial] = {}
        self._untold: list[tuple[TrialResult, Trial | None]] = []
        self._num_replayed = 0
        self._limit: Limit | None = None
        self._is_limit_known = space.constraint is None
        self._seed = sampler_seed(space.search.seed, len(records))
        self._study = _create(space, journal, self._seed)
        ended = [record for record in records if record.status != "interrupted"]
        self._num_begun = len(ended)
        self._waiting = self._planned(records, first_number)
        self._next = max([first_number, *(r.number + 1 for r in (*records, *self._waiting))])
        self._tried = {_text(record): record.number for record in (*records, *self._waiting)}
        self._grid: list[Drawn] | None = None
        if space.search.sampler == "grid":
            begun, trials = self._num_begun + len(self._waiting), space.search.trials
            room = None if trials is None else max(0, trials - begun)
            self._grid = [point for point in grid_points(space) if self._is_new(point)][:room]
        for record in ended:
            self._learn(fail_unless_finite(record, self._objectives), None)

    def _planned(self, records: Sequence[TrialResult], first_number: int) -> list[TrialResult]:
        """Interrupted trials, and the baselines and first points that no record stands for."""
        planned = [
            *(record for record in records if record.status == "interrupted"),
            *missing_baselines(self._space, records, first_number=first_number),
        ]
        known = {record.number for record in (*records, *planned)}
        trials = self._space.search.trials
        room = None if trials is None else max(0, trials - len(known))
        following = max([first_number, *(number + 1 for number in known)])
        points = missing_first_points(self._space, records, first_number=following)
        return [*planned, *points[:room]]

    @property
    def total(self) -> int:
        """Trials of the whole study, those of earlier sessions included.

        Fewer than ``search.trials`` once the space turned out to have no more configurations.
        """
        known = self._num_begun + len(self._waiting) + len(self._grid or ())
        return known if self._grid is not None else max(self._space.search.trials or 0, known)

    def ask(self) -> TrialResult | None:
        """The next trial to run; None when every configuration of the space was tried."""
        record = self._ask()
        self._num_begun += record is not None
        return record

    def _ask(self) -> TrialResult | None:
        if self._waiting:
            return self._begin(self._waiting.pop(0))
        if self._grid is not None:
            return self._begin(self._numbered(self._grid.pop(0))) if self._grid else None
        for _ in range(SAMPLER_DRAWS):
            trial = self._study.ask()
            drawn = self._draw(trial)
            if self._is_new(drawn):
                return self._enter(trial, self._numbered(drawn))
            trial.set_user_attr("reason", f"not run: repeats trial {self._number_of(drawn)}")
            self._study.tell(trial, state=TrialState.FAIL)
        untried = self._untried()
        if untried is not None:
            return self._begin(self._numbered(untried))
        self._grid = []  # as when a grid is through
        return None

    def _untried(self) -> Drawn | None:
        """Any configuration that no trial has; None where none was found."""
        chooser = AtRandom(Random(derive_seed(self._seed, "untried", self._next)))
        at_random = (draw(self._space, chooser) for _ in range(RANDOM_DRAWS))
        every = islice(all_draws(self._space), MAX_POINTS) if is_finite(self._space) else ()
        return next(filter(self._is_new, chain(at_random, every)), None)

    def _is_new(self, drawn: Drawn) -> bool:
        return drawn.config.model_dump_json() not in self._tried

    def _number_of(self, drawn: Drawn) -> int:
        return self._tried[drawn.config.model_dump_json()]

    def _numbered(self, drawn: Drawn) -> TrialResult:
        """The record of a new trial with the next number."""
        record = plan_trial(self._next, drawn)
        self._tried[drawn.config.model_dump_json()] = record.number
        self._next += 1
        return record

    def _begin(self, record: TrialResult) -> TrialResult:
        """Have Optuna ask for just this trial, if it is a point of the space."""
        found = replay(self._space, record.parameters, parse(TrialConfig, record.config))
        if found is None:
            return record
        self._study.enqueue_trial(found.given)
        trial = self._study.ask()
        self._draw(trial)
        return self._enter(trial, record)

    def _enter(self, trial: Trial, record: TrialResult) -> TrialResult:
        """Remember which trial of Optuna's stands for a record."""
        self._running[record.number] = trial
        describe(trial, record, self._objectives)
        return record

    def _draw(self, trial: Trial) -> Drawn:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return draw(self._space, trial)

    def tell(self, record: TrialResult) -> TrialResult:
        """Learn from a trial that ended.

        Returns:
            The record to keep: a complete trial without a finite value of every objective failed.
        """
        record = fail_unless_finite(record, self._objectives)
        self._learn(record, self._running.pop(record.number, None))
        return record

    def _learn(self, record: TrialResult, trial: Trial | None) -> None:
        """Tell Optuna how a trial ended, now or once its constraint is known.

        Args:
            record: The trial's record.
            trial: Optuna's trial; None for one of an earlier session, or no point of the space.
        """
        if self._space.constraint is not None and _has_ended_as_reference(record):
            self._limit = clean_limit([record], self._objectives, self._space.constraint.clean_drop)
            self._is_limit_known = True
        self._untold.append((record, trial))
        ready = [pair for pair in self._untold if self._is_ready(pair[0])]
        self._untold = [pair for pair in self._untold if not self._is_ready(pair[0])]
        for pair in ready:
            self._tell_optuna(*pair)

    def _is_ready(self, record: TrialResult) -> bool:
        return self._is_limit_known or record.status != "complete"

    def _tell_optuna(self, record: TrialResult, trial: Trial | None) -> None:
        """Tell Optuna about a trial, if it is a point of the space."""
        if trial is not None:
            tell_trial(self._study, trial, record, self._objectives, self._limit)
            return
        found = replay(self._space, record.parameters, parse(TrialConfig, record.config))
        if found is None or record.status == "interrupted":
            return
        notes = sampler_notes(self._space.search, self._num_replayed)
        self._num_replayed += record.status == "complete"
        self._study.add_trial(
            frozen_trial(record, found, self._objectives, self._limit, system_attrs=notes)
        )


def sampler_seed(seed: int, num_earlier: int) -> int:
    """Seed of the sampler of a session, below ``2**32``.

    Args:
        seed: ``search.seed``, which is that of the first session.
        num_earlier: Trials of earlier sessions: a sampler that began with the same seed again
            would propose their configurations again.
    """
    return derive_seed(seed, "sampler", num_earlier) % 2**32 if num_earlier else seed


def _text(record: TrialResult) -> str:
    """A record's configuration as text, the defaults of today filled in."""
    return parse(TrialConfig, record.config).model_dump_json()


def _has_ended_as_reference(record: TrialResult) -> bool:
    return is_natural_baseline(record) and record.status != "interrupted"


def _create(space: SearchSpace, journal: Path, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.unlink(missing_ok=True)
    study = optuna.create_study(
        storage=StudyStorage(journal),
        sampler=build_sampler(space.search, seed),
        study_name=space.name,
        directions=[objective.direction for objective in space.objectives],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.metric for objective in space.objectives])
    return study
