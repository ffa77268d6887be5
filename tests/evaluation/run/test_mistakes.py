"""Mistakes around ``evaluate``: each is answered by one line, and nothing is attacked."""

import math
from dataclasses import replace

import pytest
import torch

from taskgroup.data.loading import open_dataset
from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation.loading import LoadedNetworks, check_labels, load_trained
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import evaluate
from taskgroup.results.run_directory import RunDirectory
from taskgroup.tasks.base import Target

pytestmark = pytest.mark.usefixtures("short_quick")
FEW = EvaluationOptions("quick", images=1)


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
def test_a_wrong_option_gets_one_line(changed, message, run, read_shards):
    with pytest.raises(ConfigError, match=message) as raised:
        evaluate(0, run=run.path, options=EvaluationOptions(**changed))
    assert "\n" not in str(raised.value)
    assert read_shards(run) == set()


def test_a_network_that_answers_nan_has_no_score(tmp_path, write_checkpoint, config):
    config = config | {"main_task": "depth"}
    write_checkpoint(tmp_path / "broken.pt", ("depth",), config, spoil=True)
    with pytest.raises(DataError, match="must predict finite numbers") as raised:
        evaluate(tmp_path / "broken.pt", options=FEW)
    assert "\n" not in str(raised.value)


def test_images_without_a_label_have_no_score(run, monkeypatch, scenes):
    """A split in which not one pixel of the main task is valid."""
    blank = open_dataset(scenes, "test", ("segmentation",))
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


def test_a_run_without_a_finished_trial_says_how_to_go_on(tmp_path, space, write_trial):
    run = RunDirectory.create(tmp_path, "empty", space)
    write_trial(run, 0, "segmentation+depth", "searched", ("depth",), "pruned", 0.4)
    with pytest.raises(DataError, match=r"finished trial, found none among 1.*--resume"):
        evaluate("best", run=run.path)


def test_a_run_in_which_every_trial_failed_is_not_advised_to_resume(tmp_path, space, write_trial):
    run = RunDirectory.create(tmp_path, "failed", space)
    write_trial(run, 0, "all, adversarial", "baseline", ("depth",), "failed", None)
    with pytest.raises(DataError, match="every one failed, trial 0 because: ") as caught:
        evaluate("best", run=run.path)
    assert "--resume" not in str(caught.value)


def test_a_space_without_objectives_is_a_mistake(tmp_path):
    run = RunDirectory.create(tmp_path, "vague", "main_task: segmentation\n")
    with pytest.raises(ConfigError, match=r"space\.yaml: objectives is required; add it"):
        evaluate("best", run=run.path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"main_task": "edges"}, "its main_task 'edges' is none of its tasks"),
        ({"dataset": {"name": "scans"}}, "its dataset section is wrong: dataset.name"),
        ({"validation": {}}, "its validation section names no threat model"),
    ],
)
def test_a_checkpoint_that_no_trial_wrote_is_foreign(
    changed, message, tmp_path, write_checkpoint, config
):
    write_checkpoint(tmp_path / "odd.pt", config=config | changed)
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


def test_a_loaded_network_is_ready(tmp_path, write_checkpoint):
    write_checkpoint(tmp_path / "model.pt", ("depth",))
    trained = load_trained(tmp_path / "model.pt")
    assert not trained.model.training
    assert trained.task_set == ("segmentation", "depth")
    assert trained.main.name == "segmentation"
    assert math.isclose(trained.threat.epsilon, 4 / 255)
    assert trained.dataset.image_size == 32
