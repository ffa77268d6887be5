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
from taskgroup.data.loading import open_dataset
from taskgroup.data.scenes import SceneConfig
from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation import trials
from taskgroup.evaluation.loading import LoadedNetworks, check_labels, load_trained
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.perturbations import attack
from taskgroup.evaluation.run import evaluate
from taskgroup.evaluation.subjects import one_checkpoint, winner_and_baselines
from taskgroup.evaluation.suites.strong import QUICK
from taskgroup.evaluation.trials import evaluate_all, evaluate_trials
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.results.record_files import TRANSFERS, WORST_CASES
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.base import Storage
from taskgroup.study.study import Study
from taskgroup.tasks.base import Target, build_task

pytestmark = pytest.mark.usefixtures("short_quick")
SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"
DATASET = {"name": "scenes", "image_size": 32, "test": 3, "train": 1, "seed": 77}
CONFIG = {
    "dataset": DATASET,
    "model": {"backbone": "resnet_small", "width": 4, "decoder_width": 4},
    "main_task": "segmentation",
    "validation": {"attack": "pgd", "norm": "linf", "epsilon": 4 / 255},
}
FEW = EvaluationOptions("quick", images=1)
TRIALS = [  # label, role, auxiliary tasks, status, robust score
    ("main only, natural", "baseline", (), "complete", 0.1),
    ("all, adversarial", "baseline", ("depth",), "failed", None),
    ("segmentation+classification", "searched", ("classification",), "complete", 0.3),
    ("segmentation+depth", "searched", ("depth",), "pruned", 0.4),
]


def write_checkpoint(path, auxiliary=(), config=CONFIG, *, seed=0, spoil=False, **changes):
    infos = SceneConfig(**DATASET).tasks()
    chosen = tuple(infos[name] for name in ("segmentation", *auxiliary))
    model = build_model(
        ModelConfig(**config["model"]), [build_task(info) for info in chosen], seed=seed
    )
    if spoil:
        for parameter in model.parameters():
            parameter.data.fill_(float("nan"))
    checkpoint = Checkpoint(config=config, tasks=chosen, weights=model.state_dict(), epoch=1)
    save_checkpoint(replace(checkpoint, **changes), path)


def write_trial(run, number, label, role, auxiliary, status, score):
    path = run.checkpoint_path(number)
    epochs = ()
    if score is not None:
        write_checkpoint(path, auxiliary)
        epochs = (EpochRow(1, {"segmentation/robust/miou": score}, 1.0, 1),)
    run.write_trial(
        TrialResult(
            number=number,
            label=label,
            role=role,
            config=CONFIG,
            parameters={},
            main_task="segmentation",
            auxiliary_tasks=auxiliary,
            output_dimension=1,
            status=status,
            epochs=epochs,
            checkpoint=None if score is None else f"checkpoints/{path.name}",
        )
    )


@pytest.fixture(scope="session")
def scene_cache(tmp_path_factory):
    """One cache of rendered scenes for all tests below."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(scene_cache, monkeypatch):
    monkeypatch.setenv("TASKGROUP_CACHE", str(scene_cache))


@pytest.fixture
def run(tmp_path):
    """Four trials, two of them complete."""
    run = RunDirectory.create(tmp_path / "runs", "small", SPACE)
    for number, trial in enumerate(TRIALS):
        write_trial(run, number, *trial)
    return run


def test_best_is_the_winner_and_the_finished_baselines(run):
    told = []
    found = evaluate("best", run=run.path, options=FEW, progress=lambda *n: told.append(n))
    parts = {(row.trial, row.role) for row in found.rows}
    assert parts == {(2, "winner"), (0, "baseline")}
    assert found.path == run.place
    assert run.evaluations() == list(found.rows)
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
        assert row.low <= row.score <= row.high or row.score == pytest.approx(row.low, abs=0.05)
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


def test_a_killed_evaluation_goes_on(run):
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
def test_other_settings_are_other_shards(run, changed):
    evaluate(0, run=run.path, options=FEW)
    before = read_shards(run)
    evaluate(0, run=run.path, options=replace(FEW, **changed))
    attacks = [name for name in read_shards(run) - before if "tempered" in name]
    assert attacks


def test_more_training_is_another_network(run):
    evaluate(0, run=run.path, options=FEW)
    before = read_shards(run)
    write_checkpoint(run.checkpoint_path(0), seed=1)
    told = []
    evaluate(0, run=run.path, options=FEW, progress=lambda *news: told.append(news))
    assert len(told) == len(before)


def read_shards(run):
    return set(run.storage.names("shards", ".parquet"))


def test_each_images_worst_result_is_kept(run):
    found = evaluate("best", run=run.path, options=replace(FEW, images=2))
    images = [(row.trial, row.image) for row in found.worst_images]
    assert images == [(2, 0), (2, 1), (0, 0), (0, 1)]
    metric = build_task(SceneConfig(**DATASET).tasks()["segmentation"]).metric()
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
    assert TRANSFERS.latest(run.storage) == list(found.transfers)


CONFIRM = EvaluationOptions("quick", images=1, attacked_tasks=("segmentation",), split="confirm")


def test_trials_are_scored_on_the_confirm_split(run):
    told = []
    found = evaluate_trials(run, [0, 2], options=CONFIRM, progress=lambda *n: told.append(n))
    assert {(row.trial, row.split) for row in found.rows} == {(0, "confirm"), (2, "confirm")}
    assert run.evaluations() == list(found.rows)
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


def test_confirmations_of_earlier_versions_are_scored_again_from_their_shards(run):
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


def test_scores_of_older_attacks_are_made_again(run, monkeypatch):
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


def test_records_and_checkpoints_are_read_once(run, monkeypatch):
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


def test_a_trial_that_cannot_be_scored_does_not_stop_the_others(run):
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


def test_a_number_map_is_shown_as_numbers(tmp_path):
    config = CONFIG | {"main_task": "depth"}
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


def test_a_checkpoint_from_elsewhere_belongs_to_no_trial(tmp_path):
    write_checkpoint(tmp_path / "lonely.pt")
    found = evaluate(str(tmp_path / "lonely.pt"), options=FEW)
    assert {(row.trial, row.role, row.label) for row in found.rows} == {(-1, "other", "lonely")}
    assert found.path is None


def test_a_winner_that_is_a_baseline_is_scored_once(run):
    write_trial(run, 0, "main only, natural", "baseline", (), "complete", 0.9)
    subjects = winner_and_baselines(Study.read(run))
    assert [(subject.trial, subject.role) for subject in subjects] == [(0, "winner")]


def test_the_newest_run_is_taken(run, tmp_path):
    with pytest.raises(ConfigError, match=r"run .*small-1 has no trial"):
        evaluate(99, runs=tmp_path / "runs")


@pytest.mark.parametrize(
    ("which", "options", "kind", "message"),
    [
        ("best", {"run": "nowhere"}, DataError, "nowhere must be a run directory"),
        ("best", {"runs": "nothing"}, DataError, "nothing must hold a run directory"),
        ("bset", {}, ConfigError, "best, all, a trial's number or a checkpoint's path, got 'bset'"),
        ("gone/model.pt", {}, DataError, "checkpoint gone/model.pt must be a file, found none"),
    ],
)
def test_a_mistake_gets_one_line(which, options, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message) as raised:
        evaluate(which, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"seed": -1}, r"seed must be at least 0 and below 2\^32, got -1"),
        ({"seed": 10**20}, "seed must be at least 0"),
        (
            {"suite": "slow"},
            "suite must be one of: quick, standard, full, mtrobust, mtrobust_seed; got 'slow'",
        ),
        ({"epsilon": "8"}, r"epsilon must lie in \[0, 1\], got 8; did you mean 8/255\?"),
        ({"epsilon": "-1/255"}, "epsilon"),
        ({"epsilon": "eight"}, "epsilon"),
        ({"epsilon": 0}, "epsilon must be above 0"),
        ({"norm": "l7", "epsilon": 0.5}, "norm"),
        ({"norm": "l2"}, "epsilon must be given with norm 'l2'"),
        ({"attacked_tasks": ("depth",)}, "attacked_tasks must lie in the task set, got 'depth'"),
    ],
)
def test_a_wrong_option_gets_one_line(changed, message, run):
    with pytest.raises(ConfigError, match=message) as raised:
        evaluate(0, run=run.path, options=EvaluationOptions(**changed))
    assert "\n" not in str(raised.value)
    assert read_shards(run) == set()


def test_a_network_that_answers_nan_has_no_score(tmp_path):
    config = CONFIG | {"main_task": "depth"}
    write_checkpoint(tmp_path / "broken.pt", ("depth",), config, spoil=True)
    with pytest.raises(DataError, match="must predict finite numbers") as raised:
        evaluate(tmp_path / "broken.pt", options=FEW)
    assert "\n" not in str(raised.value)


def test_images_without_a_label_have_no_score(run, monkeypatch):
    """A split in which not one pixel of the main task is valid."""
    config = SceneConfig(**DATASET)
    blank = open_dataset(config, "test", ("segmentation",))
    none = torch.zeros(1, 32, 32, dtype=torch.bool)

    class Unlabelled:
        def __len__(self):
            return 3

        def batch(self, indices):
            batch = blank.batch(list(indices))
            values = batch.targets["segmentation"].values
            invalid = Target(values, none.expand(len(values), -1, -1))
            return replace(batch, targets={"segmentation": invalid})

    trained = load_trained(run.checkpoint_path(0))
    loaded = LoadedNetworks((trained,), (Unlabelled(),), torch.device("cpu"))
    with pytest.raises(DataError, match="must have a valid pixel for task 'segmentation'"):
        check_labels(loaded, 0, 3)


def test_an_unknown_trial_names_the_known_ones(run):
    with pytest.raises(ConfigError, match=r"has no trial 99 to evaluate; it has 0 to 3"):
        evaluate(99, run=run.path)


def test_a_trial_without_a_checkpoint_says_so(run):
    with pytest.raises(DataError, match=r"trial 1 \(all, adversarial\) must have a checkpoint"):
        evaluate(1, run=run.path)


def test_a_lost_checkpoint_is_missed_before_anything_is_attacked(run):
    run.checkpoint_path(0).unlink()
    told = []
    with pytest.raises(DataError, match=r"trial 0 .*found no file .*00000.pt"):
        evaluate("best", run=run.path, progress=lambda *news: told.append(news))
    assert not told
    assert run.evaluations() == []


def test_a_run_without_a_finished_trial_says_how_to_go_on(tmp_path):
    run = RunDirectory.create(tmp_path, "empty", SPACE)
    write_trial(run, 0, *TRIALS[3])
    with pytest.raises(DataError, match=r"finished trial, found none among 1.*--resume"):
        evaluate("best", run=run.path)


def test_a_run_in_which_every_trial_failed_is_not_advised_to_resume(tmp_path):
    run = RunDirectory.create(tmp_path, "failed", SPACE)
    write_trial(run, 0, *TRIALS[1])
    with pytest.raises(DataError, match="every one failed, trial 0 because: ") as caught:
        evaluate("best", run=run.path)
    assert "--resume" not in str(caught.value)


def test_a_space_without_objectives_is_a_mistake(tmp_path):
    run = RunDirectory.create(tmp_path, "vague", "main_task: segmentation\n")
    with pytest.raises(ConfigError, match=r"space\.yaml: objectives is required; add it"):
        evaluate("best", run=run.path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"main_task": "edges"}, "its main_task 'edges' is none of its tasks"),
        (CONFIG | {"dataset": {"name": "scans"}}, "its dataset section is wrong: dataset.name"),
        (CONFIG | {"validation": {}}, "its validation section names no threat model"),
    ],
)
def test_a_checkpoint_that_no_trial_wrote_is_foreign(config, message, tmp_path):
    write_checkpoint(tmp_path / "odd.pt", config=config)
    with pytest.raises(DataError, match=message) as raised:
        load_trained(tmp_path / "odd.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_corrupt_checkpoint_gets_one_line(content, tmp_path):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"bad.pt must be a checkpoint"):
        evaluate(tmp_path / "bad.pt")


def test_a_foreign_torch_file_gets_one_line(tmp_path):
    torch.save({"state_dict": {"weight": torch.ones(2)}}, tmp_path / "foreign.pt")
    with pytest.raises(DataError, match="must be a checkpoint written by taskgroup"):
        evaluate(tmp_path / "foreign.pt")


def test_a_loaded_network_is_ready(tmp_path):
    write_checkpoint(tmp_path / "model.pt", ("depth",))
    trained = load_trained(tmp_path / "model.pt")
    assert not trained.model.training
    assert trained.task_set == ("segmentation", "depth")
    assert trained.main.name == "segmentation"
    assert math.isclose(trained.threat.epsilon, 4 / 255)
    assert trained.dataset.image_size == 32


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
def test_any_number_of_workers_finds_the_same_numbers(run, tmp_path):
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
def test_a_mistake_in_a_worker_is_told_like_one_here(tmp_path):
    config = CONFIG | {"main_task": "depth"}
    write_checkpoint(tmp_path / "broken.pt", ("depth",), config, spoil=True)
    with pytest.raises(DataError, match="must predict finite numbers"):
        evaluate(tmp_path / "broken.pt", options=replace(FEW, workers=2))
