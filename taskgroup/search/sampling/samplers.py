"""From a sampler's name in a space to Optuna's sampler."""

import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from taskgroup.search.sampling.recent_trials import RecentTrials
from taskgroup.search.space.study_config import SearchConfig


def build_sampler(search: SearchConfig) -> BaseSampler:
    """The sampler that a ``search:`` section names; grid proposes by itself and takes random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _SAMPLERS[search.sampler](search)


def _startup(search: SearchConfig) -> int:
    """Trials before a model takes over: Optuna's 10, but no more than a third of the study."""
    return max(4, min(10, (search.trials or 0) // 3))


def _tpe(search: SearchConfig) -> BaseSampler:
    sampler = optuna.samplers.TPESampler(
        multivariate=True,
        group=True,  # conditional keys fall out of the joint model otherwise
        constant_liar=True,
        n_startup_trials=_startup(search),
        seed=search.seed,
    )
    return RecentTrials(sampler, 1000, learns_from=(TrialState.COMPLETE, TrialState.PRUNED))


def _random(search: SearchConfig) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=search.seed)


def _nsga2(search: SearchConfig) -> BaseSampler:
    population = max(4, min(50, (search.trials or 0) // 4))
    return optuna.samplers.NSGAIISampler(population_size=population, seed=search.seed)


def _gp(search: SearchConfig) -> BaseSampler:
    sampler = optuna.samplers.GPSampler(n_startup_trials=_startup(search), seed=search.seed)
    # Its time grows with their cube; it knows nothing of a trial that was stopped.
    return RecentTrials(sampler, 200, learns_from=(TrialState.COMPLETE,))


_SAMPLERS: dict[str, Callable[[SearchConfig], BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "grid": _random,
    "nsga2": _nsga2,
    "gp": _gp,
}
