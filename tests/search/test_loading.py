"""Studies for a reader of today: records of older versions are completed, and only those."""

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from taskgroup.errors import DataError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.loading import load_run, read_studies, read_study

SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"


def test_the_newest_run_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="runs must hold a run directory"):
        load_run()
    RunDirectory.create("runs", "small", SPACE)
    assert load_run().place == "runs/small-1"
    assert load_run().table.num_rows == 0
    with pytest.raises(DataError, match="elsewhere must be a run directory"):
        load_run("elsewhere")


def older(record: TrialResult) -> TrialResult:
    """A record as a version wrote it that did not know the polynomial schedule."""
    config = deepcopy(dict(record.config))
    del config["training"]["poly_power"]
    return replace(record, config=config)


@pytest.mark.parametrize("half", [0, 1])
def test_half_of_the_records_may_lack_a_key_with_a_default(
    searched: list[TrialResult], run: RunDirectory, half: int
) -> None:
    whole = read_study(run).confirmed
    assert any(group.partner is not None for group in whole)
    for record in searched:
        if record.number % 2 == half:
            run.write_trial(older(record))
    study = read_study(run)
    assert [group.scores for group in study.confirmed] == [group.scores for group in whole]
    assert [group.partner for group in study.confirmed] == [group.partner for group in whole]
    assert [trial.config for trial in study.trials] == [trial.config for trial in searched]


def test_what_this_version_does_not_know_stays_as_it_is(
    searched: list[TrialResult], run: RunDirectory
) -> None:
    """A report is written even where a plugin of the run is not at hand."""
    foreign = {**searched[0].config, "dataset": {"name": "mine"}}
    run.write_trial(replace(searched[0], config=foreign))
    run.write_trial(older(searched[1]))
    study = read_study(run)
    assert study.trials[0].config == foreign
    assert study.trials[1].config == searched[1].config


def test_runs_that_are_compared_are_completed_together(
    searched: list[TrialResult], run: RunDirectory, tmp_path: Path
) -> None:
    other = RunDirectory.create(tmp_path, "other", SPACE)
    for record in searched:
        other.write_trial(older(record))
    first, second = read_studies([run, other])
    assert first.trials == second.trials
    assert read_study(other).trials[0].config == older(searched[0]).config


def test_reading_a_run_of_one_version_imports_no_torch(
    searched: list[TrialResult], run: RunDirectory
) -> None:
    code = (
        "import sys, taskgroup\n"
        f"study = taskgroup.load_run({run.place!r})\n"
        "print(len(study.trials), study.best.number, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0::2] == [str(len(searched)), "False"]
