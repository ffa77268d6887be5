"""The adapter between Ray Tune and a study, without a cluster."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ray.tune.search import Searcher

from taskgroup.errors import ResourceError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.budget import TimeBudget
from taskgroup.search.engine.searcher import RECORD, StudySearcher
from taskgroup.search.plan.planning import from_text, to_text
from taskgroup.search.sampling.proposals import Proposals
from taskgroup.search.space.search_space import SearchSpace


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, "little", "name: little\n")


@pytest.fixture
def searcher(make_space: Callable[..., SearchSpace], run: RunDirectory) -> StudySearcher:
    return StudySearcher(
        Proposals(make_space(), run.journal_path), run, lambda _: None, remaining=100
    )


def suggested(searcher: StudySearcher, trial_id: str) -> TrialResult:
    return from_text(searcher.suggest(trial_id)[RECORD])


def after(record: TrialResult, epochs: int, **changes: object) -> dict[str, str]:
    rows = tuple(
        EpochRow(n, {"segmentation/robust/miou": 0.1}, 1.0, 1) for n in range(1, epochs + 1)
    )
    return {RECORD: to_text(replace(record, epochs=rows, **changes))}  # type: ignore[arg-type]


def test_suggested_trial_is_on_disk_before_it_runs(
    searcher: StudySearcher, run: RunDirectory
) -> None:
    record = suggested(searcher, "a")
    assert run.trials() == [record]
    assert record.status == "interrupted"


def test_trial_that_the_scheduler_stopped_was_pruned(
    make_space: Callable[..., SearchSpace], run: RunDirectory
) -> None:
    stopped: dict[int, TrialResult] = {}
    source = Proposals(make_space(), run.journal_path)
    searcher = StudySearcher(source, run, lambda _: None, remaining=100, stopped=stopped)
    record = suggested(searcher, "a")
    reason = "not in the best 1/3 at the rung of epoch 2 of 4"
    stopped[record.number] = replace(record, status="pruned", reason=reason)
    searcher.on_trial_result("a", after(record, 2))
    searcher.on_trial_complete("a", after(record, 2))
    (kept,) = run.trials()
    assert (kept.status, kept.reason, len(kept.epochs)) == ("pruned", reason, 2)


def test_trial_that_nobody_ended_stays_interrupted(
    searcher: StudySearcher, run: RunDirectory
) -> None:
    record = suggested(searcher, "a")
    searcher.on_trial_result("a", after(record, 2))
    searcher.on_trial_complete("a", after(record, 2))
    assert [trial.status for trial in run.trials()] == ["interrupted"]


def test_no_trial_begins_once_the_time_is_over(
    make_space: Callable[..., SearchSpace], run: RunDirectory
) -> None:
    now = [0.0]
    budget = TimeBudget(10.0, clock=lambda: now[0])
    study = Proposals(make_space(), run.journal_path)
    searcher = StudySearcher(study, run, lambda _: None, remaining=8, budget=budget)
    suggested(searcher, "a")
    now[0] = 10.0
    assert searcher.suggest("b") == Searcher.FINISHED
    assert len(run.trials()) == 1


def test_worker_that_died_failed_its_trial(searcher: StudySearcher, run: RunDirectory) -> None:
    record = suggested(searcher, "a")
    searcher.on_trial_result("a", after(record, 1))
    searcher.on_trial_complete("a", error=True)
    (kept,) = run.trials()
    assert (kept.status, len(kept.epochs)) == ("failed", 1)
    assert kept.reason is not None
    assert kept.reason.startswith("the worker process died after epoch 1 (killed, out of memory")


def test_lost_trial_goes_on_until_its_retries_are_used(
    make_space: Callable[..., SearchSpace], run: RunDirectory
) -> None:
    study = Proposals(make_space(), run.journal_path)
    searcher = StudySearcher(study, run, lambda _: None, remaining=1, max_retries=2)
    record = suggested(searcher, "a")
    assert searcher.suggest("b") is None, "the only trial may come back"
    searcher.on_trial_result("a", after(record, 1, attempts=1))
    searcher.on_trial_complete("a", error=True)
    again = suggested(searcher, "b")
    assert (again.number, len(again.epochs)) == (record.number, 1)
    searcher.on_trial_complete("b", error=True)  # lost before its first report
    last = suggested(searcher, "c")
    assert last.attempts == 2
    searcher.on_trial_complete("c", error=True)
    assert searcher.suggest("d") == Searcher.FINISHED
    (kept,) = run.trials()
    assert (kept.status, kept.attempts) == ("failed", 3)
    assert str(kept.reason).endswith("attempt 3")


def test_complete_trial_stays_complete_whatever_ray_says(
    searcher: StudySearcher, run: RunDirectory
) -> None:
    record = suggested(searcher, "a")
    done = after(record, 4, status="complete", reason=None)
    run.write_trial(from_text(done[RECORD]))
    searcher.on_trial_complete("a", done, error=True)
    assert [trial.status for trial in run.trials()] == ["complete"]


@pytest.mark.parametrize("name", ["trials", "study.journal"])
def test_record_that_cannot_be_written_ends_the_search(
    searcher: StudySearcher, run: RunDirectory, name: str
) -> None:
    place = run.path / name
    place.unlink(missing_ok=True)
    if name == "trials":
        place.touch()
    else:
        place.mkdir()
    taken = [searcher.suggest(trial_id) for trial_id in "abcd"]
    assert taken[-1] == Searcher.FINISHED
    assert isinstance(searcher.problem, ResourceError)
    assert "must be writable" in str(searcher.problem)


def test_trial_that_could_not_be_written_ends_the_search_and_stays_interrupted(
    make_space: Callable[..., SearchSpace], run: RunDirectory
) -> None:
    budget = TimeBudget()
    source = Proposals(make_space(), run.journal_path)
    searcher = StudySearcher(source, run, lambda _: None, remaining=9, max_retries=2, budget=budget)
    full, other = suggested(searcher, "a"), suggested(searcher, "b")
    why = "00000.pt must be writable: no space left on device; free space there"
    searcher.on_trial_complete("a", after(full, 1, reason=why))
    assert str(searcher.problem) == why
    assert budget.is_over, "what runs stops after its epoch"
    assert searcher.suggest("c") == Searcher.FINISHED
    searcher.on_trial_complete("b", error=True)
    assert {trial.number: trial.status for trial in run.trials()} == {
        full.number: "interrupted",
        other.number: "interrupted",
    }


def test_ray_may_pickle_the_searcher(searcher: StudySearcher, tmp_path: Path) -> None:
    assert isinstance(pickle.loads(pickle.dumps(searcher)), Searcher)
    searcher.save(str(tmp_path / "state"))
    searcher.restore(str(tmp_path / "state"))
