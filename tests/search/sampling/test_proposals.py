"""The study against a real journal: what Optuna is asked and told. No Ray."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.sampling import proposals
from taskgroup.search.sampling.proposals import Proposals, sampler_seed
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


def run_all(study: Proposals, outcome: Callable[[TrialResult], TrialResult]) -> list[TrialResult]:
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
    study = Proposals(make_space(), tmp_path / "journal")
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    assert [record.number for record in ended] == list(range(8))
    assert [record.role for record in ended] == ["baseline"] * 3 + ["searched"] * 5


def test_natural_baseline_of_an_attacking_space_is_not_told(
    make_space: Make, tmp_path: Path
) -> None:
    study = Proposals(make_space(), tmp_path / "journal")
    run_all(study, lambda r: measured(r, score_of(r)))
    assert [trial.user_attrs["number"] for trial in told(tmp_path / "journal")] == list(range(1, 8))


def test_optuna_hears_the_truth_about_every_ending(make_space: Make, tmp_path: Path) -> None:
    study = Proposals(make_space(), tmp_path / "journal")
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
    study = Proposals(make_space(), tmp_path / "journal")
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
    study = Proposals(make_space(objectives=TWO), tmp_path / "journal")
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
    study = Proposals(space, tmp_path / "journal")
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
        study = Proposals(space, tmp_path / sampler)
        ended = run_all(study, lambda r: measured(r, score(r)))
        late[sampler] = sum(score(r) for r in ended[-10:]) / 10
    assert late["tpe"] > late["random"] + 0.3


def test_same_seed_proposes_the_same_trials(make_space: Make, tmp_path: Path) -> None:
    runs = [
        run_all(
            Proposals(make_space("search.sampler=tpe"), tmp_path / name),
            lambda r: measured(r, score_of(r)),
        )
        for name in "ab"
    ]
    assert runs[0] == runs[1]


GRID = ("training.learning_rate=0.01", "adversary.steps=1", "loss_weights=0.5")


def test_grid_runs_every_point_once_besides_the_baselines(make_space: Make, tmp_path: Path) -> None:
    space = make_space(*GRID, "search={sampler: grid}")
    study = Proposals(space, tmp_path / "journal")
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    check_distinct(ended)
    # 8 task sets x 2 radii, of which two are baselines, and the natural baseline
    assert len(ended) == 8 * 2 + 1
    assert study.ask() is None
    assert len(told(tmp_path / "journal")) == 8 * 2


def test_grid_stops_at_the_trials_that_were_asked_for(make_space: Make, tmp_path: Path) -> None:
    study = Proposals(make_space(*GRID, "search={sampler: grid, trials: 5}"), tmp_path / "journal")
    assert study.total == 5
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    assert [record.role for record in ended] == ["baseline"] * 3 + ["searched"] * 2
    assert study.ask() is None
    longer = make_space(*GRID, "search={sampler: grid, trials: 7}")
    again = Proposals(longer, tmp_path / "journal", ended)
    assert again.total == 7
    check_distinct([*ended, *ask_all(again, 2)])
    assert again.ask() is None


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_reopened_study_goes_on_without_repeating(
    make_space: Make, tmp_path: Path, sampler: str
) -> None:
    space = make_space(*GRID, f"search.sampler={sampler}")
    study = Proposals(space, tmp_path / "journal")
    records = [record for record in (study.ask() for _ in range(6)) if record is not None]
    kept = [study.tell(measured(record, score_of(record))) for record in records[:4]]
    kept += [measured(records[4], 0.1, status="interrupted"), records[5]]

    again = Proposals(space, tmp_path / "journal", kept)
    assert again.total == study.total
    asked = ask_all(again, again.total - 4)
    assert [record.number for record in asked[:2]] == [4, 5]
    assert asked[0] == kept[4], "an interrupted trial keeps what it has"
    assert sorted(r.number for r in (*kept[:4], *asked)) == list(range(study.total))
    check_distinct([*kept[:4], *asked])
    for record in asked:
        again.tell(measured(record, 0.3))
    trials = told(tmp_path / "journal")
    run = [trial for trial in trials if "number" in trial.user_attrs]
    assert {trial.user_attrs["number"] for trial in run} == set(range(1, study.total))
    assert all(trial.state == TrialState.COMPLETE for trial in run)


def check_distinct(records: Sequence[TrialResult]) -> None:
    configs = [str(record.config) for record in records]
    assert len(set(configs)) == len(configs), "a configuration ran twice"


def in_sessions(
    make_space: Make, journal: Path, lengths: Sequence[int], *fixes: str
) -> list[TrialResult]:
    """A study that is made longer session by session, each cut off with a trial under way."""
    records: dict[int, TrialResult] = {}
    for trials in accumulate(lengths):
        space = make_space(*fixes, f"search.trials={trials}")
        study = Proposals(space, journal, list(records.values()))
        for _ in range(study.total - sum(r.status != "interrupted" for r in records.values())):
            record = study.ask()
            if record is None:
                break
            assert records.get(record.number, record).parameters == record.parameters
            records[record.number] = study.tell(measured(record, score_of(record)))
        last = max(records)
        records[last] = replace(records[last], status="interrupted", epochs=())
    return list(records.values())


@pytest.mark.parametrize("lengths", [[5, *[1] * 12], [4, 3, 1, 7, 2]], ids=["ones", "mixed"])
@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "grid"])
def test_interruptions_make_no_trial_come_twice(
    make_space: Make, tmp_path: Path, sampler: str, lengths: list[int]
) -> None:
    fixes = (f"search.sampler={sampler}", *(GRID if sampler == "grid" else ()))
    found = [in_sessions(make_space, tmp_path / name, lengths, *fixes) for name in "ab"]
    assert found[0] == found[1], "the same sessions give the same trials"
    assert len(found[0]) == sum(lengths)
    check_distinct(found[0])
    drawn = [r.parameters for r in found[0] if r.role == "searched"]
    rates = [parameters.get("training.learning_rate") for parameters in drawn]
    if sampler in ("tpe", "random"):  # nsga2 takes values over from parents
        assert len(set(rates)) == len(rates)
        assert all("number" in trial.user_attrs for trial in told(tmp_path / "a")), "no repeats"


def test_fresh_study_is_sampled_with_its_own_seed() -> None:
    assert sampler_seed(7, 0) == 7
    seeds = {sampler_seed(seed, earlier) for seed in range(20) for earlier in range(200)}
    assert len(seeds) == 20 * 200 - 20 + len(set(range(20)) - {0}) + 1
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "gp"])
def test_finite_space_ends_when_each_configuration_was_tried(
    make_space: Make, tmp_path: Path, sampler: str
) -> None:
    space = make_space(*GRID, f"search.sampler={sampler}", "search.trials=60")
    study = Proposals(space, tmp_path / "journal")
    assert study.total == 60
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    check_distinct(ended)
    assert len(ended) == study.total == 8 * 2 + 1
    assert study.ask() is None
    again = Proposals(space, tmp_path / "journal", ended)
    assert again.ask() is None
    assert again.total == 8 * 2 + 1
    repeats = [t for t in told(tmp_path / "journal") if "number" not in t.user_attrs]
    assert all(trial.state == TrialState.FAIL for trial in repeats)
    assert all("not run: repeats trial" in trial.user_attrs["reason"] for trial in repeats)


def test_what_no_draw_at_random_hits_is_found_by_going_through_the_space(
    make_space: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "RANDOM_DRAWS", 0)
    study = Proposals(make_space(*GRID, "search.trials=60"), tmp_path / "journal")
    ended = run_all(study, lambda r: measured(r, score_of(r)))
    assert len(ended) == 8 * 2 + 1
    check_distinct(ended)


def test_a_failed_or_running_configuration_is_not_proposed_again(
    make_space: Make, tmp_path: Path
) -> None:
    space = make_space(*GRID, "search.trials=17")
    study = Proposals(space, tmp_path / "journal")
    asked = ask_all(study, 9)
    for record in asked[:4]:
        study.tell(replace(record, status="failed", reason="loss became NaN"))
    check_distinct([*asked, *ask_all(study, 8)])


def test_a_sampler_in_love_with_one_point_is_overruled(make_space: Make, tmp_path: Path) -> None:
    """The main task alone is one configuration, whatever weights others have."""
    fixed = ("training.learning_rate=0.01", "adversary.epsilon=4/255", "adversary.steps=1")
    space = make_space(*fixed, "search.sampler=tpe", "search.trials=40")
    study = Proposals(space, tmp_path / "journal")
    ended = run_all(study, lambda r: measured(r, 0.9 - 0.2 * len(r.auxiliary_tasks)))
    assert len(ended) == 40
    check_distinct(ended)


def test_nsga2_continues_its_generation(make_space: Make, tmp_path: Path) -> None:
    def generation(count: int) -> int:
        space = make_space("search.sampler=nsga2", "search.trials=24")  # six a generation
        fresh = Proposals(space, tmp_path / "first")
        asked = ask_all(fresh, count)
        records = [measured(record, score_of(record)) for record in asked]
        Proposals(space, tmp_path / "again", records).ask()
        return int(told(tmp_path / "again")[-1].system_attrs["NSGAIISampler:generation"])

    # the natural baseline is no point of the space
    assert [generation(count) for count in (6, 7, 12, 13)] == [0, 1, 1, 2]


def ask_all(study: Proposals, count: int) -> Sequence[TrialResult]:
    asked = [study.ask() for _ in range(count)]
    return [record for record in asked if record is not None]


@pytest.mark.parametrize("objectives", [TWO[:1], TWO], ids=["one", "two"])
def test_late_trials_cost_what_early_ones_do(
    make_space: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objectives: Any
) -> None:
    """Counts the calls of asking and telling, and the journal's lines that they read."""
    space = make_space("search={sampler: random, trials: 120}", objectives=objectives)
    study, read = Proposals(space, tmp_path / "journal"), JournalFileBackend.read_logs
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
