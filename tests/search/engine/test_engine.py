"""Whole searches in Ray. Most trials only pretend to train; one test trains for real."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray.cloudpickle
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from taskgroup.cluster.placement import Node, ResourcesConfig, concurrent_trials
from taskgroup.cluster.resources import running_ray
from taskgroup.config import to_yaml
from taskgroup.errors import ConfigError, DivergedError, ResourceError
from taskgroup.results.records import EpochRow
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.answer.result import SearchResult
from taskgroup.search.answer.summary import summary
from taskgroup.search.run import search
from taskgroup.search.single import train_one

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
ROBUST, CLEAN = "segmentation/robust/miou", "segmentation/clean/miou"


def pretend(config: Any, reporter: Any, *, checkpoint: Any = None, resume: Any = None) -> None:
    """Scores grow with the epoch and with the learning rate; natural training is not robust."""
    reporter.started(7)
    strength = 0.0 if config.adversary.attack == "none" else config.training.learning_rate
    for epoch in range(1, config.training.epochs + 1):
        reporter.epoch(EpochRow(epoch, {ROBUST: strength * epoch, CLEAN: 0.5}, 0.01, 1000))


def pretend_trade_off(config: Any, reporter: Any, **paths: Any) -> None:
    reporter.started(7)
    rate = 100 * config.training.learning_rate if config.adversary.attack != "none" else 0.0
    for epoch in range(1, config.training.epochs + 1):
        scores = {ROBUST: rate * epoch, CLEAN: 1.0 - rate / 2 - 0.01 * len(config.auxiliary_tasks)}
        reporter.epoch(EpochRow(epoch, scores, 0.01, 1000))


def pretend_slowly(config: Any, reporter: Any, **paths: Any) -> None:
    reporter.started(7)
    for epoch in range(1, config.training.epochs + 1):
        time.sleep(0.2)
        reporter.epoch(EpochRow(epoch, {ROBUST: 0.1, CLEAN: 0.5}, 0.2, 1000))


def diverge_without_auxiliaries(config: Any, reporter: Any, **paths: Any) -> None:
    if config.auxiliary_tasks:
        return pretend(config, reporter, **paths)
    reporter.started(7)
    raise DivergedError("the loss became NaN in epoch 1")


def die_without_auxiliaries(config: Any, reporter: Any, **paths: Any) -> None:
    if not config.auxiliary_tasks:
        reporter.started(7)
        os._exit(1)
    pretend(config, reporter, **paths)


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    with running_ray(cpus=2, gpus=0):
        yield


@pytest.fixture
def run_search(
    values: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., SearchResult]:
    def run(*fixes: str, train: Any = pretend, **changes: Any) -> SearchResult:
        return search({**values, **changes}, fixes=fixes, runs=tmp_path, train=train)

    return run


def told_trials(result: SearchResult) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(result.run.journal_path)))
    return list(optuna.load_study(study_name="little", storage=storage).trials)


def told(result: SearchResult) -> dict[int, TrialState]:
    return {trial.user_attrs["number"]: trial.state for trial in told_trials(result)}


@pytest.mark.ray
def test_search_runs_every_trial_in_warm_workers(
    engine: None, run_search: Callable[..., SearchResult], capfd: pytest.CaptureFixture[str]
) -> None:
    finished: list[SearchResult] = []
    result = run_search("search.trials=14", "search.sampler=tpe")
    assert [trial.number for trial in result.study.trials] == list(range(14))
    assert {trial.status for trial in result.study.trials} == {"complete"}
    assert not result.is_interrupted
    assert len(result.study.overheads) >= 12, "two workers start, all other trials are warm"
    assert result.study.engine_overhead is not None
    assert result.study.engine_overhead < 0.5
    assert set(told(result)) == set(range(1, 14))
    out, err = capfd.readouterr()
    assert out == "", "stdout belongs to the command"
    assert [line.split("]")[0] for line in err.splitlines()] == [f"[{n}/14" for n in range(1, 15)]
    assert not finished


@pytest.mark.ray
def test_asha_stops_weak_trials_and_spares_baselines(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search("search={trials: 16, sampler: random, scheduler: asha, grace_epochs: 1}")
    baselines = [trial for trial in result.study.trials if trial.role == "baseline"]
    assert len(baselines) == 6
    assert {trial.status for trial in baselines} == {"complete"}
    pruned = [trial for trial in result.study.trials if trial.status == "pruned"]
    assert pruned
    for trial in pruned:
        assert len(trial.epochs) < trial.planned_epochs
        assert trial.reason is not None
        assert trial.reason.startswith("not in the best 1/3 at the rung of epoch")
        assert told(result)[trial.number] == TrialState.PRUNED
    full = [t for t in result.study.trials if len(t.epochs) == t.planned_epochs]
    assert {trial.status for trial in full} == {"complete"}


@pytest.mark.ray
def test_several_objectives_are_stopped_by_dominance_within_a_constraint(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    """Clean scores fall as robust ones rise, so that the most robust trials are infeasible."""
    result = run_search(
        "search={trials: 16, sampler: random, scheduler: asha, grace_epochs: 1, reduction: 2}",
        train=pretend_trade_off,
        objectives=[{"maximize": ROBUST}, {"maximize": CLEAN}],
        constraint={"clean_drop": 0.2},
    )
    statuses = {trial.status for trial in result.study.trials}
    assert statuses == {"complete", "pruned"}
    full = [t for t in result.study.trials if len(t.epochs) == t.planned_epochs]
    assert {trial.status for trial in full} == {"complete"}
    assert result.study.infeasible
    assert result.study.best is not None
    assert result.study.best.score(CLEAN) >= 0.8  # type: ignore[operator]
    assert {found.trials for found in result.agreements} == {
        sum(t.is_adversarial for t in result.study.trials if t.status == "complete")
    }
    text = summary(result)
    assert f"infeasible: trial {result.study.infeasible[0].number}" in text
    assert "rung of epoch 1, segmentation/robust/miou: Spearman" in text
    trials = {trial.user_attrs["number"]: trial for trial in told_trials(result)}
    for trial in result.study.trials[1:]:  # the natural baseline is no point of this space
        limited = {"clean_drop"} if trial.status == "complete" else set()
        assert set(trials[trial.number].constraints) == limited
        assert len(trials[trial.number].user_attrs["vectors"]) == len(trial.epochs)


@pytest.mark.ray
def test_time_budget_stops_cleanly_and_can_be_raised(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    fixes = ("search.trials=40", "search.max_seconds=6", "training.epochs=40")
    result = run_search(*fixes, train=pretend_slowly)
    assert result.is_over_budget
    assert result.is_interrupted
    cut = [trial for trial in result.study.trials if trial.status == "interrupted"]
    assert cut
    for trial in cut:
        assert str(trial.reason).startswith("search.max_seconds was over after epoch")
    assert TrialState.RUNNING not in told(result).values()
    assert "Stopped by search.max_seconds after" in summary(result)
    assert "--fix search.max_seconds=SECONDS" in summary(result)
    same = search(resume=result.run.path, train=pretend_slowly)
    assert same.is_over_budget
    fixes = ("search.max_seconds=600", "search.trials=3")
    more = search(resume=result.run.path, fixes=fixes, train=pretend)
    assert not more.is_interrupted
    assert {trial.status for trial in more.study.trials} == {"complete"}
    assert len(more.study.trials) == max(3, len(result.study.trials))


@pytest.mark.ray
def test_diverged_trial_is_recorded_and_the_study_goes_on(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search(train=diverge_without_auxiliaries)
    failed = [trial for trial in result.study.trials if trial.status == "failed"]
    assert [trial.number for trial in failed][:2] == [0, 1]
    assert {trial.reason for trial in failed} == {"the loss became NaN in epoch 1"}
    assert told(result)[1] == TrialState.FAIL
    assert sum(trial.status == "complete" for trial in result.study.trials) >= 3
    assert not result.is_interrupted


@pytest.mark.ray
def test_killed_worker_costs_its_trial_only(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search(
        "search.trials=6", "search.max_retries=1", train=die_without_auxiliaries,
        auxiliary_tasks={"subset": ["depth", "edges"], "min_size": 1},
    )  # fmt: skip
    assert [trial.status for trial in result.study.trials] == ["failed"] * 2 + ["complete"] * 4
    assert {trial.reason for trial in result.study.trials[:2]} == {
        "the worker process died after epoch 0 (killed, out of memory, or its machine was lost); "
        "attempt 2"
    }
    assert {trial.attempts for trial in result.study.trials[:2]} == {2}
    assert {trial.attempts for trial in result.study.trials[2:]} == {1}


@pytest.mark.ray
def test_grid_ends_by_itself(engine: None, run_search: Callable[..., SearchResult]) -> None:
    result = run_search(
        "training.learning_rate=0.01", "adversary.steps=1", "loss_weights=0.5",
        "search={sampler: grid}", "auxiliary_tasks={subset: [depth]}",
    )  # fmt: skip
    assert len(result.study.trials) == result.total == 2 * 2 + 1


@pytest.mark.ray
def test_search_ends_when_the_space_has_no_more(
    engine: None, run_search: Callable[..., SearchResult]
) -> None:
    result = run_search(
        "training.learning_rate=0.01", "adversary.steps=1", "loss_weights=0.5",
        "search={sampler: random, trials: 9}", "auxiliary_tasks={subset: [depth]}",
    )  # fmt: skip
    assert len(result.study.trials) == result.total == 2 * 2 + 1
    assert not result.is_interrupted
    words = "Every configuration of the space has been tried, 4 fewer than search.trials."
    assert words in summary(result)


@pytest.mark.ray
def test_finished_search_resumes_to_itself(
    engine: None, run_search: Callable[..., SearchResult], tmp_path: Path
) -> None:
    result = run_search("search.trials=3")
    heard: list[SearchResult] = []
    again = search(resume=result.run.path, train=pretend, on_finish=heard.append)
    assert again.study.trials == result.study.trials
    assert heard == [again]
    with pytest.raises(ConfigError, match="use --resume alone"):
        search("smoke", resume=result.run.path)


SCRIPT = """
from taskgroup.search.answer.summary import summary
from taskgroup.search.run import search
if __name__ == "__main__":
    print(summary(search({arguments})))
"""


@pytest.mark.ray
def test_interrupted_search_goes_on_from_the_last_epoch(
    values: dict[str, Any], tmp_path: Path
) -> None:
    values |= {"adversary": {"attack": "pgd", "steps": 1}, "validation": {"steps": 1}}
    values["training"] = {"epochs": 24, "learning_rate": 0.001}
    values["search"] = {"trials": 3, "sampler": "random"}
    space, run = tmp_path / "little.yaml", tmp_path / "a run"
    space.write_text(to_yaml(values))
    process = command(tmp_path, "search", "--space", space, "--run", run)
    for sent, epochs, status in ((signal.SIGTERM, 2, 143), (signal.SIGINT, 8, 130)):
        wait_for(lambda: any(len(t.epochs) >= epochs for t in trials_of(run)), process)  # noqa: B023
        process.send_signal(sent)
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, err
        assert f"taskgroup search --resume '{run}'" in out
        assert "Traceback" not in err
        assert "***" not in err, "a stack of Ray's"
        if sent == signal.SIGTERM:
            process = command(tmp_path, "search", "--resume", run)
    before = {trial.number: trial for trial in trials_of(run)}
    assert any(trial.status == "interrupted" for trial in before.values())

    process = start(tmp_path, f"resume={str(run)!r}")
    out, err = process.communicate(timeout=280)
    assert out.startswith("Done: 3 of 3 trials"), out + err
    for trial in trials_of(run):
        assert trial.status == "complete"
        assert [row.epoch for row in trial.epochs] == list(range(1, 25))
        known = before[trial.number].epochs if trial.number in before else ()
        assert trial.epochs[: len(known)] == known, "an epoch is never run twice"


def start(folder: Path, arguments: str) -> "subprocess.Popen[str]":
    script = folder / "script.py"
    script.write_text(SCRIPT.format(arguments=arguments))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(script)], text=True, cwd=folder, **pipes)  # type: ignore[call-overload,no-any-return]


def command(folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    """The command line in a process of its own."""
    code = [sys.executable, "-c", "from taskgroup.cli import app; app()"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*code, *map(str, arguments)], text=True, cwd=folder, **pipes)  # type: ignore[call-overload,no-any-return]


def trials_of(run: Path) -> list[Any]:
    return RunDirectory.open(run).trials() if (run / "space.yaml").exists() else []


def wait_for(is_true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while not is_true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_second_search_in_a_run_directory_is_refused(
    values: dict[str, Any], tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path, "little", to_yaml(values))
    with run.lock(), pytest.raises(ConfigError, match="one search at a time"):
        search(resume=run.path, train=pretend)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"workers": 3}, "workers x cpus is 3 x 1 = 3, but it has 2 CPU cores"),
        ({"cpus": 4}, "workers x cpus is 1 x 4 = 4, but it has 2 CPU cores"),
        ({"gpus": 1}, "workers x gpus is 1 x 1 = 1, but it has 0 GPUs"),
    ],
)
def test_trial_that_does_not_fit_is_refused(resources: Any, message: str) -> None:
    with pytest.raises(ResourceError, match=message):
        concurrent_trials(ResourcesConfig(**resources), cpus=2, gpus=0)


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "expected"),
    [
        ({}, 2, 0, 2),
        ({"cpus": 2}, 7, 0, 3),
        ({"gpus": 0.5}, 16, 1, 2),
        ({"gpus": 0.25}, 16, 3, 12),
        ({"gpus": 0.25}, 5, 3, 5),
        ({"gpus": 0.3}, 64, 8, 24),  # three on each GPU, though 8 / 0.3 is 26
        ({"gpus": 0.1}, 64, 1, 10),
        ({"gpus": 1}, 4, 8, 4),
        ({"workers": 2}, 7, 0, 3),
        ({"workers": 2, "cpus": 3}, 13, 0, 2),
        ({"workers": 2, "gpus": 0.5}, 16, 3, 3),
        ({"workers": 4, "gpus": 2}, 64, 8, 1),
    ],
)
def test_as_many_trials_run_at_once_as_fit(
    resources: Any, cpus: int, gpus: int, expected: int
) -> None:
    assert concurrent_trials(ResourcesConfig(**resources), cpus=cpus, gpus=gpus) == expected


@pytest.mark.parametrize(
    ("resources", "nodes", "expected"),
    [
        ({}, [(2, 0), (3, 0)], 5),
        ({"cpus": 2}, [(3, 0), (3, 0)], 2),
        ({"workers": 3, "cpus": 2}, [(4, 0), (2, 0), (7, 0)], 2),
        ({"gpus": 0.5, "cpus": 4}, [(8, 8), (64, 0)], 2),
    ],
)
def test_each_worker_takes_its_place_on_one_node(resources: Any, nodes: Any, expected: int) -> None:
    cluster = [Node(*node) for node in nodes]
    cpus, gpus = (int(sum(kind)) for kind in zip(*cluster, strict=True))
    found = concurrent_trials(ResourcesConfig(**resources), cpus=cpus, gpus=gpus, nodes=cluster)
    assert found == expected


def test_worker_larger_than_every_node_is_refused() -> None:
    nodes = [Node(4), Node(6)]
    message = "2 workers with cpus: 5 and gpus: 0, each on one node, .* have room for 0 [+] 1;"
    with pytest.raises(ResourceError, match=message):
        concurrent_trials(ResourcesConfig(workers=2, cpus=5), cpus=10, gpus=0, nodes=nodes)


def test_worker_shares_a_gpu_or_has_whole_ones(make_space: Callable[..., Any]) -> None:
    assert make_space("resources.gpus=0.25").resources.gpus == 0.25
    with pytest.raises(ConfigError, match=r"resources\.gpus must be a whole number or below 1"):
        make_space("resources.gpus=1.5")


def test_mistakes_leave_nothing_behind(values: dict[str, Any], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(ConfigError, match="a search needs a space"):
        search(runs=runs)
    with pytest.raises(ConfigError, match="has no task 'dpeth'"):
        search({**values, "auxiliary_tasks": ["dpeth"]}, runs=runs)
    with pytest.raises(ResourceError, match="CPU cores"):
        search({**values, "resources": {"cpus": 1000}}, runs=runs)
    with pytest.raises(ConfigError, match="the sampler grid takes"):
        search(values, fixes=["search={sampler: grid}"], runs=runs)
    assert not runs.exists()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    with pytest.raises(ConfigError, match="must not exist or be empty"):
        search(values, run=taken)


def test_one_trial_trains_without_ray(values: dict[str, Any], tmp_path: Path) -> None:
    space = tmp_path / "little.yaml"
    space.write_text(to_yaml(values))
    lines: list[str] = []
    path = train_one(
        space, fixes=["training.epochs=2"], runs=tmp_path, echo=lines.append, train=pretend
    )
    assert path == tmp_path / "little-1" / "checkpoints" / "00000.pt"
    assert [line.split(" (")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    (trial,) = RunDirectory.open(tmp_path / "little-1").trials()
    assert trial.label == "segmentation+depth+edges+normals"
    with pytest.raises(DivergedError.__base__, match="the loss became NaN"):  # type: ignore[arg-type]
        train_one(
            space, fixes=["auxiliary_tasks=[]"], runs=tmp_path, echo=lines.append,
            train=diverge_without_auxiliaries,
        )  # fmt: skip
