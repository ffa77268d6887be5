"""The journal's storage: which trials wait, without looking through all."""

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from taskgroup.errors import StorageError
from taskgroup.search.sampling.journal import StudyStorage

WAITING = (TrialState.WAITING,)


def test_waiting_trials_are_asked_for_in_their_order(tmp_path: Path) -> None:
    storage = StudyStorage(tmp_path / "journal")
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({"x": 1.0})
    assert study.ask().number == 0
    assert study.ask().number == 1, "nothing waits: a new one"
    study.enqueue_trial({"x": 2.0})
    study.enqueue_trial({"x": 3.0})
    study.tell(0, 0.5)
    assert [trial.number for trial in study.get_trials(states=WAITING)] == [2, 3]
    assert [study.ask().suggest_float("x", 0, 9) for _ in range(2)] == [2.0, 3.0]
    assert study.get_trials(deepcopy=False, states=WAITING) == []


def test_another_process_reads_the_same_states(tmp_path: Path) -> None:
    study = optuna.create_study(storage=StudyStorage(tmp_path / "journal"), study_name="s")
    study.enqueue_trial({"x": 1.0})
    study.enqueue_trial({"x": 2.0})
    study.tell(study.ask(), 1.0)
    other = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    read = optuna.load_study(study_name="s", storage=other).trials
    assert [trial.state for trial in read] == [TrialState.COMPLETE, TrialState.WAITING]


def test_asking_looks_through_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage=StudyStorage(tmp_path / "journal"))
    for value in range(3):
        study.tell(study.ask(), value)

    def all_trials(*arguments: object) -> None:
        raise AssertionError("it read every trial")

    monkeypatch.setattr(JournalStorage, "get_all_trials", all_trials)
    study.enqueue_trial({"x": 1.0})
    assert study.ask().number == 3
    assert study.ask().number == 4


def test_a_journal_that_vanished_is_not_made_anew(tmp_path: Path) -> None:
    study = optuna.create_study(storage=StudyStorage(tmp_path / "journal"))
    (tmp_path / "journal").unlink()
    with pytest.raises(StorageError, match=r"journal must be \w+able: no such file or directory"):
        study.ask()
    assert not (tmp_path / "journal").exists()
