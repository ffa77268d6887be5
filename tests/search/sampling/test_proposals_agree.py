"""Whatever happens to a study's trials and sessions, Optuna's journal agrees with the records.

Sessions are made up at random, seeded: trials run side by side, end in any order as complete,
pruned, failed, without a score, or cut short by the time budget; sessions are killed at any moment;
between two sessions the journal is left alone, torn, replaced or deleted.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from taskgroup.config import parse
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.search.plan.draw import replay
from taskgroup.search.sampling.proposals import Proposals
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.selection import is_natural_baseline
from taskgroup.training.config import TrialConfig

Make = Callable[..., SearchSpace]
ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"
ONE = [{"maximize": ROBUST}]
TWO = [{"maximize": ROBUST}, {"maximize": CLEAN}]
STATES = {
    "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
}  # fmt: skip


class Sessions:
    """Runs a study session by session; the records are the only memory between them."""

    def __init__(self, space: SearchSpace, journal: Path, seed: int) -> None:
        self.space = space
        self.journal = journal
        self.random = np.random.default_rng(seed)
        self.records: dict[int, TrialResult] = {}
        self.handed_out: list[int] = []

    def run(self, *, until_done: bool) -> None:
        """One session; unless it must finish, it is killed after a random number of steps."""
        study = Proposals(self.space, self.journal, list(self.records.values()))
        steps = 10**6 if until_done else int(self.random.integers(0, 25))
        left = study.total - sum(r.status != "interrupted" for r in self.records.values())
        running: list[TrialResult] = []
        for _ in range(steps):
            if left == 0 and not running:
                return
            if left and len(running) < 3 and (not running or self.random.random() < 0.5):
                record = study.ask()
                left -= 1
                assert record is not None
                assert self.records.get(record.number, record).status == "interrupted"
                self.records[record.number] = record
                running.append(record)
                continue
            record = running.pop(int(self.random.integers(len(running))))
            self.records[record.number] = study.tell(self.ended(record, final=until_done))
        for record in running:  # killed: what the workers wrote last
            self.records[record.number] = self.measured(record, int(self.random.integers(0, 4)))

    def measured(self, record: TrialResult, epochs: int) -> TrialResult:
        rows = [
            EpochRow(n, {CLEAN: float(a), **({ROBUST: float(b)} if n % 2 == 0 else {})}, 1.0, 1)
            for n, (a, b) in enumerate(self.random.random((epochs, 2)), 1)
        ]
        return replace(record, epochs=tuple(rows))

    def ended(self, record: TrialResult, *, final: bool) -> TrialResult:
        fate = self.random.choice(["complete", "complete", "pruned", "failed", "unscored", "cut"])
        if fate == "cut" and not final:
            reason = "search.max_seconds was over"
            return replace(self.measured(record, 1), reason=reason)
        if fate in ("pruned", "failed"):
            return replace(self.measured(record, 2), status=str(fate), reason=f"it {fate}")
        if fate == "unscored":
            return replace(self.measured(record, 1), status="complete", reason=None)
        return replace(self.measured(record, 4), status="complete", reason=None)

    def spoil_journal(self) -> None:
        """What may lie there when the next session begins."""
        fate = self.random.integers(5)
        text = self.journal.read_bytes() if self.journal.exists() else b""
        if fate == 0:
            self.journal.write_bytes(text[: len(text) // 2])  # torn in the middle of a line
        elif fate == 1:
            self.journal.write_bytes(text + b'{"op_code": 4, "wor')
        elif fate == 2:
            self.journal.unlink(missing_ok=True)
            storage = JournalStorage(JournalFileBackend(str(self.journal)))
            foreign = optuna.create_study(storage=storage, study_name="little")
            foreign.ask().suggest_float("x", 0, 1)
        elif fate == 3:
            self.journal.unlink(missing_ok=True)


def told(journal: Path) -> list[FrozenTrial]:
    """What another process reads in the journal."""
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return list(optuna.load_study(study_name="little", storage=storage).trials)


def test_journal_names_the_objectives(make_space: Make, tmp_path: Path) -> None:
    Proposals(make_space(objectives=TWO), tmp_path / "journal")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    assert optuna.load_study(study_name="little", storage=storage).metric_names == [ROBUST, CLEAN]


def is_point(space: SearchSpace, record: TrialResult) -> bool:
    return replay(space, record.parameters, parse(TrialConfig, record.config)) is not None


def check_trial(space: SearchSpace, record: TrialResult, trial: FrozenTrial) -> None:
    """One ended trial, in the records and in Optuna."""
    names = [objective.metric for objective in space.objectives]
    assert trial.state == STATES[record.status]
    if record.status == "complete":
        assert trial.values == [record.score(name) for name in names]
    else:
        assert trial.values is None or trial.state == TrialState.PRUNED
        assert trial.user_attrs["reason"] == record.reason
    measured = {
        row.epoch: [row.metrics[name] for name in names]
        for row in record.epochs
        if all(name in row.metrics for name in names)
    }
    if len(names) == 1:
        assert trial.intermediate_values == {epoch: v for epoch, (v,) in measured.items()}
    else:
        assert trial.intermediate_values == {}
        assert trial.user_attrs.get("vectors", {}) == {str(e): v for e, v in measured.items()}
    attributes = trial.user_attrs
    assert attributes["epochs_reached"] == len(record.epochs)
    for name, value in record.fidelity.items():
        assert attributes[f"fidelity.{name}"] == value
    assert (attributes["task_set"], attributes["seed"]) == (
        "+".join(record.task_set), record.seed,
    )  # fmt: skip
    config = parse(TrialConfig, record.config)
    assert replay(space, record.parameters, config).given == trial.params  # type: ignore[union-attr]


def expected_constraint(space: SearchSpace, records: list[TrialResult], record: TrialResult) -> Any:
    """The clean drop beyond the limit; nothing where it cannot be known."""
    if space.constraint is None or record.status != "complete":
        return {}
    reference = next(r for r in records if is_natural_baseline(r))
    if reference.status != "complete":
        return {}
    drop = reference.score(CLEAN) - record.score(CLEAN)  # type: ignore[operator]
    return {"clean_drop": pytest.approx(drop - space.constraint.clean_drop)}


def check_agreement(space: SearchSpace, journal: Path, records: list[TrialResult]) -> None:
    """The journal of a finished study holds each point of the space once, as its record says."""
    trials = told(journal)
    assert all(trial.state.is_finished() for trial in trials)
    last = {trial.user_attrs["number"]: trial for trial in trials}
    cut = [t for t in trials if t is not last[t.user_attrs["number"]]]
    assert all(t.state == TrialState.FAIL for t in cut), "only a trial that was cut comes again"
    points = {record.number: record for record in records if is_point(space, record)}
    assert set(last) == set(points)
    for number, record in points.items():
        check_trial(space, record, last[number])
        assert last[number].constraints == expected_constraint(space, records, record)


def settings() -> Iterator[Any]:
    for seed in range(6):
        for objectives in (ONE, TWO):
            for constraint in (None, {"clean_drop": 0.1}):
                sampler = ("random", "tpe", "nsga2")[seed % 3]
                words = f"{sampler}-{len(objectives)}-{'limited' if constraint else 'free'}-{seed}"
                yield pytest.param(seed, sampler, objectives, constraint, id=words)


@pytest.mark.parametrize(("seed", "sampler", "objectives", "constraint"), list(settings()))
def test_journal_agrees_with_the_records_whatever_happened(
    make_space: Make, tmp_path: Path, seed: int, sampler: str, objectives: Any, constraint: Any
) -> None:
    space = make_space(
        f"search.sampler={sampler}", "search.trials=10", objectives=objectives,
        constraint=constraint, validation={"every": 2},
    )  # fmt: skip
    sessions = Sessions(space, tmp_path / "journal", seed)
    for _ in range(4):
        sessions.run(until_done=False)
        sessions.spoil_journal()
    sessions.run(until_done=True)
    records = [sessions.records[number] for number in sorted(sessions.records)]
    assert [record.number for record in records] == list(range(10))
    assert [record.role for record in records].count("baseline") == 3
    assert all(record.status != "interrupted" for record in records)
    check_agreement(space, tmp_path / "journal", records)
    Proposals(space, tmp_path / "journal", records)
    check_agreement(space, tmp_path / "journal", records)


@pytest.mark.parametrize("seed", range(4))
def test_order_of_endings_changes_no_state(make_space: Make, tmp_path: Path, seed: int) -> None:
    """The same ten trials, told in another order, give Optuna the same set of trials."""
    space = make_space(constraint={"clean_drop": 0.1})
    sessions = Sessions(space, tmp_path / "journal", seed)
    sessions.run(until_done=True)
    records = [sessions.records[number] for number in sorted(sessions.records)]
    one, other = tmp_path / "one", tmp_path / "other"
    Proposals(space, one, records)
    Proposals(space, other, sessions.random.permutation(np.array(records, dtype=object)).tolist())

    def seen(journal: Path) -> list[str]:
        return sorted(
            json.dumps([t.user_attrs, t.values, t.params, t.constraints, t.state.name])
            for t in told(journal)
        )

    assert seen(one) == seen(other)


def complete(record: TrialResult, clean: float) -> TrialResult:
    rows = (EpochRow(4, {ROBUST: 0.2, CLEAN: clean}, 1.0, 1),)
    return replace(record, epochs=rows, status="complete", reason=None)


def test_constraint_waits_for_its_baseline(make_space: Make, tmp_path: Path) -> None:
    space = make_space(constraint={"clean_drop": "1/10"})
    study = Proposals(space, tmp_path / "journal")
    first, second, third = (study.ask() for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    study.tell(complete(second, 0.5))
    study.tell(replace(third, status="failed", reason="loss became NaN"))
    states = {trial.user_attrs["number"]: trial.state for trial in told(tmp_path / "journal")}
    assert states == {1: TrialState.RUNNING, 2: TrialState.FAIL}
    study.tell(complete(first, 0.7))
    trials = {trial.user_attrs["number"]: trial for trial in told(tmp_path / "journal")}
    assert trials[1].state == TrialState.COMPLETE
    assert trials[1].constraints == {"clean_drop": pytest.approx(0.1)}
    fourth = study.ask()
    assert fourth is not None
    study.tell(complete(fourth, 0.65))
    assert told(tmp_path / "journal")[-1].constraints == {"clean_drop": pytest.approx(-0.05)}


def test_failed_baseline_sets_no_constraint(make_space: Make, tmp_path: Path) -> None:
    study = Proposals(make_space(constraint={"clean_drop": 0.1}), tmp_path / "journal")
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    study.tell(complete(second, 0.5))
    study.tell(complete(first, math.nan))
    study.tell(replace(first, status="failed", reason="diverged"))
    (trial,) = told(tmp_path / "journal")
    assert (trial.state, trial.constraints) == (TrialState.COMPLETE, {})


def test_infeasible_trials_steer_the_sampler_away(make_space: Make, tmp_path: Path) -> None:
    """Robust scores rise with the learning rate, but high rates cost too much clean score."""

    def scores(record: TrialResult) -> TrialResult:
        rate = math.log10(record.config["training"]["learning_rate"])  # -3 to -2
        natural = is_natural_baseline(record)
        clean = 0.8 if natural or rate < -2.5 else 0.5
        rows = (EpochRow(4, {ROBUST: 0.0 if natural else 3 + rate, CLEAN: clean}, 1.0, 1),)
        return replace(record, epochs=rows, status="complete", reason=None)

    late = {}
    for name, constraint in (("free", None), ("limited", {"clean_drop": 0.1})):
        space = make_space("search.sampler=tpe", "search.trials=30", constraint=constraint)
        study = Proposals(space, tmp_path / name)
        asked = (study.ask() for _ in range(30))
        ended = [study.tell(scores(record)) for record in asked if record is not None]
        late[name] = sum(record.score(CLEAN) == 0.8 for record in ended[-15:])
    assert late["limited"] >= late["free"] + 5
