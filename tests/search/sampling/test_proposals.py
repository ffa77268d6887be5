"""The study against a real journal: what Optuna is asked and told. No Ray."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.sampling.proposals import Study
from taskgroup.search.space.search_space import SearchSpace

Make = Callable[..., SearchSpace]
TWO = [{"maximize": "segmentation/robust/miou"}, {"maximize": "segmentation/clean/miou"}]


def measured(record: TrialResult, *scores: float, **changes: Any) -> TrialResult:
    rows = tuple(
        EpochRow(epoch, {"segmentation/robust/miou": s, "segmentation/clean/miou": 2 * s}, 1.0, 1)
        for epoch, s in enumerate(scores, 1)
    )
    return replace(record, epochs=rows, **{"status": "complete", "reason": None, **changes})


def told(journal: Path) -> list[FrozenTrial]:
    """What another process reads in the journal."""
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name="little", storage=storage).trials


def run_all(study: Study, outcome: Callable[[TrialResult], TrialResult]) -> list[TrialResult]:
    ended = []
    for _ in range(study.total):
        record = study.ask()
        if record is None:
            break
        ended.append(study.tell(outcome(record)))
    return ended


def score_of(record: TrialResult) -> float:
    return 0.1 + 0.1 * len(record.auxiliary_tasks)


def test_numbers_run_on_from_the_baselines(make_space: Make, tmp_path: Path) -> None:
    study = Study(make_space(), tmp_path / "journal")
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    assert [record.number for record in ended] == list(range(8))
    assert [record.role for record in ended] == ["baseline"] * 3 + ["searched"] * 5


def test_natural_baseline_of_an_attacking_space_is_not_told(
    make_space: Make, tmp_path: Path
) -> None:
    study = Study(make_space(), tmp_path / "journal")
    run_all(study, lambda r: measured(r, score_of(r)))
    assert [trial.user_attrs["number"] for trial in told(tmp_path / "journal")] == list(range(1, 8))


def test_optuna_hears_the_truth_about_every_ending(make_space: Make, tmp_path: Path) -> None:
    study = Study(make_space(), tmp_path / "journal")
    endings: dict[int, dict[str, Any]] = {
        3: {"status": "pruned", "reason": "below its rung"},
        4: {"status": "failed", "reason": "loss became NaN"},
    }
    run_all(study, lambda r: measured(r, 0.1, 0.2, **endings.get(r.number, {})))
    trials = {trial.user_attrs["number"]: trial for trial in told(tmp_path / "journal")}
    assert trials[1].state == TrialState.COMPLETE
    assert trials[1].values == [0.2]
    assert trials[3].state == TrialState.PRUNED
    assert trials[3].intermediate_values == {1: 0.1, 2: 0.2}
    assert trials[4].state == TrialState.FAIL
    assert trials[4].user_attrs["reason"] == "loss became NaN"
    assert trials[5].user_attrs["task_set"].startswith("segmentation")
    assert all(trial.state.is_finished() for trial in trials.values())


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_complete_trial_without_a_finite_score_failed(
    make_space: Make, tmp_path: Path, score: float
) -> None:
    study = Study(make_space(), tmp_path / "journal")
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    kept = study.tell(measured(second, score))
    assert kept.status == "failed"
    assert kept.reason == f"segmentation/robust/miou must be finite, got {score}"
    assert told(tmp_path / "journal")[0].state == TrialState.FAIL
    missing = study.tell(replace(first, status="complete"))
    assert missing.status == "failed"


def test_several_objectives_take_no_intermediate_values(make_space: Make, tmp_path: Path) -> None:
    study = Study(make_space(objectives=TWO), tmp_path / "journal")
    endings = {4: {"status": "pruned", "reason": "x"}}
    run_all(study, lambda r: measured(r, 0.1, **endings.get(r.number, {})))
    trials = {trial.user_attrs["number"]: trial for trial in told(tmp_path / "journal")}
    assert trials[4].state == TrialState.PRUNED
    assert trials[5].values == [0.1, 0.2]


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "gp"])
@pytest.mark.parametrize("objectives", [TWO[:1], TWO], ids=["one", "two"])
def test_every_sampler_proposes_valid_trials_among_mixed_endings(
    make_space: Make, tmp_path: Path, sampler: str, objectives: Any
) -> None:
    limits = {"subset": ["depth", "normals", "edges"], "max_size": 2}
    space = make_space(
        f"search.sampler={sampler}", "search.trials=16",
        objectives=objectives, auxiliary_tasks=limits,
    )  # fmt: skip
    study = Study(space, tmp_path / "journal")
    endings = {5: {"status": "pruned", "reason": "x"}, 7: {"status": "failed", "reason": "y"}}
    ended = run_all(study, lambda r: measured(r, score_of(r), **endings.get(r.number, {})))
    assert len(ended) == 16
    assert all(len(r.auxiliary_tasks) <= 2 for r in ended if r.role == "searched")


def test_tpe_finds_what_random_draws_do_not(make_space: Make, tmp_path: Path) -> None:
    def score(record: TrialResult) -> float:
        rate = math.log10(record.config["training"]["learning_rate"])
        return len(record.auxiliary_tasks) - abs(rate + 2.2)

    late = {}
    for sampler in ("tpe", "random"):
        space = make_space(f"search.sampler={sampler}", "search.trials=26")
        study = Study(space, tmp_path / sampler)
        ended = run_all(study, lambda r: measured(r, score(r)))
        late[sampler] = sum(score(r) for r in ended[-10:]) / 10
    assert late["tpe"] > late["random"] + 0.3


def test_same_seed_proposes_the_same_trials(make_space: Make, tmp_path: Path) -> None:
    runs = [
        run_all(
            Study(make_space("search.sampler=tpe"), tmp_path / name),
            lambda r: measured(r, score_of(r)),
        )
        for name in "ab"
    ]
    assert runs[0] == runs[1]


GRID = ("training.learning_rate=0.01", "adversary.steps=1", "loss_weights=0.5")


def test_grid_runs_every_point_once_besides_the_baselines(make_space: Make, tmp_path: Path) -> None:
    space = make_space(*GRID, "search={sampler: grid}")
    study = Study(space, tmp_path / "journal")
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    configs = [str(record.config) for record in ended]
    assert len(set(configs)) == len(configs)
    # 8 task sets x 2 radii, of which two are baselines, and the natural baseline
    assert len(ended) == 8 * 2 + 1
    assert study.ask() is None
    assert len(told(tmp_path / "journal")) == 8 * 2


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_reopened_study_goes_on_without_repeating(
    make_space: Make, tmp_path: Path, sampler: str
) -> None:
    space = make_space(*GRID, f"search.sampler={sampler}")
    study = Study(space, tmp_path / "journal")
    records = [record for record in (study.ask() for _ in range(6)) if record is not None]
    kept = [study.tell(measured(record, score_of(record))) for record in records[:4]]
    kept += [measured(records[4], 0.1, status="interrupted"), records[5]]

    again = Study(space, tmp_path / "journal", kept)
    assert again.total == study.total
    asked = ask_all(again, again.total - 4)
    assert [record.number for record in asked[:2]] == [4, 5]
    assert asked[0] == kept[4], "an interrupted trial keeps what it has"
    assert sorted(r.number for r in (*kept[:4], *asked)) == list(range(study.total))
    if sampler == "grid":
        configs = [str(record.config) for record in (*kept[:4], *asked)]
        assert len(set(configs)) == len(configs)
    for record in asked:
        again.tell(measured(record, 0.3))
    trials = told(tmp_path / "journal")
    assert {trial.user_attrs["number"] for trial in trials} == set(range(1, study.total))
    assert all(trial.state == TrialState.COMPLETE for trial in trials)


def ask_all(study: Study, count: int) -> Sequence[TrialResult]:
    asked = [study.ask() for _ in range(count)]
    return [record for record in asked if record is not None]


@pytest.mark.parametrize("objectives", [TWO[:1], TWO], ids=["one", "two"])
def test_late_trials_cost_what_early_ones_do(
    make_space: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objectives: Any
) -> None:
    """Counts the calls of asking and telling, and the journal's lines that they read."""
    space = make_space("search={sampler: random, trials: 120}", objectives=objectives)
    study, read = Study(space, tmp_path / "journal"), JournalFileBackend.read_logs
    lines, calls = count(), count()

    def counted(journal: JournalFileBackend, begin: int) -> Iterator[dict[str, Any]]:
        for log in read(journal, begin):
            next(lines)
            yield log

    def spent() -> tuple[int, int]:
        before = [next(lines), next(calls)]
        sys.setprofile(lambda *_: next(calls))
        for _ in range(20):
            record = study.ask()
            assert record is not None
            study.tell(measured(record, score_of(record)))
        sys.setprofile(None)
        return next(lines) - before[0], next(calls) - before[1]

    monkeypatch.setattr(JournalFileBackend, "read_logs", counted)
    spent()  # baselines, and what is done once
    early, _, _, late = (spent() for _ in range(4))
    assert late[0] < 1.1 * early[0]
    assert late[1] < 1.1 * early[1]
