"""``evaluate`` on small runs: whom it scores, what it writes, what it says when it cannot."""

import gc
import json
import math
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import numpy as np
import pytest
import ray
import torch
from typer.testing import CliRunner

from taskgroup.attacks.base import ATTACK_VERSION
from taskgroup.attacks.ensembles.tempered import MEMBERS
from taskgroup.cli import app
from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation import trials
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.perturbations import attack
from taskgroup.evaluation.run import evaluate
from taskgroup.evaluation.subjects import one_checkpoint, winner_and_baselines
from taskgroup.evaluation.suites.strong import QUICK
from taskgroup.evaluation.trials import evaluate_all, evaluate_trials
from taskgroup.results.record_files import TRANSFERS, WORST_CASES
from taskgroup.results.storage.base import Storage
from taskgroup.study.study import Study
from taskgroup.tasks.base import build_task

pytestmark = pytest.mark.usefixtures("short_quick")
FEW = EvaluationOptions("quick", images=1)


def as_read(rows):
    """Rows as text, in which a missing end of an interval, NaN, equals itself."""
    return [repr(row) for row in rows]


def test_best_is_the_winner_and_the_finished_baselines(run):
    told = []
    found = evaluate("best", run=run.path, options=FEW, progress=lambda *n: told.append(n))
    parts = {(row.trial, row.role) for row in found.rows}
    assert parts == {(2, "winner"), (0, "baseline")}
    assert found.path == run.place
    assert as_read(run.evaluations()) == as_read(found.rows)
    done, totals, labels = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[0]
    assert set(totals) == {totals[0]}
    assert any("segmentation+classification: apgd_tasks" in label for label in labels)


def test_rows_tell_everything(run):
    rows = evaluate(2, run=run.path, options=EvaluationOptions(seed=3)).rows
    assert {row.images for row in rows} == {3}  # the split is smaller than asked for
    assert {row.seed for row in rows} == {3}
    names = ["clean", "noise", "fgsm", "square", "tempered", "apgd_tasks", "sweep", "worst_case"]
    found = dict.fromkeys(row.condition for row in rows if "/" not in row.condition)
    assert list(found) == names
    members = {row.condition for row in rows if "/" in row.condition}
    assert members == {f"tempered/{name}" for name in MEMBERS}
    sweep = [row for row in rows if row.condition == "sweep" and row.score_name == "miou"]
    assert [row.epsilon for row in sweep] == pytest.approx(
        [0, 2 / 255, 4 / 255, 8 / 255, 16 / 255, 1]
    )
    by_condition = {row.condition: row for row in rows if row.score_name == "miou"}
    assert by_condition["tempered"].attacked_tasks == ("segmentation",)
    assert by_condition["apgd_tasks"].attacked_tasks == ("segmentation", "classification")
    tempered = by_condition["tempered"]
    assert (("tempered", tempered.steps),) == QUICK["dense"]
    assert tempered.restarts == 1
    for row in rows:
        has_interval = not math.isnan(row.low)  # else the three images do not differ
        assert not has_interval or row.low - 0.05 <= row.score <= row.high
        assert row.direction == "maximize"
        assert row.verdict == "ok" or row.verdict.startswith("gradient masking suspected: ")
        assert row.seconds >= 0
        assert (row.suite, row.split) == ("quick", "test")
        assert row.valid == 3 * (1 if row.task == "classification" else 32 * 32)
        assert (row.vulnerability is None) == (row.epsilon == 0 or row.score_name == "unknown")
    inside = [
        row
        for row in rows
        if row.score_name == "miou" and row.epsilon <= 4 / 255 and row.condition != "worst_case"
    ]
    assert by_condition["worst_case"].score <= min(row.score for row in inside) + 1e-9
    worst = [row.score_name for row in rows if row.condition == "worst_case"]
    assert worst == ["miou", "mean_accuracy", "accuracy"]
    tasks = {(row.task, row.score_name) for row in rows if row.condition == "tempered"}
    assert ("classification", "accuracy") in tasks


def test_fewer_images_that_stand_for_more_are_said(run, caplog):
    first = evaluate("2", run=run.path, options=FEW)
    assert not caplog.records
    run.write_evaluation([replace(row, images=3) for row in first.rows])
    evaluate("2", run=run.path, options=FEW)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "segmentation+classification: from now on, tables and the report show this evaluation on "
        "one image, not the one before on 3; repeat it with --images 3 to have that again"
    )


def test_the_seed_decides_everything_but_the_time(run, tmp_path):
    first, again = (
        [
            replace(row, seconds=0, label="")
            for row in evaluate(checkpoint, options=EvaluationOptions(seed=5, images=1)).rows
        ]
        for checkpoint in (
            copy(run.checkpoint_path(0), tmp_path / "one.pt"),
            copy(run.checkpoint_path(0), tmp_path / "two.pt"),
        )
    )
    assert first == again


def test_what_is_finished_is_not_done_again(run):
    first = evaluate(0, run=run.path, options=FEW)
    told = []
    again = evaluate(0, run=run.path, options=FEW, progress=lambda *news: told.append(news))
    assert not told
    assert again.rows == first.rows
    assert len(again.panels) == len(first.panels)
    for one, other in zip(first.panels, again.panels, strict=True):
        assert np.array_equal(one.values, other.values)


def test_a_killed_evaluation_goes_on(run, read_shards):
    """Ctrl-C in the middle: what was finished by then is found again."""

    class Killed(Exception):
        pass

    told = []

    def stop(*news):
        told.append(news)
        if len(told) == 4:
            raise Killed

    with pytest.raises(Killed):
        evaluate(0, run=run.path, options=FEW, progress=stop)
    assert run.evaluations() == []
    rest = []
    found = evaluate(0, run=run.path, options=FEW, progress=lambda *news: rest.append(news))
    assert len(rest) == len(read_shards(run)) - 4
    assert rest[-1][0] == rest[-1][1]
    whole = evaluate(run.path / "checkpoints/00000.pt", run=run.path, options=FEW)
    assert found.rows == whole.rows


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epsilon": "2/255"}, {"images": 2}])
def test_other_settings_are_other_shards(run, changed, read_shards):
    evaluate(0, run=run.path, options=FEW)
    before = read_shards(run)
    evaluate(0, run=run.path, options=replace(FEW, **changed))
    attacks = [name for name in read_shards(run) - before if "tempered" in name]
    assert attacks


def test_more_training_is_another_network(run, write_checkpoint, read_shards):
    evaluate(0, run=run.path, options=FEW)
    before = read_shards(run)
    write_checkpoint(run.checkpoint_path(0), seed=1)
    told = []
    evaluate(0, run=run.path, options=FEW, progress=lambda *news: told.append(news))
    assert len(told) == len(before)


def test_each_images_worst_result_is_kept(run, scenes):
    found = evaluate("best", run=run.path, options=replace(FEW, images=2))
    images = [(row.trial, row.image) for row in found.worst_images]
    assert images == [(2, 0), (2, 1), (0, 0), (0, 1)]
    metric = build_task(scenes.tasks()["segmentation"]).metric()
    for trial in (0, 2):
        own = [row for row in found.worst_images if row.trial == trial]
        total = torch.tensor([row.sums for row in own], dtype=torch.float64).sum(0)
        worst = next(
            row for row in found.rows
            if (row.trial, row.condition, row.score_name) == (trial, "worst_case", "miou")
        )  # fmt: skip
        assert float(metric.score(total)["miou"]) == worst.score
    assert WORST_CASES.latest(run.storage) == list(found.worst_images)


def test_who_is_fooled_by_whose_images_is_no_robustness(run):
    found = evaluate("best", run=run.path, options=FEW)
    pairs = {(row.source, row.target): row for row in found.transfers}
    assert set(pairs) == {(0, 0), (0, 2), (2, 0), (2, 2)}
    white = {
        row.trial: row.score
        for row in found.rows
        if (row.condition, row.score_name) == ("tempered", "miou")
    }
    assert {target: pairs[target, target].score for target in (0, 2)} == white
    assert not [row for row in found.rows if "transfer" in row.condition]
    assert as_read(TRANSFERS.latest(run.storage)) == as_read(found.transfers)


CONFIRM = EvaluationOptions("quick", images=1, attacked_tasks=("segmentation",), split="confirm")


def test_trials_are_scored_on_the_confirm_split(run):
    told = []
    found = evaluate_trials(run, [0, 2], options=CONFIRM, progress=lambda *n: told.append(n))
    assert {(row.trial, row.split) for row in found.rows} == {(0, "confirm"), (2, "confirm")}
    assert as_read(run.evaluations()) == as_read(found.rows)
    assert run.panels() == []
    assert TRANSFERS.latest(run.storage) == []
    assert {row.attacked_tasks for row in found.rows if row.epsilon} == {
        ("segmentation",), ("segmentation", "classification")
    }  # fmt: skip
    assert not [row for row in found.rows if row.condition.startswith("apgd_tasks")]
    done = [news[0] for news in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1]


def test_trials_that_were_scored_are_left_alone(run):
    first = evaluate_trials(run, [0], options=CONFIRM)
    assert evaluate_trials(run, [0], options=CONFIRM).rows == ()
    both = evaluate_trials(run, [0, 2], options=CONFIRM)
    assert {row.trial for row in both.rows} == {2}
    more = evaluate_trials(run, [0], options=replace(CONFIRM, images=2))
    assert {row.images for row in more.rows if row.condition == "clean"} == {2}
    assert {row.images for row in first.rows} == {1}


def test_confirmations_of_earlier_versions_are_scored_again_from_their_shards(run, read_shards):
    """Their rows do not tell what each image contributes, without which nothing can be claimed."""
    first = evaluate_trials(run, [0], options=CONFIRM).rows
    run.write_evaluation([replace(row, constant=None, influences=()) for row in first], [])
    before = read_shards(run)
    again = evaluate_trials(run, [0], options=CONFIRM).rows
    assert [replace(row, seconds=0) for row in again] == [replace(row, seconds=0) for row in first]
    assert read_shards(run) == before


def test_clean_images_and_worst_cases_tell_what_each_image_contributes(run):
    options = replace(CONFIRM, images=4)
    for row in evaluate_trials(run, [0], options=options).rows:
        assert len(row.influences) == 4 * (row.condition in ("clean", "worst_case"))
        assert (row.constant is not None) == (row.task == "segmentation")
        if row.score_name == "accuracy" and row.influences:
            assert abs(sum(row.influences)) < 0.1, "pixels of an image differ little in number"


def test_scores_of_older_attacks_are_made_again(run, monkeypatch, read_shards):
    """Neither rows nor shards of an older version stand for today's; clean shards have none."""
    old = evaluate_trials(run, [0], options=CONFIRM).rows
    before = read_shards(run)
    for module in (attack, trials):
        monkeypatch.setattr(module, "ATTACK_VERSION", ATTACK_VERSION + 1)
    new = evaluate_trials(run, [0], options=CONFIRM).rows
    assert {row.attack_version for row in old} == {0, ATTACK_VERSION}
    assert {row.attack_version for row in new} == {0, ATTACK_VERSION + 1}
    added = {name.split("-")[1] for name in read_shards(run) - before}
    assert added == {"noise", "fgsm", "square", "tempered", "sweep"}
    assert evaluate_trials(run, [0], options=CONFIRM).rows == ()


def test_every_finished_trial_is_scored_with_its_own_tasks(run):
    options = EvaluationOptions("quick", images=1)
    found = evaluate_all(run, options=options)
    assert {row.trial for row in found.rows} == {0, 2}
    several = {r.attacked_tasks for r in found.rows if r.condition.startswith("apgd_tasks")}
    assert several == {("segmentation", "classification")}
    assert evaluate_all(run, options=options).rows == ()
    wider = evaluate_all(run, options=replace(options, epsilon="8/255"))
    assert {row.trial for row in wider.rows} == {0, 2}


def test_records_and_checkpoints_are_read_once(run, monkeypatch, write_trial):
    write_trial(run, 4, "all", "searched", ("depth", "classification"), "complete", 0.2)
    reads, read = Counter(), Storage.read

    def counted(storage, name):
        reads[Path(storage.full(name)).relative_to(run.path).as_posix()] += 1
        return read(storage, name)

    monkeypatch.setattr(Storage, "read", counted)
    found = evaluate_all(run, options=EvaluationOptions("quick", images=1))
    assert {row.trial for row in found.rows} == {0, 2, 4}
    names = [*run.storage.names("trials", ".parquet"), *run.storage.names("checkpoints", ".pt")]
    assert {name: reads[name] for name in names} == dict.fromkeys(names, 1) | {
        "checkpoints/00003.pt": 0  # of a pruned trial
    }
    assert reads["space.yaml"] == 1


def test_command_evaluates_every_finished_trial(run):
    place = str(run.path)
    options = ["--run", place, "--images", "1", "--suite", "quick", "--json"]
    done = CliRunner().invoke(app, ["evaluate", "all", *options])
    assert done.exit_code == 0
    assert [row["trial"] for row in json.loads(done.stdout)] == [0, 2]


def test_a_trial_that_cannot_be_scored_does_not_stop_the_others(run, write_checkpoint):
    write_checkpoint(run.checkpoint_path(0), spoil=True)
    found = evaluate_trials(run, [0, 1, 2], options=CONFIRM)
    assert {row.trial for row in found.rows} == {2}
    assert "must predict finite numbers" in found.problems[0]
    assert "must have a checkpoint" in found.problems[1]


def test_a_radius_may_be_given(run):
    options = EvaluationOptions("quick", images=1, epsilon="2/255", norm="linf")
    rows = evaluate(0, run=run.path, options=options).rows
    worst = next(row for row in rows if row.condition == "worst_case")
    assert worst.epsilon == pytest.approx(2 / 255)


def test_panels_show_images_targets_and_predictions(run):
    found = evaluate(0, run=run.path, options=replace(FEW, images=2))
    kinds = {(p.condition, p.content, p.kind, p.task) for p in found.panels}
    assert kinds == {
        ("clean", "image", "picture", ""),
        ("clean", "target", "classes", "segmentation"),
        ("clean", "prediction", "classes", "segmentation"),
        ("tempered", "image", "picture", ""),
        ("tempered", "prediction", "classes", "segmentation"),
    }
    assert len(found.panels) == 2 * 5
    pictures = {
        (p.condition, p.image): p.pixels.astype(int) for p in found.panels if p.content == "image"
    }
    change = np.abs(pictures["tempered", 1] - pictures["clean", 1])
    assert 1 <= change.max() <= 5
    assert pictures["clean", 0].shape == (32, 32, 3)
    target = next(p for p in found.panels if p.content == "target")
    assert target.pixels.shape == (32, 32)
    assert len(target.class_names) > target.pixels.max()
    assert len(run.panels()) == len(found.panels)


def test_a_number_map_is_shown_as_numbers(tmp_path, write_checkpoint, config):
    config = config | {"main_task": "depth"}
    write_checkpoint(tmp_path / "depth.pt", ("depth",), config)
    found = evaluate(tmp_path / "depth.pt", options=FEW)
    assert (found.rows[0].task, found.rows[0].score_name) == ("depth", "abs_rel")
    maps = [p for p in found.panels if p.content != "image"]
    assert {p.kind for p in maps} == {"numbers"}
    assert {p.pixels.shape for p in maps} == {(1, 32, 32)}
    assert all(p.pixels.dtype == np.float32 for p in maps)


def test_a_checkpoint_inside_a_run_is_its_trial(run):
    subject, home = one_checkpoint(run.checkpoint_path(2))
    assert (subject.trial, subject.role) == (2, "winner")
    assert home is not None
    assert home.path.samefile(run.path)


def test_a_checkpoint_from_elsewhere_belongs_to_no_trial(tmp_path, write_checkpoint):
    write_checkpoint(tmp_path / "lonely.pt")
    found = evaluate(str(tmp_path / "lonely.pt"), options=FEW)
    assert {(row.trial, row.role, row.label) for row in found.rows} == {(-1, "other", "lonely")}
    assert found.path is None


def test_a_winner_that_is_a_baseline_is_scored_once(run, write_trial):
    write_trial(run, 0, "main only, natural", "baseline", (), "complete", 0.9)
    subjects = winner_and_baselines(Study.read(run))
    assert [(subject.trial, subject.role) for subject in subjects] == [(0, "winner")]


def test_the_newest_run_is_taken(run, tmp_path):
    with pytest.raises(ConfigError, match=r"run .*small-1 has no trial"):
        evaluate(99, runs=tmp_path / "runs")


@pytest.fixture
def ray_ends():
    """Ray leaves processes and sockets to the garbage collector, which complains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        assert not ray.is_initialized()
        gc.collect()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_ends")
def test_any_number_of_workers_finds_the_same_numbers(run, tmp_path, read_shards):
    """Bit by bit: one process here, two Ray workers on a copy of the run."""
    options = EvaluationOptions("quick", images=2, epsilon="8/255")
    here = evaluate("best", run=run.path, options=options)
    other = copytree(run.path, tmp_path / "other", ignore=ignore_patterns("shards"))
    told, hosts = [], set()

    def hear(*news):
        told.append(news)
        hosts.update(node["NodeManagerAddress"] for node in ray.nodes())

    there = evaluate("best", run=other, options=replace(options, workers=2), progress=hear)
    assert hosts == {"127.0.0.1"}, "nobody else on the network reaches our Ray"
    assert len(told) == len(read_shards(run))
    assert told[-1][0] == told[-1][1]
    for one, two in zip(here.rows, there.rows, strict=True):
        assert replace(one, seconds=0) == replace(two, seconds=0)
    for one, two in zip(here.worst_images, there.worst_images, strict=True):
        assert replace(one, seconds=0) == replace(two, seconds=0)
    assert here.transfers == there.transfers


@pytest.mark.ray
@pytest.mark.usefixtures("ray_ends")
def test_a_mistake_in_a_worker_is_told_like_one_here(tmp_path, write_checkpoint, config):
    config = config | {"main_task": "depth"}
    write_checkpoint(tmp_path / "broken.pt", ("depth",), config, spoil=True)
    with pytest.raises(DataError, match="must predict finite numbers"):
        evaluate(tmp_path / "broken.pt", options=replace(FEW, workers=2))
