"""Going on with a run: by its directory, by the same command, and not with another space."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskgroup.config import parse_yaml, to_yaml
from taskgroup.errors import ConfigError, DataError
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.resume import find_target, space_changes
from taskgroup.search.run import confirm
from taskgroup.search.space.search_space import SearchSpace, load_space


@pytest.fixture
def run(tmp_path: Path, values: dict[str, Any]) -> RunDirectory:
    return RunDirectory.create_at(tmp_path / "run", to_yaml(values))


def test_new_run_has_no_directory_yet(values: dict[str, Any], tmp_path: Path) -> None:
    assert find_target(values).directory is None
    assert find_target(values, run=tmp_path / "new").directory is None
    with pytest.raises(ConfigError, match="a search needs a space"):
        find_target(None)


def test_same_command_goes_on(values: dict[str, Any], run: RunDirectory) -> None:
    for arguments in ({"run": run.path}, {"resume": run.path}):
        target = find_target(values, **arguments)  # type: ignore[arg-type]
        assert target.directory is not None
        assert target.directory.path == run.path
        assert target.changes == {}
    assert find_target(None, resume=run.path).space == find_target(None, run=run.path).space


def test_a_run_that_an_older_release_began_keeps_its_rungs(
    values: dict[str, Any], run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    values["search"] |= {"scheduler": "asha"}
    run.storage.write("space.yaml", to_yaml(values).encode())
    trial = plan_baselines(load_space(values))[0]
    run.write_trial(trial)
    assert find_target(None, resume=run.path).space.rungs == (3,)
    for named, rungs in (({}, (1, 3)), ({"grace_epochs": 2}, (2,))):
        monkeypatch.setattr("taskgroup.results.records.codec.SCHEMA_VERSION", 2)
        run.write_trial(trial)
        monkeypatch.undo()
        values["search"] |= named
        run.storage.write("space.yaml", to_yaml(values).encode())
        for space in (None, values):
            target = find_target(space, resume=run.path)
            assert target.space.rungs == rungs
            assert target.changes == {}


def measured(values: dict[str, Any], **changes: Any) -> TrialResult:
    """A trial that ended an epoch."""
    trial = plan_baselines(load_space(values))[0]
    return replace(trial, epochs=(EpochRow(1, {}, 1.0, 1),), **changes)


def test_a_run_of_which_nothing_was_measured_can_be_repaired(
    values: dict[str, Any], run: RunDirectory
) -> None:
    first, second, _ = plan_baselines(load_space(values))[:3]
    run.write_trial(replace(first, status="failed", reason="no such thing"))
    run.write_trial(second)
    fixes = ["training.epochs=6"]
    for arguments in ({"resume": run.path}, {"run": run.path}):
        target = find_target(None, fixes=fixes, **arguments)  # type: ignore[arg-type]
        assert [trial.number for trial in target.dropped] == [0, 1]
    assert target.lines() == [
        "nothing was measured before the change, so 2 trials without an epoch will run anew "
        "(the first: no such thing)"
    ]
    assert len(run.trials()) == 2, "nothing is removed before the lock"
    target.write_changes()
    assert run.trials() == []
    assert ": training.epochs from 4 to 6\n" in run.space_text()
    assert "will run anew (the first: no such thing)\n" in run.space_text()
    assert find_target(None, resume=run.path).space.planned_epochs == 6


def test_a_space_that_this_release_refuses_can_be_repaired(
    values: dict[str, Any], run: RunDirectory
) -> None:
    bad = {**values, "seed": -1}
    run.storage.write("space.yaml", to_yaml(bad).encode())
    refused = "seed must be at least 0, got -1"
    with pytest.raises(ConfigError, match=refused):
        find_target(None, resume=run.path)
    with pytest.raises(ConfigError, match=refused):
        find_target(None, resume=run.path, fixes=["search.trials=3"])
    target = find_target(None, resume=run.path, fixes=["seed=5"])
    assert target.changes == {"seed": (-1, 5)}
    target.write_changes()
    assert find_target(None, resume=run.path).space.example().seed == 5
    run.storage.write("space.yaml", to_yaml(bad).encode())
    assert find_target(values, run=run.path).changes == {"seed": (-1, "not set")}
    run.write_trial(measured(values))
    with pytest.raises(ConfigError, match=refused):
        find_target(None, resume=run.path, fixes=["seed=5"])


def test_nothing_is_confirmed_where_every_trial_failed(
    values: dict[str, Any], run: RunDirectory
) -> None:
    run.write_trial(measured(values, status="failed", reason="out of memory"))
    message = r"found none among 1; every one failed, trial 0 because: out of memory; read all"
    with pytest.raises(DataError, match=message) as refused:
        confirm(run.path)
    assert "--resume" not in str(refused.value)


def test_fewer_trials_than_have_run_is_said(values: dict[str, Any], run: RunDirectory) -> None:
    for number in range(5):
        run.write_trial(measured(values, number=number, status="complete", reason=None))
    run.write_trial(measured(values, number=5))
    for trials in (8, 5, 12):
        fixes = [f"search.trials={trials}"]
        assert find_target(None, resume=run.path, fixes=fixes).lines() == []
    (line,) = find_target(None, resume=run.path, fixes=["search.trials=4"]).lines()
    assert line == (
        "search.trials is 4 now, but 5 trials have ended; they stay in the run, and no other one "
        "begins"
    )


def test_run_to_resume_must_exist_and_be_named_once(
    values: dict[str, Any], run: RunDirectory, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="must be a run directory"):
        find_target(values, resume=tmp_path / "nothing")
    with pytest.raises(ConfigError, match="give --resume without --run"):
        find_target(values, resume=run.path, run=run.path)


@pytest.mark.parametrize(
    ("fixes", "message"),
    [
        (["training.epochs=6"], "training.epochs was 4 and is now 6"),
        (["model.width=8", "search.seed=3"], "search.seed was 0 and is now 3"),
        (["adversary.epsilon=8/255"], "adversary.epsilon was .*choice.* and is now 0.03137"),
        (["training.optimizer=sgd"], "training.optimizer was not set and is now sgd"),
        (["search.proxy={width: 4}"], "search.proxy.width was not set and is now 4"),
        (
            ["training.epochs=6", "main_task=depth", "auxiliary_tasks=[]"],
            "main_task was segmentation and is now depth; .*training.epochs was 4 and is now 6",
        ),
    ],
)
def test_changed_space_is_refused_key_by_key(
    run: RunDirectory, values: dict[str, Any], fixes: list[str], message: str
) -> None:
    run.write_trial(measured(values))
    with pytest.raises(ConfigError, match=message) as refused:
        find_target(None, resume=run.path, fixes=fixes)
    assert "use --resume alone" in str(refused.value)
    assert "model.width" not in str(refused.value), "equal keys are not named"
    with pytest.raises(ConfigError, match=message):
        find_target(values, run=run.path, fixes=fixes)


def test_what_moves_no_number_may_change_and_is_noted(
    run: RunDirectory, values: dict[str, Any]
) -> None:
    fixes = ["search.trials=12", "search.confirm={seeds: 5}", "resources.cpus=2"]
    target = find_target(None, resume=run.path, fixes=fixes)
    assert target.space.search.trials == 12
    assert parse_yaml(run.space_text(), source="") == values, "nothing is written before the lock"
    target.write_changes()
    again = find_target(None, resume=run.path)
    assert again.changes == {}
    assert again.space.search.confirm == target.space.search.confirm
    assert ": search.trials from 8 to 12\n" in run.space_text()
    assert ": search.confirm.seeds from not set to 5\n" in run.space_text()
    find_target(values, run=run.path, fixes=["search.trials=20"]).write_changes()
    assert ": search.trials from 8 to 12\n" in run.space_text(), "older notes stay"
    assert ": search.trials from 12 to 20\n" in run.space_text()


def test_how_a_number_is_written_does_not_matter(make_space: Callable[..., SearchSpace]) -> None:
    one = make_space("adversary.epsilon=51/255", "training.weight_decay=1e-4")
    two = make_space("adversary.epsilon=0.2", "training.weight_decay=0.0001")
    assert space_changes(one, two) == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"newkey": 1}, "unknown key 'training.newkey'; known keys: .*"),
        ({"optimizer": "zorg"}, "training.optimizer must be 'sgd' or 'adamw', got 'zorg'"),
    ],
)
def test_a_configuration_of_another_release_is_named_with_its_file(
    run: RunDirectory, make_space: Callable[..., SearchSpace], change: dict[str, Any], problem: str
) -> None:
    planned, foreign = plan_baselines(make_space())[:2]
    run.write_trial(planned)
    assert find_target(None, resume=run.path).directory is not None
    training = foreign.config["training"] | change
    run.write_trial(replace(foreign, config={**foreign.config, "training": training}))
    expected = (
        rf"^{run.path}/trials/00001\.parquet: the configuration of trial 1 must be one that "
        rf"this release knows: {problem}; resume with the release that wrote it, or move the file "
        r"away$"
    )
    for arguments in ({"resume": run.path}, {"run": run.path}):
        with pytest.raises(DataError, match=expected):
            find_target(None, **arguments)  # type: ignore[arg-type]
