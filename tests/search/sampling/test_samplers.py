"""Samplers of the newest and the best trials: Optuna's own as long as these are all."""

import warnings
from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState, create_trial

from taskgroup.search.sampling import samplers
from taskgroup.search.sampling.samplers import RecentTrials

Objective = Callable[[optuna.Trial], float | tuple[float, float]]


def one(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    if trial.suggest_categorical("is_deep", [True, False]):
        return x**2 + trial.suggest_float("y", 0.1, 1, log=True)
    return x**2 + 0.5


def two(trial: optuna.Trial) -> tuple[float, float]:
    x = trial.suggest_float("x", -1, 1)
    return x**2, (x - 0.5) ** 2


def tpe() -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=5, seed=0
        )


def gp() -> GPSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return GPSampler(n_startup_trials=4, seed=0)


def recent(sampler: BaseSampler, most: int) -> RecentTrials:
    ends = {TrialState.COMPLETE}
    if isinstance(sampler, TPESampler):
        ends.add(TrialState.PRUNED)
    return RecentTrials(sampler, most, learns_from=ends)


def proposals(sampler: BaseSampler, objective: Objective, trials: int) -> list[dict[str, object]]:
    directions = ["minimize"] * (2 if objective is two else 1)
    study = optuna.create_study(sampler=sampler, directions=directions)
    study.optimize(objective, n_trials=trials)
    return [trial.params for trial in study.trials]


def propose(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("x", -1, 1)
    return trial


@pytest.mark.parametrize("objective", [one, two])
def test_few_trials_are_proposed_as_by_optuna(objective: Objective) -> None:
    found = proposals(recent(tpe(), 30), objective, 25)
    assert found == proposals(tpe(), objective, 25)


@pytest.mark.parametrize("objective", [one, two])
def test_few_trials_are_modelled_as_by_optuna(objective: Objective) -> None:
    assert proposals(recent(gp(), 30), objective, 7) == proposals(gp(), objective, 7)


def test_a_process_models_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "MOST_BEST", 2)
    modelled = []
    fit = GPSampler._sample_relative_impl

    def counting(self: GPSampler, study: object, completed: list[object], *rest: object) -> object:
        modelled.append(len(completed))
        return fit(self, study, completed, *rest)

    monkeypatch.setattr(GPSampler, "_sample_relative_impl", counting)
    proposals(recent(gp(), 6), two, 12)
    assert modelled == [4, 5, 6, 7, 8, 8, 8, 8]


@pytest.mark.parametrize("objective", [one, two])
def test_a_bounded_number_is_read(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counting(study: object, trials: list[object], most: int) -> object:
        read.append(len(trials))
        return _split_trials(study, trials, most)

    monkeypatch.setattr("optuna.samplers._tpe.sampler._split_trials", counting)
    monkeypatch.setattr(samplers, "_split_trials", counting)
    monkeypatch.setattr(samplers, "MOST_BEST", 3)
    proposals(recent(tpe(), 12), objective, 60)
    assert max(read) == 12 + 3


def test_a_process_has_all_its_places_for_complete_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a halving search most trials are pruned; with a constraint some are infeasible."""
    monkeypatch.setattr(samplers, "MOST_BEST", 2)
    sampler = recent(gp(), 6)
    study = optuna.create_study(sampler=sampler)
    for number in range(40):
        trial = propose(study)
        trial.report(number, 1)
        if number % 4:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_constraint("clean_drop", 1.0 + number)
            study.tell(trial, number)
    propose(study)
    found = [trial for trial in sampler.trials() if trial.state.is_finished()]
    assert [trial.value for trial in found] == [0.0, 4.0, *range(16, 40, 4)]


def test_the_best_of_the_older_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "MOST_BEST", 3)
    sampler = recent(TPESampler(seed=0), 10)
    study = optuna.create_study(sampler=sampler)
    for value in [5.0, 1.0, *range(9, 40), 0.5, *range(40, 60)]:
        study.add_trial(create_trial(value=value))
        if value % 3:
            study.tell(propose(study), state=TrialState.FAIL)
    propose(study)
    scored = [trial.value for trial in sampler.trials() if trial.state == TrialState.COMPLETE]
    assert scored[:3] == [5.0, 1.0, 0.5]
    assert scored[-1] == 59.0
    assert len(list(sampler.trials())) == 3 + 10


def test_a_trial_is_read_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "MOST_BEST", 2)
    sampler = recent(TPESampler(seed=0), 4)
    study = optuna.create_study(sampler=sampler)
    slow = study.ask()
    for value in range(1, 9):
        study.tell(propose(study), value)
    study.tell(slow, 0.5)
    propose(study)
    assert [(trial.number, trial.value) for trial in sampler.trials()][:2] == [(0, 0.5), (1, 1.0)]


def test_it_still_learns() -> None:
    found = proposals(recent(tpe(), 30), one, 80)
    late = [abs(float(str(values["x"]))) for values in found[-30:]]
    assert sum(late) / len(late) < 0.35, "random proposals are 0.5 from the best on average"
