"""Published checkpoints as runs: what is kept, where it is written, what is refused."""

import pytest
import torch
from typer.testing import CliRunner

from taskgroup.cli import app
from taskgroup.data.scenes import SceneConfig
from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation.foreign.published import PublishedOptions, import_published
from taskgroup.evaluation.loading import load_trained
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import evaluate
from taskgroup.evaluation.subjects import winner_and_baselines
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.foreign.key_families import CITYSCAPES_MEAN, CITYSCAPES_STD
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study
from taskgroup.tasks.base import TaskInfo, build_task

SCENES = "{name: scenes, image_size: 32, test: 2, train: 1, seed: 77}"
INFO = SceneConfig().tasks()["segmentation"]
FEW = EvaluationOptions("quick", images=1)


@pytest.fixture(autouse=True)
def small_drn(monkeypatch):
    """A DRN with a few channels."""
    monkeypatch.setattr("taskgroup.models.backbones.drn.WIDTHS", (2, 2, 4, 4, 6, 8, 8, 8))


def build(*infos):
    config = ModelConfig(
        backbone="drn_d_22", decoder="bilinear", mean=CITYSCAPES_MEAN, std=CITYSCAPES_STD
    )
    return build_model(config, [build_task(info) for info in infos], seed=0).eval()


def write(path, model, *, names=None):
    """A file of MTRobust's training script; ``names`` are the heads' names there."""
    weights = {}
    for key, value in model.state_dict().items():
        part = key.split(".", 3)
        for task in model.task_names:
            decoder = f"module.task_to_decoder.{(names or {}).get(task, task)}"
            if key.startswith("backbone."):
                number = int(part[2])
                place = f"module.encoder.{number}" if number < 6 else f"{decoder}.{number - 6}"
                weights[f"{place}.{part[3]}"] = value
            elif key.startswith(f"heads.{task}.predict.0."):
                weights[f"{decoder}.3.{key.split('.')[-1]}"] = value
            elif key == f"heads.{task}.predict.1.kernel":
                weights[f"{decoder}.4.weight"] = value
    torch.save({"epoch": 201, "arch": "drn_d_22", "state_dict": weights}, path)
    return path


@pytest.fixture
def file(tmp_path):
    """A published file of three tasks, one of which scenes lack."""
    model = build(INFO, TaskInfo("depth"), TaskInfo("curvature"))
    names = {"segmentation": "segmentsemantic", "depth": "depth_zbuffer", "curvature": "gloss"}
    return write(tmp_path / "city_seg_mtl.pth.tar", model, names=names)


def options(**changes):
    return PublishedOptions(**{"model": "drn_d_22", "dataset": SCENES} | changes)


def refused(call, error, match):
    with pytest.raises(error, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_file_becomes_a_run_with_one_trial(file, tmp_path):
    found = import_published(file, options(), runs=tmp_path / "runs")
    assert (found.task_set, found.left_out) == (("segmentation", "depth"), ("gloss",))
    trained = load_trained(found.checkpoint)
    assert trained.task_set == ("segmentation", "depth")
    assert (trained.threat.norm, trained.threat.epsilon) == ("linf", 4 / 255)
    torch.testing.assert_close(trained.model.mean.flatten(), torch.tensor(CITYSCAPES_MEAN))
    images = torch.rand(1, 3, 32, 32)
    same = build(INFO, TaskInfo("depth"))
    with torch.no_grad():
        assert torch.equal(trained.model(images)["depth"], same(images)["depth"])
    run = RunDirectory.open(next((tmp_path / "runs").iterdir()))
    (trial,) = run.trials()
    assert (trial.label, trial.status, trial.output_dimension) == (
        "city_seg_mtl",
        "complete",
        (INFO.num_classes + 1) * 32 * 32,
    )
    refused(
        lambda: winner_and_baselines(Study.read(run)),
        DataError,
        r"a search scored; .* evaluate 0 --run",
    )


def test_the_command_prints_the_tables_of_a_run_and_goes_on_in_it(file, tmp_path):
    runs, told = tmp_path / "runs", []
    given = ["--model", "drn_d_22", "--dataset", SCENES, "--task", "segmentation"]
    command = ["evaluate", str(file), *given, "--suite", "quick", "--images", "1"]
    result = CliRunner().invoke(app, [*command, "--runs", str(runs)])
    assert result.exit_code == 0, result.output
    assert "Clean beside robust" in result.stdout
    assert "city_seg_mtl" in result.stdout
    assert "Heads left out: depth_zbuffer, gloss" in result.stderr
    again = import_published(file, options(tasks=("segmentation",)), runs=runs)
    found = evaluate(again.checkpoint, options=FEW, progress=lambda *now: told.append(now))
    assert found.rows
    assert found.path == str(next(runs.iterdir()))
    assert told == []
    assert import_published(file, options(), runs=runs).task_set == ("segmentation", "depth")
    assert len(list(runs.iterdir())) == 2


def test_losses_that_are_attacked_can_be_chosen(tmp_path):
    infos = (INFO, TaskInfo("normals"))
    path = write(tmp_path / "taskonomy.pth", build(*infos), names={"normals": "normal"})
    runs = tmp_path / "runs"
    own = import_published(path, options(), runs=runs)
    chosen = import_published(path, options(task_options="{normals: {loss: l1}}"), runs=runs)
    losses = [load_trained(f.checkpoint).tasks[1].info.loss for f in (own, chosen)]
    assert losses == ["", "l1"]
    assert len(list(runs.iterdir())) == 2
    (trial,) = RunDirectory.open(str(chosen.checkpoint).rsplit("/checkpoints", 1)[0]).trials()
    assert trial.config["task_options"]["normals"]["loss"] == "l1"


@pytest.mark.parametrize("names", [("depth_zbuffer", "segmentsemantic"), ("depth", "segmentation")])
def test_tasks_by_our_names_or_the_files(names, file, tmp_path):
    found = import_published(file, options(tasks=names), runs=tmp_path / "runs")
    assert found.task_set == ("depth", "segmentation")


def test_classes_that_the_data_never_shows_stay(tmp_path):
    count = INFO.num_classes + 1
    path = write(tmp_path / "wide.pth", build(TaskInfo("segmentation", count)))
    found = import_published(path, options(), runs=tmp_path / "runs")
    (task,) = load_trained(found.checkpoint).tasks
    assert task.channels == count
    assert task.info.class_names[-1] == "unused 1"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": None}, ConfigError, r"--dataset must name the images to attack, got none"),
        ({"dataset": "citiscapes"}, ConfigError, r"--dataset: .*unknown dataset 'citiscapes'"),
        ({"dataset": "{name: scenes"}, ConfigError, r"--dataset must be YAML"),
        ({"model": "drn_d_23"}, ConfigError, r"unknown backbone 'drn_d_23'; did you mean"),
        ({"model": "{backbon: x}"}, ConfigError, r"--model: unknown key 'backbon'"),
        ({"model": "drn_d_38"}, DataError, r"do not fit: .*; they fit --model drn_d_22"),
        ({"tasks": ("normals",)}, ConfigError, r"--task must name what .* predicts, got 'normals'"),
        ({"tasks": ("gloss",)}, ConfigError, r"'scenes' has no task 'gloss'"),
        ({"task_options": "[1]"}, ConfigError, r"--task-options must hold a mapping"),
        (
            {"task_options": "{normals: {loss: l1}}"},
            ConfigError,
            r"--task-options must name tasks that are kept, got 'normals'; choose from: segm",
        ),
        (
            {"task_options": "{depth: {los: l1}}"},
            ConfigError,
            r"--task-options: depth: unknown key 'los'",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(changes, error, message, file, tmp_path):
    refused(lambda: import_published(file, options(**changes), runs=tmp_path / "r"), error, message)
    assert not (tmp_path / "r").exists()


def test_heads_that_the_data_does_not_fit(tmp_path):
    path = write(tmp_path / "narrow.pth", build(TaskInfo("segmentation", 5)))
    message = r"narrow\.pth must predict \d+ numbers per pixel for task 'segmentation'.*found 5 per"
    refused(lambda: import_published(path, options(), runs=tmp_path / "r"), DataError, message)
    names = {"curvature": "gloss"}
    path = write(tmp_path / "other.pth", build(TaskInfo("curvature")), names=names)
    message = r"data set 'scenes' must have a task that .* predicts, which are: gloss"
    refused(lambda: import_published(path, options(), runs=tmp_path / "r"), ConfigError, message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["best", "--dataset", "scenes"], "--dataset must come with --model, got none"),
        (["best", "--task", "depth"], "--task must come with --model, got none"),
        (
            ["best", "--task-options", "{depth: {}}"],
            "--task-options must come with --model, got none",
        ),
        (["a.pth", "--model", "drn_d_22", "--run", "x"], "--run must not be given with --model"),
        (["a.pth", "--model", "drn_d_22"], "checkpoint a.pth must be a file, found none"),
    ],
)
def test_options_that_do_not_go_together(given, message):
    result = CliRunner().invoke(app, ["evaluate", *given])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert result.stderr.count("\n") == 1


def test_a_file_without_its_network_tells_how_to_name_it(file):
    result = CliRunner().invoke(app, ["evaluate", str(file)])
    assert result.exit_code == 2
    assert "--model drn_d_22 --dataset camvid" in " ".join(result.stderr.split())
