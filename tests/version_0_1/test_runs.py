"""A run that version 0.1 made opens for ever: it lists, shows, reports, evaluates and resumes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import taskgroup
from taskgroup.cli import app
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.loading import read_study
from taskgroup.search.space.search_space import load_space
from taskgroup.search.stages import stages_of
from taskgroup.study.seed_groups import Scored, seed_groups
from taskgroup.study.study import Study

pytestmark = pytest.mark.usefixtures("short_quick")


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def records(run):
    return RunDirectory.open(run).trials()


def test_all_three_are_listed(runs):
    rows = json.loads(invoke("runs", "list", "--runs", runs, "--json"))
    assert sorted(Path(row["run"]).name for row in rows) == [
        "finished",
        "half_confirmed",
        "interrupted",
    ]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("finished", {"complete": 15}),
        ("half_confirmed", {"complete": 11}),
        ("interrupted", {"complete": 2, "interrupted": 1}),
    ],
)
def test_every_trial_is_shown(runs, name, counts):
    rows = json.loads(invoke("runs", "show", runs / name, "--json"))
    found = [row["status"] for row in rows]
    assert {status: found.count(status) for status in set(found)} == counts
    assert invoke("runs", "show", runs / name)


@pytest.mark.parametrize("name", ["finished", "half_confirmed", "interrupted"])
def test_a_report_is_written(runs, name):
    invoke("report", "--run", runs / name)
    page = (runs / name / "report.html").read_text(encoding="utf-8")
    assert "main only, adversarial" in page


def test_the_report_still_knows_the_winner_and_what_was_confirmed(runs):
    invoke("report", "--run", runs / "finished")
    page = (runs / "finished" / "report.html").read_text(encoding="utf-8")
    assert "segmentation with depth" in page
    assert "recipe of trial 3" in page


def test_a_notebook_reads_it(runs):
    run = taskgroup.load_run(runs / "finished")
    best = run.trials[3]
    assert best.label == "segmentation+depth"
    assert best.score("segmentation/robust/miou") == pytest.approx(0.037, abs=5e-4)
    assert len(run.evaluations) > 0


def test_a_finished_run_is_evaluated_again(runs):
    arguments = ("--suite", "quick", "--images", "4", "--json")
    found = json.loads(invoke("evaluate", "best", "--run", runs / "finished", *arguments))
    assert found


def test_gradients_are_measured_again(runs):
    options = ("--images", "2", "--repeats", "1", "--outputs", "1", "--part", "gradient")
    assert invoke("dimension", "best", "--run", runs / "finished", *options)


def test_shards_are_read(runs):
    """Clean scores are taken from the files; attacks of today are stronger, and run again."""
    run = runs / "finished"

    def shards():
        return {path.name for path in (run / "shards").iterdir()}

    def evaluate_again():
        before = shards()
        invoke("evaluate", "best", "--run", run, "--suite", "quick", "--images", "8")
        return shards() - before

    added = {name.split("-")[1] for name in evaluate_again()}
    assert added == {"noise", "fgsm", "square", "tempered", "apgd_tasks", "sweep"}
    assert not evaluate_again()


def planned_confirmations(run):
    directory = RunDirectory.open(run)
    space = load_space(run / "space.yaml")
    return stages_of(space)[-1](directory, directory.trials())


def test_confirmations_keep_their_partners(runs):
    """The plan of the stage finds each trial that 0.1 began, so none is trained twice."""
    stage = planned_confirmations(runs / "half_confirmed")
    begun = [record for record in stage.records if record.status == "complete"]
    assert stage.total == 10
    assert [record.number for record in begun] == [5, 6, 7, 8, 9, 10]


def test_a_default_that_0_1_did_not_know_parts_no_configurations(runs):
    """The same, where every record lacks a key that has a default today."""
    run = runs / "half_confirmed"
    directory = RunDirectory.open(run)
    for record in directory.trials():
        config = json.loads(json.dumps(dict(record.config)))
        del config["training"]["poly_power"]
        directory.write_trial(replace(record, config=config))
    assert len(planned_confirmations(run).records) == 6


def without_poly_power(record):
    """The record as a version would have written it that did not know the key."""
    config = json.loads(json.dumps(dict(record.config)))
    del config["training"]["poly_power"]
    return replace(record, config=config)


def partner(group):
    return None if group.partner is None else group.partner.number


@pytest.mark.parametrize("half", [0, 1])
def test_trials_of_two_versions_are_partners(runs, half):
    """Half of the records lack a key: confirmations and seed groups are what they were."""
    directory = RunDirectory.open(runs / "half_confirmed")
    before = read_study(directory)
    for record in before.trials[half::2]:
        directory.write_trial(without_poly_power(record))
    after = read_study(directory)
    assert [partner(group) for group in after.confirmed] == [
        partner(group) for group in before.confirmed
    ]
    assert any(group.partner is not None for group in after.confirmed)
    sizes = [
        [len(group.members) for group in seed_groups(map(Scored, study.trials))]
        for study in (before, after, Study.read(directory))
    ]
    assert sizes[0] == sizes[1]
    assert len(sizes[2]) > len(sizes[1]), "as they are stored the trials are parted"


@pytest.mark.ray
def test_an_interrupted_run_is_resumed(runs):
    before = records(runs / "interrupted")
    invoke("search", "--resume", runs / "interrupted")
    after = records(runs / "interrupted")
    assert [trial.status for trial in after] == ["complete"] * 5
    assert [trial.epochs for trial in after[:2]] == [trial.epochs for trial in before[:2]]
    assert after[2].attempts == before[2].attempts + 1
    assert after[2].epochs[:1] == before[2].epochs


@pytest.mark.ray
def test_a_half_done_confirm_stage_is_resumed(runs):
    before = records(runs / "half_confirmed")
    answer = json.loads(invoke("search", "--resume", runs / "half_confirmed", "--json"))
    after = records(runs / "half_confirmed")
    assert len(after) == 15
    assert [trial.epochs for trial in after[:11]] == [trial.epochs for trial in before]
    against = {found["label"]: found["against"] for found in answer["confirmation"]}
    assert against["segmentation+depth"] == "main only, recipe of trial 3"


LACKING = {
    "trials": ("planned_epochs", "stage", "parent", "attempts", "fidelity", "versions"),
    "evaluations": ("valid", "vulnerability", "suite", "step_size"),
    "panels": ("class_names",),
    "transfers": ("split",),
    "dimension": ("split",),
    "task_gradients": ("split",),
}
"""Columns with a default."""


def rewrite(path, lacking):
    """Let a file lack columns and have one more, as another version would have written it."""
    table = pq.read_table(path).drop_columns(list(lacking))
    unknown = pa.array([{"mood": "good"}] * table.num_rows)
    metadata = table.schema.metadata | {b"taskgroup.schema_version": b"99"}
    pq.write_table(table.append_column("unknown", unknown).replace_schema_metadata(metadata), path)


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_files_with_columns_more_and_less_are_read_by_every_command(runs, name):
    """What 0.1 wrote stays readable when the records have grown."""
    run, changed = runs / name, 0
    for folder, lacking in LACKING.items():
        for path in (run / folder).glob("*.parquet"):
            rewrite(path, lacking)
            changed += 1
    assert changed >= 3
    shown = json.loads(invoke("runs", "show", run, "--json"))
    assert len(shown) == len(list((run / "trials").glob("*.parquet")))
    assert len(json.loads(invoke("runs", "list", "--runs", runs, "--json"))) == 3
    invoke("report", "--run", run)
    assert "main only, adversarial" in (run / "report.html").read_text(encoding="utf-8")
    assert RunDirectory.open(run).trials_table()["unknown"].null_count == 0


@pytest.mark.ray
def test_a_trial_of_a_later_version_is_resumed_and_keeps_what_it_says(runs):
    path = runs / "interrupted" / "trials" / "00002.parquet"
    rewrite(path, ())
    invoke("search", "--resume", runs / "interrupted")
    table = pq.read_table(path)
    assert table["status"].to_pylist() == ["complete"]
    assert table["unknown"].to_pylist() == [{"mood": "good"}]


def test_an_interrupted_run_without_its_checkpoint_is_still_listed(runs):
    shutil.rmtree(Path(runs) / "interrupted" / "checkpoints")
    assert invoke("runs", "show", runs / "interrupted")
