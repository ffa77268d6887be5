"""Optuna's samplers by the names that a space gives them.

Their proposals cost no more after ten thousand trials than after one thousand.
"""

import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from taskgroup.search.space.study_config import SearchConfig

MOST_BEST = 25
"""Older trials that are read: as many as Optuna's TPE takes at most for what is good."""


class RecentTrials(BaseSampler):
    """A sampler that is told of the newest trials and the best of the older ones.

    Optuna's read every earlier trial for each proposal. Here a trial is read until it has ended,
    and compared with the best once more when it is no longer among the newest.
    """

    def __init__(
        self, sampler: BaseSampler, most_read: int, *, learns_from: Container[TrialState]
    ) -> None:
        """Nothing is read yet.

        Args:
            sampler: Who proposes.
            most_read: Newest trials that a proposal is made from.
            learns_from: Ends of a trial that the sampler models; others take no place.
        """
        self._sampler, self._most_read, self._learns_from = sampler, most_read, learns_from
        self._best: list[FrozenTrial] = []
        self._newest: dict[int, FrozenTrial] = {}
        self._next = 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What the trials before this one drew together; the first question about a trial."""
        self._read(study, trial.number)
        return self._sampler.infer_relative_search_space(self._fewer(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose what belongs together."""
        return self._sampler.sample_relative(self._fewer(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Propose one value."""
        fewer = self._fewer(study)
        return self._sampler.sample_independent(fewer, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Tell the sampler that a trial begins."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the sampler how a trial ended."""
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Begin other random numbers."""
        self._sampler.reseed_rng()

    def trials(self) -> Iterator[FrozenTrial]:
        """The trials that a proposal is made from: the best of the older ones, then the newest."""
        yield from self._best
        yield from self._newest.values()

    def _read(self, study: Study, end: int) -> None:
        """Learn what became of the trials before a number."""
        storage = study._storage
        for trial in list(self._newest.values()):
            if not trial.state.is_finished():
                self._newest[trial.number] = storage.get_trial(trial._trial_id)
        for number in range(self._next, end):
            place = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
            self._newest[number] = storage.get_trial(place)
        self._next = max(self._next, end)
        self._sift(study)

    def _sift(self, study: Study) -> None:
        """Leave of the older trials the best."""
        ended = [trial for trial in self._newest.values() if trial.state.is_finished()]
        useless = [trial for trial in ended if trial.state not in self._learns_from]
        excess = max(0, len(self._newest) - len(useless) - self._most_read)
        older = [trial for trial in ended if trial.state in self._learns_from][:excess]
        for trial in (*useless, *older):
            del self._newest[trial.number]
        if older:
            self._best, _ = _split_trials(study, [*self._best, *older], MOST_BEST)

    def _fewer(self, study: Study) -> Study:
        return cast(Study, _Fewer(study, self))


class _Fewer:
    """A study that tells of the trials that its sampler reads."""

    def __init__(self, study: Study, sampler: RecentTrials) -> None:
        self._study, self._sampler = study, sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self,
        deepcopy: bool,
        states: Container[TrialState] = tuple(TrialState),
        use_cache: bool = True,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._sampler.trials() if trial.state in states]


def build_sampler(search: SearchConfig, seed: int) -> BaseSampler:
    """The sampler that a ``search:`` section names; grid proposes by itself and takes random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _SAMPLERS[search.sampler](search, seed)


def _startup(search: SearchConfig) -> int:
    """Trials before a model takes over: Optuna's 10, but no more than a third of the study."""
    return max(4, min(10, (search.trials or 0) // 3))


def _tpe(search: SearchConfig, seed: int) -> BaseSampler:
    sampler = optuna.samplers.TPESampler(
        multivariate=True,
        group=True,  # conditional keys fall out of the joint model otherwise
        constant_liar=True,
        n_startup_trials=_startup(search),
        seed=seed,
    )
    return RecentTrials(sampler, 1000, learns_from=(TrialState.COMPLETE, TrialState.PRUNED))


def _random(search: SearchConfig, seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _nsga2(search: SearchConfig, seed: int) -> BaseSampler:
    return NSGAIISampler(population_size=_population(search), seed=seed)


def _population(search: SearchConfig) -> int:
    return max(4, min(50, (search.trials or 0) // 4))


def sampler_notes(search: SearchConfig, place: int) -> dict[str, int]:
    """What a sampler would have noted in a complete trial that an earlier session ran.

    Args:
        search: Which sampler; nsga2 leaves trials without a generation out of every population.
        place: Complete trials before this one.
    """
    if search.sampler != "nsga2":
        return {}
    return {NSGAIISampler._get_generation_key(): place // _population(search)}


def _gp(search: SearchConfig, seed: int) -> BaseSampler:
    sampler = optuna.samplers.GPSampler(n_startup_trials=_startup(search), seed=seed)
    # Its time grows with their cube; it knows nothing of a trial that was stopped.
    return RecentTrials(sampler, 200, learns_from=(TrialState.COMPLETE,))


_SAMPLERS: dict[str, Callable[[SearchConfig, int], BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "grid": _random,
    "nsga2": _nsga2,
    "gp": _gp,
}
