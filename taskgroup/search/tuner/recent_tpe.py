"""TPE whose proposals cost no more after ten thousand trials than after one thousand."""

from collections.abc import Container, Iterator
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

MOST_READ = 1000
"""Newest trials that a proposal is made from."""
MOST_BEST = 25
"""Older ones: as many as Optuna takes at most for what is good."""

HAS_LEARNT = (TrialState.COMPLETE, TrialState.PRUNED)


class RecentTPE(TPESampler):
    """Optuna's TPE, which reads every earlier trial for each proposal, with fewer of them.

    Its proposals come from a density over the best trials and one over all others. The first stays
    as it is; for the second the newest thousand stand for all. A trial is read until it has ended,
    and compared with the best once more when it is no longer among the newest.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._best: list[FrozenTrial] = []
        self._newest: dict[int, FrozenTrial] = {}
        self._next = 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What the trials before this one drew together; the first question about a trial."""
        self._read(study, trial.number)
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
        excess = max(0, len(self._newest) - MOST_READ)
        ended = [trial for trial in self._newest.values() if trial.state.is_finished()][:excess]
        for trial in ended:
            del self._newest[trial.number]
        scored = [trial for trial in ended if trial.state in HAS_LEARNT]
        if scored:
            self._best, _ = _split_trials(study, [*self._best, *scored], MOST_BEST)

    def _fewer(self, study: Study) -> Study:
        return cast(Study, _Fewer(study, self))


class _Fewer:
    """A study that tells of the trials that its sampler reads."""

    def __init__(self, study: Study, sampler: RecentTPE) -> None:
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
