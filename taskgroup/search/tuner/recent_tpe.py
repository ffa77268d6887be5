"""TPE whose proposals cost little more after ten thousand trials than after one thousand."""

from bisect import bisect_left
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import FrozenTrial

MOST_READ = 1000
"""Newest trials that a proposal is made from."""
MOST_BEST = 25
"""Older ones: as many as Optuna takes at most for what is good."""


class RecentTPE(TPESampler):
    """Optuna's TPE, which reads every earlier trial for each proposal, with fewer of them.

    Its proposals come from a density over the best trials and one over all others. The first stays
    as it is; for the second the newest thousand stand for all.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._best: list[FrozenTrial] = []
        self._sifted = 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What those trials drew together."""
        return super().infer_relative_search_space(self._fewer(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose what belongs together."""
        return super().sample_relative(self._fewer(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Propose one value."""
        return super().sample_independent(self._fewer(study), trial, param_name, param_distribution)

    def read(self, study: Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """The newest trials and, before them, the best of the older ones.

        Each older one is compared once: with the best before it.
        """
        if len(trials) <= MOST_READ:
            return trials
        newest = trials[-MOST_READ:]
        begin = bisect_left(trials, self._sifted, key=lambda trial: trial.number)
        unsifted = [trial for trial in trials[begin:-MOST_READ] if trial.state.is_finished()]
        if unsifted:
            self._best, _ = _split_trials(study, [*self._best, *unsifted], MOST_BEST)
            self._sifted = newest[0].number
        return [*self._best, *newest]

    def _fewer(self, study: Study) -> Study:
        return cast(Study, _Fewer(study, self))


class _Fewer:
    """A study that tells of the trials that its sampler reads."""

    def __init__(self, study: Study, sampler: RecentTPE) -> None:
        self._study, self._sampler = study, sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return self._sampler.read(self._study, self._study._get_trials(*args, **kwargs))
